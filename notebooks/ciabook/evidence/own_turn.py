"""Does credit in the second agent's own turn wake a team? The rule as code.

The rule in words is book/rules/own_turn.md.

    python -m ciabook.evidence.own_turn calibrate RESULTS
        writes book/data/own_turn.json from the study `own_turn_calibration`; it looks
        at no return
    python -m ciabook.evidence.own_turn check RESULTS
        writes book/data/own_turn_checks.json; it looks at no return either
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ciabook.evidence import wake
from ciabook.evidence.statistics import holm
from ciabook.evidence.wake import Comparison, compare
from ciabook.evidence.wake_calibration import course, ends_at, loss_means, rounded
from ciabook.evidence.wake_checks import expected
from ciabook.studies.battles import DATA
from ciabook.studies.own_turn import (
    FILE,
    HELD_TO,
    IN_TURN,
    OWN_TURN_CALIBRATION,
    OWN_TURN_SEEDS,
    arms,
)
from ciabook.studies.wake import CALIBRATION_SEEDS
from ciacore.runtime.files import write_whole
from ciacore.runtime.sealed import is_kept
from ciacore.runtime.store import Run, load_run, run_folder

INTERVAL = 2_000  # env steps of one value of a course
NEAR = (0.9, 1.1)  # the held credit divided by its course ...
NEAR_OVER = (10_000, HELD_TO)  # ... at every evaluation from here to there
# what foretells sleep at 30,000 steps, as it parts the forty seeds of `qmix` in E1
TOLD_AT = 30_000
APART = 1.145  # a relative difference of credits above this
CHECKED = {"fed": IN_TURN[1], "starved": IN_TURN[1], "first": IN_TURN[0]}
# (our arm, expected to sleep less; their arm): the family of tests
TESTS = (("fed", "qmix"), ("fed", "first"), ("cia", "starved"))
CHECKS = DATA / "own_turn_checks.json"
WAITS, UNINFORMATIVE = "waits", "uninformative"


def runs_of(arm: str, results: Path) -> list[Run]:
    """The runs of an arm, in the order of its seeds; none where a seed is missing.

    Args:
        arm: its name.
        results: the folder of the runs.
    """
    config = arms()[arm]
    folders = [
        run_folder(results, "turn", config.method, seed) for seed in OWN_TURN_SEEDS
    ]
    if not all(is_kept(folder) for folder in folders):
        return []
    return [load_run(folder) for folder in folders]


# --------------------------------------------------------------------------------
# what the arms follow


def median_course(runs: Sequence[Run], name: str) -> list[float]:
    """The median over runs of the course of a logged credit, to `HELD_TO`.

    A mean would be that of two kinds of teams, and describe neither.

    Args:
        runs: of one method.
        name: of the logged credit.
    """
    found = [course([run], name, INTERVAL, HELD_TO) for run in runs]
    return [rounded(value) for value in np.median(found, axis=0)]


def calibrated(results: Path) -> dict[str, Any]:
    """The courses of both agents' credits in their own turns, of QMIX and QMIX(CIA).

    Args:
        results: the folder of the calibration runs.
    """
    courses = {}
    for config in OWN_TURN_CALIBRATION:
        runs = [
            load_run(run_folder(results, "turn", config.method, seed))
            for seed in CALIBRATION_SEEDS
        ]
        method = config.method.removesuffix("_turn_calibration")
        courses[method] = {name[-1]: median_course(runs, name) for name in IN_TURN}
    return {"interval": INTERVAL, "courses": courses}


# --------------------------------------------------------------------------------
# manipulation checks


class Check(NamedTuple):
    """Whether an arm held the credit that it was to hold."""

    passed: bool
    over_course: list[float]  # by evaluation: the credit divided by its course


def check(arm: str, runs: Sequence[Run]) -> Check:
    """Whether the held credit stayed within a tenth of its course, on average.

    Args:
        arm: a key of CHECKED.
        runs: all of its runs.
    """
    ratios = []
    for run in runs:
        means, _ = loss_means(run, CHECKED[arm])
        ratios.append(means / expected(run))
    due = ends_at(runs[0])
    first, last = NEAR_OVER
    found = np.mean(ratios, axis=0)[(due >= first) & (due <= last)]
    low, high = NEAR
    inside = bool(((found >= low) & (found <= high)).all())
    return Check(inside, [rounded(ratio) for ratio in found])


# --------------------------------------------------------------------------------
# the outcome


class Outcome(NamedTuple):
    """What the arms show so far."""

    runs: dict[str, list[Run]]  # of the arms that were read
    asleep: dict[str, Bool[np.ndarray, "seeds"]]
    comparisons: dict[tuple[str, str], Comparison]
    corrected: dict[tuple[str, str], float]  # by Holm over TESTS; a test that waits: 1
    verdicts: dict[tuple[str, str], str]


def outcome(results: Path, checks: Mapping[str, Any]) -> Outcome:
    """The teams of every arm that is complete and checked, and the verdicts.

    Args:
        results: the folder of the runs.
        checks: by arm, as committed.
    """
    runs, sleeping = {}, {}
    for arm in arms():
        found = [] if arm in CHECKED and arm not in checks else runs_of(arm, results)
        if found:
            runs[arm] = found
            sleeping[arm] = wake.asleep(found)
    failed = {arm for arm, found in checks.items() if not found["passed"]}
    comparisons, p_values = {}, {}
    for ours, theirs in TESTS:
        name = f"{ours} {theirs}"
        p_values[name] = 1.0
        if ours in sleeping and theirs in sleeping:
            comparison = compare(sleeping[ours], sleeping[theirs])
            comparisons[ours, theirs] = comparison
            if not failed & {ours, theirs}:
                p_values[name] = comparison.p_value
    corrected = holm(p_values)
    by_pair, verdicts = {}, {}
    for ours, theirs in TESTS:
        by_pair[ours, theirs] = corrected[f"{ours} {theirs}"]
        if failed & {ours, theirs}:
            verdicts[ours, theirs] = UNINFORMATIVE
        elif (ours, theirs) not in comparisons:
            verdicts[ours, theirs] = WAITS
        else:
            verdicts[ours, theirs] = wake.verdict(
                comparisons[ours, theirs], by_pair[ours, theirs]
            )
    return Outcome(runs, sleeping, comparisons, by_pair, verdicts)


def conclusions(found: Outcome) -> dict[str, bool | None]:
    """The two sentences of the rule: whether each is shown; None where it waits.

    Args:
        found: the outcome.
    """
    words = found.verdicts
    sentences = {
        "credit in the second agent's turn wakes": TESTS[:2],
        "CIA wakes through that credit": TESTS[2:],
    }
    shown: dict[str, bool | None] = {}
    for sentence, tests in sentences.items():
        if any(words[test] == WAITS for test in tests):
            shown[sentence] = None
        else:
            shown[sentence] = all(words[test] == "beats" for test in tests)
    return shown


def at_told(runs: Sequence[Run], name: str) -> Float[np.ndarray, "runs"]:
    """A logged quantity at 30,000 env steps, over the updates since 20,000.

    Args:
        runs: that evaluate every 10,000 steps.
        name: of the quantity.
    """
    found = []
    for run in runs:
        means, _ = loss_means(run, name)
        found.append(float(means[ends_at(run) == TOLD_AT][0]))
    return np.array(found)


def foretold(runs: Sequence[Run]) -> int:
    """How many runs sleep or wake as the relative difference at 30,000 foretells.

    Args:
        runs: that log it.
    """
    told = at_told(runs, "relative_difference") > APART
    return int((told == wake.asleep(runs)).sum())


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the courses, or the checks; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ciabook.evidence.own_turn")
    parser.add_argument("what", choices=["calibrate", "check"])
    parser.add_argument("results", type=Path, metavar="RESULTS")
    told = parser.parse_args(arguments)
    if told.what == "calibrate":
        file, facts = DATA / FILE, calibrated(told.results)
    else:
        file, facts = CHECKS, {}
        for arm in CHECKED:
            if runs := runs_of(arm, told.results):
                facts[arm] = check(arm, runs)._asdict()
    write_whole(file, json.dumps(facts, indent=1) + "\n")
    print(f"written: {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
