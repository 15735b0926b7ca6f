"""The verdicts of the wake study and its sentences, on arms made by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from ciabook.evidence import wake_outcome
from ciabook.evidence.wake import compare
from ciabook.evidence.wake_checks import ARMS
from ciabook.evidence.wake_outcome import (
    NAMES,
    WAITS,
    Arm,
    answer,
    as_well_as_cia,
    chance_to_tell,
    committed_checks,
    foretold,
    identity,
    judged,
    name_of_test,
    outcome,
    pairs,
)
from ciabook.studies.wake import WAKE, WAKE_SEEDS
from support.wake import seal_arm

from ciacore.types import InvalidInputError

PASSED = {arm: {"passed": True, "shown": {}} for arm in ARMS}
# how many teams sleep; the first so many seeds, so that arms share their sleepers
IDENTITY = {
    "qmix": 20,
    "qmix_late": 20,
    "cia": 2,
    "equaliser": 20,
    "permuted": 21,
    "noise": 22,
    "epsilon_200k": 20,
    "cia_late": 20,
    "cia_early": 2,
}


def arm(name: str, sleepers: int | None, unclear: int = 0) -> Arm:
    """An arm whose first seeds sleep; None: one that waits."""
    none = np.zeros(0, dtype=bool)
    if sleepers is None:
        return Arm(name, "waits for runs", 7, [], none, none)
    seeds = np.arange(40)
    return Arm(name, "read", 40, [], seeds < sleepers, seeds >= 40 - unclear)


def found(checks=PASSED, default: int | None = 20, unclear=(), **sleepers):
    every = {name: sleepers.get(name, default) for name in NAMES}
    arms = {
        name: arm(name, count, 11 if name in unclear else 0)
        for name, count in every.items()
    }
    return judged(arms, checks)


def test_the_arms_are_those_of_the_study():
    assert set(NAMES) == set(WAKE)


def test_the_family_is_that_of_the_rule():
    names = {name for pair in pairs() if (name := name_of_test(*pair)) is not None}
    assert len(names) == 21
    assert name_of_test("cia", "one_layer") is None
    assert name_of_test("epsilon_200k", "qmix_late") == "epsilon_200k"
    assert name_of_test("cia", "permuted") == "cia against equaliser and permuted"


def test_identity_matters_where_cia_beats_all_three():
    shown = found(**IDENTITY)
    assert shown.verdicts["cia", "qmix"] == "beats"
    assert identity(shown) == "matters"
    assert "identity matters: CIA beats equaliser" in answer(shown)[2]
    # one of the three does as well
    assert identity(found(**{**IDENTITY, "noise": 2})) == "open"
    assert identity(found(**{**IDENTITY, "permuted": 2})) == "open"


def test_identity_does_not_matter_where_controls_do_as_well():
    shown = found(**{**IDENTITY, "noise": 2, "permuted": 2})
    assert identity(shown) == "does not matter"
    sentence = answer(shown)[2]
    assert "permuted identities and noise do as well as CIA" in sentence
    beaten = found(**{**IDENTITY, "cia": 20, "noise": 1, "equaliser": 1})
    assert beaten.verdicts["cia", "noise"] == "is beaten"
    assert identity(beaten) == "does not matter"


def test_an_uninformative_arm_never_counts_as_no_effect():
    failed = {**PASSED, "equaliser": {"passed": False, "shown": {}}}
    shown = found(failed, **IDENTITY)
    assert shown.verdicts["equaliser", "qmix"] == "uninformative"
    assert shown.verdicts["cia", "equaliser"] == "uninformative"
    assert shown.corrected["equaliser"] == 1
    # the other of the pair stands alone
    assert identity(shown) == "matters"
    assert "(equaliser without a verdict)" in answer(shown)[2]
    assert "beats permuted identities and noise" in answer(shown)[2]
    gone = {**PASSED, "noise": {"passed": False, "shown": {}}}
    assert identity(found(gone, **{**IDENTITY, "permuted": 2})) == "open"


def test_an_unclear_arm_has_no_verdict_and_keeps_its_place():
    shown = found(unclear=["permuted"], **IDENTITY)
    assert shown.verdicts["cia", "permuted"] == "unclear"
    assert shown.corrected["permuted"] == 1 and len(shown.corrected) == 21
    assert shown.arms["permuted"].kinds.count("unclear") == 11
    # where QMIX itself is unclear nothing is compared with it
    shown = found(unclear=["qmix"], **IDENTITY)
    of_qmix = [v for (_, base), v in shown.verdicts.items() if base == "qmix"]
    assert set(of_qmix) == {"unclear"} and shown.corrected["rs"] == 1
    assert shown.verdicts["cia", "noise"] == "beats"
    assert "for a verdict" in answer(shown)[0]


def test_missing_arms_wait_and_beats_is_never_taken_back():
    """With more arms read, corrected p-values only fall."""
    names = [*IDENTITY, *(name for name in NAMES if name not in IDENTITY)]
    before = None
    for count in range(len(names) + 1):
        sleepers = {name: IDENTITY.get(name, 20) for name in names[:count]}
        shown = found(default=None, **sleepers)
        if before is not None:
            for name, p in before.corrected.items():
                assert shown.corrected[name] <= p + 1e-12
        before = shown
    assert not before.waiting
    some = found(default=None, qmix=20, cia=2)
    assert some.verdicts["cia", "qmix"] == "beats"
    assert some.verdicts["cia", "noise"] == WAITS and identity(some) == WAITS
    first, size, second, third = answer(some)
    assert first == (
        "20 of 40 teams of QMIX sleep and 2 of 40 teams of QMIX(CIA): CIA wakes teams."
    )
    assert size == "Whether the size of credits does as well waits for its control."
    assert "waits for equaliser, permuted identities and noise" in second
    assert "waits for" in third and "Adam" in third
    level = answer(found(default=None, qmix=20, cia=20))[0]
    assert "hardly anybody so far, with 17 of 19 arms still waiting" in level
    assert "waits for the runs of QMIX(CIA) and QMIX" in answer(found(default=None))[0]


def test_the_size_of_credits_beside_cia():
    """As the rule has it: equal, beaten, or neither."""
    assert answer(found(**{**IDENTITY, "scale": 0}))[1] == (
        "The size of credits alone does as well as CIA: 0 of 40 teams of scale of "
        "credits sleep, and 22 of 40 teams of noise."
    )
    assert "does not do as well" in answer(found(**{**IDENTITY, "scale": 20}))[1]
    better = found(**{**IDENTITY, "cia": 20, "scale": 1})
    assert "does better than CIA" in answer(better)[1]
    gone = {**PASSED, "scale": {"passed": False, "shown": {}}}
    assert "is uninformative" in answer(found(gone, **IDENTITY))[1]


def test_exploration_does_as_well_the_right_way_round():
    """An arm that sleeps more than CIA does not equal it; one that sleeps less does."""
    shown = found(**IDENTITY, adam=0, optimistic=2)
    equal, waiting = as_well_as_cia(shown)
    assert equal == ["adam", "optimistic"] and waiting == []
    assert compare(shown.arms["cia"].asleep, shown.arms["adam"].asleep).bound < 0.15
    assert answer(shown)[3].startswith("Exploration or optimisation does as well: Adam")
    alone = found(**IDENTITY, adam=0)
    assert as_well_as_cia(alone)[0] == ["adam"]
    assert "only Adam equals CIA" in answer(alone)[3]
    assert "no arm equals CIA" in answer(found(**IDENTITY))[3]


def test_what_is_foretold_of_timing():
    assert [*foretold(found(**IDENTITY)).values()] == [True, True]
    changed = {**IDENTITY, "cia_early": 20, "cia_late": 2}
    assert [*foretold(found(**changed)).values()] == [False, False]
    assert [*foretold(found(default=None)).values()] == [None, None]


def test_without_checks_nothing_is_read(tmp_path: Path, monkeypatch):
    """Not even opened: reading fails here."""
    for name in ("qmix", "noise"):
        seal_arm(tmp_path, WAKE[name], [101])

    def never(*_):
        raise AssertionError("an outcome was read")

    monkeypatch.setattr(wake_outcome, "runs_of", never)
    assert committed_checks(tmp_path / "none.json") == {}
    shown = outcome(tmp_path, {})
    assert {arm.state for arm in shown.arms.values()} == {"waits for the checks"}
    assert shown.arms["qmix"].seeds == 40 and shown.arms["cia"].seeds == 0
    assert answer(shown)[0] == "The answer waits for its checks."
    assert set(shown.verdicts.values()) == {WAITS}


def test_an_arm_is_read_when_its_own_check_and_all_its_runs_are_there(tmp_path: Path):
    seal_arm(tmp_path, WAKE["qmix"], range(101, 121))
    seal_arm(tmp_path, WAKE["noise"], range(101, 103))
    seal_arm(tmp_path, WAKE["cia"], [101], seeds=list(WAKE_SEEDS)[:39])
    shown = outcome(tmp_path, {"scale": {"passed": True}})
    assert shown.arms["qmix"].state == "read"
    assert shown.arms["noise"].state == "waits for its check"
    assert shown.arms["cia"].state == "waits for runs"
    assert shown.arms["cia"].seeds == 39
    assert shown.arms["qmix"].kinds == ["asleep"] * 20 + ["awake"] * 20
    shown = outcome(tmp_path, PASSED)
    assert shown.verdicts["noise", "qmix"] == "beats"
    file = tmp_path / "turn" / f"{WAKE['qmix'].method}.sealed"
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(InvalidInputError, match="another sha256"):
        outcome(tmp_path, PASSED)


def test_the_chance_to_tell_by_hand():
    """Six pairs: only 6 to 0 is below 5 %, with the sixth power of a(1 - b)."""
    assert chance_to_tell(6, 0.1, 0.5) == pytest.approx((0.5 * 0.9) ** 6)
    assert chance_to_tell(5, 0.0, 1.0) == 0  # 5 to 0 has p = 0.06
    assert chance_to_tell(6, 0.0, 1.0) == 1
    # the rule's page: 98 % at Holm's last step with forty seeds
    assert 0.97 < chance_to_tell(40, 0.1, 0.5) < 0.99


def test_the_checks_are_read_as_they_were_written(tmp_path: Path):
    file = tmp_path / "checks.json"
    file.write_text(json.dumps(PASSED))
    assert committed_checks(file) == PASSED
