"""Does each method do what its paper says? Claims as data, and one rule for all.

The rule was committed before the first run: book/rules/showcases.md. A claim is about
the greedy returns of the last quarter of a run's evaluations. It passes if enough of
its seeds end where the paper says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ciabook.studies.study import find, folder_of
from ciacore.runtime.store import Run, load_run
from ciacore.types import refuse

STUDIES = ("showcases_tiny", "showcases_prey")
PASSES, FAILS, WAITS = "passes", "does not pass", "its runs wait"


class Claim(NamedTuple):
    """What a paper says of a method in a game, as an interval of returns."""

    method: str  # a name in METHODS
    game: str
    published: str  # in words
    source: str  # key in book/references.bib
    low: float  # a run agrees if its final return lies from here
    high: float  # to here
    needed: int  # as many seeds must agree
    seeds: int  # as many are due


TWO_STEP = ("two_step", "rashid2018qmix")
M_STEP = ("m_step", "mahajan2019maven")
PREY = "predator_prey"
SOLVED, HELPLESS = 20.0, 5.0  # half of the best return; half of one catch
CLAIMS = (
    Claim("vdn", TWO_STEP[0], "earns 7", TWO_STEP[1], 6.9, 7.1, 4, 5),
    Claim("qmix", TWO_STEP[0], "earns 8", TWO_STEP[1], 7.9, 8.0, 4, 5),
    Claim("maven", M_STEP[0], "median 13", M_STEP[1], 12.5, 13.0, 3, 5),
    Claim("qmix", M_STEP[0], "median 10", M_STEP[1], 9.5, 10.5, 3, 5),
    *(
        Claim(method, PREY, "solves it", source, SOLVED, math.inf, 2, 3)
        for method, source in (
            ("qtran", "son2019qtran"),
            ("qplex", "wang2021qplex"),
            ("ow_qmix", "rashid2020wqmix"),
            ("cw_qmix", "rashid2020wqmix"),
        )
    ),
    *(
        Claim(method, PREY, "fails", source, -math.inf, HELPLESS, 2, 3)
        for method, source in (("vdn", "son2019qtran"), ("qmix", "rashid2020wqmix"))
    ),
)


def final_return(run: Run) -> float:
    """The mean greedy return over the last quarter of a run's evaluations.

    Args:
        run: a stored run.
    """
    returns = run.metrics["episode_return"]
    last = returns[-math.ceil(len(returns) / 4) :]
    return float(np.mean([np.mean(entry) for entry in last]))


def runs_of(claim: Claim, results: str | Path) -> list[Run]:
    """The runs of a claim that are there, in order of their seeds.

    Args:
        claim: one of CLAIMS.
        results: the folder of all runs.

    Raises:
        InvalidInputError: a run is damaged, or trained by another Config.
    """
    found = []
    for entry in [entry for study in STUDIES for entry in find(study)]:
        if (entry.game, entry.config.method) != (
            claim.game,
            f"{claim.method}_showcase",
        ):
            continue
        folder = folder_of(entry, results)
        if not folder.exists():
            continue
        run = load_run(folder)
        if run.config != entry.config:
            cure = "Train it with the study's Config."
            refuse("results", f"{entry.config}", f"another Config in {folder}", cure)
        found.append(run)
    return found


def verdict(claim: Claim, returns: Sequence[float]) -> str:
    """PASSES, FAILS or WAITS, by the rule.

    A claim waits until all its seeds are there, even if the rest could not change it.

    Args:
        claim: what is claimed.
        returns: the final return of each seed that is there.

    Raises:
        InvalidInputError: more returns than the rule has seeds.
    """
    if len(returns) > claim.seeds:
        cure = "Leave out seeds that the rule does not name."
        refuse("returns", f"at most {claim.seeds}", len(returns), cure)
    if len(returns) < claim.seeds:
        return WAITS
    agreeing = sum(claim.low <= value <= claim.high for value in returns)
    return PASSES if agreeing >= claim.needed else FAILS


# --------------------------------------------------------------------------------
# tables learned in the two-step game

NEAR = 0.5  # how far each number of a table may lie from what is expected


def best_sum(payoff: Float[np.ndarray, "A A"]) -> Float[np.ndarray, "A A"]:
    """The sum of two agents' utilities that lies nearest to a table.

    Nearest in the mean squared error over all joint actions: row mean and column mean,
    less the mean of all.

    Args:
        payoff: [A, A], of each joint action.
    """
    rows, columns = payoff.mean(1, keepdims=True), payoff.mean(0, keepdims=True)
    return rows + columns - payoff.mean()


def table_verdict(
    tables: Sequence[Float[np.ndarray, "A A"]],
    expected: Float[np.ndarray, "A A"],
    seeds: int,
) -> str:
    """PASSES if the mean table is near to what is expected, by the rule.

    Args:
        tables: of each seed that is there.
        expected: what the mean over seeds should be.
        seeds: as many are due.
    """
    if len(tables) < seeds:
        return WAITS
    distance = np.abs(np.mean(tables, axis=0) - expected)
    return PASSES if distance.max() <= NEAR else FAILS


# --------------------------------------------------------------------------------
# matrix games

FINDS, MISSES, UNDECIDED = "finds it", "misses it", "undecided"
# what is published of the best joint action in the non-monotonic game
MATRIX = {
    "vdn": MISSES,
    "qmix": MISSES,
    "qtran": FINDS,
    "qplex": FINDS,
    "ow_qmix": FINDS,
    "cw_qmix": FINDS,
}
OFTEN, RARELY = 4, 1  # of five starts


def matrix_word(right: Sequence[bool]) -> str:
    """FINDS, MISSES or UNDECIDED, by the rule.

    Args:
        right: of each of five starts, whether greedy agents take the best joint action.

    Raises:
        InvalidInputError: another number of starts.
    """
    if len(right) != 5:
        refuse("right", "five starts", len(right), "The rule names 301 to 305.")
    if sum(right) >= OFTEN:
        return FINDS
    return MISSES if sum(right) <= RARELY else UNDECIDED
