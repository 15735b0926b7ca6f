"""What wakes a team? The rule of the experiment, fixed before its first run.

It says who is asleep, which arms are compared, and how. The rule in words is
book/rules/what_wakes_a_team.md; this file is the code that applies it.

    python -m ciabook.evidence.wake     writes book/data/wake_predictions.json
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ciabook.evidence.final_returns import final_returns, last_evaluations
from ciabook.evidence.statistics import holm, mcnemar_exact, paired_difference_bound
from ciacore.runtime.files import write_whole
from ciacore.runtime.store import Run, read_runs
from ciacore.types import refuse

ROOT = Path(__file__).resolve().parents[3]
# share of greedy episodes that return exactly 0, from which on a team is asleep
ASLEEP = 0.5
WINDOW = 5  # evaluations that are looked at: the last 40,000 env steps of a run
TORN = (0.3, 0.7)  # a team with such a share of zeros ...
# ... that returns less than this on average is neither asleep nor awake: unclear
LOSING = -10.0
UNCLEAR = 0.25  # share of unclear teams above which an arm gets no verdict
LEVEL = 0.05  # of the whole family of tests
MARGIN = 0.15  # a difference of shares that counts as none

CREDIT_CONTROLS = ("permuted", "frozen", "equaliser", "scale", "noise")
EXPLORATION_OR_OPTIMISATION = (
    "one_layer",
    "epsilon_200k",
    "epsilon_end",
    "adam",
    "optimistic",
)
# trained to 350,000 env steps and compared with QMIX there
LATE = ("epsilon_200k", "cia_late")
AGAINST_QMIX = (
    "cia",
    "cc",
    "rs",
    "vdn",
    "gre",
    *CREDIT_CONTROLS,
    *EXPLORATION_OR_OPTIMISATION,
    "cia_early",  # CIA to 60,000 env steps only
    "cia_late",  # CIA from 100,000 env steps on
)
# with two agents one hypothesis, which CIA must beat in both forms
WITHOUT_IDENTITY = ("equaliser", "permuted")
CIA_AGAINST = (WITHOUT_IDENTITY, ("frozen",), ("scale",), ("noise",))


class Comparison(NamedTuple):
    """One arm, expected to sleep less, against another over the same seeds."""

    asleep: tuple[int, int]  # ours, theirs
    only_ours: int  # seeds that sleep in our arm alone
    only_theirs: int
    pairs: int
    p_value: float  # of McNemar's exact test, two-sided, uncorrected
    bound: float  # upper end of the one-sided 95 % interval of theirs - ours


def zero_share(
    runs: Sequence[Run], last: int = WINDOW, at: int | None = None
) -> Float[np.ndarray, "runs"]:
    """The share of greedy episodes that return exactly 0, at the end of every run.

    Args:
        runs: stored runs.
        last: how many evaluations count.
        at: env steps: the last evaluations until then, in the place of those of the
            whole run.

    Returns:
        [runs], from 0 to 1.

    Raises:
        InvalidInputError: a run has fewer evaluations.
    """
    return np.array([(returns == 0).mean() for returns in _returns(runs, last, at)])


def asleep(runs: Sequence[Run], at: int | None = None) -> Bool[np.ndarray, "runs"]:
    """Which teams are asleep: half or more of their greedy episodes return exactly 0.

    Args:
        runs: stored runs.
        at: env steps: the last evaluations until then.

    Returns:
        [runs]

    Raises:
        InvalidInputError: a run has fewer evaluations than are looked at.
    """
    return zero_share(runs, at=at) >= ASLEEP


def unclear(runs: Sequence[Run], at: int | None = None) -> Bool[np.ndarray, "runs"]:
    """Which teams are neither asleep nor awake: some zeros, and a loss otherwise.

    Args:
        runs: stored runs.
        at: env steps: the last evaluations until then.

    Returns:
        [runs]

    Raises:
        InvalidInputError: a run has fewer evaluations than are looked at.
    """
    low, high = TORN
    zeros = zero_share(runs, at=at)
    means = np.array([returns.mean() for returns in _returns(runs, WINDOW, at)])
    return (zeros >= low) & (zeros <= high) & (means < LOSING)


def _returns(
    runs: Sequence[Run], last: int, at: int | None
) -> list[Float[np.ndarray, "evaluations games"]]:
    """The returns of the last evaluations of every run."""
    found = []
    for run in runs:
        found.append(np.array(last_evaluations(run, last, at)))
    return found


def compare(
    ours: Bool[np.ndarray, "pairs"], theirs: Bool[np.ndarray, "pairs"]
) -> Comparison:
    """Two arms over the same seeds in the same order.

    Args:
        ours: [pairs], which teams are asleep in the arm expected to sleep less.
        theirs: [pairs], the same of the other arm.

    Raises:
        InvalidInputError: the arms have different numbers of seeds.
    """
    ours = np.asarray(ours, dtype=bool)
    theirs = np.asarray(theirs, dtype=bool)
    if ours.shape != theirs.shape or ours.ndim != 1:
        refuse(
            "theirs",
            f"{len(ours)} seeds, those of ours",
            theirs.shape,
            "Compare the same seeds.",
        )
    pairs = len(ours)
    only_ours = int((ours & ~theirs).sum())
    only_theirs = int((theirs & ~ours).sum())
    return Comparison(
        asleep=(int(ours.sum()), int(theirs.sum())),
        only_ours=only_ours,
        only_theirs=only_theirs,
        pairs=pairs,
        p_value=mcnemar_exact(only_ours, only_theirs),
        bound=paired_difference_bound(only_theirs, only_ours, pairs, 1 - LEVEL),
    )


def verdict(comparison: Comparison, corrected: float) -> str:
    """What a comparison shows, from our arm's side.

    Args:
        comparison: of two arms.
        corrected: its p-value, corrected for the family (`holm`).

    Returns:
        "beats", "is beaten", "equal" or "undecided".
    """
    if corrected <= LEVEL:
        return "beats" if comparison.only_theirs > comparison.only_ours else "is beaten"
    return "equal" if comparison.bound < MARGIN else "undecided"


def family(
    shown: Mapping[str, Bool[np.ndarray, "seeds"]],
) -> dict[tuple[str, str], Comparison]:
    """All comparisons of the rule for which both arms are there.

    Args:
        shown: arm -> [seeds], which of its teams are asleep; "qmix_late" is QMIX at
            350,000 env steps.

    Returns:
        (our arm, their arm) -> comparison.
    """
    found = {}
    for arm in AGAINST_QMIX:
        base = "qmix_late" if arm in LATE else "qmix"
        if arm in shown and base in shown:
            found[arm, base] = compare(shown[arm], shown[base])
    for controls in CIA_AGAINST:
        for control in controls:
            if control in shown and "cia" in shown:
                found["cia", control] = compare(shown["cia"], shown[control])
    # asked only whether they do as well as CIA (their share asleep minus that of CIA):
    # no test of the family
    for arm in EXPLORATION_OR_OPTIMISATION:
        if arm in shown and "cia" in shown:
            found["cia", arm] = compare(shown["cia"], shown[arm])
    return found


def family_p_values(
    comparisons: Mapping[tuple[str, str], Comparison],
    fallen: Collection[str] = (),
) -> dict[str, float]:
    """The p-values of the family, uncorrected.

    The family holds every arm against QMIX, and CIA against four kinds of control. The
    equaliser and the permuted identities are one hypothesis: CIA must beat each, so the
    larger p-value counts. A test that falls away keeps its place, with p = 1.

    Args:
        comparisons: of the arms that have been run.
        fallen: arms that are unclear or uninformative.
    """
    p_values = {}
    for (arm, base), comparison in comparisons.items():
        if base in ("qmix", "qmix_late"):
            p_values[arm] = 1.0 if arm in fallen else comparison.p_value
    for controls in CIA_AGAINST:
        run = [control for control in controls if ("cia", control) in comparisons]
        counted = [
            comparisons["cia", control].p_value
            for control in run
            if control not in fallen
        ]
        if run:
            name = "cia against " + " and ".join(controls)
            p_values[name] = max(counted, default=1.0)
    return p_values


def corrected(
    comparisons: Mapping[tuple[str, str], Comparison], fallen: Collection[str] = ()
) -> dict[str, float]:
    """The p-values of the family, corrected by Holm.

    Args:
        comparisons: of the arms that have been run.
        fallen: arms that are unclear or uninformative.
    """
    return holm(family_p_values(comparisons, fallen))


# asleep at 200,000 env steps among seeds 1-20 of the study `rest`
SHARES = {"qmix": 10 / 20, "qmix_cia": 2 / 20}


def predictions(
    results: Path, seeds: Sequence[int] = (10, 15), samples: int = 100_000
) -> dict[str, Any]:
    """What the full-length seeds of E2 should show, foretold from published runs.

    Every team is taken to be asleep or awake, and to end as its kind does.

    Args:
        results: the published runs, whose full-length QMIX and QMIX(CIA) teams say how
            either kind ends.
        seeds: how many, for each of which an interval is given.
        samples: how often the seeds are drawn.

    Returns:
        The 95 % interval of how many are asleep and of the mean final return, by method
        and number of seeds.
    """
    runs = read_runs(results, "turn", ["qmix", "qmix_cc", "qmix_cia", "qmix_cia_exact"])
    every = [run for group in runs.values() for run in group]
    sleeps = asleep(every, at=200_000)
    ends = final_returns(every)
    rng = np.random.default_rng(0)
    middle = [0.025, 0.975]
    found = {}
    for method, share in SHARES.items():
        for n in seeds:
            sleeping = rng.random((samples, n)) < share
            of_sleepers = rng.choice(ends[sleeps], sleeping.shape)
            of_others = rng.choice(ends[~sleeps], sleeping.shape)
            means = np.where(sleeping, of_sleepers, of_others).mean(1)
            counts = sleeping.sum(1)
            whole = np.quantile(counts, middle, method="closest_observation")
            found[f"{method}, {n} seeds"] = {
                "asleep": whole.tolist(),
                "mean return": np.quantile(means, middle).round(1).tolist(),
            }
    kinds = {
        "asleep": ends[sleeps].round(1).tolist(),
        "awake": ends[~sleeps].round(1).tolist(),
    }
    return {"shares": SHARES, "ends": kinds, "intervals": found}


def main() -> None:
    """Writes the predictions of E2."""
    found = predictions(ROOT / "book" / "results" / "study")
    file = ROOT / "book" / "data" / "wake_predictions.json"
    write_whole(file, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
