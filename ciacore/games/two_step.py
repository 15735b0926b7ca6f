"""The two-step game of QMIX's paper: the first step decides which table is played."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from ciacore.fast.arrays import library, zeros
from ciacore.games.checks import Checked, check_n_games
from ciacore.games.lookup import Lookup
from ciacore.types import Array, Generator, Spec, Step

FIRST, SAFE, RISKY, OVER = range(4)  # where a game stands; it starts at 0
# payoff of the two actions, [agent 0, agent 1], in each place
PAYOFFS = {
    FIRST: [[0, 0], [0, 0]],
    SAFE: [[7, 7], [7, 7]],  # "2A" in the paper
    RISKY: [[0, 1], [1, 8]],  # "2B"
    OVER: [[0, 0], [0, 0]],
}
# place -> the next one, by the action of agent 0
NEXT = {
    FIRST: [SAFE, RISKY],
    SAFE: [OVER, OVER],
    RISKY: [OVER, OVER],
    OVER: [OVER, OVER],
}


class TwoStepState(NamedTuple):
    """N games."""

    place: Int[Array, "N"]  # FIRST, SAFE, RISKY or OVER
    t: Int[Array, "N"]  # steps played


class Tables(NamedTuple):
    """`PAYOFFS`, `NEXT`, and what is seen in each place."""

    payoff: Float[Array, "4 2 2"]
    next: Int[Array, "4 2"]
    seen: Float[Array, "4 3"]


class TwoStep(Checked):
    """The two-step game.

    Story:
        Agent 0 chooses which of two tables is played in the second step. One pays 7,
        whatever is done. The other pays 8 if both agents take a risk, and less if one
        of them does not. A sum of utilities fits the second table so badly that it
        prefers the first.
    Agents and actions:
        2 agents, 2 actions each, always available. In the first step only the action of
        agent 0 counts: 0 leads to the safe table, 1 to the risky one.
    Observation, State:
        3 numbers, the same for everybody: one-hot of the first step, the safe table,
        the risky table. All zero after the end. Nothing is hidden.
    Rewards:
        0 in the first step. Then `PAYOFFS[table][u_0][u_1]`: 7 everywhere in the safe
        table; 0, 1, 1 and 8 in the risky one.
    Episode end:
        Terminated after exactly 2 steps, never truncated.
    Start:
        Always the same.
    Scale:
        Returns: the worst 0, chance 4.75, the safe table 7, the best 8.
    Differences:
        The paper's actions A and B are 0 and 1, its agent 1 is agent 0, its states 2A
        and 2B are the safe and the risky table. It does not say how a state is shown.

    References:
        Rashid et al. (2018), "QMIX: Monotonic Value Function Factorisation for Deep
        Multi-Agent Reinforcement Learning", the two-step game, Table 1.
    """

    name = "two_step"

    def __init__(self) -> None:
        """Makes the tables."""
        places = range(4)
        self._lookup = Lookup(
            Tables(
                payoff=np.array([PAYOFFS[place] for place in places], np.float32),
                next=np.array([NEXT[place] for place in places]),
                seen=np.eye(4, 3, dtype=np.float32),
            )
        )
        self.spec = Spec(
            n_agents=2,
            n_actions=2,
            observation_size=3,
            state_size=3,
            unit_size=0,
            horizon=2,
            dtype=torch.uint8,
            ends_early=False,
            in_numpy=True,
        )

    def reset(self, n_games: int, rng: Generator) -> TwoStepState:
        """N fresh games, all in the first step.

        Args:
            n_games: N, at least 1.
            rng: only its library and device are used; nothing here is random.

        Returns:
            The games at t = 0.

        Raises:
            InvalidInputError: n_games is not a whole number of at least 1.
        """
        check_n_games(n_games)
        return TwoStepState(place=zeros(rng, (n_games,)), t=zeros(rng, (n_games,)))

    def advance(
        self, state: TwoStepState, actions: Int[Array, "N 2"], rng: Generator
    ) -> Step:
        """Pays the joint action and goes to the next place.

        Args:
            state: N games.
            actions: the action of each agent, 0 or 1.
            rng: not used.

        Returns:
            The games one step later, the team rewards, the ends; all `valid`.
        """
        tables = self._lookup.beside(actions)
        first, second = actions[:, 0], actions[:, 1]
        after = TwoStepState(tables.next[state.place, first], state.t + 1)
        over = after.place == OVER
        return Step(
            state=after,
            rewards=tables.payoff[state.place, first, second],
            terminated=over,
            truncated=library(over).zeros_like(over),
            info={"valid": library(over).ones_like(over)},
        )

    def observe(self, state: TwoStepState) -> Float[Array, "N 2 3"]:
        """The place, shown to both agents."""
        seen = self.global_state(state)
        return library(seen).stack([seen, seen], 1)

    def global_state(self, state: TwoStepState) -> Float[Array, "N 3"]:
        """The place, one-hot."""
        return self._lookup.beside(state.place).seen[state.place]

    def available(self, state: TwoStepState) -> Bool[Array, "N 2 2"]:
        """All actions, always."""
        shape = (len(state.t), 2, 2)
        return library(state.t).ones(shape, dtype=bool, device=state.t.device)
