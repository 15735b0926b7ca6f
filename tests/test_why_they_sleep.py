"""The second agent's turn: courses, checks, verdicts, sentences, and the page."""

import json
from pathlib import Path

import nbformat
import numpy as np
import papermill
import pytest
from ciabook.evidence import own_turn
from ciabook.evidence.own_turn_replication import own_outcome, side_by_side
from ciabook.page.kernel import own_kernel
from ciabook.studies.own_turn import FILE, OWN_TURN_SEEDS, arms, raised
from ciabook.studies.study import find
from support.faults import refused
from support.wake import metrics_of, seal_arm

from ciacore.runtime.store import Run

ROOT = Path(__file__).resolve().parents[1]
PASSED = {name: {"passed": True} for name in own_turn.CHECKED}
EARLY = [
    {"seed": 1, "asleep": True, "credits": [[9.0, 1.0], [1.0, 0.3]], "stays": [1, 1]},
    {"seed": 2, "asleep": False, "credits": [[9.0, 2.0], [1.0, 3.0]], "stays": [1, 0]},
]


def made_up(arm: str, sleepers: int, seeds=OWN_TURN_SEEDS) -> list[Run]:
    """Runs of an arm of which the first so many sleep; nobody trained them."""
    config = {**arms(), **raised()}[arm]
    found = []
    for number, seed in enumerate(seeds):
        metrics = metrics_of(config, number < sleepers)
        found.append(Run(config, "turn", seed, metrics, {}, {}))
    return found


def shown(**sleepers: int):
    """The outcome where so many teams of each arm sleep."""
    return {arm: made_up(arm, count) for arm, count in sleepers.items()}


def test_the_arms_are_what_the_rule_says():
    study = find("own_turn")
    beside = find("own_turn_raised")
    assert [entry.seed for entry in beside] == [*OWN_TURN_SEEDS]
    assert {entry.config for entry in beside} == {*raised().values()}
    assert len(study) == 5 * 20 and {entry.seed for entry in study} == {
        *range(141, 161)
    }
    other_seeds = {
        entry.seed
        for name in ("turn", "rest", "wake", "wake_alpha", "wake_long", "maven_fair")
        for entry in find(name)
    }
    assert not other_seeds & {*OWN_TURN_SEEDS}
    every = {**arms(), **raised()}
    fields = {name: config.to_dict() for name, config in every.items()}
    courses = json.loads((ROOT / "book" / "data" / FILE).read_text())["courses"]
    for name, base, term, like, agent in (
        ("fed", "qmix", "turn_credit_1", "qmix_cia", "1"),
        ("first", "qmix", "turn_credit_0", "qmix_cia", "0"),
        ("starved", "cia", "turn_credit_1", "sleepers", "1"),
        ("raised", "qmix", "turn_credit_0", "first_raised", "0"),
    ):
        changed = {
            field: value
            for field, value in fields[name].items()
            if value != fields[base][field]
        }
        assert changed.pop("method") == f"{name}_turn"
        assert set(changed.pop("terms")) - set(fields[base]["terms"]) == {term}
        assert changed == {
            "control_coefficient": 1.0,
            "control_course": courses[like][agent],
            "control_interval": 2_000,
            "control_stop": 60_000,
        }


def test_a_course_is_a_median_and_not_that_of_two_kinds():
    runs = made_up("qmix", 0, range(3))
    for run, value in zip(runs, (1.0, 2.0, 9.0), strict=True):
        for entry in run.metrics["losses"]:
            entry["credit_in_turn_1"] = value
    found = own_turn.median_course(runs, "credit_in_turn_1")
    assert found == [2.0] * 30


def test_a_check_asks_for_a_tenth():
    for credit, passes in ((1.05, True), (1.2, False), (0.85, False)):
        runs = made_up("fed", 0)
        for run in runs:
            values = credit * np.nan_to_num(own_turn.expected(run))
            run.metrics["losses"] = [{"credit_in_turn_1": value} for value in values]
        check = own_turn.check("fed", runs)
        assert check.passed == passes and len(check.over_course) == 6


def test_verdicts_and_sentences():
    found = own_turn.judged(shown(qmix=13, cia=1, fed=1, first=12, starved=11), PASSED)
    assert set(found.verdicts.values()) == {"beats"}
    assert set(own_turn.conclusions(found).values()) == {True}
    text = " ".join(own_turn.answer(found, EARLY))
    assert "0.3 in the median team that will sleep, and 3.0 in one that" in text
    assert "parts QMIX's forty teams without an error" in text
    assert "13 of 20 sleep. Given that credit, 1 of 20 do." in text
    assert "the credit wakes teams" in text and "CIA does not wake them" in text

    found = own_turn.judged(shown(qmix=13, cia=1, fed=11, first=12, starved=2), PASSED)
    assert "beats" not in found.verdicts.values()
    assert set(own_turn.conclusions(found).values()) == {False}
    text = " ".join(own_turn.answer(found, EARLY))
    assert "that it wakes teams is not shown" in text
    assert "that CIA needs it is not shown" in text


def test_the_raised_arm_is_read_beside_the_family():
    family = shown(qmix=13, cia=1, fed=1, first=12, starved=11)
    without = own_turn.judged(family, PASSED)
    assert own_turn.beside(without) is None
    found = own_turn.judged({**family, **shown(raised=14)}, PASSED)
    assert own_turn.beside(found).only_theirs == 13
    assert found.corrected == without.corrected


def test_an_arm_that_failed_its_check_says_nothing():
    failed = {**PASSED, "fed": {"passed": False}}
    found = own_turn.judged(shown(qmix=13, cia=1, fed=1, first=12, starved=11), failed)
    assert found.verdicts["fed", "qmix"] == own_turn.UNINFORMATIVE
    assert found.corrected["fed", "qmix"] == 1
    assert "was not held as planned" in own_turn.answer(found, EARLY)[1]
    assert own_turn.conclusions(found)["CIA wakes through that credit"] is True


def test_what_waits_says_so():
    found = own_turn.judged(shown(qmix=13), {})
    assert set(found.verdicts.values()) == {own_turn.WAITS}
    assert set(own_turn.conclusions(found).values()) == {None}
    text = " ".join(own_turn.answer(found, EARLY))
    assert "waits for fresh runs" in text and "waits, too" in text
    assert set(own_turn.predictions(found).values()) == {None}
    # a small p-value stays small when the others come; a large one may not
    some = own_turn.judged(shown(qmix=13, fed=1, first=5), PASSED)
    assert some.verdicts["fed", "qmix"] == "beats"
    assert some.verdicts["fed", "first"] == own_turn.WAITS


def test_the_line_foretells():
    difference = np.array([0.5, 1.1, 1.2, 1.6])
    assert own_turn.told_right(difference, np.array([False, False, True, True])) == 4
    assert own_turn.told_right(difference, np.array([True, False, False, True])) == 2
    runs = made_up("qmix", 2, range(4))  # a difference of 0.5 foretells waking
    assert own_turn.foretold(runs) == 2
    assert own_turn.by_majority(np.array([True, False, False])) == 2
    found = own_turn.judged(shown(qmix=2, cia=1), {})
    assert list(own_turn.predictions(found).values()) == [True, False]


def test_runs_of_another_config_are_refused(tmp_path):
    seeds = tuple(OWN_TURN_SEEDS)
    other = arms()["fed"].but(control_course=(1.0,))
    seal_arm(tmp_path, other, (), seeds)
    refused(lambda: own_turn.runs_of("fed", tmp_path), "the Config of fed_turn")
    assert own_turn.runs_of("qmix", tmp_path) == []


def test_a_reader_with_two_arms_makes_one_test():
    seeds = range(5_001, 5_011)
    mine = own_outcome(
        {"qmix": made_up("qmix", 7, seeds), "fed": made_up("fed", 0, seeds)}
    )
    book = own_turn.judged(shown(qmix=13, cia=1, fed=1, first=12, starved=11), PASSED)
    # made-up credits do not follow their course
    assert mine.verdicts["fed", "qmix"] == own_turn.UNINFORMATIVE
    assert list(side_by_side(book, mine)) == ["fed against qmix"]
    checked = own_turn.judged(mine.runs, PASSED)
    rows = side_by_side(book, checked)
    assert rows["fed against qmix"]["together"] == "agrees"


@pytest.mark.parametrize("complete", [False, True])
def test_the_page(tmp_path, complete):
    if complete:
        counts = {"qmix": 13, "cia": 1, "fed": 1, "first": 12, "starved": 11}
        for arm, sleepers in counts.items():
            seeds = tuple(OWN_TURN_SEEDS)
            seal_arm(tmp_path / "results", arms()[arm], seeds[:sleepers], seeds)
        (tmp_path / "checks.json").write_text(json.dumps(PASSED))
    page = tmp_path / "page.ipynb"
    with own_kernel() as kernel:
        papermill.execute_notebook(
            str(ROOT / "notebooks" / "why_they_sleep.ipynb"),
            str(page),
            {
                "results": str(tmp_path / "results"),
                "checks": str(tmp_path / "checks.json"),
            },
            cwd=str(ROOT / "notebooks"),
            progress_bar=False,
            kernel_name=kernel,
        )
    text = ""
    for cell in nbformat.read(page, as_version=4).cells:
        for output in cell.get("outputs", []):
            text += output.get("text", "") + output.get("data", {}).get("text/html", "")
    assert "QMIX: 40 of 40 told right" in text
    if complete:
        assert "the credit wakes teams" in text and "does not wake them" in text
        assert "the line tells 26 of 40 right" in text and "came true: False" in text
    else:
        assert "waits for fresh runs" in text and "waiting: QMIX, fed" in text
        assert "it waits" in text
