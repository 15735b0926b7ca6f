"""Rows that repeat: a network need see each of them only once.

On a CPU the layers that look at single steps (the agents' first, those that write a
mixer's weights) see them alone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

FEW = 0.5  # the share of different rows up to which it pays to look them up


class Distinct(NamedTuple):
    """A tensor and its different rows: x = rows[index]."""

    rows: Tensor  # [D, F]
    index: Int[Tensor, "..."]

    def spread(self, values: Shaped[Tensor, "D V"]) -> Shaped[Tensor, "... V"]:
        """values[index]: what was computed of the different rows, in the places of x."""
        if len(values) < self.index.numel():
            values = values.index_select(0, self.index.flatten())
        return values.view(*self.index.shape, -1)


def at_hand(x: Tensor) -> bool:
    """Whether the host can look at numbers without waiting for a device."""
    return x.device.type == "cpu"


def distinct(x: Tensor) -> Distinct:
    """The different rows of x [..., F], where they are few and at hand; otherwise every row on its own.

    Rows are told apart by two numbers, and compared to make sure.
    """
    rows = x.reshape(-1, x.shape[-1])
    if len(rows) and at_hand(x):
        seen, numbers = (
            rows.detach().numpy(),
            (rows.detach().float() @ multipliers(x.shape[-1])).numpy(),
        )
        values, index = np.unique(numbers.view(np.int64).ravel(), return_inverse=True)
        one = np.empty(len(values), np.int64)
        one[index] = np.arange(len(rows))  # a place of each
        if len(values) <= FEW * len(rows) and (seen[one].take(index, 0) == seen).all():
            return Distinct(
                rows.index_select(0, torch.from_numpy(one)),
                torch.from_numpy(index).view(x.shape[:-1]),
            )
    return Distinct(rows, torch.arange(len(rows), device=x.device).view(x.shape[:-1]))


@lru_cache
def multipliers(size: int) -> Float[Tensor, "F 2"]:
    """Numbers between 0 and 1, such that hardly two sums of a few of them are alike."""
    return (
        (torch.arange(1, 2 * size + 1).double().sqrt() * 1.618033988749895)
        .frac()
        .float()
        .view(size, 2)
    )
