"""QMIX: a monotone mixing network whose weights are written by the state (Rashid et al. 2018)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.mixers.hypernetwork import hypernetwork
from ciacore.types import Mixed, Spec, Utilities


class QMIX(nn.Module):
    """Q_tot = W2(s) · ELU(W1(s) q + b1(s)) + V(s) with W1, W2 >= 0 (Rashid et al. 2018, Fig. 2).

    Non-negative weights make Q_tot monotone in every utility, which is sufficient for IGM. At a fixed state it is also
    convex in the utilities, so it represents fewer functions than the monotone ones.
    """

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        S, K, E, H = spec.state_size, spec.n_agents, config.mixing_size, config.hypernetwork_size
        self.shape = (K, E)
        self.hyper_w1 = hypernetwork(S, H, K * E)
        self.hyper_b1 = nn.Linear(S, E)
        self.hyper_w2 = hypernetwork(S, H, E)
        self.value = hypernetwork(S, E, 1)

    def forward(self, utilities: Utilities, state: Float[Tensor, "... S"]) -> Mixed:
        _, z, w2 = self.layers(utilities.chosen, state)
        q_tot = (F.elu(z) * w2).sum(-1) + self.value(state).squeeze(-1)
        return Mixed(q_tot, q_tot.new_zeros(()))

    def credits(
        self, utilities: Utilities, state: Float[Tensor, "... S"], derivative: str = "exact"
    ) -> Float[Tensor, "... K"]:
        """x_k = sum_e W1[k, e] W2[e] ELU'(z_e), in closed form (Liu et al. 2023, Eq. 2 and footnote 3).

        Args:
            derivative: for z < 0, "exact" takes ELU'(z) = exp(z), "published" exp(ELU(z)), as the CIA and GRE code
                does; it never falls below 1/e, so published credits are never smaller than the exact ones.
        """
        w1, z, w2 = self.layers(utilities.chosen, state)
        exponent = F.elu(z) if derivative == "published" else z
        slope = torch.where(z < 0, exponent.clamp(max=0).exp(), 1.0)
        return (w1 * (slope * w2).unsqueeze(-2)).sum(-1)

    def layers(self, q: Float[Tensor, "... K"], state: Float[Tensor, "... S"]) -> tuple[Tensor, Tensor, Tensor]:
        """W1 [..., K, E], z = W1 q + b1 [..., E] and W2 [..., E]."""
        w1 = self.hyper_w1(state).abs().unflatten(-1, self.shape)
        z = (q.unsqueeze(-1) * w1).sum(-2) + self.hyper_b1(state)
        return w1, z, self.hyper_w2(state).abs()
