"""Why does a team sleep, again: what a reader or a class trains, how it is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ciabook.evidence import wake
from ciabook.evidence.own_turn import (
    CHECKED,
    TESTS,
    UNINFORMATIVE,
    WAITS,
    Outcome,
    check,
    judged,
)
from ciabook.page.replicate import CLASS, FULL, Plan, Replication, agreement
from ciabook.studies.own_turn import OWN_TURN_SEEDS, arms
from ciabook.studies.wake import CALIBRATION_SEEDS, WAKE_SEEDS
from ciacore.runtime.store import Run

PAIR = ("qmix", "fed")
REPLICATION = Replication(
    game="turn",
    plans={
        CLASS: Plan({arm: arms()[arm] for arm in PAIR}, seeds=10),
        FULL: Plan(arms(), seeds=len(OWN_TURN_SEEDS)),
    },
    used={*range(1, 21), *WAKE_SEEDS, *OWN_TURN_SEEDS, *CALIBRATION_SEEDS},
)
DECIDED = ("beats", "is beaten", "equal")


def own_outcome(runs: Mapping[str, Sequence[Run]]) -> Outcome:
    """What a reader's runs show, by the page's own rule.

    Args:
        runs: by arm, over the same seeds.
    """
    groups = {arm: list(group) for arm, group in runs.items() if group}
    checks = {}
    for arm in CHECKED:
        if arm in groups:
            checks[arm] = check(arm, groups[arm])._asdict()
    return judged(groups, checks)


def one_test(found: Outcome) -> str:
    """The verdict on the fed arm against QMIX, if that were the only test.

    Args:
        found: on the reader's runs.
    """
    test = TESTS[0]
    if found.verdicts[test] in (WAITS, UNINFORMATIVE):
        return found.verdicts[test]
    comparison = found.comparisons[test]
    return wake.verdict(comparison, comparison.p_value)


def side_by_side(book: Outcome, own: Outcome) -> dict[str, dict[str, str]]:
    """The reader's verdicts beside the book's: question -> what each says.

    A reader who trains two arms makes one test, and corrects it for none.

    Args:
        book: what the committed runs show.
        own: what the reader's show.
    """
    whole = set(own.runs) == set(arms())
    rows = {}
    for ours, theirs in TESTS if whole else TESTS[:1]:
        mine = own.verdicts[ours, theirs] if whole else one_test(own)
        book_says = book.verdicts[ours, theirs]
        word = agreement(book_says, mine, DECIDED)
        rows[f"{ours} against {theirs}"] = {
            "the book": book_says,
            "your runs": mine,
            "together": word,
        }
    return rows
