"""What each method costs: its CPU time beside the arithmetic of its update.

    PYTHONPATH=tests python -m bench.methods

The time is that of an iteration, and both are relative to QMIX. Writes
book/results/bench/methods.json. All methods take turns, iteration by iteration, on one
core, so that whatever slows the machine slows them alike.
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
from ciacore.fast import gru, ragged_gru
from ciacore.games import Turn
from ciacore.learning.replay import trim
from ciacore.learning.rollout import play
from ciacore.runtime.one_core import one_core
from ciacore.runtime.provenance import now, provenance
from ciacore.training import Training
from ciacore.types import Episodes

WARM_UP = 34  # iterations before the first that counts; updates begin with the 32nd


def iteration(training: Training) -> tuple[float, float]:
    """CPU seconds of play and of the update in one iteration."""
    config = training.config
    rngs = training.rngs
    start = time.process_time()
    policy = training.explore()  # as at the start of a training
    episodes = play(training.game, policy, config.n_games, rngs["play"], config.gamma)
    training.replay.insert(episodes)
    training.learner.on_episodes(episodes, rngs["learning"])
    between = time.process_time()
    if int(training.replay.inserted) >= config.batch:
        batch = training.replay.sample(config.batch, rngs["replay"])
        training.learner.update(batch, rngs["learning"])
    return between - start, time.process_time() - between


def in_place(added: torch.Size, a: torch.Size, b: torch.Size, **_: Any) -> int:
    """Operations of `added.addmm_(a, b)`, which torch's counter does not know.

    Args:
        added: The shape of the result, [n, m].
        a: The shape of the first factor, [n, k].
        b: The shape of the second factor, [k, m].
    """
    return 2 * a[0] * a[1] * b[1]


def flops(training: Training, batch: Episodes) -> int:
    """Floating-point operations in the matrix products of one update.

    Counted are the forward and the backward pass, in torch and in numpy.

    Args:
        training: Whose learner is updated.
        batch: What it learns from.
    """
    in_numpy = 0

    def product(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
        nonlocal in_numpy
        in_numpy += 2 * out.size * a.shape[-1]
        return np.matmul(a, b, out=out)

    for module in (gru, ragged_gru):
        module.matmul = product
    known = {torch.ops.aten.addmm_: in_place}
    counter = FlopCounterMode(display=False, custom_mapping=known)
    try:
        with counter:
            training.learner.update(batch, training.rngs["learning"])
    finally:
        for module in (gru, ragged_gru):
            module.matmul = np.matmul
    return counter.get_total_flops() + in_numpy


def measure(rounds: int) -> dict[str, Any]:
    """A row per method, and where they come from."""
    began = now()
    play_times: dict[str, list[float]] = {}
    update_times: dict[str, list[float]] = {}
    counted: dict[str, int] = {}
    with one_core():
        trainings = {}
        for name, config in METHODS.items():
            trainings[name] = Training(config, Turn(), 1, torch.device("cpu"))
            play_times[name] = []
            update_times[name] = []
        for training in trainings.values():
            for _ in range(WARM_UP):
                iteration(training)
        for _ in range(rounds):
            for name, training in trainings.items():
                played, updated = iteration(training)
                play_times[name].append(played)
                update_times[name].append(updated)
        for name, training in trainings.items():
            rng = training.rngs["replay"]
            batch = training.replay.sample(training.config.batch, rng)
            counted[name] = flops(training, batch)
        facts = provenance("cpu")
    played = {name: 1000 * statistics.median(play_times[name]) for name in trainings}
    updated = {name: 1000 * statistics.median(update_times[name]) for name in trainings}
    rows = []
    for name in trainings:
        ratio = (played[name] + updated[name]) / (played["qmix"] + updated["qmix"])
        rows.append(
            {
                "method": name,
                "play_ms": round(played[name], 2),
                "update_ms": round(updated[name], 2),
                "ratio": round(ratio, 3),
                "counted": round(counted[name] / counted["qmix"], 3),
            }
        )
    facts |= {"started": began, "finished": now(), "rounds": rounds}
    return {"rows": rows, "provenance": facts}


def in_battle(scenario: str, rounds: int) -> list[dict[str, Any]]:
    """A row per method: its update in a battle, on a batch that all of them share.

    Args:
        scenario: Of the battle; its agents act at random.
        rounds: Updates timed per method; the methods take turns.
    """
    from ciacore.games.battles.smax import Smax  # loads JAX

    game = Smax(scenario)
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    counted: dict[str, int] = {}
    with one_core():
        trainings = {}
        for name, config in METHODS.items():
            short = config.but(buffer=config.batch)
            trainings[name] = Training(short, game, 1, torch.device("cpu"))
        qmix = trainings["qmix"]
        policy = qmix.explore()  # epsilon is 1
        parts = [
            play(game, policy, 8, qmix.rngs["play"], qmix.config.gamma)
            for _ in range(qmix.config.batch // 8)
        ]
        batch = trim(Episodes(*map(torch.cat, zip(*parts, strict=True))))
        for number in range(rounds + 2):
            for name, training in trainings.items():
                own = with_latents(batch, training)
                start = time.process_time()
                training.learner.update(own, training.rngs["learning"])
                if number > 1:  # the first ones make the optimizers' states
                    seconds[name].append(time.process_time() - start)
        for name, training in trainings.items():
            counted[name] = flops(training, with_latents(batch, training))
    ms = {name: 1000 * statistics.median(times) for name, times in seconds.items()}
    return [
        {
            "method": name,
            "update_ms": round(ms[name], 1),
            "ratio": round(ms[name] / ms["qmix"], 3),
            "counted": round(counted[name] / counted["qmix"], 3),
        }
        for name in trainings
    ]


def with_latents(batch: Episodes, training: Training) -> Episodes:
    """The batch as if its episodes had been played with latents, for who reads them.

    Args:
        batch: B episodes.
        training: Whose method may have a latent.
    """
    size = training.config.latent_size
    if size == 0:
        return batch
    latents = torch.arange(len(batch.rewards)) % size
    return batch._replace(context=torch.eye(size)[latents])


def show(result: dict[str, Any]) -> None:
    """The table as text."""
    print(f"{'method':12}{'play ms':>10}{'update ms':>11}", end="")
    print(f"{'ratio':>8}{'counted':>9}{'quotient':>10}")
    for row in [*result["rows"], *result.get("battle", {}).get("rows", ())]:
        quotient = row["ratio"] / row["counted"]
        print(f"{row['method']:12}{row.get('play_ms', 0):10.2f}", end="")
        print(f"{row['update_ms']:11.2f}{row['ratio']:8.2f}", end="")
        print(f"{row['counted']:9.2f}{quotient:10.2f}")


def main() -> None:
    """Measures, prints, and writes the file whole or not at all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rounds", type=int, default=30, help="iterations timed per method"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "methods.json")
    parser.add_argument("--battle", default="10m_vs_11m", help="its scenario, or none")
    options = parser.parse_args()
    result = measure(options.rounds)
    if options.battle != "none":
        rows = in_battle(options.battle, max(3, options.rounds // 3))
        result["battle"] = {"scenario": options.battle, "rows": rows}
    show(result)
    keep(options.out, result)


if __name__ == "__main__":
    main()
