"""The rule of the experiment on what wakes a team: measure, tests, verdicts, arms."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ciabook.evidence.final_returns import final_returns
from ciabook.evidence.wake import (
    AGAINST_QMIX,
    asleep,
    compare,
    corrected,
    family,
    family_p_values,
    predictions,
    unclear,
    verdict,
    zero_share,
)
from ciabook.studies.runs import Entry
from ciabook.studies.study import find
from ciabook.studies.wake import (
    CALIBRATED,
    EQUALISER_STRONG,
    LOGGED,
    SCALE_WEIGHT,
    WAKE,
    WAKE_ALPHAS,
)

from ciacore.methods import METHODS
from ciacore.runtime.store import Run, read_runs
from ciacore.types import InvalidInputError

STUDY = Path(__file__).resolve().parents[1] / "book" / "results" / "study"


def made(returns: list[list[float]], steps: list[int] | None = None) -> Run:
    steps = steps or [100 + 10_000 * number for number in range(len(returns))]
    metrics = {"env_steps": steps, "episode_return": returns}
    return Run(METHODS["qmix"], "turn", 1, metrics, weights={}, provenance={})


def test_zero_share_by_hand():
    """The last five evaluations of two games each: 3 zeros of 10."""
    run = made(
        [[0.0, 0.0], [0.0, -1.0], [0.0, 0.5], [-0.0, -3.0], [-2.0, -1.0], [4.0, 5.0]]
    )
    assert zero_share([run]).tolist() == [0.3]
    assert zero_share([run], at=40_000).tolist() == [0.5]  # the first five
    assert asleep([run], at=40_000).tolist() == [True]
    assert asleep([run]).tolist() == [False]
    with pytest.raises(InvalidInputError, match="at least 5 evaluations, got 4"):
        zero_share([run], at=30_000)


def test_a_team_is_unclear_between_two_shares_and_below_a_return():
    some = [[0.0, -30.0]] * 5
    assert unclear([made(some)]).tolist() == [True]  # half zeros, mean -15
    loses_little = made([[0.0, -10.0]] * 5)
    mostly_zeros = made([[0.0] * 9 + [-200.0]] * 5)
    assert unclear([loses_little, mostly_zeros]).tolist() == [False, False]


def test_the_measure_foretells_the_end_of_every_full_length_run():
    """61 of 61 runs with QMIX's mixer, at any threshold from 0.3 to 0.7.

    Looked at after 200,000 or 150,000 steps.
    """
    alphas = [f"qmix_cia_{alpha}" for alpha in (0.005, 0.01, 0.04, 0.05, 0.1, 0.5, 1.0)]
    methods = [
        "qmix",
        "qmix_cc",
        "qmix_cia",
        "qmix_cia_exact",
        "qmix_cia_attached",
        "qmix_rs",
        "gre",
        "eoi",
        *alphas,
    ]
    runs = [
        run for group in read_runs(STUDY, "turn", methods).values() for run in group
    ]
    ends = final_returns(runs)
    assert len(runs) == 61
    for threshold in (0.3, 0.5, 0.7):
        sleeping = zero_share(runs, at=200_000) >= threshold
        assert sleeping.sum() == 25
        assert ends[sleeping].max() < 13.1
        assert ends[~sleeping].min() > 31
    assert (asleep(runs, at=150_000) == asleep(runs, at=200_000)).all()


def test_what_is_known_of_the_seeds_of_the_long_runs():
    """As the rule discloses it."""
    runs = read_runs(STUDY, "turn", ["qmix_rest", "qmix_cia_rest"])
    sleeping = {
        name: [
            run.seed
            for run, sleeps in zip(group, asleep(group, at=200_000), strict=True)
            if sleeps
        ]
        for name, group in runs.items()
    }
    assert [seed for seed in sleeping["qmix_rest"] if 6 <= seed <= 15] == [8, 12, 13]
    assert sleeping["qmix_cia_rest"] == [7, 11] and len(sleeping["qmix_rest"]) == 10


def test_the_committed_predictions_are_those_of_the_published_runs():
    kept = json.loads((STUDY.parents[1] / "data" / "wake_predictions.json").read_text())
    assert predictions(STUDY) == kept


def compared(
    asleep_in_ours: int, asleep_in_theirs: int, both: int = 0, n: int = 40
) -> Any:
    ours, theirs = np.zeros(n, bool), np.zeros(n, bool)
    ours[:asleep_in_ours] = True
    theirs[asleep_in_ours - both : asleep_in_ours - both + asleep_in_theirs] = True
    return compare(ours, theirs)


def test_compare_by_hand():
    found = compared(4, 20, both=3)
    assert found.asleep == (4, 20)
    assert (found.only_ours, found.only_theirs, found.pairs) == (1, 17, 40)
    assert found.p_value == pytest.approx(2 * (1 + 18) / 2**18)


def test_verdicts():
    assert verdict(compared(4, 20, both=3), corrected=0.01) == "beats"
    assert verdict(compared(20, 4, both=3), corrected=0.01) == "is beaten"
    assert verdict(compared(4, 20, both=3), corrected=0.06) == "undecided"
    assert verdict(compared(4, 4, both=3), corrected=1.0) == "equal"
    assert verdict(compared(0, 3), corrected=1.0) == "undecided"  # the bound is 0.17


def test_the_family_has_twenty_one_tests():
    rng = np.random.default_rng(0)
    shown = {arm: rng.random(40) < 0.3 for arm in ("qmix", "qmix_late", *AGAINST_QMIX)}
    comparisons = family(shown)
    p_values = family_p_values(comparisons)
    assert len(AGAINST_QMIX) == 17 and len(p_values) == 21
    both = p_values["cia against equaliser and permuted"]
    assert both == max(
        comparisons["cia", name].p_value for name in ("equaliser", "permuted")
    )
    assert corrected(comparisons)["cia"] >= p_values["cia"]
    # a test that falls away keeps its place, and of a pair the other stands alone
    without = family_p_values(comparisons, fallen=["equaliser", "noise"])
    assert len(without) == 21 and without["equaliser"] == without["noise"] == 1
    both = without["cia against equaliser and permuted"]
    assert both == comparisons["cia", "permuted"].p_value
    assert without["cia against noise"] == 1
    assert ("epsilon_200k", "qmix_late") in comparisons
    assert ("epsilon_200k", "qmix") not in comparisons


def test_an_arm_changes_nothing_but_what_its_name_says():
    plain = WAKE["qmix"].to_dict()
    changed = {}
    for arm, config in WAKE.items():
        fields = config.to_dict()
        changed[arm] = {key: fields[key] for key in fields if plain[key] != fields[key]}
    assert changed["one_layer"] == {"method": "one_layer_wake", "hypernetwork_size": 0}
    assert changed["epsilon_end"] == {"method": "epsilon_end_wake", "epsilon_end": 0.1}
    assert changed["adam"] == {"method": "adam_wake", "optimizer": "adam"}
    late = {"method": "qmix_late_wake", "env_steps": 350_000}
    slow = {"method": "epsilon_200k_wake", "env_steps": 350_000}
    assert changed["qmix_late"] == late
    assert changed["epsilon_200k"] == {**slow, "epsilon_steps": 200_000}
    methods = {"qmix": "qmix", "cia": "qmix_cia", "cc": "qmix_cc", "rs": "qmix_rs"}
    for arm, method in {**methods, "vdn": "vdn"}.items():
        assert WAKE[arm] == METHODS[method].but(method=f"{arm}_wake", env_steps=150_000)
    assert {*WAKE} == {"qmix", "qmix_late", *AGAINST_QMIX}


def test_a_control_arm_changes_nothing_but_its_control():
    """And it logs credits, which has no effect."""
    assert LOGGED == ("mean_credit", "relative_difference")

    def fields(arm: str, base: str) -> dict[str, Any]:
        ours, plain = WAKE[arm].to_dict(), METHODS[base].to_dict()
        changed = {key: ours[key] for key in ours if ours[key] != plain[key]}
        assert changed.pop("method") == f"{arm}_wake"
        changed["terms"] = [name for name in changed["terms"] if name not in LOGGED]
        return changed

    at_once = {"env_steps": 150_000}
    scale, noise = CALIBRATED["scale"], CALIBRATED["noise"]
    assert fields("permuted", "qmix_cia") == {**at_once, "terms": ["cia_permuted"]}
    assert fields("frozen", "qmix_cia") == {**at_once, "terms": ["cia_frozen"]}
    assert fields("equaliser", "qmix") == {
        **at_once,
        "terms": ["equaliser"],
        "control_coefficient": CALIBRATED["equaliser"]["weight"],
    }
    assert fields("scale", "qmix") == {
        **at_once,
        "terms": ["scale"],
        "control_coefficient": SCALE_WEIGHT,
        "control_course": scale["course"],  # at the interval of evaluations
    }
    assert scale["interval"] == METHODS["qmix"].evaluation_interval == 10_000
    assert fields("noise", "qmix") == {
        **at_once,
        "terms": ["noise"],
        "control_course": noise["course"],
        "control_interval": 1_000,
    }
    optimistic = {**at_once, "agent": "optimistic", "terms": []}
    assert fields("optimistic", "qmix") == optimistic
    early, late = fields("cia_early", "qmix_cia"), fields("cia_late", "qmix_cia")
    assert early == {**at_once, "terms": ["cia_timed"], "control_stop": 60_000}
    late_steps = {"env_steps": 350_000, "control_start": 100_000}
    assert late == {**late_steps, "terms": ["cia_timed"]}
    for arm in ("permuted", "frozen", "cia_early", "cia_late"):
        assert WAKE[arm].cia_coefficient == WAKE["cia"].cia_coefficient == 0.02
        assert WAKE[arm].credit_derivative == WAKE["cia"].credit_derivative


def test_the_strong_equaliser_is_no_arm_and_differs_in_its_weight_alone():
    assert "equaliser_strong" not in WAKE
    weight = EQUALISER_STRONG.control_coefficient
    assert weight > 5 * WAKE["equaliser"].control_coefficient
    expected = WAKE["equaliser"].but(
        method="equaliser_strong_wake", control_coefficient=weight
    )
    assert EQUALISER_STRONG == expected
    entries = [Entry(expected, "turn", seed) for seed in range(101, 141)]
    assert find("wake_strong") == entries


def test_qmix_is_logged_as_the_arm_was_trained():
    logged = WAKE["qmix"].but(method="qmix_logged_wake", env_steps=60_000, terms=LOGGED)
    assert find("wake_logged") == [Entry(logged, "turn", s) for s in range(101, 141)]


def test_every_arm_has_the_forty_fresh_seeds():
    for study, arms in (("wake", len(WAKE)), ("wake_alpha", len(WAKE_ALPHAS))):
        assert len(find(study)) == 40 * arms
        assert {entry.seed for entry in find(study)} == {*range(101, 141)}
    assert {entry.seed for entry in find("wake_long")} == {*range(6, 16)}
