"""`make gpu`: seeds trained together on a GPU, beside one seed on a core of the same machine.

Writes book/results/bench/gpu.json with its provenance. Times are medians of iterations:
an episode of Turn and an update per seed, evaluations left out on both sides.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from bench.measure import RESULTS, keep, milliseconds

from ciacore import METHODS
from ciacore.config import Config
from ciacore.games import Turn
from ciacore.runtime.cuda_graphs import SeedsInOneGraph
from ciacore.runtime.one_core import cores, one_core
from ciacore.runtime.provenance import now, provenance
from ciacore.training import Training

SEEDS = (1, 2, 5, 10, 20)


def row(times: list[float], seeds: int) -> dict[str, float]:
    """Milliseconds per iteration of all seeds, and the environment steps per second of all together."""
    ms = statistics.median(times)
    return {
        "seeds": seeds,
        "ms": round(ms, 2),
        "env_steps_per_s": round(seeds * 1000 * Turn().spec.horizon / ms, 1),
    }


def on_a_core(config: Config, rounds: int) -> dict[str, float]:
    """One seed on one core."""
    training = Training(config, Turn(), 1, torch.device("cpu"))
    while not training.clock.updates:
        training.iterate()
    return row(
        [milliseconds(lambda: training.play_and_update(True)) for _ in range(rounds)], 1
    )


def lockstep(
    config: Config, seeds: int, rounds: int, device: torch.device
) -> dict[str, float]:
    """Seeds on a GPU as branches of one graph, and the most memory that they took there."""
    together = SeedsInOneGraph(
        [
            Training(config, Turn(), seed, device, in_numpy=False)
            for seed in range(1, seeds + 1)
        ]
    )
    torch.cuda.reset_peak_memory_stats()
    while not together.graphs:
        together.iterate()
    works = [
        milliseconds(lambda: together.launch("iteration", learn), device)
        for _ in range(rounds)
    ]
    return row(works, seeds) | {
        "peak_mb": round(torch.cuda.max_memory_allocated() / 1e6, 1)
    }


def learn(training: Training) -> None:
    """What one iteration does on the device."""
    training.play_and_update(True)


def measure(methods: list[str], rounds: int) -> dict[str, Any]:
    """Everything, as one JSON value."""
    began, device, found = now(), torch.device("cuda"), {}
    for method in methods:
        config = METHODS[method]
        with one_core():
            core = on_a_core(config, rounds)
        rows = [lockstep(config, seeds, rounds, device) for seeds in SEEDS]
        found[method] = [
            {**one, "times one core": one["env_steps_per_s"] / core["env_steps_per_s"]}
            for one in rows
        ]
        print(method, core, *found[method], sep="\n  ")
    facts = {
        **provenance(device),
        "started": began,
        "finished": now(),
        "cores": cores(),
        "rounds": rounds,
    }
    return {"gpu": found, "provenance": facts}


def main() -> int:
    """Measures, prints, and writes the file whole or not at all. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--methods", nargs="*", default=["qmix", "qmix_cia"], choices=METHODS
    )
    parser.add_argument(
        "--rounds", type=int, default=60, help="iterations timed per method"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu.json")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error(
            "this machine has no NVIDIA GPU that torch can use; speed on a CPU is `make bench`."
        )
    keep(options.out, measure(options.methods, options.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
