"""VDN: the joint value is the sum of the agents' utilities (Sunehag et al. 2018)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.types import Mixed, Spec, Utilities


class VDN(nn.Module):
    """Q_tot = sum_k Q_k. No parameters; every agent's credit is 1."""

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()

    def forward(self, utilities: Utilities, state: Float[Tensor, "... S"]) -> Mixed:
        """Q_tot of the utilities at a state.

        Args:
            utilities: of the agents, [..., K].
            state: [..., S].
        """
        return Mixed(utilities.chosen.sum(-1), utilities.chosen.new_zeros(()))
