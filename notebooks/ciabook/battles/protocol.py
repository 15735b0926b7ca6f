"""How long battles are trained, and with how many games per update: QMIX decides.

The rule is that of book/rules/battles.md.

    python -m ciabook.battles.protocol freeze
        writes book/data/battle_protocol.json from the rates of `make bench` and the
        guess from scripts, before the first run
    python -m ciabook.battles.protocol decide RESULTS
        writes the decision into it; RESULTS is the folder of the runs
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ciabook.battles.difficulty import RESULTS
from ciabook.battles.first_guess import FILE as GUESSED
from ciabook.studies.battles import (
    DATA,
    PROTOCOL_GAMES,
    PROTOCOL_MAPS,
    budget,
    frozen,
    protocol_runs,
)
from ciacore.runtime.files import write_whole
from ciacore.runtime.provenance import now, provenance
from ciacore.runtime.store import Run, load_run, run_folder
from ciacore.types import refuse

FILE = "battle_protocol.json"
BENCH = RESULTS.parent / "bench"
NO_DIFFERENCE = 0.5  # points of return


def rates() -> dict[str, dict[str, float]]:
    """Env steps per second of QMIX: map -> games per update -> rate.

    One map was timed on an idle machine (`battle_training.json`), all maps in turns as
    multiples of it (`battle_rates.json`).
    """
    measured = json.loads((BENCH / "battle_rates.json").read_text())
    timed = json.loads((BENCH / "battle_training.json").read_text())["scenarios"]
    one = timed[measured["of"]["scenario"]]["qmix"]["ours_per_s"]
    return {
        name: {games: round(one * multiple, 1) for games, multiple in row.items()}
        for name, row in measured["multiples"].items()
    }


def freeze() -> dict:
    """Rates and difficulty of the runs, as they were measured before them."""
    guessed = json.loads((RESULTS / GUESSED).read_text())["scenarios"]
    return {
        "rates": rates(),
        "foe_damage": {name: guessed[name]["foe_damage"] for name in PROTOCOL_MAPS},
    }


def last_quarter(run: Run, measure: str) -> float:
    """The mean of a measure over the evaluations of a run's last quarter.

    Args:
        run: a stored run.
        measure: of its metrics, `episode_return` or `won`.
    """
    env_steps = np.array(run.metrics["env_steps"])
    late = env_steps > 0.75 * run.config.env_steps
    return float(np.mean(np.array(run.metrics[measure])[late]))


def chosen(means: Mapping[int, Sequence[float]]) -> int:
    """The number of games per update with the larger mean return.

    Less than half a point counts as no difference, and one game is as published.

    Args:
        means: games per update -> the measure of each of its runs.
    """
    one, eight = (float(np.mean(means[games])) for games in PROTOCOL_GAMES)
    return 8 if eight - one >= NO_DIFFERENCE else 1


def decide(results: Path) -> dict:
    """What QMIX decides, with the measure of every run.

    Args:
        results: the folder of the runs.

    Raises:
        InvalidInputError: a run is missing or damaged.
    """
    facts = frozen(FILE)
    if not facts:
        cure = "Run `python -m ciabook.battles.protocol freeze` and commit the file."
        refuse("book/data", FILE, "none", cure)
    means: dict[int, list[float]] = {games: [] for games in PROTOCOL_GAMES}
    rows = []
    for config, game, seed in protocol_runs():
        run = load_run(run_folder(results, game, config.method, seed))
        measured = last_quarter(run, "episode_return")
        means[config.n_games].append(measured)
        rows.append(
            {
                "game": game,
                "games_per_update": config.n_games,
                "seed": seed,
                "env_steps": config.env_steps,
                "mean_return": round(measured, 3),
                "win_rate": round(last_quarter(run, "won"), 3),
            }
        )
    games = chosen(means)
    budgets = {name: budget(row[str(games)]) for name, row in facts["rates"].items()}
    return {**facts, "runs": rows, "games_per_update": games, "budgets": budgets}


def main(arguments: Sequence[str] | None = None) -> int:
    """Freezes or decides, and writes the file; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["freeze"]:
        facts = freeze()
    elif len(words) == 2 and words[0] == "decide":
        facts = decide(Path(words[1]))
        print(facts["runs"], facts["games_per_update"])
    else:
        print(__doc__)
        return 2
    made = {**provenance("cpu"), "finished": now()}
    write_whole(DATA / FILE, json.dumps({**facts, "provenance": made}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
