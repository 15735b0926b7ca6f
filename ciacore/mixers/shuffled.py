"""A mixer with a permuted input, which cannot know whose utility it is given (Liu et al. 2023, QMIX(RS))."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.types import Mixed, Spec, Utilities


class Shuffled(nn.Module):
    """Q_tot = f(P q; s): utilities reach the mixer f in another order; state and agents stay as they are.

    `order` is P: the identity unless someone writes to it (`ciacore.baselines.qmix_rs`,
    while learning); never stored.
    """

    def __init__(self, mixer: Any, spec: Spec, config: Config) -> None:
        super().__init__()
        self.mixer = mixer(spec, config)
        self.register_buffer("order", torch.arange(spec.n_agents), persistent=False)

    def forward(self, utilities: Utilities, state: Float[Tensor, "... S"]) -> Mixed:
        chosen, greedy = (
            utilities.chosen[..., self.order],
            utilities.greedy[..., self.order],
        )
        return self.mixer(
            Utilities(chosen, greedy, utilities.actions[..., self.order, :]), state
        )
