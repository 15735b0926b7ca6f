"""How hard the battles are: scripted players in every scenario.

python -m ciabook.battles.difficulty [--battles 128] [--scenarios 6h_vs_8z ...]
    writes book/results/battles/difficulty.json
python -m ciabook.battles.difficulty --sweep
    variants of one scenario that was too easy: book/results/battles/sweep.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ciabook.battles.scripted_players import PLAYERS, outcomes
from ciacore.games.battles.battlefield import BATTLES, ZERGLING
from ciacore.games.battles.smax import Smax
from ciacore.runtime.files import write_whole
from ciacore.runtime.provenance import now, provenance

RESULTS = Path(__file__).resolve().parents[3] / "book" / "results" / "battles"
SWEPT = "2c_vs_64zg"
UNCHANGED = BATTLES[SWEPT]._replace(changes={})


def reach_of(cells: float) -> dict[str, Any]:
    """Zerglings that bite from so far, between the centres of units; SMAX has 2.0."""
    return {"changes": {"unit_type_attack_ranges": {ZERGLING: cells}}}


def speed_of(cells: float) -> dict[str, Any]:
    """Zerglings of this speed, in cells per second; SMAX has 4.13."""
    return {"changes": {"unit_type_velocities": {ZERGLING: cells}}}


# one thing changed at a time: label, and what differs
SWEEP: list[tuple[str, dict[str, Any]]] = [
    ("as SMAX has it", {}),
    ("reach of a zergling 2.1", reach_of(2.1)),
    ("reach of a zergling 2.2", reach_of(2.2)),
    ("reach of a zergling 2.3", reach_of(2.3)),
    ("reach of a zergling 2.5", reach_of(2.5)),
    ("speed of a zergling 5.0", speed_of(5.0)),
    ("speed of a zergling 6.0", speed_of(6.0)),
    ("half width of the burning line 1.0", {"splash": (1.0, 0.15)}),
    ("half width of the burning line 0.7", {"splash": (0.7, 0.15)}),
]


def measure(
    game: Smax, battles: int, players: Sequence[str] = tuple(PLAYERS)
) -> dict[str, dict[str, list]]:
    """How the battles of a scenario end for scripted players; prints it, too.

    Args:
        game: the scenario.
        battles: per player.
        players: names in PLAYERS.

    Returns:
        Player -> episode returns, wins and lengths of every battle.
    """
    table = {}
    for name in players:
        found = outcomes(game, PLAYERS[name], battles, seed=1)
        table[name] = {}
        for key, values in found.items():
            table[name][key] = [round(value, 3) for value in values.float().tolist()]
        won = found["won"].float().mean()
        earned = found["episode_return"].mean()
        print(f"{game.name} {name}: {won:.3f} won, {earned:.2f} of 20")
    return table


def keep(name: str, facts: dict[str, Any]) -> None:
    """Writes a result file with its provenance.

    Args:
        name: of the file.
        facts: what was found.
    """
    RESULTS.mkdir(parents=True, exist_ok=True)
    made = {**provenance("cpu"), "finished": now()}
    write_whole(RESULTS / name, json.dumps({**facts, "provenance": made}) + "\n")


def sweep(battles: int) -> list[dict[str, Any]]:
    """A row for each variant of the scenario that was too easy.

    Args:
        battles: per player.
    """
    rows = []
    for label, changes in SWEEP:
        print(label, flush=True)
        game = Smax(SWEPT, UNCHANGED._replace(**changes))
        found = measure(game, battles, ("random", "closest", "kite"))
        rows.append({"label": label, "players": found})
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures scenarios or variants, and writes a file; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="difficulty", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--battles", type=int, default=128)
    parser.add_argument("--scenarios", nargs="*", default=list(BATTLES))
    parser.add_argument(
        "--sweep", action="store_true", help=f"variants of {SWEPT} instead"
    )
    options = parser.parse_args(arguments)
    battles = options.battles
    if options.sweep:
        rows = sweep(battles)
        keep("sweep.json", {"scenario": SWEPT, "battles": battles, "rows": rows})
        return 0
    found = {name: measure(Smax(name), battles) for name in options.scenarios}
    keep("difficulty.json", {"battles": battles, "scenarios": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
