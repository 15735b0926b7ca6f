"""Without what a CPU does to save time: CUDA's path, or every row looked at on its
own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ciacore.fast import gru, unique_rows


@contextmanager
def row_by_row() -> Iterator[None]:
    """Nothing lies on the CPU, it seems: torch.nn.GRU, and rows as they are."""
    held = unique_rows.on_cpu

    def never(x: object) -> bool:
        return False

    gru.on_cpu = unique_rows.on_cpu = never
    try:
        yield
    finally:
        gru.on_cpu = unique_rows.on_cpu = held


@contextmanager
def none_repeat() -> Iterator[None]:
    """Every row is looked at on its own, on the path of a CPU."""
    held = unique_rows.FEW
    unique_rows.FEW = -1.0
    try:
        yield
    finally:
        unique_rows.FEW = held
