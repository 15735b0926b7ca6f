"""How hard foes should hit, guessed from scripts before anything is trained.

The rule is that of book/rules/battles.md: the value of `foe_damage` on a grid of 0.1 at
which a team that shoots the closest foe wins nearest to half of 256 battles.

    python -m ciabook.battles.first_guess
        writes book/results/battles/first_guess.json, scenario after scenario; what is
        there of others stays
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence

from ciabook.battles.difficulty import RESULTS, keep
from ciabook.battles.scripted_players import PLAYERS, outcomes
from ciacore.games import SCENARIOS, make_game
from ciacore.games import clash_name as named

FILE = "first_guess.json"
BATTLES = 256
WANTED = 0.5
LARGEST = 40  # tenths: foes that hit four times as hard


def win_rate(scenario: str, tenths: int) -> float:
    """The share of battles that a team wins which shoots the closest foe.

    Args:
        scenario: one of SCENARIOS.
        tenths: ten times `foe_damage`.
    """
    game = make_game(named(scenario, tenths / 10))
    found = outcomes(game, PLAYERS["closest"], BATTLES, seed=1)
    return float(found["won"].float().mean())


def nearest_to_half(rate: Callable[[int], float]) -> dict[int, float]:
    """The values that were tried on the way to the one whose rate is nearest to half.

    The rate falls as foes hit harder, so that the grid is halved until two neighbours
    are left.

    Args:
        rate: of a number of tenths from 1 to LARGEST.

    Returns:
        Tenths -> rate, of all that were tried.
    """
    tried = {low: rate(low) for low in (1, LARGEST)}
    low, high = 1, LARGEST
    while high - low > 1:
        middle = (low + high) // 2
        tried[middle] = rate(middle)
        if tried[middle] > WANTED:
            low = middle
        else:
            high = middle
    return tried


def best(tried: dict[int, float]) -> int:
    """The number of tenths whose rate is nearest to half; of equals the smallest."""
    return min(tried, key=lambda tenths: (abs(tried[tenths] - WANTED), tenths))


def main(arguments: Sequence[str] | None = None) -> int:
    """Tries values on every map, and writes the file; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenarios", nargs="*", default=list(SCENARIOS))
    options = parser.parse_args(arguments)
    path = RESULTS / FILE
    rows = json.loads(path.read_text())["scenarios"] if path.is_file() else {}
    for scenario in options.scenarios:
        tried = nearest_to_half(lambda tenths, of=scenario: win_rate(of, tenths))
        rows[scenario] = {
            "foe_damage": best(tried) / 10,
            "tried": {f"{tenths / 10:g}": tried[tenths] for tenths in sorted(tried)},
        }
        print(scenario, rows[scenario], flush=True)
        keep(FILE, {"battles": BATTLES, "scenarios": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
