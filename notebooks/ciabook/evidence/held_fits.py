"""Fits to matrix games that the book shows, made once and held in a file.

    python -m ciabook.evidence.held_fits
        makes them all again, and writes book/data/matrix_fits.json

A chapter that asks for one of them reads it. Whoever changes a chapter's parameters
asks for others, and these are fitted on the spot.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ciabook.evidence.representable import GAMES, Fit, fit
from ciacore.games import MatrixGame
from ciacore.runtime.files import write_whole
from ciacore.runtime.provenance import now, provenance

FILE = Path(__file__).resolve().parents[3] / "book" / "data" / "matrix_fits.json"
DIGITS = 6  # after the point, of errors and tables


class Request(NamedTuple):
    """Fits of one method, side by side."""

    method: str  # a name in METHODS
    payoffs: tuple[Any, ...]  # tables of one size
    seeds: tuple[int, ...]
    steps: int


def climb(penalty: int) -> list[list[int]]:
    """The game "climb" with another penalty for whoever climbs alone.

    Args:
        penalty: in the place of -12.
    """
    return [[8, penalty, penalty], [penalty, 0, 0], [penalty, 0, 0]]


# penalties for which the explorer of matrix games shows QPLEX and QTRAN
PENALTIES = (-12, -8, -4, 0)
COMPARED = ("vdn", "qmix", "qplex", "qtran", "ow_qmix", "cw_qmix")
LARGE = tuple(payoff for payoff in GAMES.values() if len(payoff) == 3)
SMALL = tuple(payoff for payoff in GAMES.values() if len(payoff) == 2)
CLIMBS = (*map(climb, PENALTIES), GAMES["penalty"])


def requests() -> list[Request]:
    """What the chapters ask for with the parameters that they have."""
    found = []
    for method in COMPARED:
        # QTRAN's sum follows a joint value that has to be right first
        often = 5 if method == "qtran" else 1
        family = [
            Request(method, SMALL, (0, 1, 2), 600),
            Request(method, LARGE, (0, 1, 2), 600),
        ]
        showcase = Request(method, (GAMES["climb"],), tuple(range(301, 306)), 600)
        found += [*family, showcase._replace(steps=often * 600)]
    longer = Request("qtran", (GAMES["climb"],), (0, 1, 2), 3_000)
    explorer = []
    for method, steps in (("qplex", 400), ("qtran", 2_000)):
        explorer.append(Request(method, CLIMBS, (0, 1), steps))
        explorer.append(Request(method, (GAMES["match"],), (0, 1), steps))
    return [*found, longer, *explorer]


def fits(
    method: str, games: Sequence[MatrixGame], seeds: Sequence[int], steps: int
) -> list[list[Fit]]:
    """As `representable.fit`, and read from the file where it holds all of them.

    Args:
        method: a name in METHODS.
        games: two agents each, all of one size.
        seeds: of the random starts.
        steps: gradient steps.

    Returns:
        For every game a list with one fit per seed.
    """
    known = held(FILE)
    wanted = [[name_of(method, game, seed, steps) for seed in seeds] for game in games]
    if all(name in known for names in wanted for name in names):
        return [[known[name] for name in names] for names in wanted]
    return fit(method, games, seeds, steps)


def name_of(method: str, game: MatrixGame, seed: int, steps: int) -> str:
    """What a fit is called in the file.

    Args:
        method: a name in METHODS.
        game: the payoffs.
        seed: of the random start.
        steps: gradient steps.
    """
    payoff = json.dumps([[round(cell, 9) for cell in row] for row in cells(game)])
    return f"{method}, seed {seed}, {steps} steps: {payoff}"


def cells(game: MatrixGame) -> list[list[float]]:
    """The payoff table of a game."""
    return game.payoff.tolist()


@cache
def held(file: Path) -> dict[str, Fit]:
    """The fits of a file, by name; none where there is no file.

    Args:
        file: as `main` writes it.
    """
    if not file.is_file():
        return {}
    entries = json.loads(file.read_text(encoding="utf-8"))["fits"]
    return {name: from_json(entry) for name, entry in entries.items()}


def from_json(entry: dict[str, Any]) -> Fit:
    """A fit as it was written down."""
    table, greedy = torch.tensor(entry["table"]), tuple(entry["greedy"])
    return Fit(entry["error"], entry["right"], table, greedy)


def to_json(found: Fit) -> dict[str, Any]:
    """A fit as it is written down."""
    table = [[round(cell, DIGITS) for cell in row] for row in found.table.tolist()]
    return {
        "error": round(found.error, DIGITS),
        "right": found.right,
        "table": table,
        "greedy": list(found.greedy),
    }


def made(request: Request) -> dict[str, dict[str, Any]]:
    """The fits of a request, by name, as they are written down.

    Args:
        request: what to fit.
    """
    games = [MatrixGame(payoff) for payoff in request.payoffs]
    found = fit(request.method, games, request.seeds, request.steps)
    return {
        name_of(request.method, game, seed, request.steps): to_json(one)
        for game, runs in zip(games, found, strict=True)
        for seed, one in zip(request.seeds, runs, strict=True)
    }


def main() -> int:
    """Fits and writes; returns the exit code."""
    torch.set_num_threads(1)
    entries: dict[str, dict[str, Any]] = {}
    for request in requests():
        entries |= made(request)
    lines = [f"{json.dumps(name)}: {json.dumps(one)}" for name, one in entries.items()]
    facts = {**provenance(torch.device("cpu")), "finished": now()}
    body = ",\n  ".join(lines)
    write_whole(
        FILE, f'{{\n "fits": {{\n  {body}\n }},\n "made": {json.dumps(facts)}\n}}\n'
    )
    print(f"{len(entries)} fits, in {FILE}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
