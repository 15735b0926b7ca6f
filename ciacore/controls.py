"""Terms that are experiments: they measure, or control for, what another term does."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ciacore.config import Config
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
