"""Where runs end: their final returns, and whether a team has come to rest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ciacore.runtime.store import Run
from ciacore.types import refuse

LAST = 5  # evaluations behind a final return
# points from 0 within which a team is at rest: one that stays earns 0 in Turn
REST = 1.0


def final(
    runs: Sequence[Run], last: int = LAST, at: int | None = None
) -> Float[np.ndarray, "runs"]:
    """The mean greedy return of the last evaluations, one number per run.

    Args:
        at: env steps: the last evaluations until then, in the place of those of the
            whole run.

    Raises:
        InvalidInputError: a run has fewer evaluations.
    """
    means = []
    for run in runs:
        logged = zip(
            run.metrics["episode_return"], run.metrics["env_steps"], strict=True
        )
        returns = [np.mean(each) for each, step in logged if at is None or step <= at][
            -last:
        ]
        if len(returns) < last:
            refuse(
                "runs",
                f"at least {last} evaluations",
                len(returns),
                "Train longer, or take fewer of the last.",
            )
        means.append(np.mean(returns))
    return np.array(means)


def at_rest(runs: Sequence[Run], last: int = LAST, at: int | None = None) -> np.ndarray:
    """Whether the final return of each run lies within one point of 0; arguments and errors as `final`."""
    return np.abs(final(runs, last, at)) < REST
