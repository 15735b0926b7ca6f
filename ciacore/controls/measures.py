"""What is only looked at: terms with coefficient 0, whose values are logged.

They have no parameters, draw nothing and send no gradient, so that not a bit of
training depends on them.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.controls.equaliser import relative_difference
from ciacore.credits import credits_at
from ciacore.losses import weighted_mean
from ciacore.types import Forward, Spec


class CreditRatio(nn.Module):
    """Logs how much larger the published credits are than the exact ones.

    It is the ratio of their sums over real steps, and has no part in the loss.
    """

    needs_closed_form = True
    coefficient = 0.0

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()

    @torch.no_grad()
    def forward(self, record: Forward) -> Float[Tensor, ""]:
        """The ratio of the record's credits."""
        weights = record.weights.unsqueeze(-1)
        published = record.mixing.credits(record.utilities, "published")
        exact = record.mixing.credits(record.utilities, "exact")
        return (published * weights).sum() / (exact * weights).sum()


class MeanCredit(nn.Module):
    """Logs the mean exact credit, over agents and real steps."""

    needs_closed_form = False
    coefficient = 0.0

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()

    def forward(self, record: Forward) -> Float[Tensor, ""]:
        """The mean of the record's credits, without gradient."""
        credits = credits_at(record.mixing, record.utilities).detach()
        return weighted_mean(credits.mean(-1), record.weights)


class RelativeDifference(nn.Module):
    """Logs the mean relative difference of the exact credits, over real steps."""

    needs_closed_form = False
    coefficient = 0.0

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()

    def forward(self, record: Forward) -> Float[Tensor, ""]:
        """The mean relative difference of the record's credits, without gradient."""
        credits = credits_at(record.mixing, record.utilities).detach()
        return weighted_mean(relative_difference(credits), record.weights)
