"""What the study of right credits decides: fates, tests, verdicts.

The rule in words is book/rules/right_credits.md; this file is the code that applies it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import nan, sqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ciabook.evidence.final_returns import final_returns
from ciabook.evidence.right_credits import EVERY
from ciabook.evidence.statistics import holm, sign_flips, student_tails
from ciabook.evidence.wake import asleep
from ciacore.runtime.store import Run, load_run
from ciacore.types import refuse

AT = 200_000  # env steps at which teams are judged
JUDGED = (160_000, 200_000)  # whose networks make a run's score
SEEDS = range(201, 211)
LEVEL = 0.05  # of the whole family of tests
FEWEST_PAIRS = 8
MEAL = 10.0  # points; also a difference of returns that counts as none
SHARE = 0.1  # a difference of hit scores that counts as none
TOO_MANY = 9  # of ten teams that are not awake: return says nothing of learning
# test: the number of agents it is about, and the margin of "equal"
TESTS = {
    "right, K = 3": (3, SHARE),
    "right, K = 6": (6, SHARE),
    "learning, K = 3": (3, MEAL),
    "learning, K = 6": (6, MEAL),
    "growth": (None, None),
}
WORDS = {  # kind of test: (in CIA's favour, against it)
    "right": ("more right", "less right"),
    "learning": ("better", "worse"),
    "growth": ("grows", "shrinks"),
}


class Difference(NamedTuple):
    """QMIX(CIA) minus QMIX over pairs of seeds."""

    pairs: int
    mean: float
    p_value: float  # of `sign_flips`, two-sided, uncorrected; 1 with too few pairs
    equal_p: float  # the larger of two one-sided t-tests against the margin


def found_runs(results: Path, game: str, method: str) -> dict[int, Run]:
    """The runs that are there, by seed; metrics only.

    Args:
        results: the folder of all runs.
        game: its name.
        method: its name.
    """
    folders = sorted((results / game / method).glob("seed_*"))
    return {run.seed: run for run in map(load_run, folders)}


def found_scores(results: Path, game: str, method: str) -> dict[int, list[dict]]:
    """The scores that are there, by seed: a row per network along training.

    Args:
        results: the folder of all runs.
        game: its name.
        method: its name.
    """
    files = sorted((results / "scores" / game / method).glob("seed_*.json"))
    read = [json.loads(file.read_text()) for file in files]
    return {each["seed"]: each["rows"] for each in read}


def final_score(rows: Sequence[Mapping[str, Any]], name: str = "hit") -> float:
    """A run's score: the mean over its networks at the judgement.

    Args:
        rows: its scores along training.
        name: of the score.

    Returns:
        nan where one of these networks has none.
    """
    wanted = [at // EVERY for at in JUDGED]
    values = [row[name] for row in rows if row["env_steps"] // EVERY in wanted]
    if len(values) < len(JUDGED) or None in values:
        return nan
    return float(np.mean(values))


def fate(run: Run, at: int = AT) -> str:
    """Whether a team is asleep, lost or awake.

    Args:
        run: whose evaluations are asked.
        at: env steps: the last evaluations until then.
    """
    if asleep([run], at=at)[0]:
        return "asleep"
    return "awake" if final_returns([run], at=at)[0] > 0 else "lost"


def difference(
    ours: Mapping[int, float], theirs: Mapping[int, float], margin: float | None
) -> Difference:
    """Our arm against theirs over the seeds that both have.

    Args:
        ours: by seed; nan where there is no score.
        theirs: the same of the other arm.
        margin: a difference that counts as none; None where none is asked.
    """
    seeds = [seed for seed in sorted(ours) if seed in theirs]
    found = np.array([ours[seed] - theirs[seed] for seed in seeds], np.float64)
    found = found[~np.isnan(found)]
    enough = len(found) >= FEWEST_PAIRS
    return Difference(
        pairs=len(found),
        mean=float(found.mean()) if len(found) else nan,
        p_value=sign_flips(found) if enough else 1.0,
        equal_p=within(found, margin) if enough and margin is not None else 1.0,
    )


def within(differences: Float[np.ndarray, "pairs"], margin: float) -> float:
    """The larger p-value of two one-sided t-tests of a mean against plus, minus margin.

    Args:
        differences: of pairs.
        margin: a difference that counts as none.
    """
    mean = differences.mean()
    error = differences.std(ddof=1) / sqrt(len(differences))
    room = margin - abs(mean)
    if error == 0:
        return 0.0 if room > 0 else 1.0
    both_tails = student_tails(float(room / error), float(len(differences) - 1))
    return both_tails / 2 if room > 0 else 1 - both_tails / 2


def family(
    hit: Mapping[int, Mapping[str, Mapping[int, float]]],
    returns: Mapping[int, Mapping[str, Mapping[int, float]]],
) -> dict[str, Difference]:
    """The five tests of the rule.

    Args:
        hit: K -> method -> seed -> the run's hit score.
        returns: K -> method -> seed -> its mean return at the judgement.
    """
    found = {}
    for name, (agents, margin) in TESTS.items():
        if agents is not None:
            source = hit if name.startswith("right") else returns
            arms = source[agents]
            found[name] = difference(arms["qmix_cia"], arms["qmix"], margin)
    effects = {}
    for agents in (3, 6):
        ours, theirs = returns[agents]["qmix_cia"], returns[agents]["qmix"]
        shared = [seed for seed in ours if seed in theirs]
        effects[agents] = {seed: ours[seed] - theirs[seed] for seed in shared}
    found["growth"] = difference(effects[6], effects[3], None)
    return found


def corrected(found: Mapping[str, Difference]) -> dict[str, float]:
    """The p-values of the family, corrected by Holm.

    Args:
        found: the five tests.
    """
    return holm({name: each.p_value for name, each in found.items()})


def verdict(name: str, found: Difference, p: float) -> str:
    """What a test shows.

    Args:
        name: of the test, a key of TESTS.
        found: its difference.
        p: its p-value, corrected.
    """
    in_favour, against = WORDS[name.split(",")[0]]
    if p <= LEVEL:
        return in_favour if found.mean > 0 else against
    return "equal" if found.equal_p <= LEVEL else "undecided"


def answers(
    verdicts: Mapping[str, str], awake: Mapping[int, Mapping[str, int]]
) -> tuple[str, str]:
    """The answers to both questions.

    Args:
        verdicts: of the five tests.
        awake: K -> method -> how many of the ten teams are awake.

    Returns:
        The answer to "more right?", which is yes, no or open, and the one to "grows?",
        which is grows, shrinks or open.
    """
    right = [verdicts["right, K = 3"], verdicts["right, K = 6"]]
    first = "open"
    if right == ["more right"] * 2:
        first = "yes"
    elif set(right) <= {"equal", "less right"}:
        first = "no"
    few = len(SEEDS) - TOO_MANY
    silent = any(
        awake[agents]["qmix"] <= few and awake[agents]["qmix_cia"] <= few
        for agents in (3, 6)
    )
    grows = verdicts["growth"]
    second = "open" if silent or grows not in WORDS["growth"] else grows
    return first, second


def measure_holds(runs: Sequence[Run]) -> bool:
    """Whether all teams asleep at the judgement end below one meal.

    Args:
        runs: the long ones.

    Raises:
        InvalidInputError: there are none.
    """
    if len(runs) == 0:
        refuse("runs", "long runs", "none", "Train right_credits_long.")
    sleeping = [run for run in runs if fate(run) == "asleep"]
    return all(end < MEAL for end in final_returns(sleeping)) if sleeping else True


def complete(by_seed: Mapping[int, float]) -> bool:
    """Whether all seeds of the study are there, with or without a score."""
    return set(by_seed) >= set(SEEDS)
