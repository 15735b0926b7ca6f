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
        self, agent: Agent, mixer: Mixer, batch: Batch, greedy: Int[Tensor, "*slots K"]
    ) -> Float[Tensor, "*slots"]:
        """Q_tot of the greedy actions.

        Args:
            agent: the target agent.
            mixer: the target mixer.
            batch: the episodes, as the networks read them.
            greedy: [slots, K] the actions; `slots` may be several axes.
        """
        values, _ = agent.unroll(batch.episodes, batch.inputs)
        utilities = utilities_of(values, greedy, batch.available)
        return mixer(utilities, batch.states).q_tot

    def forward(self, record: Forward) -> dict[str, Float[Tensor, ""]]:
        """Both losses of an online pass, by name."""
        penalty = record.every_step(lambda of: of.penalty.expand_as(of.weights))
        weights = record.steps.by_episode(record.weights)
        return {
            "td_loss": td_loss(record.q_tot, record.targets, record.weights),
            "penalty": batch_mean(penalty, weights),
        }
