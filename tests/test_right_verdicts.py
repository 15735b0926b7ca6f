"""The rule of right credits as code: fates, tests, verdicts, answers."""

import json
from math import isnan, nan

import numpy as np
import pytest
from ciabook.evidence.right_verdicts import (
    SEEDS,
    TESTS,
    answers,
    complete,
    corrected,
    difference,
    family,
    fate,
    final_score,
    found_scores,
    measure_holds,
    verdict,
    within,
)
from scipy import stats

from ciacore.methods import METHODS
from ciacore.runtime.store import Run
from ciacore.types import InvalidInputError


def made(returns, end=None):
    """A run whose five evaluations to 200,000 steps return this, and then an end."""
    steps = [160_000, 170_000, 180_000, 190_000, 200_000]
    episodes = [[float(value), float(value)] for value in returns]
    if end is not None:
        steps += [960_000, 970_000, 980_000, 990_000, 1_000_000]
        episodes += [[float(end), float(end)]] * 5
    metrics = {"env_steps": steps, "episode_return": episodes}
    return Run(METHODS["qmix"], "turn_3", 1, metrics, weights={}, provenance={})


def test_three_fates():
    assert fate(made([0, 0, 0, 40, 40])) == "asleep"  # three fifths are exactly 0
    assert fate(made([0, 0, -100, -100, -100])) == "lost"
    assert fate(made([0, 0, 1, 1, -2])) == "lost"  # a mean of 0
    assert fate(made([0, 0, 1, 1, 1])) == "awake"
    assert fate(made([0] * 5, end=80)) == "asleep"  # judged at 200,000 steps


def test_the_measure_holds_while_sleepers_end_below_a_meal():
    awake = made([50] * 5, end=80)
    assert measure_holds([awake, made([0] * 5, end=9)])
    assert not measure_holds([awake, made([0] * 5, end=10)])
    assert measure_holds([awake])
    with pytest.raises(InvalidInputError, match="long runs"):
        measure_holds([])


def rows(*hits):
    return [
        {"env_steps": 40_000 * (1 + index) + 37, "hit": hit}
        for index, hit in enumerate(hits)
    ]


def test_a_score_is_the_mean_of_the_last_two_networks_to_200_000_steps():
    assert final_score(rows(0, 0, 0, 0.4, 0.6)) == 0.5
    longer = [*rows(0, 0, 0, 0.4, 0.6), {"env_steps": 1_000_000, "hit": 0.0}]
    assert final_score(longer) == 0.5
    assert isnan(final_score(rows(1, 1, 1, None, 0.6)))
    assert isnan(final_score(rows(1, 1, 1, 1)))


def test_scores_are_read_by_seed(tmp_path):
    folder = tmp_path / "scores" / "turn_3" / "qmix"
    folder.mkdir(parents=True)
    for seed in (201, 9):
        text = json.dumps({"seed": seed, "rows": rows(1, 1)})
        (folder / f"seed_{seed}.json").write_text(text)
    assert set(found_scores(tmp_path, "turn_3", "qmix")) == {201, 9}
    assert found_scores(tmp_path, "turn_6", "qmix") == {}


def by_seed(values):
    return dict(zip(SEEDS, values, strict=True))


def test_differences_are_paired_by_seed_and_leave_out_what_has_no_score():
    ours, theirs = by_seed(np.arange(10.0) + 1), by_seed(np.arange(10.0))
    found = difference(ours, theirs, 2.0)
    assert (found.pairs, found.mean) == (10, 1.0)
    assert found.p_value == pytest.approx(2 / 1024, rel=0.3)
    assert found.equal_p == 0  # always 1, within 2
    ours[201] = ours[202] = nan
    assert difference(ours, theirs, 2.0).pairs == 8
    del ours[203]
    few = difference(ours, theirs, 2.0)
    assert (few.pairs, few.p_value, few.equal_p) == (7, 1.0, 1.0)


@pytest.mark.parametrize("mean", [-0.3, 0.02, 0.0, 0.08])
def test_within_against_two_t_tests(mean):
    values = mean + 0.05 * np.random.default_rng(0).standard_normal(10)
    low = stats.ttest_1samp(values, -0.1, alternative="greater").pvalue
    high = stats.ttest_1samp(values, 0.1, alternative="less").pvalue
    assert within(values, 0.1) == pytest.approx(max(low, high), abs=1e-9)


def arms(effect, spread=0.0):
    noise = spread * np.random.default_rng(1).standard_normal(10)
    return {"qmix": by_seed(np.zeros(10)), "qmix_cia": by_seed(effect + noise)}


def decided(hit_3, hit_6, return_3, return_6):
    found = family({3: hit_3, 6: hit_6}, {3: return_3, 6: return_6})
    assert list(found) == list(TESTS)
    p = corrected(found)
    return {name: verdict(name, each, p[name]) for name, each in found.items()}


def test_verdicts_of_effects_that_anybody_sees():
    found = decided(arms(0.3), arms(-0.3), arms(30.0), arms(60.0))
    assert found == {
        "right, K = 3": "more right",
        "right, K = 6": "less right",
        "learning, K = 3": "better",
        "learning, K = 6": "better",
        "growth": "grows",
    }
    found = decided(arms(0.0, 0.02), arms(0, 0.5), arms(0.0, 2), arms(-40.0))
    assert found["right, K = 3"] == "equal"
    assert found["right, K = 6"] == "undecided"
    assert found["learning, K = 3"] == "equal"
    assert (found["learning, K = 6"], found["growth"]) == ("worse", "shrinks")


def test_holm_is_over_five_tests():
    found = family({3: arms(0.3), 6: arms(0, 0.5)}, {3: arms(0, 50), 6: arms(0, 50)})
    strictest = found["right, K = 3"].p_value
    assert corrected(found)["right, K = 3"] == pytest.approx(5 * strictest)


def test_answers():
    plenty = {agents: {"qmix": 2, "qmix_cia": 9} for agents in (3, 6)}
    verdicts = dict.fromkeys(TESTS, "undecided")
    assert answers(verdicts, plenty) == ("open", "open")
    more = {**verdicts, "right, K = 3": "more right", "right, K = 6": "more right"}
    assert answers({**more, "growth": "grows"}, plenty) == ("yes", "grows")
    none = {**more, "right, K = 3": "equal", "right, K = 6": "less right"}
    assert answers(none, plenty)[0] == "no"
    assert answers({**more, "right, K = 6": "equal"}, plenty)[0] == "open"
    silent = {3: plenty[3], 6: {"qmix": 1, "qmix_cia": 1}}
    assert answers({**more, "growth": "grows"}, silent)[1] == "open"
    one_learns = {3: plenty[3], 6: {"qmix": 0, "qmix_cia": 2}}
    assert answers({**more, "growth": "grows"}, one_learns)[1] == "grows"


def test_complete():
    assert complete(by_seed([nan] * 10)) and not complete({201: 1.0})
