"""QTRAN's sum: the utilities plus a value of the state (Son et al. 2019)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.networks import mlp
from ciacore.types import Mixed, Spec, Utilities


class ValueSum(nn.Module):
    """Q'_tot = sum_k Q_k + V(s) (Son et al. 2019, Eq. 4 and Theorem 1). Every agent's credit is 1."""

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        self.value = mlp(spec.state_size, config.mixing_size, config.mixing_size, 1)

    def forward(self, utilities: Utilities, state: Float[Tensor, "... S"]) -> Mixed:
        q_tot = utilities.chosen.sum(-1) + self.value(state).squeeze(-1)
        return Mixed(q_tot, q_tot.new_zeros(()))
