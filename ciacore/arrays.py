"""The words numpy and torch share, so that rules are written once and run in either.

A few games on a CPU are played in numpy, where a small operation costs a quarter of torch's; many games, or games on a
GPU, in torch. The generator that is passed in decides: a numpy generator gives numpy arrays, a torch one tensors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

Array = Tensor | np.ndarray
Generator = torch.Generator | np.random.Generator


def library(array: Array) -> Any:
    """torch or numpy: `library(x).where`, `.stack`, `.concatenate`, `.zeros_like` mean the same in both."""
    return torch if isinstance(array, Tensor) else np


def integers(rng: Generator, high: int, shape: tuple[int, ...]) -> Array:
    """Uniform int64 from 0 to `high` - 1."""
    if isinstance(rng, torch.Generator):
        return torch.randint(high, shape, generator=rng, device=rng.device)
    return (high * rng.random(shape)).astype(np.int64)  # half the time of rng.integers


def uniform(rng: Generator, shape: tuple[int, ...]) -> Array:
    """Uniform float32 in [0, 1)."""
    if isinstance(rng, torch.Generator):
        return torch.rand(shape, generator=rng, device=rng.device)
    return rng.random(shape, dtype=np.float32)


def tensor(array: Array) -> Tensor:
    """A tensor; of a numpy array without a copy."""
    return array if isinstance(array, Tensor) else torch.from_numpy(array)
