"""One-step matrix games: the smallest place to see what a mixer can represent."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ciacore.games.checks import Checked, check_n_games
from ciacore.types import Spec, Step, refuse


class MatrixState(NamedTuple):
    """N games that all look alike."""

    t: Int[Tensor, "N"]


class MatrixGame(Checked):
    """A one-step game given by its payoff table.

    Story:
        K agents choose one action each, at the same time, see nothing, and share one
        payoff.
    Agents and actions:
        As many agents as `payoff` has axes, as many actions as each axis is long.
    Observation, State:
        One constant number (there is nothing to see).
    Rewards:
        `payoff[u_1, ..., u_K]`.
    Episode end:
        Terminated after one step.
    Start:
        Always the same.
    Scale:
        Whatever the table says.
    Differences:
        None.

    References:
        Claus & Boutilier (1998); the non-monotonic 3x3 game of Son et al. (2019,
        QTRAN), Table 1.
    """

    name = "matrix"

    def __init__(self, payoff: Float[Tensor, "..."] | list) -> None:
        """Checks and keeps the table.

        Args:
            payoff: the team reward of each joint action, one axis per agent, all
                equally long; a tensor or nested lists.

        Raises:
            InvalidInputError: fewer than two axes, axes of different lengths, or
                payoffs that are not finite.
        """
        payoff = torch.as_tensor(payoff, dtype=torch.float32)
        lengths = set(payoff.shape)
        is_square = payoff.dim() >= 2 and len(lengths) == 1 and lengths != {0}
        if not is_square:
            refuse(
                "payoff",
                "a table with two or more axes of equal length",
                list(payoff.shape),
                "Use e.g. 3x3.",
            )
        if not payoff.isfinite().all():
            refuse(
                "payoff",
                "finite numbers",
                payoff.tolist(),
                "Replace what is infinite or not a number.",
            )
        self.payoff = payoff
        self.spec = Spec(
            n_agents=payoff.dim(),
            n_actions=payoff.shape[0],
            observation_size=1,
            state_size=1,
            unit_size=0,
            horizon=1,
        )

    def reset(self, n_games: int, rng: torch.Generator) -> MatrixState:
        """N fresh games on the generator's device.

        Args:
            n_games: N, at least 1.
            rng: only its device is used; nothing here is random.

        Returns:
            The games at t = 0.

        Raises:
            InvalidInputError: n_games is not a whole number of at least 1.
        """
        check_n_games(n_games)
        return MatrixState(torch.zeros(n_games, dtype=torch.int64, device=rng.device))

    def advance(
        self, state: MatrixState, actions: Int[Tensor, "N K"], rng: torch.Generator
    ) -> Step:
        """Pays the joint action and ends every game.

        Args:
            state: N games.
            actions: the action of each agent, 0 to A - 1.
            rng: not used.

        Returns:
            The games after their only step, with `payoff[u_1, ..., u_K]` as the reward;
            all terminated, none truncated, all `valid`.
        """
        payoff = self.payoff.to(actions.device)
        rewards = payoff[actions.unbind(-1)]
        everywhere = torch.ones_like(state.t, dtype=torch.bool)
        return Step(
            state=MatrixState(state.t + 1),
            rewards=rewards,
            terminated=everywhere,
            truncated=~everywhere,
            info={"valid": everywhere},
        )

    def observe(self, state: MatrixState) -> Float[Tensor, "N K 1"]:
        """A constant 1 per agent."""
        return torch.ones(len(state.t), self.spec.n_agents, 1, device=state.t.device)

    def global_state(self, state: MatrixState) -> Float[Tensor, "N 1"]:
        """A constant 1."""
        return torch.ones(len(state.t), 1, device=state.t.device)

    def available(self, state: MatrixState) -> Bool[Tensor, "N K A"]:
        """All actions, always."""
        shape = (len(state.t), self.spec.n_agents, self.spec.n_actions)
        return torch.ones(shape, dtype=torch.bool, device=state.t.device)
