"""Without what a CPU does to save time: as CUDA does it, or every row on its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ciacore.fast import distinct
from ciacore.learning import agent


@contextmanager
def row_by_row() -> Iterator[None]:
    """As if nothing lay where the host can look at it, but on a device.

    The agent then runs torch.nn.GRU, and rows stay as they are.
    """
    held = distinct.at_hand
    for module in (agent, distinct):
        module.at_hand = lambda x: False
    try:
        yield
    finally:
        for module in (agent, distinct):
            module.at_hand = held


@contextmanager
def none_repeat() -> Iterator[None]:
    """Every row looked at on its own, on the path of a CPU."""
    held = distinct.FEW
    distinct.FEW = -1.0
    try:
        yield
    finally:
        distinct.FEW = held
