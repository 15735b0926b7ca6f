"""Random numbers of a whole episode, drawn before its first step.

On a GPU every draw is a launch. Where the length of an episode is known, what a policy
and a game ask for at every step is drawn for all steps at once, and handed out. On a
CPU each step draws its own, in the order that published runs had. Stacked seeds draw
each from its own generator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ciacore.fast.arrays import integers, noise_of_explorers, uniform
from ciacore.fast.stacked_layers import Draw
from ciacore.types import Dice, Generator, Spec


def on_gpu(rng: Any) -> bool:
    """Whether a generator draws on a GPU."""
    return not hasattr(rng, "bit_generator") and rng.device.type == "cuda"


def drawn_ahead(rng: Generator, spec: Spec) -> Generator:
    """The generator of an episode: on a GPU one that draws ahead, where it can be.

    Args:
        rng: of torch or numpy.
        spec: of the game; its episodes must not end early.
    """
    if spec.ends_early or not on_gpu(rng):
        return rng
    return DrawnAhead(rng, spec.horizon + 1)  # a game draws once more, for its start


class DrawnAhead(Dice):
    """Draws for all steps at once whatever is asked for, and hands it out in order."""

    def __init__(self, rng: Generator, steps: int) -> None:
        """Nothing is drawn yet.

        Args:
            rng: that draws.
            steps: how often the same will be asked for; after that it is drawn anew.
        """
        self.rng, self.steps, self.device = rng, steps, rng.device
        self.left: dict[Any, list[Any]] = {}  # what was asked for -> not handed out

    def integers(self, high: int, shape: tuple[int, ...]) -> Tensor:
        """Uniform int64 from 0 to `high` - 1.

        Args:
            high: one more than the largest.
            shape: of what is drawn.
        """
        ahead = (self.steps, *shape)
        return self.next((high, shape), lambda: integers(self.rng, high, ahead))

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Uniform float32 in [0, 1).

        Args:
            shape: of what is drawn.
        """
        ahead = (self.steps, *shape)
        return self.next((1.0, shape), lambda: uniform(self.rng, ahead))

    def noise_of_explorers(
        self, shape: tuple[int, ...], epsilon: float | Tensor
    ) -> tuple[Tensor, Tensor]:
        """Uniform noise, and who explores; both of all steps at once.

        Args:
            shape: of the noise; its last axis has one number per action.
            epsilon: the chance to explore, the same along an episode.
        """

        def draw() -> tuple[Tensor, Tensor]:
            return noise_of_explorers(self.rng, (self.steps, *shape), epsilon)

        # A tensor is told from others by identity, and is kept here: none takes its
        # place while what was drawn for it is left.
        return self.next(("explorers", shape, epsilon), draw)

    def next(self, asked: Any, draw: Callable[[], Any]) -> Any:
        """The next of what was drawn ahead.

        Args:
            asked: what is asked for.
            draw: draws it for all steps, [steps, ...]; or several tensors of it.
        """
        if not self.left.get(asked):
            drawn = draw()
            if isinstance(drawn, Tensor):
                of_steps = drawn.unbind(0)
            else:
                of_steps = zip(*(each.unbind(0) for each in drawn), strict=True)
            self.left[asked] = list(of_steps)[::-1]
        return self.left[asked].pop()

    @cached_property
    def lowest(self) -> Tensor:
        """Minus infinity."""
        return torch.full((), -float("inf"), device=self.device)


class DiceOfSeeds(Dice):
    """The generators of stacked seeds: inside `vmap` each seed draws from its own."""

    def __init__(self, rngs: Sequence[torch.Generator], seed: Tensor) -> None:
        """Nothing is drawn yet.

        Args:
            rngs: one of each seed, on one device.
            seed: which seed it is; a single number inside `vmap`, where it stands for
                all seeds. By it `vmap` knows that draws differ from seed to seed.
        """
        self.rngs, self.seed, self.device = list(rngs), seed, rngs[0].device

    def integers(self, high: int, shape: tuple[int, ...]) -> Tensor:
        """Uniform int64 from 0 to `high` - 1.

        Args:
            high: one more than the largest.
            shape: of what is drawn.
        """
        return Draw.apply(self.seed, self.rngs, lambda rng: integers(rng, high, shape))

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Uniform float32 in [0, 1).

        Args:
            shape: of what is drawn.
        """
        return Draw.apply(self.seed, self.rngs, lambda rng: uniform(rng, shape))
