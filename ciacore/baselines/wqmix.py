"""Weighted QMIX: a monotone mixer that looks first at the joint actions worth taking (Rashid et al. 2020)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.learning.agent import RecurrentAgent
from ciacore.losses import utilities_of, weighted_mean
from ciacore.mixers.central import Central
from ciacore.types import Batch, Forward, Mixer, Spec


class Weighted(nn.Module):
    """L = mean of w (Q_tot - y)² + mean of (Q* - y)² (Rashid et al. 2020, Eq. 7, 9 and 10).

    The targets y come from an unrestricted Q* with agents of its own; double Q never
    asks target agents and mixer.
    """

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        self.weighting, self.alpha = (
            WEIGHTINGS[config.weighting],
            config.weighting_alpha,
        )
        self.central_agent = RecurrentAgent(spec, config)
        self.central_mixer = Central(spec, config)

    def greedy_values(
        self,
        agent: nn.Module,
        mixer: Mixer,
        batch: Batch,
        greedy: Int[Tensor, "B slots K"],
    ) -> Float[Tensor, "B slots"]:
        """Q* of the greedy actions."""
        values, _ = self.central_agent.unroll(batch.episodes, batch.inputs)
        return self.central_mixer(
            utilities_of(values, greedy, batch.episodes.available), batch.states
        ).q_tot

    def forward(self, record: Forward) -> dict[str, Float[Tensor, ""]]:
        episodes = record.episodes
        values = self.central_agent.unroll(episodes)[0][:, :-1]
        taken = utilities_of(values, episodes.actions, episodes.available[:, :-1])
        central = self.central_mixer(taken, record.states).q_tot
        with torch.no_grad():
            w = torch.where(self.weighting(record), 1.0, self.alpha)
        return {
            "td_loss": weighted_mean(
                w * (record.q_tot - record.targets) ** 2, record.weights
            ),
            "central_loss": weighted_mean(
                (central - record.targets) ** 2, record.weights
            ),
        }


def optimistic(record: Forward) -> Bool[Tensor, "B T"]:
    """OW-QMIX: the steps whose joint action is worth more than Q_tot says (Rashid et al. 2020, Eq. 9)."""
    return record.q_tot < record.targets


def central(record: Forward) -> Bool[Tensor, "B T"]:
    """CW-QMIX: the steps whose joint action is greedy, or better than the greedy one (Rashid et al. 2020, Eq. 10)."""
    is_greedy = (record.episodes.actions == record.greedy[:, :-1]).all(-1)
    return is_greedy | (record.targets > record.greedy_values[:, :-1])


WEIGHTINGS = {"optimistic": optimistic, "central": central}
