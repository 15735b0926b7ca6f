"""One thread for torch, and memory that is kept for reuse."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h>


@contextmanager
def one_core() -> Iterator[None]:
    """One thread, so that a result does not depend on what else runs.

    Freed memory is kept: an update asks for it in large pieces, which glibc would give
    back and fetch again each time, page by page.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    if sys.platform == "linux":
        # glibc has it, musl does not
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, 1 << 30)
            mallopt(M_TRIM_THRESHOLD, 1 << 30)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
