"""QMIX: a monotone mixing network whose weights are written by the state.

(Rashid et al. 2018.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.fast.unique_rows import each_row_once
from ciacore.mixers.hypernetwork import hypernetwork
from ciacore.types import Mixed, Mixing, Spec, Utilities


class QMIX(nn.Module):
    """Q_tot = W2(s) · ELU(W1(s) q + b1(s)) + V(s) with W1, W2 >= 0.

    (Rashid et al. 2018, Fig. 2.) Non-negative weights make Q_tot monotone in every
    utility, which is sufficient for IGM. At a fixed state it is also convex in the
    utilities, so it represents fewer functions than the monotone ones.
    """

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        S, K = spec.state_size, spec.n_agents
        E, H = config.mixing_size, config.hypernetwork_size
        self.shape = (K, E)
        self.hyper_w1 = hypernetwork(S, H, K * E)
        self.hyper_b1 = nn.Linear(S, E)
        self.hyper_w2 = hypernetwork(S, H, E)
        self.value = hypernetwork(S, E, 1)

    def forward(self, utilities: Utilities, state: Float[Tensor, "... S"]) -> Mixed:
        """Q_tot of the utilities at a state.

        Args:
            utilities: of the agents, [..., K].
            state: [..., S].
        """
        return self.at(state)(utilities)

    def credits(
        self,
        utilities: Utilities,
        state: Float[Tensor, "... S"],
        derivative: str = "exact",
    ) -> Float[Tensor, "... K"]:
        """Credits in closed form.

        Args:
            utilities: where to differentiate.
            state: [..., S].
            derivative: as for `QMIXAt.credits`.
        """
        return self.at(state).credits(utilities, derivative)

    def at(self, state: Float[Tensor, "... S"]) -> QMIXAt:
        """The mixing function that the state writes."""
        return QMIXAt(*each_row_once(self.written_by, state))

    def written_by(self, state: Float[Tensor, "... S"]) -> tuple[Tensor, ...]:
        """W1 [..., K, E], b1 [..., E], W2 [..., E] and V [...] at a state."""
        w1 = self.hyper_w1(state).abs().unflatten(-1, self.shape)
        b1 = self.hyper_b1(state)
        w2 = self.hyper_w2(state).abs()
        v = self.value(state).squeeze(-1)
        return w1, b1, w2, v


@dataclass(frozen=True)
class QMIXAt(Mixing):
    """QMIX at fixed states: Q_tot = W2 · ELU(W1 q + b1) + v."""

    w1: Float[Tensor, "... K E"]
    b1: Float[Tensor, "... E"]
    w2: Float[Tensor, "... E"]
    v: Float[Tensor, "..."]

    def __call__(self, utilities: Utilities) -> Mixed:
        """Q_tot."""
        q_tot = (F.elu(self.z(utilities)) * self.w2).sum(-1) + self.v
        return Mixed(q_tot, q_tot.new_zeros(()))

    def credits(
        self, utilities: Utilities, derivative: str = "exact"
    ) -> Float[Tensor, "... K"]:
        """x_k = sum_e W1[k, e] W2[e] ELU'(z_e), in closed form.

        (Liu et al. 2023, Eq. 2 and footnote 3.)

        Args:
            utilities: where to differentiate.
            derivative: for z < 0, "exact" takes ELU'(z) = exp(z), "published"
                exp(ELU(z)), as the CIA and GRE code does; it never falls below 1/e, so
                published credits are never smaller than the exact ones.
        """
        z = self.z(utilities)
        exponent = F.elu(z) if derivative == "published" else z
        # 1 for z >= 0; hardtanh, since clamp takes four times as long
        slope = F.hardtanh(exponent, -float("inf"), 0).exp()
        return (self.w1 * (slope * self.w2).unsqueeze(-2)).sum(-1)

    def z(self, utilities: Utilities) -> Float[Tensor, "... E"]:
        """W1 q + b1."""
        return (utilities.chosen.unsqueeze(-1) * self.w1).sum(-2) + self.b1
