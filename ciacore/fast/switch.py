"""Which ways are taken: with CIACORE_FAST=0 plain ones; others for stacked seeds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

STACKED: ContextVar[bool] = ContextVar("stacked", default=False)


def on() -> bool:
    """Whether the fast ways are taken, as by default."""
    return os.environ.get("CIACORE_FAST", "1") != "0"


def stacked() -> bool:
    """Whether tensors stand for those of several seeds, under `torch.func.vmap`."""
    return STACKED.get()


@contextmanager
def seeds_stacked() -> Iterator[None]:
    """Says so for as long as it lasts."""
    token = STACKED.set(True)
    try:
        yield
    finally:
        STACKED.reset(token)
