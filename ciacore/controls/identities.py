"""CIA without the learning of identities: permuted in every batch, or frozen."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ciacore.cia import CIA, cia_loss, temporal_credits
from ciacore.config import Config
from ciacore.types import Forward, Spec


class PermutedCIA(CIA):
    """L_CL with the identities' rows in an order drawn anew for every batch.

    Whose identity a row is cannot be learned. The order comes from the generator of
    learning, which no part of QMIX or QMIX(CIA) draws from.
    """

    def forward(self, record: Forward) -> Float[Tensor, ""]:
        """L_CL of the record's credits with permuted identities."""
        n_agents, device = len(self.identities), self.identities.device
        keys = torch.rand(n_agents, generator=record.rng, device=device)
        permuted = self.identities[keys.argsort()]
        return cia_loss(temporal_credits(record, self.config), permuted)


class FrozenCIA(CIA):
    """L_CL with the identities left as they were drawn."""

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__(spec, config)
        self.identities.requires_grad_(False)
