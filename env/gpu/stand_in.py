"""Stands in for CUDA, so that the script can be tried where there is none.

A graph is then the function that it was made from, and all is computed on the CPU: what
is measured says nothing, but that the script comes to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch

from ciacore.runtime import cuda_graphs


class Stream:
    """A stream that does nothing."""

    def __init__(self, device: torch.device | None = None) -> None:
        """On a device.

        Args:
            device: it plays no part.
        """

    def wait_stream(self, other: Stream) -> None:
        """There is nothing to wait for."""


class Again:
    """A graph that computes its function anew."""

    def __init__(
        self, work: Callable[[], None], rngs: Sequence[torch.Generator]
    ) -> None:
        """Nothing is computed yet.

        Args:
            work: what is "captured".
            rngs: not asked.
        """
        self.work = work

    def launch(self) -> None:
        """Computes it."""
        self.work()


def use() -> torch.device:
    """Replaces what the script asks of CUDA, in this process.

    Returns:
        The device to compute on.
    """
    torch.cuda.Stream = Stream
    torch.cuda.current_stream = Stream
    torch.cuda.stream = torch.cuda.device = lambda _: nullcontext()
    torch.cuda.synchronize = lambda device=None: None
    torch.cuda.max_memory_allocated = lambda device=None: 0
    cuda_graphs.CapturedGraph = Again
    return torch.device("cpu")


def device(stand_in: bool) -> torch.device:
    """The GPU, or what stands in for it.

    Args:
        stand_in: whether there is none.
    """
    return use() if stand_in else torch.device("cuda")
