"""`make gpu`: seeds trained together on a GPU, beside one seed on a core.

Both are measured on the same machine. Writes book/results/bench/gpu.json with its
provenance. Times are medians of iterations: an episode of Turn and an update per seed,
evaluations left out on both sides.
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
from ciacore.runtime.cuda_graphs import SeedsInOneGraph, play_and_learn
from ciacore.runtime.one_core import cores, one_core
from ciacore.runtime.provenance import now, provenance
from ciacore.training import Training

SEEDS = (1, 2, 5, 10, 20)


def row(times: list[float], seeds: int) -> dict[str, float]:
    """The median time of an iteration, and the rate of all seeds together.

    Args:
        times: Milliseconds that an iteration of all seeds took.
        seeds: How many there are.
    """
    ms = statistics.median(times)
    env_steps = seeds * Turn().spec.horizon
    return {
        "seeds": seeds,
        "ms": round(ms, 2),
        "env_steps_per_s": round(1000 * env_steps / ms, 1),
    }


def on_a_core(config: Config, rounds: int) -> dict[str, float]:
    """One seed on one core.

    Args:
        config: What is trained.
        rounds: How many iterations are timed.
    """
    training = Training(config, Turn(), 1, torch.device("cpu"))
    while not training.clock.updates:
        training.iterate()
    times = []
    for _ in range(rounds):
        times.append(milliseconds(lambda: play_and_learn(training)))
    return row(times, 1)


def lockstep(
    config: Config, seeds: int, rounds: int, device: torch.device
) -> dict[str, float]:
    """Seeds on a GPU in one graph, and the most memory that they took.

    Args:
        config: What is trained.
        seeds: How many there are.
        rounds: How many iterations are timed.
        device: The GPU.
    """
    trainings = []
    for seed in range(1, seeds + 1):
        trainings.append(Training(config, Turn(), seed, device, in_numpy=False))
    together = SeedsInOneGraph(trainings)
    torch.cuda.reset_peak_memory_stats()
    while "iteration" not in together.graphs:
        together.iterate()
    whole, times = ("iteration", play_and_learn), []
    for _ in range(rounds):
        times.append(milliseconds(lambda: together.launch(*whole), device))
    found = row(times, seeds)
    found["peak_mb"] = round(torch.cuda.max_memory_allocated() / 1e6, 1)
    return found


def measure(methods: list[str], rounds: int) -> dict[str, Any]:
    """Everything, as one JSON value.

    Args:
        methods: The names of those that are measured.
        rounds: How many iterations are timed.
    """
    began = now()
    device = torch.device("cuda")
    found = {}
    for method in methods:
        config = METHODS[method]
        with one_core():
            core = on_a_core(config, rounds)
        rows = []
        for seeds in SEEDS:
            one = lockstep(config, seeds, rounds, device)
            rate = one["env_steps_per_s"] / core["env_steps_per_s"]
            rows.append({**one, "times one core": rate})
        found[method] = rows
        print(method, core, *rows, sep="\n  ")
    facts = {
        **provenance(device),
        "started": began,
        "finished": now(),
        "cores": cores(),
        "rounds": rounds,
    }
    return {"gpu": found, "provenance": facts}


def main() -> int:
    """Measures, prints, and writes the file whole or not at all.

    Returns:
        The exit code.
    """
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
        reason = "this machine has no NVIDIA GPU that torch can use"
        parser.error(f"{reason}; speed on a CPU is `make bench`.")
    keep(options.out, measure(options.methods, options.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
