"""The words numpy and torch share, so that rules are written once and run in either.

A few games on a CPU are played in numpy, where a small operation costs a quarter of
torch's; many games, or games on a GPU, in torch. The generator that is passed in
decides: a numpy generator gives numpy arrays, a torch one tensors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ciacore.types import Array, Dice, Generator


def library(array: Array) -> Any:
    """torch or numpy, whichever made the array.

    `library(x).where`, `.stack`, `.concatenate`, `.zeros_like` mean the same in both.
    """
    return np if isinstance(array, np.ndarray) else torch


def integers(rng: Generator, high: int, shape: tuple[int, ...]) -> Array:
    """Uniform int64 from 0 to `high` - 1.

    Args:
        rng: of torch or numpy.
        high: one more than the largest.
        shape: of what is drawn.
    """
    if isinstance(rng, Dice):
        return rng.integers(high, shape)
    if isinstance(rng, np.random.Generator):
        # half the time of rng.integers
        return (high * rng.random(shape)).astype(np.int64)
    return torch.randint(high, shape, generator=rng, device=rng.device)


def uniform(rng: Generator, shape: tuple[int, ...]) -> Array:
    """Uniform float32 in [0, 1).

    Args:
        rng: of torch or numpy.
        shape: of what is drawn.
    """
    if isinstance(rng, Dice):
        return rng.uniform(shape)
    if isinstance(rng, np.random.Generator):
        return rng.random(shape, dtype=np.float32)
    return torch.rand(shape, generator=rng, device=rng.device)


def noise_of_explorers(
    rng: Generator, shape: tuple[int, ...], epsilon: float | Tensor
) -> tuple[Array, Array]:
    """Uniform noise, and who explores: one more number each, below epsilon.

    Args:
        rng: of torch or numpy.
        shape: of the noise; its last axis has one number per action.
        epsilon: the chance to explore.

    Returns:
        The noise, and booleans of the same shape but for a last axis of 1.
    """
    if isinstance(rng, Dice):
        return rng.noise_of_explorers(shape, epsilon)
    *rows, n_actions = shape
    drawn = uniform(rng, (*rows, n_actions + 1))
    return drawn[..., :-1], drawn[..., -1:] < epsilon


def lowest(rng: Generator) -> float | Tensor:
    """Minus infinity; a tensor where a number would be sent to the device each time.

    Args:
        rng: of torch or numpy; nothing is drawn.
    """
    return getattr(rng, "lowest", -float("inf"))


def zeros(rng: Generator, shape: tuple[int, ...]) -> Array:
    """Zeros of int64, in the library and on the device of a generator.

    Args:
        rng: of torch or numpy; nothing is drawn.
        shape: of what is made.
    """
    if isinstance(rng, np.random.Generator):
        return np.zeros(shape, np.int64)
    return torch.zeros(shape, dtype=torch.int64, device=rng.device)


def tensor(array: Array) -> Tensor:
    """A tensor; of a numpy array without a copy."""
    return torch.from_numpy(array) if isinstance(array, np.ndarray) else array
