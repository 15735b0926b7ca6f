"""Averages and intervals over seeds, the paper's and those the field now asks for."""

from __future__ import annotations

from collections.abc import Callable
from math import comb, hypot, sqrt
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ciacore.types import refuse


class Interval(NamedTuple):
    """A statistic with its lower and upper bound, each [...]."""

    value: ndarray
    low: ndarray
    high: ndarray


def mean(scores: Float[ndarray, "runs ..."]) -> Float[ndarray, "..."] | np.floating:
    """The mean over runs."""
    return scores.mean(0)


def iqm(scores: Float[ndarray, "runs ..."]) -> Float[ndarray, "..."] | np.floating:
    """The interquartile mean over runs: the mean without the lowest and highest quarter (Agarwal et al. 2021).

    As many runs are cut at each end as fit whole into a quarter, so fewer than four
    runs give the plain mean.
    """
    cut = len(scores) // 4
    return np.sort(scores, axis=0)[cut : len(scores) - cut].mean(0)


def bootstrap(
    statistic: Callable[[ndarray], ndarray],
    scores: Float[ndarray, "runs ..."],
    level: float,
    samples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """A percentile-bootstrap interval of a statistic over runs; the runs are resampled, with replacement.

    With one game this is the stratified bootstrap of Agarwal et al. (2021), whose
    strata are the games.

    Args:
        statistic: maps [runs, ...] to [...], e.g. `mean` or `iqm`.
        level: coverage, e.g. 0.5 for the paper's band or 0.95.
        samples: resamples; seed: of their generator, so that a figure never changes by
            itself.

    Raises:
        InvalidInputError: no runs, or a level outside (0, 1).
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim == 0 or len(scores) == 0:
        refuse(
            "scores",
            "at least one run",
            scores.shape,
            "Pass an array with runs on its first axis.",
        )
    if not 0 < level < 1:
        refuse("level", "a number between 0 and 1", level, "Use 0.95 for 95 %.")
    drawn = np.random.default_rng(seed).integers(
        len(scores), size=(samples, len(scores))
    )
    values = np.stack([statistic(scores[rows]) for rows in drawn])
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Interval(statistic(scores), low, high)


def aggregate_iqm(scores: Float[ndarray, "runs games"]) -> float:
    """The interquartile mean over all runs of all games together (Agarwal et al. 2021)."""
    return float(iqm(np.ravel(scores)))


def probability_of_improvement(
    ours: Float[ndarray, "runs games"], theirs: Float[ndarray, "others games"]
) -> float:
    """How likely a run of ours beats one of theirs on a game drawn at random; ties count half (Agarwal et al. 2021)."""
    difference = ours[:, None] - theirs[None]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean((0, 1)).mean())


def stratified(
    statistic: Callable[..., float],
    *groups: ndarray,
    level: float = 0.95,
    samples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """A percentile-bootstrap interval of a statistic of several games; runs are resampled within each game.

    Args:
        statistic: maps one array per group to a number, e.g. `aggregate_iqm`, or
            `probability_of_improvement` of two.
        groups: scores [runs, games] of a method each, of the same games.

    Raises:
        InvalidInputError: a group without runs or games, groups of other games, or a
            level outside (0, 1).
    """
    groups = tuple(np.asarray(group, dtype=np.float64) for group in groups)
    if (
        any(group.ndim != 2 or group.size == 0 for group in groups)
        or len({group.shape[1] for group in groups}) != 1
    ):
        shapes = [list(group.shape) for group in groups]
        refuse(
            "groups",
            "arrays [runs, games] of the same games",
            shapes,
            "Stack one column per game.",
        )
    if not 0 < level < 1:
        refuse("level", "a number between 0 and 1", level, "Use 0.95 for 95 %.")
    rng, values = np.random.default_rng(seed), np.empty(samples)
    for index in range(samples):
        drawn = [
            group[rng.integers(len(group), size=group.shape), np.arange(group.shape[1])]
            for group in groups
        ]
        values[index] = statistic(*drawn)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(np.float64(statistic(*groups)), low, high)


class Shift(NamedTuple):
    """How far one group of runs lies above another: the Hodges-Lehmann estimate and its exact interval."""

    value: float  # the median of all pairwise differences
    low: float
    high: float
    # of the interval, exactly; below the level that was asked for where so few runs
    # cannot reach it
    coverage: float


def shift(
    ours: Float[ndarray, "runs"], theirs: Float[ndarray, "others"], level: float = 0.95
) -> Shift:
    """The interval that inverts the test of Mann and Whitney (1947), after Hodges and Lehmann (1963).

    It assumes runs that are independent and two distributions that differ by a shift,
    and nothing about their form.

    Raises:
        InvalidInputError: a group without runs, or a level outside (0, 1).
    """
    ours, theirs = (np.asarray(group, dtype=np.float64) for group in (ours, theirs))
    if ours.ndim != 1 or theirs.ndim != 1 or not ours.size or not theirs.size:
        shapes = [list(group.shape) for group in (ours, theirs)]
        refuse(
            "groups",
            "two lists of at least one number",
            shapes,
            "Give one number per run.",
        )
    if not 0 < level < 1:
        refuse("level", "a number between 0 and 1", level, "Use 0.95 for 95 %.")
    ways = placements(len(ours), len(theirs))
    # both tails, were the k + 1 smallest and largest differences cut
    tails = 2 * np.cumsum(ways) / ways.sum()
    # how many may be cut at each end, plus one
    outside = int((tails <= 1 - level).sum())
    cut = max(outside - 1, 0)
    differences = np.sort((ours[:, None] - theirs[None]).ravel())
    return Shift(
        float(np.median(differences)),
        float(differences[cut]),
        float(differences[-1 - cut]),
        float(max(0.0, 1 - tails[cut])),
    )


def placements(m: int, n: int) -> ndarray:
    """[m n + 1]: in how many of the orders of m and n runs each number of pairs has the first of the two above."""
    ways = np.zeros((m + 1, n + 1, m * n + 1))
    ways[:, 0, 0] = ways[0, :, 0] = 1
    for i in range(1, m + 1):
        # the largest of all is one of the first group, above all j, or one of the
        # second
        for j in range(1, n + 1):
            ways[i, j] = ways[i, j - 1]
            ways[i, j, j:] += ways[i - 1, j, : m * n + 1 - j]
    return ways[m, n]


class Share(NamedTuple):
    """How many of a method's runs do a thing."""

    hits: int
    runs: int


def wilson(share: Share, level: float = 0.95) -> Interval:
    """A share of runs with the score interval of Wilson (1927).

    Raises:
        InvalidInputError: no runs, hits outside 0 ... runs, or a level outside (0, 1).
    """
    hits, runs = share
    if not 0 <= hits <= runs or runs < 1:
        refuse(
            "share",
            "hits between 0 and the number of runs, which is at least 1",
            [hits, runs],
            "Count again.",
        )
    if not 0 < level < 1:
        refuse("level", "a number between 0 and 1", level, "Use 0.95 for 95 %.")
    z, p = NormalDist().inv_cdf((1 + level) / 2), hits / runs
    middle, half = (
        p + z * z / (2 * runs),
        z * sqrt(p * (1 - p) / runs + z * z / (4 * runs * runs)),
    )
    low, high = ((middle + side) / (1 + z * z / runs) for side in (-half, half))
    return Interval(*map(np.float64, (p, max(low, 0.0), min(high, 1.0))))


def share_difference(ours: Share, theirs: Share, level: float = 0.95) -> Interval:
    """Our share minus theirs, with the interval of Newcombe (1998, method 10), made of two of Wilson's.

    Raises:
        InvalidInputError: as `wilson`.
    """
    (p, p_low, p_high), (q, q_low, q_high) = wilson(ours, level), wilson(theirs, level)
    difference = p - q
    return Interval(
        difference,
        difference - hypot(p - p_low, q_high - q),
        difference + hypot(p_high - p, q - q_low),
    )


def fisher_exact(ours: Share, theirs: Share) -> float:
    """How often chance deals this many hits to two groups at least as unevenly (Fisher 1935, two-sided)."""
    hits = ours.hits + theirs.hits
    # of k of them being ours
    ways = [comb(ours.runs, k) * comb(theirs.runs, hits - k) for k in range(hits + 1)]
    return sum(each for each in ways if each <= ways[ours.hits]) / sum(ways)


class Trend(NamedTuple):
    """Whether runs rise from group to group."""

    # of the pairs from two groups, those whose run of the later group is above; 0.5
    # where nothing rises
    share: float
    p: float  # how often chance deals the runs to the groups with at least this share


def trend(*groups: ndarray, shuffles: int = 9_999, seed: int = 0) -> Trend:
    """The test of ordered groups of Terpstra (1952) and Jonckheere (1954), one-sided, by shuffling; ties count half.

    Args:
        groups: [runs] of any number each, in the order in which they are expected to
            rise.
        shuffles: of all runs over the groups; seed: of their generator.

    Raises:
        InvalidInputError: fewer than two groups, or one without runs.
    """
    sizes = [np.size(group) for group in groups]
    if len(sizes) < 2 or not all(sizes):
        refuse(
            "groups",
            "at least two, with runs in each",
            sizes,
            "Leave out groups without runs.",
        )
    label = np.repeat(np.arange(len(sizes)), sizes)
    earlier, later = np.nonzero(label[:, None] < label[None])
    values = np.concatenate([np.asarray(group, dtype=np.float64) for group in groups])
    dealt = np.random.default_rng(seed).permuted(np.tile(values, (shuffles, 1)), axis=1)
    # the order as it is counts as one, so that no chance is 0
    dealt = np.concatenate([values[None], dealt])
    share = (0.5 + 0.5 * np.sign(dealt[:, later] - dealt[:, earlier])).mean(1)
    return Trend(float(share[0]), float((share >= share[0]).mean()))


class Band(NamedTuple):
    """Where one more run is to be expected."""

    low: ndarray
    high: ndarray
    # the chance of one more run at each point, exactly, if it is of the same kind
    coverage: float


def prediction_band(scores: Float[ndarray, "runs ..."]) -> Band:
    """From the lowest to the highest run: one more of the same kind is inside in n - 1 of n + 1 cases.

    Raises:
        InvalidInputError: fewer than two runs.
    """
    runs = len(scores)
    if runs < 2:
        refuse("scores", "at least two runs", runs, "One run says nothing of the next.")
    return Band(scores.min(0), scores.max(0), (runs - 1) / (runs + 1))


def mcnemar_exact(only_ours: int, only_theirs: int) -> float:
    """The exact two-sided test of McNemar (1947): of the pairs that differ, how many differ in one direction?

    Args:
        only_ours: pairs in which only our member shows the trait; only_theirs: pairs in
            which only theirs does.

    Returns:
        The chance of a split at least as uneven where both directions are equally
        likely; 1 where no pair differs.
    """
    differ, fewer = only_ours + only_theirs, min(only_ours, only_theirs)
    tail = sum(comb(differ, k) for k in range(fewer + 1)) / 2**differ
    return min(1.0, 2 * tail)


def paired_difference_bound(
    only_ours: int, only_theirs: int, pairs: int, level: float = 0.95
) -> float:
    """The upper end of the one-sided score interval of Tango (1998) for a difference of paired shares, ours - theirs.

    The end is the largest difference d whose score test is not rejected: (only_ours -
    only_theirs - pairs d) / sqrt(pairs (2 q + d (1 - d))) = -z, where q is the most
    likely share of pairs in which only theirs shows the trait, given d.

    Args:
        only_ours: pairs in which only our member shows the trait; only_theirs: pairs in
            which only theirs does.
        pairs: all pairs.
        level: of the one-sided interval; 0.975 gives the upper end of the two-sided 95
            % interval.

    Raises:
        InvalidInputError: counts below 0, or more pairs that differ than there are.
    """
    counts = (only_ours, only_theirs, pairs)
    if min(only_ours, only_theirs) < 0 or pairs < 1 or only_ours + only_theirs > pairs:
        refuse(
            "pairs",
            "counts of at least 0 that add up to at most all pairs",
            counts,
            "Count every pair once.",
        )
    z = NormalDist().inv_cdf(level)
    observed = only_ours - only_theirs

    def score(d: float) -> float:
        b = -only_ours - only_theirs + (2 * pairs - observed) * d
        c = -only_theirs * d * (1 - d)
        q = (sqrt(max(b * b - 8 * pairs * c, 0.0)) - b) / (4 * pairs)
        variance = pairs * (2 * q + d * (1 - d))
        return (
            (observed - pairs * d) / sqrt(variance) if variance > 0 else -float("inf")
        )

    low, high = observed / pairs, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if score(middle) > -z else (low, middle)
    return high


def holm(p_values: dict[str, float]) -> dict[str, float]:
    """The p-values of a family, corrected by Holm (1979): each may be compared with the level of the whole family."""
    corrected, largest = {}, 0.0
    for rank, (name, p) in enumerate(
        sorted(p_values.items(), key=lambda item: item[1])
    ):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p))
        corrected[name] = largest
    return {name: corrected[name] for name in p_values}


def cochran_armitage(shown: ndarray, runs: ndarray, scores: ndarray) -> float:
    """The trend of shares along scores, as a standard normal z (Cochran 1954; Armitage 1955).

    Args:
        shown: [groups] how many of each group show the trait; runs: [groups] how many
            there are.
        scores: [groups] what the trend runs along, e.g. the logarithm of a dose.
    """
    shown, runs, scores = (
        np.asarray(part, dtype=np.float64) for part in (shown, runs, scores)
    )
    share = shown.sum() / runs.sum()
    centred = scores - (runs * scores).sum() / runs.sum()
    variance = share * (1 - share) * (runs * centred**2).sum()
    return float((centred * shown).sum() / sqrt(variance)) if variance > 0 else 0.0


def paired_trend(
    shown: ndarray, scores: ndarray, shuffles: int = 99_999, seed: int = 0
) -> float:
    """The two-sided chance of a `cochran_armitage` trend as strong, by shuffling the groups within every seed.

    Args:
        shown: [seeds, groups] 1 where a run shows the trait.
        scores: [groups] what the trend runs along.
        shuffles: of every seed's runs over the groups; seed: of their generator.
    """
    shown, scores = (
        np.asarray(shown, dtype=np.float64),
        np.asarray(scores, dtype=np.float64),
    )
    centred = scores - scores.mean()
    rng, observed, strong = np.random.default_rng(seed), abs((shown @ centred).sum()), 1
    for _ in range(shuffles):
        strong += abs((rng.permuted(shown, axis=1) @ centred).sum()) >= observed - 1e-9
    return strong / (shuffles + 1)


def sign_flips(differences: ndarray, shuffles: int = 99_999, seed: int = 0) -> float:
    """The two-sided chance of a mean as far from 0, by flipping the signs of paired differences (Fisher 1935)."""
    differences = np.asarray(differences, dtype=np.float64)
    rng, observed, strong = np.random.default_rng(seed), abs(differences.sum()), 1
    for _ in range(shuffles):
        signs = rng.integers(0, 2, len(differences)) * 2 - 1
        strong += abs((signs * differences).sum()) >= observed - 1e-9
    return strong / (shuffles + 1)
