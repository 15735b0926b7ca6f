"""What a method can represent: utilities and mixer fitted to every cell of a one-step game, each counted the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from ciacore import METHODS
from ciacore.baselines.qtran import QTRAN
from ciacore.config import Config
from ciacore.games import MatrixGame
from ciacore.losses import utilities_of
from ciacore.methods import MIXERS
from ciacore.types import Mixer, refuse

GAMES = {
    "climb": [[8, -12, -12], [-12, 0, 0], [-12, 0, 0]],  # Son et al. (2019)
    "both": [[0, 0], [0, 1]],
    "either": [[0, 1], [1, 1]],
    "match": [[1, 0], [0, 1]],
    "penalty": [[10, 0, -10], [0, 2, 0], [-10, 0, 10]],  # Claus & Boutilier (1998)
}


def every_joint_action(game: MatrixGame) -> tuple[Tensor, ...]:
    """All joint actions [A^K, K], their payoffs, a constant state, and full availability."""
    n_agents, n_actions = game.spec.n_agents, game.spec.n_actions
    joint = torch.cartesian_prod(*[torch.arange(n_actions)] * n_agents)
    available = torch.ones(len(joint), n_agents, n_actions, dtype=torch.bool)
    return joint, game.payoff[joint.unbind(-1)], torch.ones(len(joint), 1), available


class Fitted(nn.Module):
    """Utilities [K, A] and a mixer, or QTRAN's three networks, or Weighted QMIX's two."""

    def __init__(self, config: Config, game: MatrixGame) -> None:
        super().__init__()
        spec = game.spec
        self.config, self.shape = config, (spec.n_agents, spec.n_actions)
        self.values = nn.Parameter(0.1 * torch.randn(self.shape))
        self.mixer = MIXERS[config.mixer](spec, config)
        if config.backbone == "qtran":
            self.backbone = QTRAN(spec, config)
        if config.backbone == "weighted":
            self.own_values, self.central = (
                nn.Parameter(0.1 * torch.randn(self.shape)),
                MIXERS["central"](spec, config),
            )

    def table(
        self,
        values: Tensor,
        mixer: Mixer,
        joint: Int[Tensor, "J K"],
        state: Tensor,
        available: Tensor,
    ) -> Tensor:
        """The mixer's value of every joint action, [J]."""
        return mixer(
            utilities_of(values.expand(len(joint), *self.shape), joint, available),
            state,
        ).q_tot

    def forward(
        self,
        joint: Int[Tensor, "J K"],
        payoff: Float[Tensor, "J"],
        state: Tensor,
        available: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """The losses of the backbone, with the payoff as the target, and the table that greedy agents maximise."""
        q_tot = self.table(self.values, self.mixer, joint, state, available)
        best = self.values.argmax(-1)
        if self.config.backbone == "td":
            return ((q_tot - payoff) ** 2).mean(), q_tot
        is_best = (joint == best).all(-1)
        if self.config.backbone == "qtran":
            hidden = torch.zeros(*joint.shape, self.config.hidden_size)
            value = self.backbone.joint(
                state[:, None], hidden[:, None], joint[:, None]
            )[:, 0]
            gap = q_tot - value.detach()
            opt, nopt = (is_best * gap**2).sum(), (gap.clamp(max=0) ** 2).mean()
            return (
                ((value - payoff) ** 2).mean()
                + self.config.qtran_opt * opt
                + self.config.qtran_nopt * nopt,
                q_tot,
            )
        central = self.table(self.own_values, self.central, joint, state, available)
        best_value = (is_best * central).sum()
        good = (
            q_tot < payoff
            if self.config.weighting == "optimistic"
            else is_best | (payoff > best_value)
        )
        w = torch.where(good, 1.0, self.config.weighting_alpha)
        return (w.detach() * (q_tot - payoff) ** 2).mean() + (
            (central - payoff) ** 2
        ).mean(), q_tot


class Fit(NamedTuple):
    """What a method made of a game."""

    error: float  # mean squared, of q_tot
    right: bool  # whether greedy agents earn the most
    table: Float[Tensor, "A A"]  # q_tot
    greedy: tuple[int, ...]  # what each agent's utilities prefer


def fit(
    method: str, games: Sequence[MatrixGame], seeds: Sequence[int], steps: int
) -> list[list[Fit]]:
    """Adam on all cells at once, for every game from one random start per seed; all side by side, each for itself.

    Raises:
        InvalidInputError: games of different sizes.
    """
    shapes = sorted({tuple(game.payoff.shape) for game in games})
    if len(shapes) != 1:
        refuse(
            "games",
            "games of one size",
            shapes,
            "Fit games of different sizes one after the other.",
        )
    config, starts = METHODS[method].but(hypernetwork_size=0, hidden_size=16), []
    for seed in [seed for _ in games for seed in seeds]:
        torch.manual_seed(seed)
        starts.append(Fitted(config, games[0]))
    parameters, _ = stack_module_state(starts)
    joint, _, state, available = every_joint_action(games[0])
    payoffs = torch.stack(
        [every_joint_action(game)[1] for game in games for _ in seeds]
    )
    every = vmap(
        lambda own, payoff: functional_call(
            starts[0], own, (joint, payoff, state, available)
        )
    )
    optimizer = torch.optim.Adam(parameters.values(), 0.03, fused=True)
    for _ in range(steps):
        # [games · seeds], and tables [games · seeds, J]
        losses, _ = every(parameters, payoffs)
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.step()
    with torch.no_grad():
        tables = every(parameters, payoffs)[1].view(len(games), len(seeds), *shapes[0])
    values = parameters["values"].unflatten(0, tables.shape[:2])
    return [
        [outcome(*found, game.payoff) for found in zip(*fitted, strict=True)]
        for game, *fitted in zip(games, values, tables, strict=True)
    ]


def outcome(
    values: Float[Tensor, "K A"],
    table: Float[Tensor, "A A"],
    payoff: Float[Tensor, "A A"],
) -> Fit:
    """What fitted utilities and the table of their joint values are worth."""
    greedy = tuple(values.argmax(-1).tolist())
    return Fit(
        float(((table - payoff) ** 2).mean()),
        bool(payoff[greedy] == payoff.max()),
        table,
        greedy,
    )
