"""What a method can represent: utilities and mixer fitted to every cell of a one-step game, each counted the same."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ciacore import METHODS
from ciacore.backbones.qtran import QTRAN
from ciacore.config import Config
from ciacore.games import MatrixGame
from ciacore.losses import utilities_of
from ciacore.mixers import MIXERS
from ciacore.types import Mixer

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
            self.own_values, self.central = nn.Parameter(0.1 * torch.randn(self.shape)), MIXERS["central"](spec, config)

    def table(
        self, values: Tensor, mixer: Mixer, joint: Int[Tensor, "J K"], state: Tensor, available: Tensor
    ) -> Tensor:
        """The mixer's value of every joint action, [J]."""
        return mixer(utilities_of(values.expand(len(joint), *self.shape), joint, available), state).q_tot

    def losses(
        self, joint: Int[Tensor, "J K"], payoff: Float[Tensor, "J"], state: Tensor, available: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The losses of the backbone, with the payoff as the target, and the table that greedy agents maximise."""
        q_tot = self.table(self.values, self.mixer, joint, state, available)
        best = self.values.argmax(-1)
        if self.config.backbone == "td":
            return ((q_tot - payoff) ** 2).mean(), q_tot
        is_best = (joint == best).all(-1)
        if self.config.backbone == "qtran":
            hidden = torch.zeros(*joint.shape, self.config.hidden_size)
            value = self.backbone.joint(state[:, None], hidden[:, None], joint[:, None])[:, 0]
            gap = q_tot - value.detach()
            opt, nopt = (gap[is_best] ** 2).mean(), (gap.clamp(max=0) ** 2).mean()
            return ((value - payoff) ** 2).mean() + self.config.qtran_opt * opt + self.config.qtran_nopt * nopt, q_tot
        central = self.table(self.own_values, self.central, joint, state, available)
        good = q_tot < payoff if self.config.weighting == "optimistic" else is_best | (payoff > central[is_best].mean())
        w = torch.where(good, 1.0, self.config.weighting_alpha)
        return (w.detach() * (q_tot - payoff) ** 2).mean() + ((central - payoff) ** 2).mean(), q_tot


class Fit(NamedTuple):
    """What a method made of a game."""

    error: float  # mean squared, of q_tot
    right: bool  # whether greedy agents earn the most
    table: Float[Tensor, "A A"]  # q_tot
    greedy: tuple[int, ...]  # what each agent's utilities prefer


def fit(method: str, game: MatrixGame, seed: int, steps: int) -> Fit:
    """Adam on all cells at once, from a random start."""
    torch.manual_seed(seed)
    config = METHODS[method].but(hypernetwork_size=0, hidden_size=16)
    fitted, given = Fitted(config, game), every_joint_action(game)
    optimizer = torch.optim.Adam(fitted.parameters(), 0.03)
    for _ in range(steps):
        loss, _ = fitted.losses(*given)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        q_tot = fitted.losses(*given)[1].view_as(game.payoff)
    greedy = tuple(fitted.values.argmax(-1).tolist())
    right = bool(game.payoff[greedy] == game.payoff.max())
    return Fit(float(((q_tot - game.payoff) ** 2).mean()), right, q_tot, greedy)
