"""The path that CUDA takes, on a CPU: torch.nn.GRU, and every row looked at on its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import ciacore.distinct
from ciacore import agent


@contextmanager
def row_by_row() -> Iterator[None]:
    """Nothing is at hand for the host to look at, as if it lay on a device."""
    modules = agent, ciacore.distinct
    held = [module.at_hand for module in modules]
    for module in modules:
        module.at_hand = lambda x: False
    try:
        yield
    finally:
        for module, function in zip(modules, held, strict=True):
            module.at_hand = function
