"""What each method costs: its wall time per iteration beside the arithmetic of its update, both relative to QMIX.

    PYTHONPATH=tests python -m bench.methods

Writes book/results/bench/methods.json. All methods take turns, iteration by iteration,
on one core, so that whatever slows the machine slows them alike.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench.measure import RESULTS, keep
from torch.utils.flop_counter import FlopCounterMode

from ciacore import METHODS
from ciacore.fast import gru as recurrence
from ciacore.games import Turn
from ciacore.learning.rollout import play
from ciacore.runtime.one_core import one_core
from ciacore.runtime.provenance import now, provenance
from ciacore.training import Training
from ciacore.types import Episodes

WARM_UP = 34  # iterations before the first that counts; updates begin with the 32nd


def iteration(training: Training) -> tuple[float, float]:
    """Seconds of play and of the update in one iteration."""
    config, rng = training.config, training.rngs["learning"]
    start = time.perf_counter()
    policy = training.explore()  # as at the start of a training
    episodes = play(
        training.game, policy, config.n_games, training.rngs["play"], config.gamma
    )
    training.replay.insert(episodes)
    training.learner.on_episodes(episodes, rng)
    between = time.perf_counter()
    if int(training.replay.inserted) >= config.batch:
        training.learner.update(
            training.replay.sample(config.batch, training.rngs["replay"]), rng
        )
    return between - start, time.perf_counter() - between


def in_place(added: torch.Size, a: torch.Size, b: torch.Size, **_: Any) -> int:
    """Operations of `added.addmm_(a, b)`, the only product that torch's counter does not know."""
    return 2 * a[0] * a[1] * b[1]


def flops(training: Training, batch: Episodes) -> int:
    """Floating-point operations in the matrix products of one update, forward and backward, in torch and in numpy."""
    in_numpy = 0

    def product(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
        nonlocal in_numpy
        in_numpy += 2 * out.size * a.shape[-1]
        return np.matmul(a, b, out=out)

    recurrence.matmul = product
    try:
        with FlopCounterMode(
            display=False, custom_mapping={torch.ops.aten.addmm_: in_place}
        ) as counter:
            training.learner.update(batch, training.rngs["learning"])
    finally:
        recurrence.matmul = np.matmul
    return counter.get_total_flops() + in_numpy


def measure(rounds: int) -> dict[str, Any]:
    """A row per method, and where they come from."""
    began = now()
    with one_core():
        trainings = {
            name: Training(config, Turn(), 1, torch.device("cpu"))
            for name, config in METHODS.items()
        }
        for training in trainings.values():
            for _ in range(WARM_UP):
                iteration(training)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in trainings}
        for _ in range(rounds):
            for name, training in trainings.items():
                times[name].append(iteration(training))
        counted = {
            name: flops(
                training,
                training.replay.sample(training.config.batch, training.rngs["replay"]),
            )
            for name, training in trainings.items()
        }
        facts = provenance("cpu")
    medians = {
        name: [1000 * statistics.median(part) for part in zip(*pairs, strict=True)]
        for name, pairs in times.items()
    }
    rows = [
        {
            "method": name,
            "play_ms": round(medians[name][0], 2),
            "update_ms": round(medians[name][1], 2),
            "ratio": round(sum(medians[name]) / sum(medians["qmix"]), 3),
            "counted": round(counted[name] / counted["qmix"], 3),
        }
        for name in trainings
    ]
    return {
        "rows": rows,
        "provenance": {**facts, "started": began, "finished": now(), "rounds": rounds},
    }


def main() -> None:
    """Measures, prints, and writes the file whole or not at all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rounds", type=int, default=30, help="iterations timed per method"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "methods.json")
    options = parser.parse_args()
    result = measure(options.rounds)
    print(
        f"{'method':12}{'play ms':>10}{'update ms':>11}{'ratio':>8}{'counted':>9}{'quotient':>10}"
    )
    for row in result["rows"]:
        numbers = f"{row['play_ms']:10.2f}{row['update_ms']:11.2f}{row['ratio']:8.2f}{row['counted']:9.2f}"
        print(f"{row['method']:12}{numbers}{row['ratio'] / row['counted']:10.2f}")
    keep(options.out, result)


if __name__ == "__main__":
    main()
