"""The chapters on Turn, again: what a class trains, and the rules that judge it.

Five chapters share short runs of 250,000 env steps: what was trained for one of them is
read by the others. The rules are the chapters' own, as functions of arms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import log
from pathlib import Path
from typing import Any

import numpy as np

from ciabook.evidence import wake
from ciabook.evidence.beside_paper import beside
from ciabook.evidence.statistics import holm, rank_test, shift
from ciabook.page.plots import label_of
from ciabook.page.repeated import WAITS, Question
from ciabook.page.replicate import CLASS, FULL, Plan, Replication
from ciabook.studies.study import STUDIES
from ciabook.studies.turn import short_runs
from ciacore.methods import METHODS
from ciacore.runtime.store import Run

PAPER = Path(__file__).resolve().parents[3] / "book" / "data" / "paper_figure4b.json"
# every seed that the book has used, for whatever
USED = frozenset(entry.seed for study in STUDIES.values() for entry in study)
LEVEL = 0.05
JUDGED_AT = 200_000  # env steps at which a team is asleep or awake
CLASS_SEEDS = 6  # of two arms
ALL_STEPS = 120_000  # in which a class trains all fourteen methods once
NOT_SHOWN = "not shown"

Runs = Mapping[str, Sequence[Run]]
Numbers = Mapping[str, Any]  # arm -> [runs], one number per run
Measures = Mapping[str, Any]  # arm -> measure -> [runs]


def short(arms: Iterable[str], seeds: int) -> Plan:
    """Methods on Turn for 250,000 steps, under the names of the book's short runs.

    Args:
        arms: names in METHODS.
        seeds: of every method.
    """
    configs = {}
    for entry in short_runs(tuple(arms)):
        configs[entry.config.method.removesuffix("_rest")] = entry.config
    return Plan(configs, seeds)


def long(arms: Iterable[str], seeds: int) -> Plan:
    """Methods on Turn at the paper's length.

    Args:
        arms: names in METHODS.
        seeds: of every method.
    """
    return Plan({arm: METHODS[arm] for arm in arms}, seeds)


def cut(arms: Iterable[str], seeds: int, env_steps: int, name: str) -> Plan:
    """Methods on Turn for another length, under names of their own.

    Args:
        arms: names in METHODS.
        seeds: of every method.
        env_steps: how long.
        name: what is added to a method's name.
    """
    changes = {arm: {"method": f"{arm}_{name}", "env_steps": env_steps} for arm in arms}
    return Plan({arm: METHODS[arm].but(**each) for arm, each in changes.items()}, seeds)


def pair_of(*arms: str, full: Plan) -> Replication:
    """Two methods whose short runs a class trains.

    Args:
        arms: names in METHODS.
        full: the study.
    """
    return Replication("turn", {CLASS: short(arms, CLASS_SEEDS), FULL: full}, USED)


def all_methods() -> Replication:
    """Every method once."""
    names = tuple(METHODS)
    plans = {
        CLASS: cut(names, 1, ALL_STEPS, "120k"),
        FULL: cut(names, 2, 200_000, "200k"),
    }
    return Replication("turn", plans, USED)


# stem of the chapter's notebook -> what it trains
REPLICATIONS = {
    "turn_study": pair_of("qmix", "qmix_cia", full=long(METHODS, 5)),
    "fourteen_methods": all_methods(),
    "credits": pair_of("qmix", "qmix_cia", full=long(("qmix", "qmix_cia"), 3)),
    "kl_matrices": pair_of(
        "qmix", "qmix_rs", full=long(("qmix", "qmix_rs", "qmix_cia"), 5)
    ),
    "ablation_cc": pair_of(
        "qmix_cc", "qmix_cia", full=long(("qmix", "qmix_cc", "qmix_cia"), 5)
    ),
    "diversity": pair_of(
        "qmix_rs", "qmix", full=short(("qmix_rs", "qmix", "qmix_cia"), 20)
    ),
    "learning_curves": pair_of(
        "qmix", "qmix_cia", full=cut(("qmix", "qmix_cia"), 3, 1_000_000, "1m")
    ),
}
# the same -> minutes of its class budget on two cores, by the rates of `make bench`
MINUTES = {
    "turn_study": 14,
    "fourteen_methods": 12,
    "credits": 14,
    "kl_matrices": 15,
    "ablation_cc": 14,
    "diversity": 15,
    "learning_curves": 14,
}

# --------------------------------------------------------------------------------
# rules


SLEEPS = {
    "beats": "less often",
    "is beaten": "more often",
    "equal": "as often",
    "undecided": NOT_SHOWN,
}


def sleeps_less(ours: str, theirs: str) -> Question:
    """Which of two arms sleeps less often, by McNemar's test over shared seeds.

    A reader of two arms makes one test, and corrects it for none.

    Args:
        ours: the arm that is expected to sleep less.
        theirs: the other.
    """

    def rule(runs: Runs) -> str:
        asleep = [wake.asleep(runs[arm], at=JUDGED_AT) for arm in (ours, theirs)]
        comparison = wake.compare(*asleep)
        return SLEEPS[wake.verdict(comparison, comparison.p_value)]

    asks = f"How often does {label_of(ours)} sleep, beside {label_of(theirs)}?"
    return Question(
        asks, (ours, theirs), rule, ("less often", "more often", "as often")
    )


def sleep_words(runs: Runs, ours: str, others: Sequence[str]) -> dict[str, str]:
    """The same of the book's short runs, corrected by Holm over its comparisons.

    Args:
        runs: by arm, over the same seeds.
        ours: the arm that is expected to sleep less.
        others: it is compared with.

    Returns:
        The other arm -> the word; WAITS where runs are missing.
    """
    asleep = {arm: wake.asleep(runs[arm], at=JUDGED_AT) for arm in (ours, *others)}
    if len({len(found) for found in asleep.values()}) > 1 or not len(asleep[ours]):
        return dict.fromkeys(others, WAITS)
    compared = {arm: wake.compare(asleep[ours], asleep[arm]) for arm in others}
    corrected = holm({arm: each.p_value for arm, each in compared.items()})
    return {
        arm: SLEEPS[wake.verdict(each, corrected[arm])]
        for arm, each in compared.items()
    }


def beside_paper(method: str, env_steps: int) -> Question:
    """Whether a method's mean agrees with the paper's at a step, within the margin.

    Args:
        method: "qmix" or "qmix_cia".
        env_steps: a step that the paper has a point for.
    """

    def rule(runs: Runs) -> str:
        group = runs[method]
        if len(group) < 2:
            return WAITS
        found = beside(group, PAPER, method)
        if env_steps not in found:
            return WAITS
        return found[env_steps].verdict

    asks = f"{label_of(method)} beside the paper at {env_steps / 1e6:g} million steps?"
    return Question(asks, (method,), rule, ("agrees", "differs"))


def all_train() -> Question:
    """Whether every loss of every method stays a finite number."""

    def rule(runs: Runs) -> str:
        for group in runs.values():
            for losses in losses_of(group):
                if not np.isfinite(list(losses.values())).all():
                    return "not all train"
        return "all train"

    answers = ("all train", "not all train")
    return Question("Do all fourteen methods train?", tuple(METHODS), rule, answers)


def losses_of(runs: Sequence[Run]) -> list[dict[str, float]]:
    """The losses of every evaluation that follows an update.

    Args:
        runs: of one method.
    """
    return [losses for run in runs for losses in run.metrics["losses"] if losses]


def both_solved(*arms: str) -> Question:
    """Whether the contrast of every run ends below half of log 2.

    Args:
        arms: "qmix_cc" and "qmix_cia".
    """

    def rule(runs: Runs) -> str:
        for arm in arms:
            term = arm.removeprefix("qmix_")
            for run in runs[arm]:
                ends = [losses[term] for losses in run.metrics["losses"][-5:]]
                if np.mean(ends) > log(2) / 2:
                    return "not solved"
        return "solved"

    asks = "Do both losses end below half of log 2 in every run?"
    return Question(asks, arms, rule, ("solved", "not solved"))


def always_above(arm: str, chance: float, what: str) -> Question:
    """Whether a number of every network of an arm lies above chance.

    Args:
        arm: whose networks.
        chance: what no knowledge gives.
        what: the number is, in words.
    """

    def rule(numbers: Numbers) -> str:
        return "all above" if min(numbers[arm]) > chance else "not all above"

    asks = f"Does {what} of every network of {label_of(arm)} lie above chance?"
    return Question(asks, (arm,), rule, ("all above", "not all above"))


def higher(ours: str, theirs: str, what: str) -> Question:
    """Which of two arms has the higher number, by the exact test of ranks at 5 %.

    Args:
        ours: one arm.
        theirs: the other.
        what: the number is, in words.
    """

    def rule(numbers: Numbers) -> str:
        found = rank_test(numbers[ours], numbers[theirs])
        if found.p_value > LEVEL:
            return NOT_SHOWN
        return "higher" if 2 * found.above > found.pairs else "lower"

    asks = f"Is {what} of {label_of(ours)} higher than of {label_of(theirs)}?"
    return Question(asks, (ours, theirs), rule, ("higher", "lower"))


def rises(low: str, high: str, measure: str) -> Question:
    """Whether a measure rises from one arm to another, by an interval of 97.5 %.

    Args:
        low: the arm from which it is to rise.
        high: the arm to which.
        measure: its name.
    """

    def rule(found: Measures) -> str:
        moved = shift(*(np.array(found[arm][measure]) for arm in (high, low)), 0.975)
        if moved.low > 0:
            return "rises"
        return "falls" if moved.high < 0 else NOT_SHOWN

    asks = f'From {label_of(low)} to {label_of(high)}: does "{measure}" rise?'
    return Question(asks, (low, high), rule, ("rises", "falls"))


# stem of the chapter's notebook -> what it asks of runs
QUESTIONS = {
    "turn_study": [
        sleeps_less("qmix_cia", "qmix"),
        *(beside_paper(method, 2_000_000) for method in ("qmix", "qmix_cia")),
    ],
    "fourteen_methods": [all_train()],
    "credits": [
        always_above("qmix", 0.5, "the balanced score"),
        higher("qmix", "qmix_cia", "the balanced score"),
    ],
    "kl_matrices": [higher("qmix", "qmix_rs", "the relative difference of credits")],
    "ablation_cc": [
        both_solved("qmix_cc", "qmix_cia"),
        sleeps_less("qmix_cia", "qmix_cc"),
    ],
    "diversity": [
        rises(low, high, measure)
        for low, high in (("qmix_rs", "qmix"), ("qmix", "qmix_cia"))
        for measure in ("told apart", "divergence")
    ],
    "learning_curves": [
        beside_paper(method, env_steps)
        for method in ("qmix", "qmix_cia")
        for env_steps in (250_000, 500_000, 1_000_000)
    ],
}
