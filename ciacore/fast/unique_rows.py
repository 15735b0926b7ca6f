"""Rows that repeat: a network need see each of them only once.

On a CPU the layers that look at single steps (the agents' first, those that write a
mixer's weights) see different rows alone. Elsewhere, and where few rows repeat, every
row is its own. Rows of whole numbers repeat (Turn's cells and flags); rows of measured
quantities hardly ever do (a battle's distances), and are not searched.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from ciacore.fast import switch

FEW = 0.5  # the share of different rows up to which it pays to look them up
SAMPLE = 64  # rows that say whether a tensor holds whole numbers


class UniqueRows(NamedTuple):
    """A tensor x [..., F] and its different rows: x = rows[index]."""

    rows: Tensor  # [D, F]
    index: Int[Tensor, "..."]

    def gather(self, values: Shaped[Tensor, "D ..."]) -> Shaped[Tensor, "..."]:
        """What was computed of the different rows, in the places of x."""
        if len(values) < self.index.numel():
            values = values.index_select(0, self.index.flatten())
        return values.view(self.index.shape + values.shape[1:])


def on_cpu(x: Tensor) -> bool:
    """Whether the host can look at numbers, and without waiting for a device."""
    return x.device.type == "cpu" and not switch.stacked()


def each_row_once(
    function: Callable[[Tensor], tuple[Tensor, ...]], x: Shaped[Tensor, "... F"]
) -> tuple[Tensor, ...]:
    """function(x), computed once for each different row of x.

    Args:
        function: maps rows [D, F] to tensors [D, ...], each row on its own.
        x: [..., F].

    Returns:
        The tensors [..., ...] that function(x) would give; with leading axes of length
        one where x is a single row that was expanded.
    """
    if is_one_row(x):
        one = x[(slice(1),) * (x.dim() - 1)]
        return function(one)
    if not switch.on():
        return function(x)
    once = unique_rows(x)
    return tuple(once.gather(values) for values in function(once.rows))


def unique_rows(x: Shaped[Tensor, "... F"]) -> UniqueRows:
    """The different rows of x, where they are few and on a CPU; otherwise every row.

    Rows are told apart by two sums of their entries, and compared to make sure.
    """
    rows = x.reshape(-1, x.shape[-1])
    if len(rows) and on_cpu(x) and switch.on() and may_repeat(rows):
        entries = rows.detach().numpy()
        factors = torch.from_numpy(multipliers(x.shape[-1]))
        sums = (rows.detach().float() @ factors).numpy()
        keys = sums.view(np.int64).ravel()  # both sums of a row as one number
        different, index = np.unique(keys, return_inverse=True)
        place = np.empty(len(different), np.int64)
        place[index] = np.arange(len(rows))  # where each different row stands
        if len(different) <= FEW * len(rows):
            same = entries[place].take(index, 0) == entries
            if same.all():
                first = rows.index_select(0, torch.from_numpy(place))
                return UniqueRows(first, torch.from_numpy(index).view(x.shape[:-1]))
    every = torch.arange(len(rows), device=x.device).view(x.shape[:-1])
    return UniqueRows(rows, every)


def is_one_row(x: Shaped[Tensor, "... F"]) -> bool:
    """Whether a tensor is a single row that was expanded."""
    return x.numel() > x.shape[-1] and not any(x.stride()[:-1])


def may_repeat(rows: Shaped[Tensor, "D F"]) -> bool:
    """Whether rows are worth searching: their first ones hold whole numbers alone."""
    if not rows.is_floating_point():
        return True
    sample = rows[:SAMPLE].detach()
    return bool((sample == sample.round()).all())


@lru_cache
def multipliers(size: int) -> Float[np.ndarray, "F 2"]:
    """Numbers between 0 and 1, such that hardly two sums of a few of them are alike."""
    multiples = np.sqrt(np.arange(1.0, 2 * size + 1)) * 1.618033988749895
    return np.modf(multiples)[0].astype(np.float32).reshape(size, 2)
