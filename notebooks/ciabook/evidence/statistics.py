"""Averages and intervals over seeds, the paper's and those the field now asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import atan, comb, exp, hypot, lgamma, log, pi, sqrt
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ciacore.types import refuse


class Interval(NamedTuple):
    """A statistic with its lower and upper bound, each [...]."""

    value: ndarray
    low: ndarray
    high: ndarray


def check_level(level: float) -> None:
    """Refuses a coverage outside (0, 1).

    Raises:
        InvalidInputError: it is.
    """
    if not 0 < level < 1:
        refuse("level", "a number between 0 and 1", level, "Use 0.95 for 95 %.")


def mean(scores: Float[ndarray, "runs ..."]) -> Float[ndarray, "..."] | np.floating:
    """The mean over runs."""
    return scores.mean(0)


def iqm(scores: Float[ndarray, "runs ..."]) -> Float[ndarray, "..."] | np.floating:
    """The interquartile mean over runs (Agarwal et al. 2021).

    It is the mean without the lowest and highest quarter. As many runs are cut at each
    end as fit whole into a quarter, so fewer than four runs give the plain mean.
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
    """A percentile-bootstrap interval of a statistic over runs (Efron 1979).

    The runs are resampled, with replacement. With one game this is the stratified
    bootstrap of Agarwal et al. (2021), whose strata are the games.

    Args:
        statistic: maps [runs, ...] to [...], e.g. `mean` or `iqm`.
        scores: [runs, ...].
        level: coverage, e.g. 0.5 for the paper's band or 0.95.
        samples: how many resamples are drawn.
        seed: of their generator, so that a figure never changes by itself.

    Returns:
        The statistic of the runs with its interval, each [...].

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
    check_level(level)
    drawn = np.random.default_rng(seed).integers(
        len(scores), size=(samples, len(scores))
    )
    values = np.stack([statistic(scores[rows]) for rows in drawn])
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Interval(statistic(scores), low, high)


def aggregate_iqm(scores: Float[ndarray, "runs games"]) -> float:
    """The interquartile mean over all runs of all games (Agarwal et al. 2021)."""
    return float(iqm(np.ravel(scores)))


def probability_of_improvement(
    ours: Float[ndarray, "runs games"], theirs: Float[ndarray, "others games"]
) -> float:
    """How likely a run of ours beats one of theirs (Agarwal et al. 2021).

    The game is drawn at random, and ties count half.

    Args:
        ours: scores [runs, games].
        theirs: scores [others, games], of the same games.
    """
    difference = ours[:, None] - theirs[None]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean((0, 1)).mean())


def stratified(
    statistic: Callable[..., float],
    *groups: ndarray,
    level: float = 0.95,
    samples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """A percentile-bootstrap interval of a statistic of several games.

    Runs are resampled within each game (Agarwal et al. 2021).

    Args:
        statistic: maps one array per group to a number, e.g. `aggregate_iqm`, or
            `probability_of_improvement` of two.
        groups: scores [runs, games] of a method each, of the same games.
        level: coverage of the interval.
        samples: how many resamples are drawn.
        seed: of their generator.

    Returns:
        The statistic with its interval.

    Raises:
        InvalidInputError: a group without runs or games, groups of other games, or a
            level outside (0, 1).
    """
    tables = [np.asarray(group, dtype=np.float64) for group in groups]
    whole = all(table.ndim == 2 and table.size > 0 for table in tables)
    if not whole or len({table.shape[1] for table in tables}) != 1:
        shapes = [list(table.shape) for table in tables]
        refuse(
            "groups",
            "arrays [runs, games] of the same games",
            shapes,
            "Stack one column per game.",
        )
    check_level(level)
    rng = np.random.default_rng(seed)
    values = np.empty(samples)
    for index in range(samples):
        drawn = []
        for table in tables:
            rows = rng.integers(len(table), size=table.shape)
            drawn.append(np.take_along_axis(table, rows, axis=0))
        values[index] = statistic(*drawn)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(np.float64(statistic(*tables)), low, high)


class Shift(NamedTuple):
    """How far one group of runs lies above another, with an exact interval."""

    value: float  # the median of all pairwise differences (Hodges & Lehmann 1963)
    low: float
    high: float
    # of the interval, exactly: below the level that was asked for, where so few runs
    # cannot reach it
    coverage: float


def shift(
    ours: Float[ndarray, "runs"], theirs: Float[ndarray, "others"], level: float = 0.95
) -> Shift:
    """How far one group of runs lies above another (Hodges & Lehmann 1963).

    The interval inverts the test of Mann and Whitney (1947). It assumes runs that are
    independent and two distributions that differ by a shift, and nothing about their
    form.

    Args:
        ours: [runs], one number per run, e.g. its final return.
        theirs: [others], the same of the other group.
        level: coverage that is asked for.

    Returns:
        How far ours lie above theirs.

    Raises:
        InvalidInputError: a group without runs, or a level outside (0, 1).
    """
    ours = np.asarray(ours, dtype=np.float64)
    theirs = np.asarray(theirs, dtype=np.float64)
    if ours.ndim != 1 or theirs.ndim != 1 or not ours.size or not theirs.size:
        shapes = [list(group.shape) for group in (ours, theirs)]
        refuse(
            "groups",
            "two lists of at least one number",
            shapes,
            "Give one number per run.",
        )
    check_level(level)
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


def paired_shift(differences: Float[ndarray, "pairs"], level: float = 0.95) -> Shift:
    """Where paired differences lie (Hodges & Lehmann 1963).

    The interval inverts the signed-rank test of Wilcoxon (1945). It assumes pairs that
    are independent and differences that are symmetric about their middle.

    Args:
        differences: [pairs], ours - theirs.
        level: coverage that is asked for.

    Returns:
        The median of the means of all pairs of differences, each with itself among
        them.

    Raises:
        InvalidInputError: no pairs, or a level outside (0, 1).
    """
    differences = np.asarray(differences, dtype=np.float64)
    if differences.ndim != 1 or not differences.size:
        cure = "Give one number per pair."
        refuse("differences", "a list of at least one", differences.shape, cure)
    check_level(level)
    n = len(differences)
    means = (differences[:, None] + differences[None]) / 2
    means = np.sort(means[np.triu_indices(n)])
    ways = np.ones(1)  # of the ranks 1, ..., i to add up to 0, 1, ...
    for rank in range(1, n + 1):
        with_it = np.concatenate([np.zeros(rank), ways])
        ways = np.concatenate([ways, np.zeros(rank)]) + with_it
    # both tails, were the k + 1 smallest and largest means cut
    tails = 2 * np.cumsum(ways) / ways.sum()
    # how many may be cut at each end, plus one
    outside = int((tails <= 1 - level).sum())
    cut = max(outside - 1, 0)
    return Shift(
        float(np.median(means)),
        float(means[cut]),
        float(means[-1 - cut]),
        float(max(0.0, 1 - tails[cut])),
    )


def placements(m: int, n: int) -> ndarray:
    """How the orders of two groups spread over the statistic of Mann and Whitney.

    Args:
        m: runs of the first group.
        n: runs of the second group.

    Returns:
        An array [m n + 1], in how many orders 0, 1, ..., m n pairs have the run of the
        first group above that of the second.
    """
    ways = np.zeros((m + 1, n + 1, m * n + 1))
    ways[:, 0, 0] = 1
    ways[0, :, 0] = 1
    for i in range(1, m + 1):
        for j in range(1, n + 1):
            # the largest of all is one of the second group, or one of the first, which
            # lies above all j
            ways[i, j] = ways[i, j - 1]
            ways[i, j, j:] += ways[i - 1, j, : m * n + 1 - j]
    return ways[m, n]


class Ranks(NamedTuple):
    """Two groups by the order of their numbers alone."""

    above: int  # pairs, one of each group, in which ours is above
    pairs: int
    p_value: float  # how often chance goes as far, two-sided


def rank_test(ours: Sequence[Any] | ndarray, theirs: Sequence[Any] | ndarray) -> Ranks:
    """The exact test of ranks (Mann & Whitney 1947), for numbers that all differ.

    Args:
        ours: a number per run.
        theirs: a number per run of another group.
    """
    above = int((np.subtract.outer(np.array(ours), np.array(theirs)) > 0).sum())
    ways = placements(len(ours), len(theirs))
    middle = (len(ways) - 1) / 2
    extreme = abs(np.arange(len(ways)) - middle) >= abs(above - middle)
    return Ranks(above, len(ways) - 1, float(ways[extreme].sum() / ways.sum()))


class Share(NamedTuple):
    """How many of a method's runs do a thing."""

    hits: int
    runs: int


def wilson(share: Share, level: float = 0.95) -> Interval:
    """A share of runs with the score interval of Wilson (1927).

    Args:
        share: how many of how many runs.
        level: coverage of the interval.

    Raises:
        InvalidInputError: no runs, hits outside 0 ... runs, or a level outside (0, 1).
    """
    hits = share.hits
    runs = share.runs
    if not 0 <= hits <= runs or runs < 1:
        refuse(
            "share",
            "hits between 0 and the number of runs, which is at least 1",
            [hits, runs],
            "Count again.",
        )
    check_level(level)
    z = NormalDist().inv_cdf((1 + level) / 2)
    p = hits / runs
    middle = p + z * z / (2 * runs)
    half = z * sqrt(p * (1 - p) / runs + z * z / (4 * runs * runs))
    scale = 1 + z * z / runs
    low = max((middle - half) / scale, 0.0)
    high = min((middle + half) / scale, 1.0)
    return Interval(np.float64(p), np.float64(low), np.float64(high))


def share_difference(ours: Share, theirs: Share, level: float = 0.95) -> Interval:
    """Our share minus theirs, with the interval of Newcombe (1998, method 10).

    It is made of two intervals of Wilson's.

    Args:
        ours: how many of how many of our runs.
        theirs: the same of the other group.
        level: coverage of the interval.

    Raises:
        InvalidInputError: as `wilson`.
    """
    p = wilson(ours, level)
    q = wilson(theirs, level)
    difference = p.value - q.value
    return Interval(
        difference,
        difference - hypot(p.value - p.low, q.high - q.value),
        difference + hypot(p.high - p.value, q.value - q.low),
    )


def fisher_exact(ours: Share, theirs: Share) -> float:
    """The exact test of Fisher (1935), two-sided.

    Args:
        ours: how many of how many of our runs.
        theirs: the same of the other group.

    Returns:
        How often chance deals this many hits to the groups at least as unevenly.
    """
    hits = ours.hits + theirs.hits
    # in how many ways k of the hits are ours
    ways = [comb(ours.runs, k) * comb(theirs.runs, hits - k) for k in range(hits + 1)]
    return sum(each for each in ways if each <= ways[ours.hits]) / sum(ways)


class Trend(NamedTuple):
    """Whether runs rise from group to group."""

    # of pairs from two groups, how many have the run of the later group above; 0.5
    # where nothing rises
    share: float
    p: float  # how often chance deals the runs to the groups with at least this share


def trend(*groups: ndarray, shuffles: int = 9_999, seed: int = 0) -> Trend:
    """The test of ordered groups of Terpstra (1952) and Jonckheere (1954).

    It is one-sided and done by shuffling; ties count half.

    Args:
        groups: [runs] of any number each, in the order in which they are expected to
            rise.
        shuffles: how often all runs are dealt to the groups again.
        seed: of the generator that deals.

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
    """From the lowest to the highest run, where one more is to be expected.

    One more run of the same kind is inside in n - 1 of n + 1 cases.

    Raises:
        InvalidInputError: fewer than two runs.
    """
    runs = len(scores)
    if runs < 2:
        refuse("scores", "at least two runs", runs, "One run says nothing of the next.")
    return Band(scores.min(0), scores.max(0), (runs - 1) / (runs + 1))


def mcnemar_exact(only_ours: int, only_theirs: int) -> float:
    """The exact two-sided test of McNemar (1947), of pairs that differ.

    Args:
        only_ours: pairs in which only our member shows the trait.
        only_theirs: pairs in which only theirs does.

    Returns:
        The chance of a split at least as uneven where both directions are equally
        likely; 1 where no pair differs.
    """
    differ = only_ours + only_theirs
    fewer = min(only_ours, only_theirs)
    tail = sum(comb(differ, k) for k in range(fewer + 1)) / 2**differ
    return min(1.0, 2 * tail)


def paired_difference_bound(
    only_ours: int, only_theirs: int, pairs: int, level: float = 0.95
) -> float:
    """The upper end of Tango's score interval for a difference of paired shares.

    The difference is ours - theirs, the interval one-sided (Tango 1998). Its end is the
    largest difference d whose score test is not rejected, where

        (only_ours - only_theirs - pairs d) / sqrt(pairs (2 q + d (1 - d))) = -z

    and q is the most likely share of pairs in which only theirs shows the trait, given
    d.

    Args:
        only_ours: pairs in which only our member shows the trait.
        only_theirs: pairs in which only theirs does.
        pairs: all pairs.
        level: of the one-sided interval; 0.975 gives the upper end of the two-sided
            95 % interval.

    Raises:
        InvalidInputError: counts below 0, or more pairs that differ than there are.
    """
    differ = only_ours + only_theirs
    if min(only_ours, only_theirs) < 0 or pairs < 1 or differ > pairs:
        refuse(
            "pairs",
            "counts of at least 0 that add up to at most all pairs",
            (only_ours, only_theirs, pairs),
            "Count every pair once.",
        )
    z = NormalDist().inv_cdf(level)
    observed = only_ours - only_theirs

    def score(d: float) -> float:
        b = -only_ours - only_theirs + (2 * pairs - observed) * d
        c = -only_theirs * d * (1 - d)
        q = (sqrt(max(b * b - 8 * pairs * c, 0.0)) - b) / (4 * pairs)
        variance = pairs * (2 * q + d * (1 - d))
        if variance <= 0:
            return -float("inf")
        return (observed - pairs * d) / sqrt(variance)

    low = observed / pairs
    high = 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if score(middle) > -z:
            low = middle
        else:
            high = middle
    return high


def holm(p_values: dict[str, float]) -> dict[str, float]:
    """The p-values of a family of tests, corrected by Holm (1979).

    Each corrected one may be compared with the level of the whole family.
    """
    corrected = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        p = min(1.0, (len(p_values) - rank) * p_values[name])
        largest = max(largest, p)
        corrected[name] = largest
    return {name: corrected[name] for name in p_values}


def cochran_armitage(shown: ndarray, runs: ndarray, scores: ndarray) -> float:
    """The trend of shares along scores (Cochran 1954; Armitage 1955).

    Args:
        shown: [groups] how many of each group show the trait.
        runs: [groups] how many there are.
        scores: [groups] what the trend runs along, e.g. the logarithm of a dose.

    Returns:
        A standard normal z; 0 where all show the trait, or none.
    """
    shown = np.asarray(shown, dtype=np.float64)
    runs = np.asarray(runs, dtype=np.float64)
    scores = np.asarray(scores, dtype=np.float64)
    share = shown.sum() / runs.sum()
    centred = scores - (runs * scores).sum() / runs.sum()
    variance = share * (1 - share) * (runs * centred**2).sum()
    if variance <= 0:
        return 0.0
    return float((centred * shown).sum() / sqrt(variance))


def paired_trend(
    shown: ndarray, scores: ndarray, shuffles: int = 99_999, seed: int = 0
) -> float:
    """The trend of `cochran_armitage` over the same seeds, tested by shuffling.

    Args:
        shown: [seeds, groups] 1 where a run shows the trait.
        scores: [groups] what the trend runs along.
        shuffles: how often the groups are shuffled within every seed.
        seed: of the generator that shuffles.

    Returns:
        The two-sided chance of a trend as strong.
    """
    shown = np.asarray(shown, dtype=np.float64)
    scores = np.asarray(scores, dtype=np.float64)
    centred = scores - scores.mean()
    rng = np.random.default_rng(seed)
    observed = abs((shown @ centred).sum())
    strong = 1  # the groups as they are count as one, so that no chance is 0
    for _ in range(shuffles):
        shuffled = abs((rng.permuted(shown, axis=1) @ centred).sum())
        if shuffled >= observed - 1e-9:
            strong += 1
    return strong / (shuffles + 1)


def sign_flips(differences: ndarray, shuffles: int = 99_999, seed: int = 0) -> float:
    """The test of Fisher (1935) of paired differences, by flipping their signs.

    Args:
        differences: [pairs], ours - theirs.
        shuffles: how often all signs are drawn again.
        seed: of the generator that draws them.

    Returns:
        The two-sided chance of a mean as far from 0.
    """
    differences = np.asarray(differences, dtype=np.float64)
    rng = np.random.default_rng(seed)
    signs = rng.integers(0, 2, (shuffles, len(differences))) * 2 - 1
    as_far = abs(signs @ differences) >= abs(differences.sum()) - 1e-9
    # the signs as they are count as one, so that no chance is 0
    strong = 1 + int(as_far.sum())
    return strong / (shuffles + 1)


class Moments(NamedTuple):
    """What a paper prints of a group of runs."""

    mean: float
    sd: float  # between runs, with n - 1 below the fraction
    runs: int


class Welch(NamedTuple):
    """The test of Welch (1947) of two means, from their moments."""

    difference: float  # ours - theirs
    error: float  # standard error of the difference
    t: float  # difference / error
    degrees: float  # of freedom, by Welch and Satterthwaite
    p: float  # two-sided, at these degrees


def welch(ours: Moments, theirs: Moments) -> Welch:
    """Whether two means differ, where the groups may scatter differently.

    Args:
        ours: mean, deviation and number of our runs.
        theirs: the same of the other group.

    Raises:
        InvalidInputError: a group of fewer than two runs, or two without deviation.
    """
    squares = [group.sd**2 / max(group.runs, 1) for group in (ours, theirs)]
    if min(ours.runs, theirs.runs) < 2 or sum(squares) <= 0:
        refuse(
            "groups",
            "two of at least two runs, one of which scatters",
            (tuple(ours), tuple(theirs)),
            "Take more runs.",
        )
    error = sqrt(sum(squares))
    spread = squares[0] ** 2 / (ours.runs - 1) + squares[1] ** 2 / (theirs.runs - 1)
    degrees = sum(squares) ** 2 / spread
    difference = ours.mean - theirs.mean
    t = difference / error
    return Welch(difference, error, t, degrees, student_tails(t, degrees))


def student_tails(t: float, degrees: float) -> float:
    """The chance that Student's t lies at least so far from 0, on either side.

    With t = sqrt(degrees) tan(angle) the density is cos(angle)^(degrees - 1), which
    Gauss and Legendre integrate.

    Args:
        t: the value of the statistic.
        degrees: of freedom, at least 1.

    Raises:
        InvalidInputError: fewer degrees of freedom.
    """
    if degrees < 1:
        refuse("degrees", "at least 1", degrees, "Compare groups of two runs or more.")
    points, weights = np.polynomial.legendre.leggauss(200)
    end = atan(abs(t) / sqrt(degrees))
    angles = end * (points + 1) / 2
    inside = end / 2 * float((weights * np.cos(angles) ** (degrees - 1)).sum())
    half = sqrt(pi) / 2 * exp(lgamma(degrees / 2) - lgamma((degrees + 1) / 2))
    return max(0.0, 1 - inside / half)


def combined(p_values: Sequence[float]) -> float:
    """One p-value of several independent tests, by the method of Fisher (1932).

    -2 sum log p is chi-squared with twice as many degrees of freedom as tests, whose
    tail is a finite sum.

    Args:
        p_values: one per test, each above 0; one-sided where a direction is asked.

    Raises:
        InvalidInputError: none, or one outside (0, 1].
    """
    if not p_values or not all(0 < p <= 1 for p in p_values):
        refuse("p_values", "numbers above 0, up to 1", p_values, "Test first.")
    half = -sum(log(p) for p in p_values)
    term, total = 1.0, 1.0
    for k in range(1, len(p_values)):
        term *= half / k
        total += term
    return exp(-half) * total


def separation(hits: ndarray, others: ndarray) -> float:
    """How well a number tells hits from others: the area under the ROC curve.

    Args:
        hits: [hits], the number of each hit.
        others: [others], that of each other.

    Returns:
        The share of pairs in which the hit has the larger number; equal ones count
        half.
    """
    hits = np.asarray(hits, dtype=np.float64)
    others = np.asarray(others, dtype=np.float64)
    return float((0.5 + 0.5 * np.sign(hits[:, None] - others[None])).mean())


def spearman(a: ndarray, b: ndarray) -> float | None:
    """Spearman's rank correlation; equal values share their mean rank.

    Args:
        a: numbers.
        b: as many.

    Returns:
        None where all numbers of a side are equal.
    """
    first, second = mean_ranks(a), mean_ranks(b)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def mean_ranks(values: ndarray) -> ndarray:
    """The rank of every number, from 1; equal ones share the mean of their ranks.

    Args:
        values: numbers.
    """
    values = np.asarray(values, dtype=np.float64)
    below = (values[None] < values[:, None]).sum(1)
    equal = (values[None] == values[:, None]).sum(1)
    return below + (equal + 1) / 2
