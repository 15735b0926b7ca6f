"""The opposite of CIA: credits of one step should be alike, whatever their size."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ciacore.cia import credits_of
from ciacore.config import Config
from ciacore.losses import weighted_mean
from ciacore.types import Forward, Spec, refuse

SMALL = 1e-8  # keeps a step without any credit from dividing 0 by 0


def relative_difference(
    credits: Float[Tensor, "... K"],
) -> Float[Tensor, "..."]:
    """abs(x_j - x_k) / ((abs(x_j) + abs(x_k)) / 2), the mean over pairs of agents.

    It is 0 for equal credits and 2 where one agent of two has all. The size of the
    credits does not matter.

    Args:
        credits: [..., K] of two agents or more.
    """
    j, k = torch.combinations(
        torch.arange(credits.shape[-1], device=credits.device)
    ).unbind(-1)
    one, other = credits[..., j], credits[..., k]
    size = (one.abs() + other.abs()) / 2
    return ((one - other).abs() / size.clamp(min=SMALL)).mean(-1)


class Equaliser(nn.Module):
    """The mean relative difference of single-step credits over real steps."""

    needs_closed_form = False

    def __init__(self, spec: Spec, config: Config) -> None:
        """Checks that there is something to equalise.

        Args:
            spec: the sizes of the game.
            config: `control_coefficient` and the fields of the credits are read here.

        Raises:
            InvalidInputError: there is one agent.
        """
        super().__init__()
        if spec.n_agents < 2:
            cure = "Leave out the term."
            refuse("game", "two agents or more, to equalise", spec.n_agents, cure)
        self.config = config
        self.coefficient = config.control_coefficient

    def forward(self, record: Forward) -> Float[Tensor, ""]:
        """The mean relative difference of the record's credits."""
        credits = credits_of(record, self.config)
        return weighted_mean(relative_difference(credits), record.weights)
