"""The m-step matrix game of MAVEN's paper: the better way is found by exploring it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from ciacore.fast.arrays import library, zeros
from ciacore.games.checks import Checked, check_n_games
from ciacore.games.lookup import Lookup
from ciacore.types import Array, Generator, Spec, Step, refuse

BRANCHES = 4  # one for each joint action of the first step
UPPER, LOWER = 0, 3  # the branches that pay: both took 0, both took 1
LAST = [[1, 1], [1, 4]]  # what the last step of the upper branch pays


class MStepState(NamedTuple):
    """N games."""

    branch: Int[Array, "N"]  # the joint action of the first step; 0 before it
    t: Int[Array, "N"]  # steps played


class Tables(NamedTuple):
    """What the game looks up."""

    last: Float[Array, "4"]  # `LAST`, by joint action
    seen_time: Float[Array, "slots slots"]  # one-hot rows
    seen_branch: Float[Array, "4 4"]


class MStep(Checked):
    """The m-step matrix game.

    Story:
        The first joint action chooses a branch. A branch pays 1 per step as long as the
        agents repeat the joint action that chose it, and any other action ends the
        game. Both good branches look alike until the last step, where one of them pays
        4 for another joint action. Whoever settles on the other branch early never
        learns it.
    Agents and actions:
        2 agents, 2 actions each, always available. The joint action (u, v) has the
        number 2u + v.
    Observation, State:
        m + 5 numbers, the same for everybody: one-hot of the steps played (m + 1), then
        of the branch (4). Before the first step the branch reads 0. Nothing is hidden.
    Rewards:
        1 for the joint action of the branch, in the branches 0 (both take 0) and 3
        (both take 1); else 0. The last step of branch 0 pays 4 where both take action
        1, and 1 for every other joint action.
    Episode end:
        Terminated by a reward of 0, or after m steps; never truncated.
    Start:
        Always the same.
    Scale:
        Returns: the worst 0, branch 3 m, the best m + 3 (13 for m = 10).
    Differences:
        The published code has a second form, in which all four branches pay; it is not
        here. m is at least 2, since a game of one step has no last step of its own.

    References:
        Mahajan et al. (2019), "MAVEN: Multi-Agent Variational Exploration", the m-step
        matrix game; rewards and views as in the authors' code with two good branches.
    """

    def __init__(self, m: int = 10) -> None:
        """Fixes the length.

        Args:
            m: the steps of a whole game. Where it is not 10, the game is called
                m_step_<m>.

        Raises:
            InvalidInputError: m is not a whole number of at least 2.
        """
        is_whole = isinstance(m, int) and not isinstance(m, bool)
        if not is_whole or m < 2:
            cure = "The paper's game has 10 steps."
            refuse("m", "a whole number of at least 2", m, cure)
        self.name = "m_step" if m == 10 else f"m_step_{m}"
        self.m = m
        self._lookup = Lookup(
            Tables(
                last=np.array(LAST, np.float32).flatten(),
                seen_time=np.eye(m + 1, dtype=np.float32),
                seen_branch=np.eye(BRANCHES, dtype=np.float32),
            )
        )
        size = m + 1 + BRANCHES
        self.spec = Spec(
            n_agents=2,
            n_actions=2,
            observation_size=size,
            state_size=size,
            unit_size=0,
            horizon=m,
            dtype=torch.uint8,
            in_numpy=True,
        )

    def reset(self, n_games: int, rng: Generator) -> MStepState:
        """N fresh games.

        Args:
            n_games: N, at least 1.
            rng: only its library and device are used; nothing here is random.

        Returns:
            The games at t = 0.

        Raises:
            InvalidInputError: n_games is not a whole number of at least 1.
        """
        check_n_games(n_games)
        return MStepState(branch=zeros(rng, (n_games,)), t=zeros(rng, (n_games,)))

    def advance(
        self, state: MStepState, actions: Int[Array, "N 2"], rng: Generator
    ) -> Step:
        """Plays one joint action in every game.

        Args:
            state: N games; what comes after a game's end means nothing.
            actions: the action of each agent, 0 or 1.
            rng: not used.

        Returns:
            The games one step later, the team rewards, the ends; all `valid`.
        """
        arrays, tables = library(actions), self._lookup.beside(actions)
        joint = 2 * actions[:, 0] + actions[:, 1]
        branch = arrays.where(state.t == 0, joint, state.branch)
        pays = (branch == UPPER) | (branch == LOWER)
        rewards = 1.0 * (pays & (joint == branch))
        t = state.t + 1
        at_the_end = (t == self.m) & (branch == UPPER)
        rewards = arrays.where(at_the_end, tables.last[joint], rewards)
        # a game that goes on after its end stays at its last step
        t = t.clip(max=self.m)
        terminated = (rewards == 0) | (t == self.m)
        return Step(
            state=MStepState(branch, t),
            rewards=rewards,
            terminated=terminated,
            truncated=arrays.zeros_like(terminated),
            info={"valid": arrays.ones_like(terminated)},
        )

    def observe(self, state: MStepState) -> Float[Array, "N 2 O"]:
        """Time and branch, shown to both agents."""
        seen = self.global_state(state)
        return library(seen).stack([seen, seen], 1)

    def global_state(self, state: MStepState) -> Float[Array, "N S"]:
        """Time and branch, one-hot."""
        tables = self._lookup.beside(state.t)
        seen = [tables.seen_time[state.t], tables.seen_branch[state.branch]]
        return library(state.t).concatenate(seen, -1)

    def available(self, state: MStepState) -> Bool[Array, "N 2 2"]:
        """All actions, always."""
        shape = (len(state.t), 2, 2)
        return library(state.t).ones(shape, dtype=bool, device=state.t.device)
