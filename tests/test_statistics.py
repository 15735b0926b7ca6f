"""Averages and intervals against numbers worked by hand and an oracle of its own."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from ciabook.evidence.statistics import (
    Moments,
    Share,
    aggregate_iqm,
    bootstrap,
    cochran_armitage,
    combined,
    fisher_exact,
    holm,
    iqm,
    mcnemar_exact,
    mean,
    mean_ranks,
    paired_difference_bound,
    paired_shift,
    paired_trend,
    placements,
    prediction_band,
    probability_of_improvement,
    separation,
    share_difference,
    shift,
    sign_flips,
    spearman,
    stratified,
    student_tails,
    trend,
    welch,
    wilson,
)
from numpy.testing import assert_allclose

from ciacore.types import InvalidInputError


def trimmed_mean(values: list[float]) -> float:
    """The rule of scipy.stats.trim_mean(values, 0.25), written out."""
    ordered = sorted(values)
    cut = int(0.25 * len(ordered))
    kept = ordered[cut : len(ordered) - cut]
    return sum(kept) / len(kept)


def test_by_hand():
    scores = np.array([100.0, 1.0, 4.0, 3.0, 2.0, 6.0, 5.0, -50.0])
    assert mean(scores) == 71 / 8
    assert iqm(scores) == (2 + 3 + 4 + 5) / 4
    assert_allclose(iqm(np.stack([scores, -scores], axis=1)), [3.5, -3.5])
    assert iqm(np.array([1.0, 2.0, 9.0])) == 4.0  # fewer than four runs: the plain mean


@pytest.mark.parametrize("runs", range(1, 14))
def test_iqm_is_the_trimmed_mean(runs):
    scores = np.random.default_rng(runs).normal(size=(runs, 3))
    assert_allclose(iqm(scores), [trimmed_mean(list(column)) for column in scores.T])


def test_bootstrap_of_two_runs_by_hand():
    """Means of two draws from {0, 1} are 0, 1/2, 1 with chances 1/4, 1/2, 1/4."""
    scores = np.array([0.0, 1.0])
    narrow = bootstrap(mean, scores, 0.4, samples=2_000)
    wide = bootstrap(mean, scores, 0.9, samples=2_000)
    assert (narrow.low, narrow.value, narrow.high) == (0.5, 0.5, 0.5)
    assert (wide.low, wide.value, wide.high) == (0.0, 0.5, 1.0)


def test_half_interval_of_the_mean_is_two_thirds_of_a_standard_error_wide():
    scores = np.random.default_rng(0).normal(size=200)
    found = bootstrap(mean, scores, 0.5, samples=4_000)
    error = scores.std() / np.sqrt(200)
    ends = [found.low - scores.mean(), found.high - scores.mean()]
    assert_allclose(ends, [-0.674 * error, 0.674 * error], atol=0.05 * error)


@pytest.mark.parametrize(("level", "statistic"), [(0.5, mean), (0.9, iqm)])
def test_coverage(level, statistic):
    # every column is an experiment of its own, around 0
    scores = np.random.default_rng(1).normal(size=(30, 200))
    found = bootstrap(statistic, scores, level, samples=500)
    covered = (found.low < 0) & (found.high > 0)
    assert abs(covered.mean() - level) < 0.1


def test_bootstrap_is_reproducible_and_keeps_the_shape():
    scores = np.random.default_rng(2).normal(size=(5, 7, 2))
    one = bootstrap(iqm, scores, 0.95, samples=200, seed=0)
    again = bootstrap(iqm, scores, 0.95, samples=200, seed=0)
    other = bootstrap(iqm, scores, 0.95, samples=200, seed=1)
    for name in ("value", "low", "high"):
        assert np.array_equal(getattr(one, name), getattr(again, name))
    assert not np.array_equal(one.low, other.low)
    assert np.array_equal(one.value, other.value)
    assert one.low.shape == (7, 2)
    assert (one.low < one.value).all()
    assert (one.value < one.high).all()


def test_one_run_has_no_width():
    found = bootstrap(mean, np.array([3.0]), 0.95, samples=10)
    assert found.low == found.value == found.high == 3.0


# --------------------------------------------------------------------------------
# several games


def test_probability_of_improvement_by_hand():
    """3.5 of 4 in game 1, and 2 of 4 in game 2.

    In game 1, 2 beats 1 and ties with 2, and 3 beats both. In game 2, 0 loses to 5 and
    6, and 9 beats both.
    """
    ours = np.array([[2.0, 0.0], [3.0, 9.0]])
    theirs = np.array([[1.0, 5.0], [2.0, 6.0]])
    assert probability_of_improvement(ours, theirs) == (3.5 / 4 + 2 / 4) / 2
    back = probability_of_improvement(theirs, ours)
    assert probability_of_improvement(ours, theirs) + back == 1


def test_rliable_agrees():
    """Recorded from rliable in its own environment: tests/data/rliable/make.py."""
    file = Path(__file__).parent / "data" / "rliable" / "recorded.json"
    recorded = json.loads(file.read_text())
    tables = {name: np.array(table) for name, table in recorded["tables"].items()}
    for name, table in tables.items():
        interval = stratified(aggregate_iqm, table, samples=20_000)
        assert_allclose(interval.value, recorded["iqm"][name], rtol=1e-12)
        assert_allclose(
            [interval.low, interval.high], recorded["iqm_interval"][name], atol=0.006
        )
    interval = stratified(probability_of_improvement, *tables.values(), samples=20_000)
    assert_allclose(interval.value, recorded["probability_of_improvement"], rtol=1e-12)
    assert_allclose(
        [interval.low, interval.high], recorded["probability_interval"], atol=0.02
    )


def test_runs_are_resampled_within_their_game():
    """Games far apart: a resample that mixed them would show in the spread."""
    scores = np.array([[0.0, 1000.0], [1.0, 1001.0]])
    seen = []
    stratified(lambda drawn: seen.append(drawn) or 0.0, scores, samples=500)
    for drawn in seen:
        assert (drawn[:, 0] < 2).all()
        assert (drawn[:, 1] >= 1000).all()
    # both games independently
    assert len({tuple(drawn.ravel()) for drawn in seen[:-1]}) == 16


def test_a_stratified_interval_never_changes_by_itself():
    scores = np.random.default_rng(3).normal(size=(5, 6))
    one = stratified(aggregate_iqm, scores, samples=500, seed=0)
    again = stratified(aggregate_iqm, scores, samples=500, seed=0)
    other = stratified(aggregate_iqm, scores, samples=500, seed=1)
    assert one == again
    assert one != other


@pytest.mark.parametrize(
    ("groups", "level", "told"),
    [
        (
            (np.zeros((2, 3)), np.zeros((2, 4))),
            0.95,
            r"groups: expected arrays \[runs, games\] of the same games",
        ),
        ((np.zeros(3),), 0.95, "groups"),
        ((np.zeros((0, 3)),), 0.95, "groups"),
        ((np.zeros((2, 3)),), 1.0, "level: expected a number between 0 and 1"),
    ],
)
def test_tables_that_cannot_be_resampled(groups, level, told):
    with pytest.raises(InvalidInputError, match=told):
        stratified(lambda *drawn: 0.0, *groups, level=level)


# --------------------------------------------------------------------------------
# two groups of runs


def test_placements_are_those_of_all_orders():
    for m, n in ((1, 1), (2, 2), (3, 2), (3, 4)):
        counted = np.zeros(m * n + 1)
        for first in combinations(range(m + n), m):
            second = [b for b in range(m + n) if b not in first]
            above = sum(a > b for a in first for b in second)
            counted[above] += 1
        np.testing.assert_array_equal(placements(m, n), counted)


def test_shift_of_five_and_five_is_the_textbooks():
    """Critical value 2 of U at 5 % two-sided (Mann & Whitney 1947).

    So the interval goes from the third smallest to the third largest difference.
    """
    ours = np.array([3.0, 1.0, 8.0, 6.0, 2.5])
    theirs = np.array([0.0, -2.0, 1.5, 0.4, -0.7])
    differences = sorted(a - b for a in ours for b in theirs)
    found = shift(ours, theirs)
    assert found.low == differences[2]
    assert found.high == differences[-3]
    assert found.value == np.median(differences)
    assert found.coverage == pytest.approx(1 - 2 * 4 / 252)


def test_shift_of_two_and_two_says_what_it_can_not():
    """All four differences, and two thirds of certainty: 2 of 6 orders lie outside."""
    found = shift(np.array([5.0, 7.0]), np.array([1.0, 2.0]))
    assert found == (4.5, 3.0, 6.0, pytest.approx(2 / 3))
    assert shift(np.array([1.0]), np.array([3.0])) == (-2.0, -2.0, -2.0, 0.0)


def test_paired_shift_of_nine_is_the_textbooks():
    """Critical value 5 of W at 5 % two-sided (Wilcoxon 1945): 2 P(W <= 5) = 20/512.

    The subsets of the ranks 1 to 9 that add up to at most 5 are ten.
    """
    differences = np.array([0.4, -0.1, 2.0, 1.3, 0.9, 3.1, -0.6, 1.1, 0.2])
    means = sorted(
        (differences[i] + differences[j]) / 2 for i in range(9) for j in range(i, 9)
    )
    found = paired_shift(differences)
    assert found.low == means[5]
    assert found.high == means[-6]
    assert found.value == np.median(means)
    assert found.coverage == pytest.approx(1 - 20 / 512)


def test_paired_shift_of_three_says_what_it_can_not():
    found = paired_shift(np.array([1.0, 2.0, 4.0]))
    assert (found.low, found.high) == (1.0, 4.0)
    assert found.coverage == pytest.approx(1 - 2 / 8)
    assert paired_shift(np.array([-1.0, -2.0, -4.0])).value == -found.value


def test_paired_shift_covers_as_it_says():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(2_000):
        found = paired_shift(rng.normal(size=9) + 2)
        inside += found.low <= 2 <= found.high
    assert abs(inside / 2_000 - found.coverage) < 0.015


@pytest.mark.parametrize(
    ("differences", "level", "told"),
    [([], 0.95, "differences: expected"), ([1.0], 0.0, "level: expected")],
)
def test_paired_shift_refuses(differences, level, told):
    with pytest.raises(InvalidInputError, match=told):
        paired_shift(np.array(differences), level)


def test_shift_covers_as_it_says():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(2_000):
        found = shift(rng.exponential(size=5) + 2, rng.exponential(size=5))
        inside += found.low <= 2 <= found.high
    assert abs(inside / 2_000 - found.coverage) < 0.015


@pytest.mark.parametrize(
    ("groups", "level", "told"),
    [(([], [1.0]), 0.95, "groups: expected"), (([1.0], [1.0]), 1.0, "level: expected")],
)
def test_shift_refuses(groups, level, told):
    with pytest.raises(InvalidInputError, match=told):
        shift(np.array(groups[0]), np.array(groups[1]), level)


# --------------------------------------------------------------------------------
# shares of runs


def test_wilson_is_the_textbooks():
    """Newcombe (1998), on the interval of one proportion, table I, no. 3."""
    for hits, runs, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
    ):
        assert_allclose(wilson(Share(hits, runs)), [hits / runs, low, high], atol=5e-5)
    assert_allclose(wilson(Share(29, 29)), [1, 0.8830, 1], atol=5e-5)


def test_share_difference_is_the_textbooks():
    """Newcombe (1998), on differences of independent proportions, table II, no. 10."""
    for ours, theirs, low, high in (
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
    ):
        found = share_difference(Share(*ours), Share(*theirs))
        assert_allclose([found.low, found.high], [low, high], atol=5e-5)
        back = share_difference(Share(*theirs), Share(*ours))
        assert_allclose([back.high, back.low], [-low, -high], atol=5e-5)


def test_fisher_is_the_lady_tasting_tea():
    """Fisher (1935): 3 of 4 cups by chance with 34 of 70, all four with 2 of 70."""
    assert fisher_exact(Share(3, 4), Share(1, 4)) == pytest.approx(34 / 70)
    assert fisher_exact(Share(4, 4), Share(0, 4)) == pytest.approx(2 / 70)
    assert fisher_exact(Share(0, 5), Share(0, 7)) == 1.0


@pytest.mark.parametrize(
    ("share", "level", "told"),
    [
        ((3, 2), 0.95, "share: expected"),
        ((0, 0), 0.95, "share: expected"),
        ((1, 2), 1.0, "level: expected"),
    ],
)
def test_wilson_refuses(share, level, told):
    with pytest.raises(InvalidInputError, match=told):
        wilson(Share(*share), level)


def test_trend_is_the_textbooks():
    """Hollander & Wolfe (1973), piece-work with more and more information.

    J = 79 of 108, p = 0.02.
    """
    pieces = np.array(
        [[40, 35, 38, 43, 44, 41], [38, 40, 47, 44, 40, 42], [48, 40, 45, 43, 46, 44]]
    )
    found = trend(*pieces, shuffles=49_999)
    assert found.share == 79 / 108
    assert_allclose(found.p, 0.0207, atol=0.003)
    assert trend(*pieces) == trend(*pieces)  # the shuffles never change by themselves


def test_trend_by_hand():
    """Three groups of two that rise without overlap: one of 90 ways to deal them."""
    groups = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    rising = trend(*groups, shuffles=49_999)
    assert rising.share == 1.0
    assert_allclose(rising.p, 1 / 90, atol=0.002)
    assert trend(*groups[::-1]) == (0.0, 1.0)
    assert trend(np.ones(1), np.ones(2)) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("sizes", "told"), [([1], r"\[1\]"), ([1, 0], r"\[1, 0\]"), ([], r"\[\]")]
)
def test_trend_refuses(sizes, told):
    message = rf"groups(?s:.*)at least two(?s:.*){told}"
    with pytest.raises(InvalidInputError, match=message):
        trend(*[np.ones(size) for size in sizes])


def test_one_more_run_is_inside_the_band_as_often_as_it_says():
    rng = np.random.default_rng(0)
    runs = rng.exponential(size=(6, 20_000))  # five seeds and one more, at many points
    band = prediction_band(runs[:5])
    assert band.coverage == pytest.approx(4 / 6)
    inside = (runs[5] >= band.low) & (runs[5] <= band.high)
    assert abs(inside.mean() - band.coverage) < 0.01
    message = "scores: expected at least two runs, got 1"
    with pytest.raises(InvalidInputError, match=message):
        prediction_band(runs[:1])


def test_mcnemar_by_hand():
    """10 against 2: 2 (1 + 12 + 66) / 2^12. No pair that differs says nothing."""
    assert mcnemar_exact(10, 2) == mcnemar_exact(2, 10) == 2 * 79 / 2**12
    assert mcnemar_exact(0, 0) == 1.0 and mcnemar_exact(3, 3) == 1.0


def test_interval_of_a_paired_difference_against_a_textbook():
    """Fagerland, Lydersen & Laake (2017), Chapter 8: 1 and 7 of 21 pairs."""
    assert_allclose(paired_difference_bound(1, 7, 21, 0.975), -0.026, atol=5e-4)
    assert_allclose(-paired_difference_bound(7, 1, 21, 0.975), -0.517, atol=5e-4)


def test_interval_of_a_paired_difference_where_no_pair_differs():
    """The bound is then z^2 / (n + z^2), Wilson's of 0 among n."""
    z = 1.6448536269514722
    assert_allclose(paired_difference_bound(0, 0, 40), z**2 / (40 + z**2), atol=1e-9)
    with pytest.raises(InvalidInputError, match="add up to at most all pairs"):
        paired_difference_bound(30, 20, 40)


def test_holm_by_hand():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06}
    )
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}


def test_trend_of_shares_against_a_textbook():
    """SAS/STAT, PROC FREQ, Example "Cochran-Armitage Trend Test": Z = 4.7918."""
    shown, patients = np.array([6, 7, 9, 14, 23]), np.array([32, 33, 32, 32, 32])
    assert_allclose(cochran_armitage(shown, patients, np.arange(5)), 4.7918, atol=5e-5)


def test_trend_within_seeds():
    """Three seeds show the trait in the last of three groups alone.

    Of 27 deals 2 are as extreme.
    """
    shown = np.array([[0, 0, 1]] * 3)
    assert_allclose(
        paired_trend(shown, np.arange(3), shuffles=20_000), 2 / 27, atol=0.01
    )
    assert paired_trend(np.ones((3, 3)), np.arange(3), shuffles=100) == 1.0


def test_sign_flips_by_hand():
    """Five differences of one sign: 2 of 32."""
    assert_allclose(sign_flips(np.ones(5), shuffles=20_000), 2 / 32, atol=0.01)
    assert sign_flips(np.zeros(4), shuffles=100) == 1.0


def test_students_tails_are_the_textbooks():
    """The two-sided 5 % points of Student's tables."""
    for degrees, bound in ((1.0, 12.706), (4.0, 2.776), (8.0, 2.306), (30.0, 2.042)):
        assert student_tails(bound, degrees) == pytest.approx(0.05, abs=5e-5)
        assert student_tails(-bound, degrees) == student_tails(bound, degrees)
    # one degree of freedom is Cauchy's distribution, two have a closed form
    assert student_tails(1.0, 1.0) == pytest.approx(0.5)
    assert student_tails(3.0, 2.0) == pytest.approx(1 - 3 / 11**0.5)
    assert student_tails(0.0, 7.0) == pytest.approx(1)
    with pytest.raises(InvalidInputError, match="degrees: expected at least 1"):
        student_tails(1.0, 0.5)


def test_welch_by_hand():
    """Variances of the means 1 and 4, so 5^2 / (1 / 4 + 16 / 9) degrees of freedom."""
    found = welch(Moments(10.0, 5**0.5, 5), Moments(7.0, 40**0.5, 10))
    assert found.difference == 3 and found.error == pytest.approx(5**0.5)
    assert found.degrees == pytest.approx(25 / (1 / 4 + 16 / 9))
    assert found.t == pytest.approx(3 / 5**0.5)
    assert found.p == pytest.approx(student_tails(found.t, found.degrees))
    for groups in (
        (Moments(1.0, 0.0, 5), Moments(2.0, 0.0, 5)),
        (Moments(1.0, 1.0, 1), Moments(2.0, 1.0, 5)),
    ):
        with pytest.raises(InvalidInputError, match="groups"):
            welch(*groups)


def test_combined_is_fishers():
    """Two tests: p q (1 - log(p q)); one test is itself."""
    assert combined([0.03]) == pytest.approx(0.03)
    product = 0.1 * 0.2
    assert combined([0.1, 0.2]) == pytest.approx(product * (1 - np.log(product)))
    # chi-squared 18.307 is the 5 % point at ten degrees of freedom
    assert combined([np.exp(-18.307 / 10)] * 5) == pytest.approx(0.05, abs=1e-5)
    for p_values in ([], [0.0, 0.5], [1.1]):
        with pytest.raises(InvalidInputError, match="p_values"):
            combined(p_values)


def test_separation_by_hand():
    first, second = np.array([3.0, 4.0]), np.array([1.0, 2.0])
    assert separation(first, second) == 1
    assert separation(second, first) == 0
    assert separation(np.array([1.0, 3.0]), second) == 0.625


def test_ranks_and_their_correlation():
    """Ties share their mean rank; the example of Spearman's formula, by hand."""
    assert mean_ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]
    # 1 - 6 (1 + 1 + 0 + 0) / (4 * 15)
    assert spearman(np.arange(4), np.array([1, 0, 2, 3])) == pytest.approx(0.8)
    assert spearman(np.ones(3), np.arange(3)) is None
