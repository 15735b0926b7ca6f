"""Twenty updates captured on a GPU, beside the same ones on the CPU.

    python -m support.captured METHOD

A process of its own: a capture that fails leaves the CUDA of its process unusable, and
what is captured after it fails, too, whether it should or not.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import torch
from torch import Tensor
from torch.testing import assert_close

from ciacore import METHODS
from ciacore.config import Config
from ciacore.learning.learner import Learner
from ciacore.runtime.cuda_graphs import WARM_UP, CapturedGraph
from ciacore.types import Episodes
from support.toys import SPEC, learner, random_episodes

SIZES = {
    "hidden_size": 8,
    "mixing_size": 4,
    "hypernetwork_size": 8,
    "central_size": 8,
}
# What is captured never ends early: nothing may depend on how long an episode was.
FULL_LENGTH = SPEC._replace(ends_early=False)
# Enough for one block of EOI's rows, of 2 agents at 7 steps of each episode.
BATCH = 19
# Learning is chaotic: what two orders of summation differ by grows with every update.
UPDATES = 20
WITHIN = {"rtol": 1e-3, "atol": 1e-4}


def drawn(
    *shape: int, generator: object = None, device: torch.device | str = "cpu"
) -> Tensor:
    """The same numbers on every device, instead of `torch.rand`.

    Args:
        shape: Of what is drawn.
        generator: Not asked.
        device: Where the numbers lie.
    """
    if isinstance(shape[0], tuple):
        (shape,) = shape
    flat = torch.arange(math.prod(shape), device=device)
    return (1e4 * torch.sin(flat + 1.0)).frac().abs().view(shape)


def config_of(method: str) -> Config:
    """A small one of a published method."""
    return METHODS[method].but(**SIZES)


def learner_of(method: str, device: torch.device | str = "cpu") -> Learner:
    """A small learner of a published method.

    Args:
        method: Its name.
        device: Where it lies.
    """
    return learner(config_of(method), FULL_LENGTH, device=device)


def batches_of(method: str) -> list[Episodes]:
    """A batch for each update."""
    latents = config_of(method).latent_size
    return [
        random_episodes([8] * BATCH, FULL_LENGTH, seed=seed, latents=latents)
        for seed in range(UPDATES)
    ]


def within(method: str) -> dict[str, float]:
    """How far two devices may be apart.

    CW-QMIX weighs a step by whether one number exceeds another. Where both are as good
    as equal, rounding decides; then a weight may be off by RMSprop's longest step.

    Args:
        method: Its name.
    """
    if method != "cw_qmix":
        return WITHIN
    config = config_of(method)
    longest = config.learning_rate / math.sqrt(1 - config.rmsprop_smoothing)
    return {**WITHIN, "atol": longest}


def assert_alike(method: str, plain: Learner, other: Learner) -> None:
    """Compares all that was learned.

    Args:
        method: Its name.
        plain: The one on the CPU.
        other: The one that must have learned the same.
    """
    pairs = [(plain.online, other.online), (plain.auxiliaries, other.auxiliaries)]
    for ours, theirs in pairs:
        found = theirs.state_dict()
        for name, value in ours.state_dict().items():
            assert_close(
                found[name].cpu(),
                value,
                **within(method),
                msg=lambda text, name=name: f"{name}: {text}",
            )


def capture(update: Callable[[], None]) -> Callable[[], None]:
    """What launches an update that was captured.

    Args:
        update: What is captured.
    """
    return CapturedGraph(update, []).launch


def compare(
    method: str,
    device: torch.device,
    capture: Callable[[Callable[[], None]], Callable[[], None]] = capture,
) -> dict[str, Tensor]:
    """Makes the updates on both devices, and compares what was learned.

    Args:
        method: Its name.
        device: Of the updates that are captured after a warm-up.
        capture: What captures them.

    Returns:
        The losses of the last update on the CPU.

    Raises:
        AssertionError: The networks differ.
    """
    plain, captured = learner_of(method), learner_of(method, device)
    batches = batches_of(method)
    shown = Episodes(*(field.to(device, copy=True) for field in batches[0]))

    def update() -> None:
        captured.update(shown)

    work = update
    for index, batch in enumerate(batches):
        for place, field in zip(shown, batch, strict=True):
            place.copy_(field)
        losses = plain.update(batch)
        if index == WARM_UP["iteration"]:
            work = capture(update)
        work()
    assert_alike(method, plain, captured)
    return losses


if __name__ == "__main__":
    torch.rand = drawn
    compare(sys.argv[1], torch.device("cuda"))
