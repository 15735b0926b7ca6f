"""QMIX(RS): the mixer's input is shuffled while it learns (Liu et al. 2023, Fig. 2).

Such a mixer cannot know whose utility it is given.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.fast.arrays import uniform
from ciacore.learning.auxiliary import Auxiliary
from ciacore.types import Generator, Mixed, Spec, Utilities, refuse


class Shuffled(nn.Module):
    """Q_tot = f(P q; s): utilities reach the mixer f in another order.

    State and agents stay as they are. `order` is P: the identity unless `Shuffle`
    writes to it, while learning; it is never stored.
    """

    def __init__(self, mixer: Any, spec: Spec, config: Config) -> None:
        """Makes the mixer.

        Args:
            mixer: (spec, config) -> the mixer f.
            spec: the sizes of the game.
            config: of the method.
        """
        super().__init__()
        self.mixer = mixer(spec, config)
        order = torch.arange(spec.n_agents)
        self.register_buffer("order", order, persistent=False)

    def forward(self, utilities: Utilities, state: Float[Tensor, "... S"]) -> Mixed:
        """Q_tot of the utilities at a state.

        Args:
            utilities: of the agents, [..., K].
            state: [..., S].
        """
        shuffled = Utilities(
            chosen=utilities.chosen[..., self.order],
            greedy=utilities.greedy[..., self.order],
            actions=utilities.actions[..., self.order, :],
        )
        return self.mixer(shuffled, state)


class Shuffle(Auxiliary):
    """Draws one order of the agents per update, for online and target mixer alike."""

    stackable = True

    def __init__(self, spec: Spec, config: Config) -> None:
        """Checks that there is an order to draw.

        Args:
            spec: the sizes of the game.
            config: of the method.

        Raises:
            InvalidInputError: the mixer's input has a fixed order.
        """
        super().__init__()
        if not config.mixer.startswith("shuffled_"):
            cure = 'Set mixer="shuffled_qmix".'
            refuse("mixer", "one that can be shuffled", config.mixer, cure)

    def before_update(
        self, mixer: nn.Module, target_mixer: nn.Module, rng: Generator | None
    ) -> None:
        """Draws a new order.

        Args:
            mixer: the online mixer, `Shuffled`.
            target_mixer: its target copy.
            rng: draws one key per agent; the order is that of the keys.
        """
        shape, device = tuple(mixer.order.shape), mixer.order.device
        keys = torch.rand(shape, device=device) if rng is None else uniform(rng, shape)
        mixer.order.copy_(keys.argsort())
        target_mixer.order.copy_(mixer.order)
