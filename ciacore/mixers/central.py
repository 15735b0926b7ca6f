"""The unrestricted mixer of Weighted QMIX (Rashid et al. 2020)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.networks import mlp
from ciacore.types import Mixed, Spec, Utilities


class Central(nn.Module):
    """Q* = f([s, Q_1, ..., Q_K]) + V(s), a plain network: neither monotone nor IGM (Rashid et al. 2020, Sec. 4)."""

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        S, E = spec.state_size, config.central_size
        self.central = mlp(S + spec.n_agents, E, E, E, 1)
        self.value = mlp(S, E, 1)

    def forward(self, utilities: Utilities, state: Float[Tensor, "... S"]) -> Mixed:
        q_tot = (
            self.central(torch.cat([state, utilities.chosen], dim=-1))
            + self.value(state)
        ).squeeze(-1)
        return Mixed(q_tot, q_tot.new_zeros(()))
