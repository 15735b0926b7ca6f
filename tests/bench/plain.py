"""Without what a CPU does to save time: the path that CUDA takes, or every row looked at on its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import ciacore.fast.distinct
from ciacore.learning import agent


@contextmanager
def row_by_row() -> Iterator[None]:
    """Nothing is at hand for the host to look at, as if it lay on a device: torch.nn.GRU, and rows as they are."""
    held = ciacore.fast.distinct.at_hand
    agent.at_hand = ciacore.fast.distinct.at_hand = lambda x: False
    try:
        yield
    finally:
        agent.at_hand = ciacore.fast.distinct.at_hand = held


@contextmanager
def none_repeat() -> Iterator[None]:
    """Every row looked at on its own, on the path of a CPU."""
    held, ciacore.fast.distinct.FEW = ciacore.fast.distinct.FEW, -1.0
    try:
        yield
    finally:
        ciacore.fast.distinct.FEW = held
