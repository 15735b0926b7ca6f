"""What of torch a module sees that captures graphs, where there is no CUDA."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import torch


class Stream:
    """A CUDA stream that does nothing."""

    def __init__(self, device: torch.device) -> None:
        """On a device.

        Args:
            device: That of the trainings.
        """
        self.device = device

    def wait_stream(self, other: Stream) -> None:
        """There is nothing to wait for.

        Args:
            other: Not asked.
        """


def torch_without_cuda() -> SimpleNamespace:
    """torch, but for streams and devices of CUDA, which do nothing."""
    cuda = SimpleNamespace(
        Stream=Stream,
        current_stream=Stream,
        stream=lambda _: nullcontext(),
        device=lambda _: nullcontext(),
    )
    return SimpleNamespace(**{**vars(torch), "cuda": cuda})
