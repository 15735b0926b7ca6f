"""The paper's curves on Turn (Liu et al. 2023, Fig. 4b) beside ours.

The paper draws means with half of a 50 % interval to either side. How wide the interval
is says how far its own seeds lie apart, and with it a difference can be judged.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from ciabook.evidence.final_returns import GROUP, final_returns
from ciabook.evidence.statistics import Moments, Welch, student_tails, welch
from ciacore.runtime.store import Run

LEVEL = 0.05
OTHER = {"qmix": "qmix_cia", "qmix_cia": "qmix"}


class Reading(NamedTuple):
    """A point of the paper's curve with its band."""

    mean: float
    half_width: float  # of the 50 % interval
    seeds: int

    def sd(self) -> float:
        """The deviation between the paper's seeds that gives such a band.

        A bootstrap band of the mean is about 0.67 standard errors wide to either side,
        and the bootstrap takes the deviation with n below its fraction.
        """
        narrow = self.half_width / NormalDist().inv_cdf(0.75) * sqrt(self.seeds)
        return narrow * sqrt(self.seeds / (self.seeds - 1))


class Beside(NamedTuple):
    """Our mean beside the paper's, and what may be said of the two."""

    paper: Reading
    ours: Moments
    test: Welch
    margin: float  # a difference that would count as none
    verdict: str  # "agrees", "differs" or "cannot tell"


def readings(path: Path, method: str) -> dict[int, Reading]:
    """The paper's points with their bands, by env steps.

    Args:
        path: of book/data/paper_figure4b.json.
        method: "qmix" or "qmix_cia".
    """
    facts = json.loads(path.read_text(encoding="utf-8"))
    return {
        int(step): Reading(mean, half_width, facts["seeds"])
        for step, mean, half_width in facts["bands"][method]
    }


def beside(runs: Sequence[Run], path: Path, method: str) -> dict[int, Beside]:
    """Our means beside the paper's, at every step that there is a band for.

    The margin is half of the paper's own gap between its two methods at the step: a
    mean within it is nearer to its own method's value than to the other's. It *agrees*
    if two one-sided tests of Welch, each at 5 %, place the difference within the
    margin. Otherwise it *differs* if the two-sided test at 5 % says so, and nobody can
    *tell* if it does not.

    Args:
        runs: at least two of the method.
        path: of book/data/paper_figure4b.json.
        method: "qmix" or "qmix_cia".

    Returns:
        Env steps -> comparison.
    """
    theirs = readings(path, method)
    others = readings(path, OTHER[method])
    reached = min(run.metrics["env_steps"][-1] for run in runs)
    found = {}
    for step, reading in theirs.items():
        if step > reached:
            continue
        margin = abs(reading.mean - others[step].mean) / 2
        found[step] = judged(final_returns(runs, GROUP, at=step), reading, margin)
    return found


def judged(values: np.ndarray, reading: Reading, margin: float) -> Beside:
    """Values of runs beside a point of the paper.

    Args:
        values: [runs], one per run.
        reading: the paper's point.
        margin: a difference that would count as none.
    """
    ours = Moments(float(np.mean(values)), float(np.std(values, ddof=1)), len(values))
    test = welch(ours, Moments(reading.mean, reading.sd(), reading.seeds))
    inside = True
    for end in (margin - test.difference, margin + test.difference):
        # one-sided: half of both tails, where the difference lies on the right side
        tail = student_tails(end / test.error, test.degrees) / 2
        inside = inside and end > 0 and tail <= LEVEL
    verdict = "differs" if test.p <= LEVEL else "cannot tell"
    return Beside(reading, ours, test, margin, "agrees" if inside else verdict)


def mixture_mean(share: float, first: float, second: float) -> float:
    """The mean of teams of two kinds.

    Args:
        share: of the first kind.
        first: mean of the first kind.
        second: mean of the second kind.
    """
    return share * first + (1 - share) * second


def mixture_band(share: float, first: float, second: float, seeds: int) -> float:
    """Half of the 50 % bootstrap interval that a mean over both kinds would have.

    Args:
        share: of the first kind.
        first: mean of the first kind.
        second: mean of the second kind.
        seeds: how many teams the mean is over.
    """
    deviation = sqrt(share * (1 - share)) * abs(first - second)
    return NormalDist().inv_cdf(0.75) * deviation / sqrt(seeds)
