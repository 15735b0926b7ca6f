"""What can be known of a GPU without one: launches, arithmetic and memory, counted.

    python -m bench.gpu_predicted

Writes book/results/bench/gpu_predicted.json with its provenance. Launches are counted
on an imaginary GPU (`support.imaginary_gpu`), arithmetic and traffic from the sizes
(`bench.counted`), memory as the bytes that one seed keeps between iterations. No time
is predicted: how long a launch takes is for a GPU to say.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from bench import counted
from bench.measure import RESULTS, keep
from support.imaginary_gpu import build, on_imaginary_gpu

from ciacore import METHODS
from ciacore.games import Turn
from ciacore.runtime.provenance import now, provenance
from ciacore.runtime.snapshot import tensors_of
from ciacore.runtime.stacked_seeds import not_stackable
from ciacore.training import Training

HORIZON = Turn().spec.horizon
SHORT = (3, 4)  # steps of two short episodes, which tell of a whole one
MANY = (16, 32, 70)  # seeds of QMIX(CIA), besides five of every method
SEEDS = 5  # of every method, where all are in one graph


def variants(stackable: list[str]) -> dict[tuple[str, int], list[str]]:
    """What is counted, by method and number of seeds.

    Of methods whose seeds are stacked every step adds as many launches as the one
    before. The others learn from blocks of steps; they are counted along whole
    episodes.

    Args:
        stackable: The methods whose seeds are stacked.
    """
    found = {(method, 1): [f"{method}:{HORIZON}"] for method in METHODS}
    several = [(method, seeds) for method in stackable for seeds in (1, 5)]
    for method, seeds in several + [("qmix_cia", seeds) for seeds in MANY]:
        found[method, seeds] = [f"{method}*{seeds}:{steps}" for steps in SHORT]
    return found


def whole_episode(counts: list[int]) -> int:
    """The launches along a whole episode.

    Args:
        counts: Of a whole episode; or of two short ones, a step apart.
    """
    if len(counts) == 1:
        return counts[0]
    first, second = counts
    return first + (HORIZON - SHORT[0]) * (second - first)


def launches(library: Path, stackable: list[str]) -> dict[str, dict[int, Any]]:
    """Launches of play, of an iteration and of an evaluation, by method and seeds.

    Args:
        library: The stand-in for a driver.
        stackable: The methods whose seeds are stacked.

    Raises:
        RuntimeError: An iteration failed on the imaginary GPU.
    """
    wanted = variants(stackable)
    listed = [variant for names in wanted.values() for variant in names]
    reports = {
        report["variant"]: report
        for report in on_imaginary_gpu(library, "iterations", *listed)
    }
    failed = [report for report in reports.values() if report["error"]]
    if failed:
        raise RuntimeError(f"gpu_predicted: {failed[0]}")
    found: dict[str, dict[int, Any]] = {}
    for (method, seeds), names in wanted.items():
        counts = [reports[name]["launches"] for name in names]
        found.setdefault(method, {})[seeds] = {
            part: whole_episode([count[part] for count in counts])
            for part in ("play", "iteration", "evaluation")
        }
    return found


def together(
    launches: dict[str, dict[int, Any]], memory: dict[str, dict[str, float]]
) -> dict[str, Any]:
    """One graph with five seeds of every method, which all count alike on Turn.

    A graph launches what its branches do. On a GPU that has room for all of them an
    iteration waits for the longest branch, else for more.

    Args:
        launches: Of `launches`; five seeds of a method that are stacked are counted.
        memory: Of `memory`, by method.
    """
    branches = []
    for counts in launches.values():
        stacked = counts.get(SEEDS)
        branches += [stacked] if stacked else [counts[1]] * SEEDS
    parts = ("play", "iteration", "evaluation")
    return {
        "seeds": SEEDS,
        "branches": len(branches),
        "launches": {part: sum(each[part] for each in branches) for part in parts},
        "longest_branch": {
            part: max(each[part] for each in branches) for part in parts
        },
        "memory_mb": round(SEEDS * sum(sum(kept.values()) for kept in memory.values())),
    }


def memory(method: str) -> dict[str, float]:
    """Megabytes that a seed keeps between iterations: its replay, and all the rest.

    Args:
        method: Its name.
    """
    training = Training(METHODS[method], Turn(), 0, torch.device("cpu"))
    training.play_and_update(False)
    ring = sum(field.nbytes for field in training.replay.ring)
    rest = sum(
        tensor.nbytes
        for name, tensor in tensors_of(training).items()
        if not name.startswith("replay")
    )
    # RMSprop keeps a number per parameter from the first update on
    rest += sum(parameter.nbytes for parameter in training.learner.parameters)
    return {"replay_mb": round(ring / 1e6, 1), "networks_mb": round(rest / 1e6, 1)}


def predict() -> dict[str, Any]:
    """Everything, as one JSON value."""
    began = now()
    apart = {method: not_stackable(config) for method, config in METHODS.items()}
    stackable = [method for method, names in apart.items() if not names]
    with tempfile.TemporaryDirectory() as folder:
        found = launches(build(Path(folder)), stackable)
    work = counted.update(Turn().spec, METHODS["qmix"])
    kept = {method: memory(method) for method in METHODS}
    return {
        "launches": found,
        "together": together(found, kept),
        "branches": {method: names for method, names in apart.items() if names},
        "update_gflop": round(work.flops / 1e9, 3),
        "update_mb": round(work.bytes / 1e6, 1),
        "memory": kept,
        "provenance": {**provenance("cpu"), "started": began, "finished": now()},
    }


def main() -> int:
    """Counts, and writes the file whole or not at all.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu_predicted.json")
    keep(parser.parse_args().out, predict())
    return 0


if __name__ == "__main__":
    sys.exit(main())
