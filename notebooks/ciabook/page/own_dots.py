"""A reader's own runs over the book's figures: black stars, black dashed curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ciabook.page.plots import pooled
from ciacore.runtime.store import Run

Points = Sequence[Any] | np.ndarray
YOURS = "yours"
STAR = {
    "marker": "*",
    "color": "black",
    "markeredgecolor": "white",
    "markersize": 12,
    "linestyle": "",
    "zorder": 6,
}
CURVE = {"color": "black", "linestyle": "--", "linewidth": 1.1, "zorder": 6}


def own_dots(axis: Axes, x: Points, y: Points) -> None:
    """A star per run of the reader's; none where there are no runs.

    Args:
        axis: of a figure of the book.
        x: [runs], where the stars stand.
        y: [runs], how high.
    """
    if len(x):
        axis.plot(x, y, label=label_once(axis), **STAR)


def own_curves(
    axis: Axes,
    runs: Sequence[Run],
    unit: float = 1e6,
    group: int = 1,
    logged: str = "episode_return",
    scale: float = 1,
) -> None:
    """A curve per run of the reader's, over env steps.

    Args:
        axis: of a figure of the book that has these axes.
        runs: of one method; there may be none.
        unit: env steps that are one on the axis.
        group: evaluations averaged into one point.
        logged: what is drawn: a key of a run's metrics, with a list per evaluation.
        scale: that it is multiplied with.
    """
    for run in runs:
        values = np.array([np.mean(entry) for entry in run.metrics[logged]])
        steps = np.array(run.metrics["env_steps"])
        steps, values = pooled(steps, scale * values, group)
        axis.plot(steps / unit, values, label=label_once(axis), **CURVE)


def label_once(axis: Axes) -> str:
    """The label of the reader's runs; hidden where the axis has one already.

    Args:
        axis: of a figure of the book.
    """
    is_named = any(line.get_label() == YOURS for line in axis.get_lines())
    return f"_{YOURS}" if is_named else YOURS


def name_own(axis: Axes, place: str = "lower right") -> None:
    """A key that says what the stars and dashed curves are, where there are some.

    Args:
        axis: with or without runs of the reader's.
        place: of the key, as matplotlib names it.
    """
    found = [line for line in axis.get_lines() if line.get_label() == YOURS]
    if found:
        axis.legend(found, [YOURS], loc=place, frameon=True, fontsize=9)
