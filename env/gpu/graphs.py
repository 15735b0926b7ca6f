"""How fast a GPU launches what was captured: these numbers decide the design.

    python env/gpu/graphs.py [--stand-in]

Prints JSON: microseconds per node of a graph, nodes per microsecond over parallel
branches, and what recurrences cost, by cuDNN and for many seeds at once.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import stand_in
import torch
from torch import nn

from ciacore.runtime import cuda_graphs

ROWS, HIDDEN = 64, 64  # of a recurrence: Turn's, a batch of two agents
BRANCHES = (1, 2, 4, 8, 16, 32, 64)


class Sizes(NamedTuple):
    """How much is measured."""

    nodes: int = 2000  # of a chain
    steps: int = 101  # of a recurrence
    rounds: int = 10  # that are timed


TINY = Sizes(nodes=20, steps=3, rounds=1)  # of a dry run


def launched(branches: int, work: Callable[[int], None]) -> Callable[[], None]:
    """What launches parallel branches as one graph.

    Args:
        branches: how many there are.
        work: of a branch, by its number.
    """
    streams = [torch.cuda.Stream() for _ in range(branches)]

    def all_of_them() -> None:
        main = torch.cuda.current_stream()
        for branch, stream in enumerate(streams):
            stream.wait_stream(main)
            with torch.cuda.stream(stream):
                work(branch)
        for stream in streams:
            main.wait_stream(stream)

    all_of_them()  # so that handles are there
    return cuda_graphs.CapturedGraph(all_of_them, []).launch


def timed(work: Callable[[], None], sizes: Sizes) -> dict[str, float]:
    """Milliseconds of a launch: until the GPU is done, and until the host is.

    Args:
        work: what is launched.
        sizes: how often.
    """
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(sizes.rounds):
        work()
    submitted = time.perf_counter()
    torch.cuda.synchronize()
    done = time.perf_counter()
    return {
        "ms": 1e3 * (done - began) / sizes.rounds,
        "host_ms": 1e3 * (submitted - began) / sizes.rounds,
    }


def chains(device: torch.device, sizes: Sizes) -> dict[str, dict[str, float]]:
    """Small operations one after the other, by name.

    Args:
        device: the GPU.
        sizes: of a chain, and how often.
    """
    x = torch.zeros(2, HIDDEN, device=device)
    w = torch.zeros(HIDDEN, HIDDEN, device=device)
    operations: dict[str, Callable[[], Any]] = {
        "add_": lambda: x.add_(1.0),
        "mm": lambda: torch.mm(x, w),
        "rand": lambda: torch.rand(2, 7, device=device),
    }
    found = {}
    for name, operation in operations.items():

        def chain(_: int, operation: Callable[[], Any] = operation) -> None:
            for _ in range(sizes.nodes):
                operation()

        found[name] = timed(launched(1, chain), sizes)
        found[name]["us_per_node"] = 1e3 * found[name]["ms"] / sizes.nodes
    return found


def parallel(device: torch.device, sizes: Sizes) -> dict[int, dict[str, float]]:
    """Chains side by side, by how many there are.

    Args:
        device: the GPU.
        sizes: of two chains, and how often.
    """
    x = [torch.zeros(2, HIDDEN, device=device) for _ in range(max(BRANCHES))]
    nodes = sizes.nodes // 2

    def chain(branch: int) -> None:
        for _ in range(nodes):
            x[branch].add_(1.0)

    found = {}
    for branches in BRANCHES:
        found[branches] = timed(launched(branches, chain), sizes)
        found[branches]["nodes_per_us"] = branches * nodes / found[branches]["ms"] / 1e3
    return found


def recurrences(device: torch.device, sizes: Sizes) -> dict[str, dict[str, float]]:
    """GRUs forwards and backwards, in both formats, one and several at once.

    Args:
        device: the GPU.
        sizes: of a recurrence, and how often.
    """
    found = {}
    inputs = torch.randn(sizes.steps, ROWS, HIDDEN, device=device)
    for precision in ("tf32", "ieee"):
        torch.backends.cudnn.rnn.fp32_precision = precision
        for branches in (1, 4, 16):
            grus = [nn.GRU(HIDDEN, HIDDEN).to(device) for _ in range(branches)]

            def both(branch: int, grus: list[nn.GRU] = grus) -> None:
                gru = grus[branch]
                torch.autograd.grad(gru(inputs)[0].sum(), list(gru.parameters()))

            launch = launched(branches, both)
            found[f"{precision}, {branches} at once"] = timed(launch, sizes)
    return found


def stacked(device: torch.device, sizes: Sizes) -> dict[int, dict[str, float]]:
    """A recurrence of many seeds as one: a product and a cell for all of them per step.

    Args:
        device: the GPU.
        sizes: of a recurrence, and how often.

    Returns:
        By the number of seeds, forwards alone.
    """
    found = {}
    for seeds in (5, 16, 70):
        u = torch.randn(seeds, HIDDEN, 3 * HIDDEN, device=device) / 8
        b = torch.zeros(seeds, ROWS, 3 * HIDDEN, device=device)
        from_x = torch.randn(sizes.steps, seeds * ROWS, 3 * HIDDEN, device=device)

        def forwards(
            _: int,
            u: torch.Tensor = u,
            b: torch.Tensor = b,
            from_x: torch.Tensor = from_x,
        ) -> None:
            h = torch.zeros(len(u), ROWS, HIDDEN, device=device)
            for of_step in from_x:
                from_h = torch.baddbmm(b, h, u).flatten(0, 1)
                h = cell(of_step, from_h, h.flatten(0, 1)).view_as(h)

        with torch.no_grad():
            found[seeds] = timed(launched(1, forwards), sizes)
    return found


def cell(from_x: torch.Tensor, from_h: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    """h' of a GRU in one launch on CUDA.

    Args:
        from_x: [R, 3 H] the products with x.
        from_h: [R, 3 H] those with h.
        h: [R, H] the state before.
    """
    if h.is_cuda:
        return torch.ops.aten._thnn_fused_gru_cell(from_x, from_h, h)[0]
    r_x, z_x, n_x = from_x.chunk(3, 1)
    r_h, z_h, n_h = from_h.chunk(3, 1)
    z = (z_x + z_h).sigmoid()
    n = (n_x + (r_x + r_h).sigmoid() * n_h).tanh()
    return n + z * (h - n)


def main() -> None:
    """Prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stand-in", action="store_true")
    options = parser.parse_args()
    device = stand_in.device(options.stand_in)
    sizes = TINY if options.stand_in else Sizes()
    found = {
        "connections": os.environ.get("CUDA_DEVICE_MAX_CONNECTIONS"),
        "cudnn": torch.backends.cudnn.version(),
        "chains": chains(device, sizes),
        "branches": parallel(device, sizes),
        "recurrences": recurrences(device, sizes),
        "stacked": stacked(device, sizes),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
