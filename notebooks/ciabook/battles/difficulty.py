"""How hard the battles are: scripted players in every scenario, and in variants of one that was too easy.

python -m ciabook.battles.difficulty [--battles 128] [--scenarios 6h_vs_8z ...]
[--sweep]    writes book/results/battles/
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ciabook.battles.scripted_players import PLAYERS, outcomes
from ciacore.games.battles.battlefield import BATTLES, COLOSSUS, ZERGLING
from ciacore.games.battles.smax import Smax
from ciacore.runtime.provenance import now, provenance

RESULTS = Path(__file__).resolve().parents[3] / "book" / "results" / "battles"
SWEPT = "2c_vs_64zg"
UNCHANGED = BATTLES[SWEPT]._replace(changes={})


def reach_of(cells: float) -> dict[str, Any]:
    """Zerglings that bite from so far, between the centres of the units; SMAX has 2.0."""
    return {"changes": {"unit_type_attack_ranges": {ZERGLING: cells}}}


def speed_of(cells: float) -> dict[str, Any]:
    """Zerglings of this speed, in cells per second; SMAX has 4.13."""
    return {"changes": {"unit_type_velocities": {ZERGLING: cells}}}


def damage_of(points: float) -> dict[str, Any]:
    """Colossi of this damage per shot; 30 here."""
    return {"changes": {"unit_type_attacks": {COLOSSUS: points}}}


SWEEP: list[tuple[str, dict[str, Any]]] = [  # one thing changed at a time
    ("as SMAX has it", {}),
    *[
        (f"reach of a zergling {reach}", reach_of(reach))
        for reach in (2.1, 2.2, 2.3, 2.5)
    ],
    *[(f"speed of a zergling {speed}", speed_of(speed)) for speed in (5.0, 6.0)],
    *[
        (f"half width of the burning line {width}", {"splash": (width, 0.15)})
        for width in (1.0, 0.7)
    ],
    ("damage of a colossus 20, without the bonus against light units", damage_of(20.0)),
]


def measure(
    game: Smax, battles: int, players: Sequence[str] = tuple(PLAYERS)
) -> dict[str, dict[str, list]]:
    """Player -> episode returns, wins and lengths of every battle."""
    table = {}
    for name in players:
        found = outcomes(game, PLAYERS[name], battles, seed=1)
        table[name] = {
            key: [round(value, 3) for value in each.float().tolist()]
            for key, each in found.items()
        }
        print(
            f"{game.name} {name}: {found['won'].float().mean():.3f} won, {found['episode_return'].mean():.2f} of 20"
        )
    return table


def keep(name: str, facts: dict[str, Any]) -> None:
    """A result file, whole or not at all."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    part = RESULTS / f".{name}.part"
    part.write_text(
        json.dumps({**facts, "provenance": {**provenance("cpu"), "finished": now()}})
        + "\n"
    )
    os.replace(part, RESULTS / name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="difficulty", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--battles", type=int, default=128)
    parser.add_argument("--scenarios", nargs="*", default=list(BATTLES))
    parser.add_argument(
        "--sweep", action="store_true", help=f"variants of {SWEPT} instead"
    )
    options = parser.parse_args(arguments)
    if options.sweep:
        rows = []
        for label, changes in SWEEP:
            game = Smax(SWEPT, UNCHANGED._replace(**changes))
            print(label, flush=True)
            rows.append(
                {
                    "label": label,
                    "players": measure(
                        game, options.battles, ("random", "closest", "kite")
                    ),
                }
            )
        keep(
            "sweep.json", {"scenario": SWEPT, "battles": options.battles, "rows": rows}
        )
    else:
        found = {
            name: measure(Smax(name), options.battles) for name in options.scenarios
        }
        keep("difficulty.json", {"battles": options.battles, "scenarios": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
