"""What wakes a team, again: what a reader or a class trains, and how it is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ciabook.evidence import wake
from ciabook.evidence.wake_checks import equaliser_check, noise_check, scale_check
from ciabook.evidence.wake_outcome import (
    NAMES,
    WAITS,
    Arm,
    Outcome,
    identity,
    judged,
    no_teams,
)
from ciabook.page.replicate import CLASS, FULL, Plan, Replication, agreement
from ciabook.studies.wake import CALIBRATION_SEEDS, QMIX_LOGGED, WAKE, WAKE_SEEDS
from ciacore.runtime.store import Run

PAIR = ("qmix", "cia")
REPLICATION = Replication(
    game="turn",
    plans={
        CLASS: Plan({arm: WAKE[arm] for arm in PAIR}, seeds=10),
        FULL: Plan({**WAKE, "qmix_logged": QMIX_LOGGED}, seeds=len(WAKE_SEEDS)),
    },
    used={*range(1, 21), *WAKE_SEEDS, *CALIBRATION_SEEDS},
)
DECIDED = ("beats", "is beaten", "equal", "matters", "does not matter")


def own_checks(runs: Mapping[str, Sequence[Run]]) -> dict[str, Any]:
    """The manipulation checks of a reader who trained the whole study.

    Args:
        runs: by arm; without the controls there are no checks to make.
    """
    found = {}
    if "equaliser" in runs:
        found["equaliser"] = equaliser_check(runs["equaliser"], runs["qmix_logged"])
        found["scale"] = scale_check(runs["scale"])
        found["noise"] = noise_check(runs["noise"])
    return {name: check._asdict() for name, check in found.items()}


def own_outcome(runs: Mapping[str, Sequence[Run]]) -> Outcome:
    """What a reader's runs show by the page's own rule.

    Args:
        runs: by arm, over the same seeds.
    """
    arms = {}
    for name in NAMES:
        group = list(runs.get(name, ()))
        arms[name] = no_teams(name, "waits for runs", 0)
        if group:
            sleeping, unclear = wake.asleep(group), wake.unclear(group)
            arms[name] = Arm(name, "read", len(group), group, sleeping, unclear)
    return judged(arms, own_checks(runs))


def one_test(found: Outcome) -> str:
    """The verdict on CIA against QMIX, if that were the only test.

    A reader who trains two arms makes one test, and corrects it for none.

    Args:
        found: on the reader's runs, or on the book's.
    """
    pair = ("cia", "qmix")
    if pair not in found.comparisons:
        return WAITS
    for name in pair:
        if name in found.fallen:
            return found.fallen[name]
    comparison = found.comparisons[pair]
    return wake.verdict(comparison, comparison.p_value)


def side_by_side(book: Outcome, own: Outcome) -> dict[str, dict[str, str]]:
    """The reader's verdicts beside the book's: question -> what each says.

    Args:
        book: what the committed runs show.
        own: what the reader's show.
    """
    whole = not own.waiting
    mine = own.verdicts["cia", "qmix"] if whole else one_test(own)
    told = {"CIA against QMIX": (book.verdicts["cia", "qmix"], mine)}
    if whole:
        told["identity"] = (identity(book), identity(own))
    rows = {}
    for question, (theirs, ours) in told.items():
        word = agreement(theirs, ours, DECIDED)
        rows[question] = {"the book": theirs, "your runs": ours, "together": word}
    return rows
