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

from ciabook.evidence import wake, wake_checks, wake_outcome
from ciabook.evidence.statistics import holm
from ciabook.evidence.wake import Comparison, compare
from ciabook.evidence.wake_calibration import (
    course,
    ends_at,
    loss_means,
    over,
    rounded,
)
from ciabook.evidence.wake_checks import expected
from ciabook.studies.battles import DATA
from ciabook.studies.own_turn import (
    FILE,
    HELD_TO,
    IN_TURN,
    OWN_TURN_CALIBRATION,
    OWN_TURN_SEEDS,
    arms,
    raised,
)
from ciabook.studies.wake import CALIBRATION_SEEDS, QMIX_LOGGED, WAKE_SEEDS
from ciacore.runtime.files import write_whole
from ciacore.runtime.sealed import is_kept
from ciacore.runtime.store import Run, load_run, run_folder

INTERVAL = 2_000  # env steps of one value of a course
NEAR = (0.9, 1.1)  # the held credit divided by its course ...
NEAR_OVER = (10_000, HELD_TO)  # ... at every evaluation from here to there
# what foretells sleep at 30,000 steps, as it parts the forty seeds of `qmix` in E1
TOLD_AT = 30_000
APART = 1.145  # a relative difference of credits above this
CHECKED = {
    "fed": IN_TURN[1],
    "starved": IN_TURN[1],
    "first": IN_TURN[0],
    "raised": IN_TURN[0],
}
# (our arm, expected to sleep less; their arm): the family of tests
TESTS = (("fed", "qmix"), ("fed", "first"), ("cia", "starved"))
BESIDE = ("fed", "raised")  # read beside the family, with its own p-value
CHECKS = DATA / "own_turn_checks.json"
WAITS, UNINFORMATIVE = "waits", "uninformative"
# as a table and a sentence call an arm
NAMES = {
    "qmix": "QMIX",
    "fed": "fed",
    "first": "first held",
    "raised": "first raised",
    "cia": "QMIX(CIA)",
    "starved": "starved",
}
# as a figure calls it, for readers who do not know these names
TOLD = {
    "qmix": "QMIX",
    "fed": "QMIX, agent 1 given credit",
    "first": "QMIX, agent 0's credit as CIA's",
    "raised": "QMIX, agent 0 given credit",
    "cia": "QMIX(CIA)",
    "starved": "QMIX(CIA), agent 1's credit taken",
}
# arms of *What wakes a team?* that logged the difference at 30,000 steps
LOGGED_IN_E1 = ("noise", "permuted", "equaliser", "scale")


def runs_of(arm: str, results: Path) -> list[Run]:
    """The runs of an arm, in the order of its seeds; none where a seed is missing.

    Args:
        arm: its name.
        results: the folder of the runs.

    Raises:
        InvalidInputError: a run is damaged, or has another Config.
    """
    config = {**arms(), **raised()}[arm]
    folders = [
        run_folder(results, "turn", config.method, seed) for seed in OWN_TURN_SEEDS
    ]
    if not all(is_kept(folder) for folder in folders):
        return []
    return wake_checks.runs_of(results, config, OWN_TURN_SEEDS)


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
    """The courses of both agents' credits in their own turns.

    That of CIA is over all seeds of calibration, that of sleepers over those seeds of
    QMIX whose relative difference at 30,000 steps lies above the line.

    Args:
        results: the folder of the calibration runs.
    """
    groups = {}
    for config in OWN_TURN_CALIBRATION:
        method = config.method.removesuffix("_turn_calibration")
        groups[method] = [
            load_run(run_folder(results, "turn", config.method, seed))
            for seed in CALIBRATION_SEEDS
        ]
    before = TOLD_AT - 10_000
    sleepers = [
        run
        for run in groups["qmix"]
        if over(run, "relative_difference", before, TOLD_AT) > APART
    ]
    courses = {}
    for like, runs in (("qmix_cia", groups["qmix_cia"]), ("sleepers", sleepers)):
        courses[like] = {name[-1]: median_course(runs, name) for name in IN_TURN}
    # as much credit as `fed` adds for agent 1, added for agent 0
    added = zip(
        courses["sleepers"]["0"],
        courses["qmix_cia"]["1"],
        courses["sleepers"]["1"],
        strict=True,
    )
    courses["first_raised"] = {
        "0": [rounded(first + more - less) for first, more, less in added]
    }
    seeds = [run.seed for run in sleepers]
    return {"interval": INTERVAL, "sleepers": seeds, "courses": courses}


# --------------------------------------------------------------------------------
# manipulation checks


class Check(NamedTuple):
    """Whether an arm held the credit that it was to hold."""

    passed: bool
    # by evaluation, the credit divided by its course: mean over seeds, least and most
    over_course: list[float]
    least: list[float]
    most: list[float]


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
    asked = np.array(ratios)[:, (due >= first) & (due <= last)]
    low, high = NEAR
    means = asked.mean(0)
    inside = bool(((means >= low) & (means <= high)).all())
    kinds = (means, asked.min(0), asked.max(0))
    return Check(inside, *[[rounded(ratio) for ratio in kind] for kind in kinds])


# --------------------------------------------------------------------------------
# the outcome


class Outcome(NamedTuple):
    """What the arms show so far."""

    runs: dict[str, list[Run]]  # of the arms that were read
    asleep: dict[str, Bool[np.ndarray, "seeds"]]
    unclear: dict[str, Bool[np.ndarray, "seeds"]]  # shown; they count by their share
    comparisons: dict[tuple[str, str], Comparison]
    corrected: dict[tuple[str, str], float]  # by Holm over TESTS; a test that waits: 1
    verdicts: dict[tuple[str, str], str]


def outcome(results: Path, checks: Mapping[str, Any]) -> Outcome:
    """The teams of every arm that is complete and checked, and the verdicts.

    Args:
        results: the folder of the runs.
        checks: by arm, as committed.
    """
    runs = {}
    for arm in (*arms(), *raised()):
        found = [] if arm in CHECKED and arm not in checks else runs_of(arm, results)
        if found:
            runs[arm] = found
    return judged(runs, checks)


def judged(runs: Mapping[str, list[Run]], checks: Mapping[str, Any]) -> Outcome:
    """The verdicts on arms that may be read.

    While a test waits, its p-value is 1. So *beats* is never taken back, and the other
    words wait with it.

    Args:
        runs: by arm, over the same seeds; the others wait.
        checks: by arm.
    """
    sleeping = {arm: wake.asleep(group) for arm, group in runs.items()}
    torn = {arm: wake.unclear(group) for arm, group in runs.items()}
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
            word = wake.verdict(comparisons[ours, theirs], by_pair[ours, theirs])
            told = word in ("beats", "is beaten") or len(comparisons) == len(TESTS)
            verdicts[ours, theirs] = word if told else WAITS
    return Outcome(dict(runs), sleeping, torn, comparisons, by_pair, verdicts)


def beside(found: Outcome) -> Comparison | None:
    """The comparison that is read beside the family; None where it waits.

    Args:
        found: the outcome.
    """
    if not {*BESIDE} <= set(found.asleep):
        return None
    ours, theirs = BESIDE
    return compare(found.asleep[ours], found.asleep[theirs])


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


def at(runs: Sequence[Run], name: str, env_steps: int) -> Float[np.ndarray, "runs"]:
    """A logged quantity at an evaluation, over the updates since the one before.

    Args:
        runs: stored runs.
        name: of the quantity.
        env_steps: at which the evaluation was due.
    """
    found = []
    for run in runs:
        means, _ = loss_means(run, name)
        found.append(float(means[ends_at(run) == env_steps][0]))
    return np.array(found)


def at_told(runs: Sequence[Run], name: str) -> Float[np.ndarray, "runs"]:
    """A logged quantity at 30,000 env steps, over the updates since 20,000.

    Args:
        runs: that evaluate every 10,000 steps.
        name: of the quantity.
    """
    return at(runs, name, TOLD_AT)


def foretold(runs: Sequence[Run]) -> int:
    """How many runs sleep or wake as the relative difference at 30,000 foretells.

    Args:
        runs: that log it.
    """
    return told_right(at_told(runs, "relative_difference"), wake.asleep(runs))


def by_majority(sleeps: Bool[np.ndarray, "teams"]) -> int:
    """How many teams are told right by who says of all what most of them are.

    Args:
        sleeps: who sleeps in the end.
    """
    return int(max(sleeps.sum(), (~sleeps).sum()))


NEEDED = 36  # of forty fresh teams, that the line must tell right


def predictions(found: Outcome) -> dict[str, bool | None]:
    """What the rule foretold: whether each came true; None where it waits.

    Args:
        found: the outcome.
    """
    names = {
        f"the line tells at least {NEEDED} of the forty right": None,
        "CIA's median difference at 30,000 steps is the smaller one": None,
    }
    shown: dict[str, bool | None] = dict(names)
    if {"qmix", "cia"} <= set(found.runs):
        qmix, cia = found.runs["qmix"], found.runs["cia"]
        medians = [
            np.median(at_told(group, "relative_difference")) for group in (qmix, cia)
        ]
        came = (foretold([*qmix, *cia]) >= NEEDED, bool(medians[1] < medians[0]))
        shown = dict(zip(names, came, strict=True))
    return shown


def logged_in_e1(
    results: Path,
) -> dict[str, tuple[Float[np.ndarray, "teams"], Bool[np.ndarray, "teams"]]]:
    """Teams of *What wakes a team?* at 30,000 steps, and what became of them.

    Args:
        results: the folder of its runs.

    Returns:
        Name of the arm -> the relative difference at 30,000 steps, and who sleeps; of
        the arms that logged it and were read.
    """
    whole = wake_outcome.outcome(results, wake_outcome.committed_checks())
    found = {}
    for arm in ("qmix", *LOGGED_IN_E1):
        if arm in whole.waiting:
            continue
        runs = whole.arms[arm].runs
        if arm == "qmix":  # its credits were logged when its seeds were trained again
            runs = wake_checks.runs_of(results, QMIX_LOGGED, WAKE_SEEDS)
        difference = at_told(runs, "relative_difference")
        found[wake_outcome.NAMES[arm]] = (difference, whole.arms[arm].asleep)
    return found


def mean_credits(
    results: Path,
) -> tuple[Float[np.ndarray, "teams"], Bool[np.ndarray, "teams"]]:
    """The mean credit of QMIX's forty teams at 30,000 steps, and who sleeps.

    Args:
        results: the folder of the runs of *What wakes a team?*.
    """
    whole = wake_outcome.outcome(results, wake_outcome.committed_checks())
    runs = wake_checks.runs_of(results, QMIX_LOGGED, WAKE_SEEDS)
    return at_told(runs, "mean_credit"), whole.arms["qmix"].asleep


def told_right(
    difference: Float[np.ndarray, "teams"], sleeps: Bool[np.ndarray, "teams"]
) -> int:
    """How many teams sleep or wake as the line of the rule says.

    Args:
        difference: the relative difference of credits at 30,000 steps.
        sleeps: who sleeps in the end.
    """
    return int(((difference > APART) == sleeps).sum())


# --------------------------------------------------------------------------------
# in sentences


def answer(found: Outcome, early: Sequence[Mapping[str, Any]]) -> list[str]:
    """The answer in three sentences, from verdicts and numbers alone.

    Args:
        found: the outcome.
        early: the rows of `early_credits`.
    """
    credit = {
        kind: [row["credits"][1][1] for row in early if row["asleep"] == kind]
        for kind in (True, False)
    }
    apart = max(credit[True]) < min(credit[False])
    whose = (
        "Its second agent goes without credit in its own turn. At 30,000 steps that "
        f"credit is {np.median(credit[True]):.1f} in the median team that will sleep, "
        f"and {np.median(credit[False]):.1f} in one that will wake"
    )
    seen = "; it parts QMIX's forty teams without an error." if apart else "."
    return [whose + seen, of_fed(found), of_starved(found)]


def count(found: Outcome, arm: str) -> str:
    """How many teams of an arm sleep.

    Args:
        found: the outcome.
        arm: one that was read.
    """
    return f"{found.asleep[arm].sum()} of {len(found.asleep[arm])}"


def of_fed(found: Outcome) -> str:
    """What the two fed arms show."""
    words = {test: found.verdicts[test] for test in TESTS[:2]}
    if WAITS in words.values():
        return "Whether that credit wakes a team waits for fresh runs."
    if UNINFORMATIVE in words.values():
        return "A credit was not held as planned, so whether it wakes a team is open."
    told = (
        f"Of QMIX's teams {count(found, 'qmix')} sleep. Given that credit, "
        f"{count(found, 'fed')} do. Holding the first agent's credit at CIA's course "
        f"instead leaves {count(found, 'first')} asleep"
    )
    shown = conclusions(found)["credit in the second agent's turn wakes"]
    end = "the credit wakes teams." if shown else "that it wakes teams is not shown."
    return f"{told}: {end}"


def of_starved(found: Outcome) -> str:
    """What the starved arm shows."""
    word = found.verdicts[TESTS[2]]
    if word == WAITS:
        return "Whether CIA wakes teams without it waits, too."
    if word == UNINFORMATIVE:
        return "Whether CIA wakes teams without it is open: it was not held as planned."
    told = (
        f"Of QMIX(CIA)'s teams {count(found, 'cia')} sleep, and "
        f"{count(found, 'starved')} where that credit is taken away"
    )
    if conclusions(found)["CIA wakes through that credit"]:
        return f"{told}: without it CIA does not wake them."
    return f"{told}: that CIA needs it is not shown."


def read_checks(file: Path) -> dict[str, Any]:
    """The manipulation checks by arm; none where the file is not there.

    Args:
        file: where they are committed.
    """
    return json.loads(file.read_text()) if file.is_file() else {}


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
