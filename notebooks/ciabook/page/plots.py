"""The book's figures, drawn from stored runs only: colour-blind-safe, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ciabook.evidence.statistics import Interval, Shift, bootstrap, iqm, mean
from ciacore.runtime.store import Run
from ciacore.types import refuse

AGENT_COLOURS = ("#0072b2", "#d55e00")  # agent 0, agent 1 (Okabe & Ito)
APPLE_COLOUR = "#009e73"
MARKERS = "osD^vPX*"


def style() -> None:
    """seaborn's settings for every figure: a white card, a colour-blind-safe palette."""
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind")
    plt.rcParams.update(
        {
            "figure.dpi": 110,
            "savefig.facecolor": "white",
            "figure.constrained_layout.use": True,
        }
    )


def scores(runs: Sequence[Run]) -> tuple[np.ndarray, np.ndarray]:
    """Evaluation steps [E] and mean greedy returns [runs, E] of runs of one method, cut to the shortest run.

    Raises:
        InvalidInputError: the runs were evaluated at different steps.
    """
    length = min(len(run.metrics["env_steps"]) for run in runs)
    steps = np.array([run.metrics["env_steps"][:length] for run in runs])
    if (steps != steps[0]).any():
        refuse(
            "runs",
            "evaluations at the same env steps",
            "different ones",
            "Compare runs of one game and interval.",
        )
    returns = [
        [np.mean(entry) for entry in run.metrics["episode_return"][:length]]
        for run in runs
    ]
    return steps[0], np.array(returns)


def pooled(
    steps: np.ndarray, values: np.ndarray, group: int
) -> tuple[np.ndarray, np.ndarray]:
    """Means over `group` neighbouring evaluations, as the paper's curves seem to be, without a rest at the start.

    Raises:
        InvalidInputError: fewer than `group` evaluations.
    """
    if len(steps) < group:
        cure = "Train longer, or with a smaller evaluation_interval."
        refuse("runs", f"at least {group} evaluations", len(steps), cure)
    first = len(steps) % group
    shape = (*values.shape[:-1], len(steps) // group, group)
    return steps[first:].reshape(-1, group)[:, -1], values[..., first:].reshape(
        shape
    ).mean(-1)


def learning_curve(
    axis: Axes,
    runs: Sequence[Run],
    label: str,
    statistic: str = "mean",
    group: int = 1,
    marker: str = "o",
) -> Interval:
    """One method's curve with its band: the paper's 50 % interval of the mean, or the IQM with its 95 % interval.

    Args:
        statistic: "mean" (50 % percentile-bootstrap interval) or "iqm" (95 %).
        group: evaluations averaged into one point.
    """
    steps, values = pooled(*scores(runs), group)
    summary, level = {"mean": (mean, 0.5), "iqm": (iqm, 0.95)}[statistic]
    interval = bootstrap(summary, values, level, samples=2_000)
    (line,) = axis.plot(
        steps / 1e6,
        interval.value,
        label=label,
        marker=marker,
        markevery=0.1,
        markersize=5,
    )
    axis.fill_between(
        steps / 1e6,
        interval.low,
        interval.high,
        alpha=0.25,
        color=line.get_color(),
        linewidth=0,
    )
    return interval


def learning_curves(
    axis: Axes,
    groups: dict[str, Sequence[Run]],
    statistic: str = "mean",
    group: int = 1,
) -> None:
    """The curves of several methods on one axis."""
    for (label, runs), marker in zip(groups.items(), cycle(MARKERS), strict=False):
        seeds = f"{len(runs)} seed{'s' if len(runs) > 1 else ''}"
        learning_curve(axis, runs, f"{label} ({seeds})", statistic, group, marker)
    axis.set(xlabel="environment steps (millions)", ylabel="greedy episode return")
    axis.legend(frameon=True)


def forest(
    axis: Axes, labels: Sequence[str], effects: Sequence[Shift], colours: Sequence[str]
) -> None:
    """A row per effect: its estimate, its interval, and at the right the certainty which that interval reaches."""
    for height, (effect, colour) in enumerate(zip(effects, colours, strict=True)):
        axis.plot(
            [effect.low, effect.high], [height, height], color=colour, linewidth=2
        )
        axis.plot(effect.value, height, "o", color=colour)
        axis.text(
            1.01,
            height,
            f"{effect.coverage:.0%}",
            transform=axis.get_yaxis_transform(),
            va="center",
            fontsize=8,
        )
    axis.axvline(0, color="0.2", linewidth=1)
    axis.set(yticks=range(len(labels)), yticklabels=labels)
    axis.invert_yaxis()


def draw_board(
    axis: Axes, positions: np.ndarray, apple: np.ndarray, free: int, size: int = 5
) -> None:
    """One board of Turn: agents as numbered discs (the trapped one fenced), the apple as a diamond.

    Args:
        positions: [2, 2] (row, column) of each agent; apple: [2]; free: index of the
            free agent.
    """
    for row in range(size):
        for column in range(size):
            axis.add_patch(
                Rectangle((column, row), 1, 1, facecolor="white", edgecolor="#999999")
            )
    # beside an agent
    corner = (
        0.2
        if any((position == apple).all() for position in np.asarray(positions))
        else 0.5
    )
    axis.plot(
        apple[1] + corner,
        apple[0] + corner,
        marker="D",
        markersize=9,
        color=APPLE_COLOUR,
        zorder=5,
    )
    for agent, ((row, column), colour) in enumerate(
        zip(positions, AGENT_COLOURS, strict=True)
    ):
        shift = 0.5 if (positions[0] != positions[1]).any() else 0.3 + 0.4 * agent
        axis.plot(
            column + shift, row + 0.5, marker="o", markersize=17, color=colour, zorder=3
        )
        axis.text(
            column + shift,
            row + 0.5,
            str(agent),
            color="white",
            ha="center",
            va="center",
            zorder=4,
        )
        if agent != free:
            fence = {
                "facecolor": "none",
                "edgecolor": "#333333",
                "hatch": "||",
                "linewidth": 1.5,
                "zorder": 2,
            }
            axis.add_patch(Rectangle((column + 0.08, row + 0.08), 0.84, 0.84, **fence))
    axis.set(xlim=(0, size), ylim=(size, 0), aspect="equal", xticks=[], yticks=[])
