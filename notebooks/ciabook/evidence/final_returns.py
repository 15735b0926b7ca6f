"""Where runs end: their final returns, and whether a team has come to rest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from ciacore.runtime.store import Run
from ciacore.types import refuse

LAST = 5  # evaluations behind a final return
# points from 0 within which a team is at rest: one that stays earns 0 in Turn
REST = 1.0


def final_returns(
    runs: Sequence[Run], last: int = LAST, at: int | None = None
) -> Float[np.ndarray, "runs"]:
    """The mean greedy return of the last evaluations, one number per run.

    Args:
        runs: stored runs.
        last: how many evaluations are averaged.
        at: env steps: the last evaluations until then, in the place of those of the
            whole run.

    Returns:
        [runs], undiscounted returns.

    Raises:
        InvalidInputError: a run has fewer evaluations.
    """
    means = []
    for run in runs:
        evaluations = last_evaluations(run, last, at)
        means.append(np.mean([np.mean(returns) for returns in evaluations]))
    return np.array(means)


def last_evaluations(run: Run, last: int, until: int | None) -> list[list]:
    """The returns of the last evaluations of a run.

    Args:
        run: a stored run.
        last: how many evaluations.
        until: env steps after which evaluations do not count; None: all count.

    Returns:
        A list of greedy returns for each evaluation, the earliest first.

    Raises:
        InvalidInputError: the run has fewer evaluations.
    """
    counted = []
    for index, step in enumerate(run.metrics["env_steps"]):
        if until is None or step <= until:
            counted.append(run.metrics["episode_return"][index])
    if len(counted) < last:
        refuse(
            "runs",
            f"at least {last} evaluations",
            len(counted),
            "Train longer, or take fewer of the last.",
        )
    return counted[len(counted) - last :]


def at_rest(
    runs: Sequence[Run], last: int = LAST, at: int | None = None
) -> Bool[np.ndarray, "runs"]:
    """Whether the final return of each run lies within one point of 0.

    Args:
        runs: stored runs.
        last: how many evaluations are averaged.
        at: env steps: the last evaluations until then.

    Returns:
        [runs]

    Raises:
        InvalidInputError: a run has fewer evaluations.
    """
    return np.abs(final_returns(runs, last, at)) < REST
