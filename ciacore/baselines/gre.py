"""GRE: the entropy of one step's credits should be small, so that credits differ.

The credit-entropy regulariser on QMIX ("gradient entropy regularization"; Liu et al.
2023, baselines).
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor, nn

from ciacore.cia import credits_of
from ciacore.config import Config
from ciacore.losses import weighted_mean
from ciacore.types import Forward, Spec

SMALL = 1e-8  # as published, in the distribution


def credit_entropy(credits: Float[Tensor, "... K"]) -> Float[Tensor, "..."]:
    """Hn = -sum_k p_k log p_k / log K with p_k = x_k / sum_j x_j.

    It is 1 for equal credits and 0 where one agent has all.
    """
    p = (credits + SMALL) / (credits + SMALL).sum(-1, keepdim=True)
    return -(p * p.log()).sum(-1) / math.log(credits.shape[-1])


class GRE(nn.Module):
    """The mean entropy of single-step credits over real steps."""

    needs_closed_form = False

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        self.config = config
        self.coefficient = config.gre_coefficient

    def forward(self, record: Forward) -> Float[Tensor, ""]:
        """The mean entropy of the record's credits."""
        entropy = credit_entropy(credits_of(record, self.config))
        return weighted_mean(entropy, record.weights)
