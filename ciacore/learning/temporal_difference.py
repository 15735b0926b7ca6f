"""The temporal-difference objective of VDN, QMIX, QPLEX and most others."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.losses import batch_mean, td_loss, utilities_of
from ciacore.types import Agent, Batch, Forward, Mixer, Spec


class TemporalDifference(nn.Module):
    """L_TD = mean of (Q_tot(s, u) - y)² over real steps, plus the mixer's own penalty.

    (Liu et al. 2023, Eq. 1.)
    """

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()

    def greedy_values(
        self, agent: Agent, mixer: Mixer, batch: Batch, greedy: Int[Tensor, "B slots K"]
    ) -> Float[Tensor, "B slots"]:
        """Q_tot of the greedy actions.

        Args:
            agent: the target agent.
            mixer: the target mixer.
            batch: the episodes, as the networks read them.
            greedy: [B, T+1, K] the actions.
        """
        values, _ = agent.unroll(batch.episodes, batch.inputs)
        utilities = utilities_of(values, greedy, batch.episodes.available)
        return mixer(utilities, batch.states).q_tot

    def forward(self, record: Forward) -> dict[str, Float[Tensor, ""]]:
        """Both losses of an online pass, by name."""
        penalty = record.penalty.expand_as(record.weights)
        return {
            "td_loss": td_loss(record.q_tot, record.targets, record.weights),
            "penalty": batch_mean(penalty, record.weights),
        }
