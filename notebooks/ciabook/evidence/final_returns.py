"""Where runs end: the returns of their last evaluations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ciacore.runtime.store import Run
from ciacore.types import refuse

LAST = 5  # evaluations behind a final return
GROUP = 4  # evaluations behind a point of a curve, and behind one beside the paper's
TWO_MILLION = 2_000_000  # env steps at which the paper's figure of Turn ends


def final_returns(
    runs: Sequence[Run], last: int = LAST, at: int | None = None
) -> Float[np.ndarray, "runs"]:
    """The mean greedy return of the last evaluations, one number per run.

    Args:
        runs: stored runs.
        last: how many evaluations are averaged.
        at: env steps: the last evaluations that were due by then, in the place of those
            of the whole run.

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


def returns_at_two_million(runs: Sequence[Run]) -> Float[np.ndarray, "runs"]:
    """Where full-length runs on Turn stand when the paper's figure ends.

    This is the measure wherever a run is set beside the paper's numbers.

    Args:
        runs: stored runs of two million env steps or more.

    Returns:
        [runs], the mean greedy return of the last four evaluations due by then.

    Raises:
        InvalidInputError: a run has fewer evaluations.
    """
    return final_returns(runs, GROUP, at=TWO_MILLION)


def last_evaluations(run: Run, last: int, at: int | None) -> list[list]:
    """The returns of the last evaluations of a run.

    An evaluation is due at every multiple of the interval, and follows the episode that
    passes it: the one due at 150,000 steps comes at 150,100, say.

    Args:
        run: a stored run.
        last: how many evaluations.
        at: env steps: evaluations that were due later do not count; None: all count.

    Returns:
        A list of greedy returns for each evaluation, the earliest first.

    Raises:
        InvalidInputError: the run has fewer evaluations.
    """
    interval = run.config.evaluation_interval
    counted = []
    for index, step in enumerate(run.metrics["env_steps"]):
        due = step // interval * interval
        if at is None or due <= at:
            counted.append(run.metrics["episode_return"][index])
    if len(counted) < last:
        refuse(
            "runs",
            f"at least {last} evaluations",
            len(counted),
            "Train longer, or take fewer of the last.",
        )
    return counted[len(counted) - last :]
