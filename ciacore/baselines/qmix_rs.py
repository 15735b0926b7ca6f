"""QMIX(RS): shuffling the mixer's input while it learns (Liu et al. 2023, Fig. 2)."""

from __future__ import annotations

import torch
from torch import nn

from ciacore.config import Config
from ciacore.learning.auxiliary import Auxiliary
from ciacore.types import Spec, refuse


class Shuffle(Auxiliary):
    """Draws one order of the agents per gradient step, the same for online and target mixer."""

    def __init__(self, spec: Spec, config: Config) -> None:
        """
        Raises:
            InvalidInputError: the mixer's input has a fixed order.
        """
        super().__init__()
        if not config.mixer.startswith("shuffled_"):
            refuse(
                "mixer",
                "one that can be shuffled",
                config.mixer,
                'Set mixer="shuffled_qmix".',
            )

    def begin(
        self, mixer: nn.Module, target_mixer: nn.Module, rng: torch.Generator | None
    ) -> None:
        """A new order."""
        keys = torch.rand(mixer.order.shape, generator=rng, device=mixer.order.device)
        mixer.order.copy_(keys.argsort())
        target_mixer.order.copy_(mixer.order)
