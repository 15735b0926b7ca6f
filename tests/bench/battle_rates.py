"""Part of `make bench`: how fast QMIX trains on each map, with one game and with eight.

All maps take turns in one process on one core, so that a machine that slows down slows
all. A rate is a multiple of that of one map with one game per update. Writes
book/results/bench/battle_rates.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

# read when JAX starts
ONE_CORE = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "OMP_NUM_THREADS": "1"}
os.environ |= ONE_CORE

from bench.battle_training import training_on  # noqa: E402
from bench.measure import RESULTS, keep  # noqa: E402

from ciacore.games.battles.battlefield import BATTLES  # noqa: E402
from ciacore.games.battles.smax import Smax  # noqa: E402
from ciacore.runtime.one_core import one_core  # noqa: E402
from ciacore.runtime.provenance import now, provenance  # noqa: E402
from ciacore.training import Training  # noqa: E402

ONE = ("10m_vs_11m", 1)  # whose rate is 1
GAMES = (1, 8)  # per update
WARM_UP = 40  # episodes of each before the first that counts
TURN = 8  # episodes of each in its turn


def rate_of(training: Training) -> float:
    """Env steps per second of CPU time in the turn of a training.

    Args:
        training: plays `TURN` episodes.
    """
    begin, before = time.process_time(), training.clock.env_steps
    for _ in range(TURN // training.config.n_games):
        training.iterate()
    return (training.clock.env_steps - before) / (time.process_time() - begin)


def measure(scenarios: list[str], turns: int) -> dict[str, dict[str, float]]:
    """Map -> games per update -> multiple of the rate of `ONE`.

    Args:
        scenarios: the maps; that of `ONE` is measured in any case.
        turns: of each.
    """
    trainings = {}
    for name in {ONE[0]: None, **dict.fromkeys(scenarios)}:
        game = Smax(name)
        for n_games in GAMES:
            training = training_on(game, "qmix", n_games)
            for _ in range(WARM_UP // n_games):
                training.iterate()
            trainings[name, n_games] = training
            print(name, n_games, "is warm", flush=True)
    rates = [
        {key: rate_of(training) for key, training in trainings.items()}
        for _ in range(turns)
    ]
    found: dict[str, dict[str, float]] = {}
    for name, n_games in trainings:
        multiples = [rate[name, n_games] / rate[ONE] for rate in rates]
        row = found.setdefault(name, {})
        row[str(n_games)] = round(statistics.median(multiples), 3)
    return found


def main() -> None:
    """Measures, prints, and writes the file whole or not at all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=10, help="of every training")
    parser.add_argument("--scenarios", nargs="*", default=list(BATTLES))
    parser.add_argument("--out", type=Path, default=RESULTS / "battle_rates.json")
    options = parser.parse_args()
    with one_core():
        found = measure(options.scenarios, options.turns)
        facts = {**provenance("cpu"), "finished": now()}
    for name, row in found.items():
        print(name, row)
    result = {
        "multiples": found,
        "of": {"scenario": ONE[0], "games_per_update": ONE[1]},
        "turns": options.turns,
        "provenance": facts,
    }
    keep(options.out, result)


if __name__ == "__main__":
    main()
