"""How hard foes hit on each map, so that QMIX wins about every second battle.

The rule is that of book/rules/battles.md.

    python -m ciabook.battles.calibration train RESULTS [MAP ...]
        trains, map after map, what the rule asks for next; RESULTS: where runs lie
    python -m ciabook.battles.calibration write RESULTS
        writes what came out to book/data/battle_calibration.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ciabook.battles.difficulty import RESULTS
from ciabook.battles.first_guess import FILE as GUESSED
from ciabook.battles.first_guess import LARGEST
from ciabook.studies.battles import DATA, MAPS, TUNING_SEEDS, calibration_run, frozen
from ciacore import train
from ciacore.games import make_game
from ciacore.runtime.files import write_whole
from ciacore.runtime.provenance import now, provenance
from ciacore.runtime.store import Run, load_run, run_folder

FILE = "battle_calibration.json"
WANTED = 0.45  # win rate
ACCEPTED = (0.30, 0.60)
# a value whose first seed lies outside is not trained with the second
PLAIN = (0.1, 0.9)
STEEPEST = 0.15  # what the win rate may rise by over the last third
MOST = 9  # values that are tried on a map
STEP = 2  # tenths: how far the second value is from the first


class Tried(NamedTuple):
    """What came out with one value of `foe_damage`: means over its runs."""

    win_rate: float  # over the last quarter of training
    rise: float  # of the win rate, from the first to the last half of the last third

    def passes(self) -> bool:
        """Whether the rule takes it: neither too easy, nor too hard, nor rising."""
        low, high = ACCEPTED
        return low <= self.win_rate <= high and self.rise <= STEEPEST


def tried_with(runs: Sequence[Run]) -> Tried:
    """What came out of runs with the same value.

    Args:
        runs: of QMIX, one per seed.
    """
    rates, rises = [], []
    for run in runs:
        share = np.array(run.metrics["env_steps"]) / run.config.env_steps
        won = np.array(run.metrics["won"]).mean(1)  # of every evaluation
        rates.append(won[share > 3 / 4].mean())
        first = won[(share > 2 / 3) & (share <= 5 / 6)]
        rises.append(won[share > 5 / 6].mean() - first.mean())
    return Tried(float(np.mean(rates)), float(np.mean(rises)))


def next_value(guess: int, tried: Mapping[int, Tried]) -> int | None:
    """The tenths of `foe_damage` to try next; None where the rule says stop.

    Args:
        guess: from scripts, in tenths.
        tried: tenths -> what came out.
    """
    if len(tried) == MOST or any(found.passes() for found in tried.values()):
        return None
    if not tried:
        return guess
    wanted = crossing({value: found.win_rate for value, found in tried.items()})
    free = [value for value in range(1, LARGEST + 1) if value not in tried]
    return min(free, key=lambda value: (abs(value - wanted), value))


def crossing(rates: Mapping[int, float]) -> float:
    """Where the wanted win rate is expected, in tenths.

    On the line through the two values whose rates are nearest to it. Where there is
    only one value, or the line does not fall: a step beyond the nearest one.

    Args:
        rates: tenths -> win rate; at least one.
    """
    nearest = sorted(rates, key=lambda value: (abs(rates[value] - WANTED), value))
    step = STEP if rates[nearest[0]] > WANTED else -STEP
    beyond = float(nearest[0] + step)
    if len(nearest) == 1:
        return beyond
    low, high = sorted(nearest[:2])
    slope = (rates[high] - rates[low]) / (high - low)
    return low + (WANTED - rates[low]) / slope if slope < 0 else beyond


def runs_of(scenario: str, tenths: int, results: Path) -> list[Run]:
    """The runs with one value that are there, in the order of the seeds.

    Args:
        scenario: a key of MAPS.
        tenths: of `foe_damage`.
        results: the folder of the runs.
    """
    found = []
    for seed in TUNING_SEEDS:
        config, game, _ = calibration_run(scenario, tenths, seed)
        folder = run_folder(results, game, config.method, seed)
        if folder.exists():
            found.append(load_run(folder))
    return found


def is_whole(runs: Sequence[Run]) -> bool:
    """Whether a value has all the runs that it needs.

    One is enough where the first seed is plainly too easy or too hard.

    Args:
        runs: with one value, in the order of the seeds.
    """
    if len(runs) == len(TUNING_SEEDS):
        return True
    low, high = PLAIN
    return bool(runs) and not low <= tried_with(runs).win_rate <= high


def course(scenario: str, results: Path) -> tuple[dict[int, Tried], int | None]:
    """What was tried on a map, in order, and what the rule asks for next.

    Args:
        scenario: a key of MAPS.
        results: the folder of the runs.

    Returns:
        Tenths -> what came out; and the next value, None where the rule says stop.
    """
    guessed = json.loads((RESULTS / GUESSED).read_text())["scenarios"]
    guess = round(10 * guessed[scenario]["foe_damage"])
    tried: dict[int, Tried] = {}
    while (value := next_value(guess, tried)) is not None:
        runs = runs_of(scenario, value, results)
        if not is_whole(runs):
            return tried, value
        tried[value] = tried_with(runs)
    return tried, None


def best(tried: Mapping[int, Tried]) -> int:
    """The value that is taken: one that passes, else the one nearest to what is wanted.

    Args:
        tried: tenths -> what came out; at least one.
    """
    return min(
        tried,
        key=lambda value: (
            not tried[value].passes(),
            abs(tried[value].win_rate - WANTED),
            value,
        ),
    )


def train_next(scenario: str, results: Path) -> None:
    """Trains on a map until the rule says stop.

    Args:
        scenario: a key of MAPS.
        results: the folder of the runs.
    """
    while True:
        tried, value = course(scenario, results)
        print(scenario, tried, "next:", value, flush=True)
        if value is None:
            return
        seed = TUNING_SEEDS[len(runs_of(scenario, value, results))]
        run = calibration_run(scenario, value, seed)
        game = make_game(run.game)
        train(run.config, game, seeds=[seed], results=results, processes=1)


def written(results: Path) -> dict[str, Any]:
    """What came out on every map, as the file says it.

    Args:
        results: the folder of the runs.
    """
    rows = {}
    for scenario in MAPS:
        tried, value = course(scenario, results)
        if not tried:
            continue
        taken = best(tried)
        rows[scenario] = {
            "tried": {
                f"{tenths / 10:g}": {
                    "win_rate": round(found.win_rate, 4),
                    "rise": round(found.rise, 4),
                    "seeds": len(runs_of(scenario, tenths, results)),
                }
                for tenths, found in tried.items()
            },
            "foe_damage": taken / 10 if value is None else None,
            "calibrated": tried[taken].passes(),
        }
    return {
        "games_per_update": frozen("battle_protocol.json").get("games_per_update"),
        "scenarios": rows,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains or writes; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if len(words) >= 2 and words[0] == "train":
        for scenario in words[2:] or MAPS:
            train_next(scenario, Path(words[1]))
        return 0
    if len(words) == 2 and words[0] == "write":
        facts = written(Path(words[1]))
        made = {**provenance("cpu"), "finished": now()}
        text = json.dumps({**facts, "provenance": made}, indent=1) + "\n"
        write_whole(DATA / FILE, text)
        print(json.dumps(facts, indent=1))
        return 0
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main())
