"""Two methods compared pair by pair: over several games, same game and same seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ciabook.evidence.statistics import paired_shift, sign_flips


class Paired(NamedTuple):
    """One method against another, over all games and seeds that both have."""

    differences: dict[str, list[float]]  # game -> ours - theirs, by seed
    value: float  # the one-sample Hodges-Lehmann estimate
    low: float  # of its interval
    high: float
    coverage: float  # of the interval, exactly
    p_value: float  # of flipping signs, two-sided, uncorrected


def differences_of(
    ours: Mapping[int, float], theirs: Mapping[int, float]
) -> list[float]:
    """Ours minus theirs for every seed that both have, in the order of the seeds.

    Args:
        ours: seed -> measure of one method.
        theirs: seed -> the same measure of the other.
    """
    return [ours[seed] - theirs[seed] for seed in sorted(set(ours) & set(theirs))]


def paired(differences: Mapping[str, Sequence[float]]) -> Paired | None:
    """All differences in one test; None while there is none.

    Flipping a sign exchanges the two methods in one game with one seed, so that games
    are never mixed.

    Args:
        differences: game -> ours - theirs, by seed.
    """
    kept = {game: list(group) for game, group in differences.items()}
    every = np.array([each for group in kept.values() for each in group])
    if not every.size:
        return None
    return Paired(kept, *paired_shift(every), p_value=sign_flips(every))
