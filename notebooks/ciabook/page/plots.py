"""The book's figures, drawn from stored runs only.

They are safe for colour-blind readers, and readable on light and dark pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from IPython import get_ipython
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib_inline.backend_inline import set_matplotlib_formats

from ciabook.evidence.statistics import Interval, Shift, bootstrap, iqm, mean
from ciacore.runtime.store import Run
from ciacore.types import refuse

# agent 0, agent 1, ... (Okabe & Ito)
AGENT_COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#e69f00",
    "#666666",
    "#000000",
)
APPLE_COLOUR = "#009e73"
# one name and one colour per method, through the whole book; the first two colours of
# agents are never those of a method, and all are dark enough for text on white
LABELS = {
    "vdn": "VDN",
    "qmix": "QMIX",
    "qplex": "QPLEX",
    "qtran": "QTRAN",
    "ow_qmix": "OW-QMIX",
    "cw_qmix": "CW-QMIX",
    "maven": "MAVEN",
    "eoi": "EOI",
    "gre": "GRE",
    "scds": "SCDS",
    "qmix_rs": "QMIX(RS)",
    "qmix_cc": "QMIX(CC)",
    "qmix_cia": "QMIX(CIA)",
    "qplex_cia": "QPLEX(CIA)",
}
METHOD_COLOURS = {
    "vdn": "#4a7c00",
    "qmix": "#6e6e6e",
    "qplex": "#007c91",
    "qtran": "#795548",
    "ow_qmix": "#96480f",
    "cw_qmix": "#5d2f12",
    "maven": "#007a4d",
    "eoi": "#d81b60",
    "gre": "#455a75",
    "scds": "#2f4f1f",
    "qmix_rs": "#8a6d00",
    "qmix_cc": "#a3003f",
    "qmix_cia": "#7a1fa2",
    "qplex_cia": "#3949ab",
}
OTHER_COLOUR = "#222222"  # of a method that is none of the book's
MARKERS = "osD^vPX*"
# name -> statistic, and the coverage of its band
STATISTICS = {"mean": (mean, 0.5), "iqm": (iqm, 0.95)}


def label_of(method: str) -> str:
    """The name of a method as axes and tables write it, or its own.

    Args:
        method: a name of `ciacore.METHODS`, or of a run's own method.
    """
    return LABELS.get(method, method)


def colour_of(method: str) -> str:
    """The colour of a method in every figure.

    Args:
        method: a name of `ciacore.METHODS`, or of a run's own method.
    """
    return METHOD_COLOURS.get(method, OTHER_COLOUR)


def style() -> None:
    """Seaborn's settings for every figure: a white card, colours that all can tell.

    In a notebook figures are SVG, sharp at every size, and the same from run to run.
    """
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind")
    plt.rcParams.update(
        {
            "figure.dpi": 110,
            "savefig.facecolor": "white",
            "figure.constrained_layout.use": True,
            "svg.hashsalt": "ciabook",
        }
    )
    if get_ipython() is not None:
        set_matplotlib_formats("svg", metadata={"Date": None})


def scores(runs: Sequence[Run]) -> tuple[np.ndarray, np.ndarray]:
    """Mean greedy returns of runs of one method, cut to the shortest run.

    Returns:
        The env steps of the evaluations [E], and the returns [runs, E].

    Raises:
        InvalidInputError: the runs were evaluated at different steps.
    """
    length = min(len(run.metrics["env_steps"]) for run in runs)
    steps = np.array([run.metrics["env_steps"][:length] for run in runs])  # [runs, E]
    if (steps != steps[0]).any():
        refuse(
            "runs",
            "evaluations at the same env steps",
            "different ones",
            "Compare runs of one game and interval.",
        )
    returns = []
    for run in runs:
        logged = run.metrics["episode_return"][:length]
        returns.append([np.mean(entry) for entry in logged])
    return steps[0], np.array(returns)


def pooled(
    steps: np.ndarray, values: np.ndarray, group: int
) -> tuple[np.ndarray, np.ndarray]:
    """Means over neighbouring evaluations, as the paper's curves seem to be.

    Args:
        steps: [E], env steps of the evaluations.
        values: [..., E].
        group: how many evaluations make one point; a rest at the start is left out.

    Returns:
        The last step of each group, and the means.

    Raises:
        InvalidInputError: fewer than `group` evaluations.
    """
    if len(steps) < group:
        cure = "Train longer, or with a smaller evaluation_interval."
        refuse("runs", f"at least {group} evaluations", len(steps), cure)
    first = len(steps) % group
    last_steps = steps[first:].reshape(-1, group)[:, -1]
    groups = values[..., first:].reshape(*values.shape[:-1], -1, group)
    return last_steps, groups.mean(-1)


def learning_curve(
    axis: Axes,
    runs: Sequence[Run],
    label: str,
    statistic: str = "mean",
    group: int = 1,
    marker: str = "o",
) -> Interval:
    """One method's curve with its band.

    Args:
        axis: to draw on.
        runs: of one method.
        label: for the legend.
        statistic: "mean" (with the paper's 50 % interval) or "iqm" (with a 95 %
            interval), both percentile-bootstrap intervals.
        group: evaluations averaged into one point.
        marker: of the points, as matplotlib names it.

    Returns:
        What is drawn, over the points.
    """
    steps, values = scores(runs)
    steps, values = pooled(steps, values, group)
    summary, level = STATISTICS[statistic]
    interval = bootstrap(summary, values, level, samples=2_000)
    millions = steps / 1e6
    points = {"marker": marker, "markevery": 0.1, "markersize": 5}
    points["color"] = colour_of(runs[0].config.method)
    (line,) = axis.plot(millions, interval.value, label=label, **points)
    shade = {"color": line.get_color(), "alpha": 0.25, "linewidth": 0}
    axis.fill_between(millions, interval.low, interval.high, **shade)
    return interval


def learning_curves(
    axis: Axes,
    groups: dict[str, Sequence[Run]],
    statistic: str = "mean",
    group: int = 1,
) -> None:
    """The curves of several methods on one axis.

    Args:
        axis: to draw on.
        groups: label -> runs of one method.
        statistic: "mean" or "iqm", as for `learning_curve`.
        group: evaluations averaged into one point.
    """
    for (label, runs), marker in zip(groups.items(), cycle(MARKERS), strict=False):
        seeds = f"{len(runs)} seed{'s' if len(runs) > 1 else ''}"
        learning_curve(axis, runs, f"{label} ({seeds})", statistic, group, marker)
    axis.set(xlabel="environment steps (millions)", ylabel="greedy episode return")
    axis.legend(frameon=True)


def seed_lines(
    axis: Axes, runs: Sequence[Run], colour: str | None = None, group: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """A thin line per run of one method.

    Args:
        axis: to draw on; env steps are in millions.
        runs: of one method.
        colour: of all lines; None: the method's.
        group: evaluations averaged into one point.

    Returns:
        Millions of env steps [E], and the returns drawn [runs, E].
    """
    steps, values = pooled(*scores(runs), group)
    colour = colour or colour_of(runs[0].config.method)
    axis.plot(steps / 1e6, values.T, color=colour, linewidth=1.1, alpha=0.85)
    return steps / 1e6, values


def name_lines(
    axis: Axes,
    names: Sequence[str],
    heights: Sequence[float],
    colours: Sequence[str],
    size: float = 9,
) -> None:
    """Names beside the right edge, in the place of a legend; none covers another.

    Args:
        axis: whose limits are settled.
        names: one per line.
        heights: where the lines end, in units of the axis.
        colours: one per name.
        size: of the text, in points.
    """
    low, high = axis.get_ylim()
    inches = axis.get_position().height * axis.figure.get_size_inches()[1]
    gap = 1.25 * size / 72 / inches * (high - low)  # one line of text
    order = np.argsort(heights)
    wanted = np.clip(np.array(heights, dtype=float)[order], low, high)
    steps_up = gap * np.arange(len(wanted))
    # as close to its line as the names below it allow, and then down as the top asks
    placed = np.maximum.accumulate(wanted - steps_up) + steps_up
    placed = np.minimum(placed, high - gap * np.arange(len(wanted))[::-1])
    for index, height in zip(order, placed, strict=True):
        axis.text(
            1.02,
            height,
            names[index],
            transform=axis.get_yaxis_transform(),
            color=colours[index],
            fontsize=size,
            va="center",
        )


def forest(
    axis: Axes, labels: Sequence[str], effects: Sequence[Shift], colours: Sequence[str]
) -> None:
    """A row per effect: its estimate, its interval and that interval's certainty.

    A certainty that all rows share is said once, above them.

    Args:
        axis: to draw on.
        labels: one per effect.
        effects: how far one group of runs lies above another.
        colours: one per effect.
    """
    certainties = [f"{effect.coverage:.0%}" for effect in effects]
    for height, (effect, colour) in enumerate(zip(effects, colours, strict=True)):
        axis.plot(
            [effect.low, effect.high], [height, height], color=colour, linewidth=2
        )
        axis.plot(effect.value, height, "o", color=colour)
    if len(effects) > 1 and len(set(certainties)) == 1:
        words = f"intervals of {certainties[0]}"
        axis.set_title(words, loc="right", fontsize=9)
    else:
        for height, certainty in enumerate(certainties):
            axis.text(
                1.01,
                height,
                certainty,
                transform=axis.get_yaxis_transform(),
                va="center",
                fontsize=9,
            )
    axis.axvline(0, color="0.2", linewidth=1)
    axis.set(yticks=range(len(labels)), yticklabels=labels)
    axis.invert_yaxis()


def draw_board(
    axis: Axes, positions: np.ndarray, apple: np.ndarray, free: int, size: int = 5
) -> None:
    """One board of Turn.

    Agents are numbered discs, the trapped one is fenced, the apple is a diamond.

    Args:
        axis: to draw on.
        positions: [K, 2], row and column of each agent.
        apple: [2], its row and column.
        free: index of the free agent.
        size: cells along an edge of the board.
    """
    positions = np.asarray(positions)
    for row in range(size):
        for column in range(size):
            cell = {"facecolor": "white", "edgecolor": "#999999"}
            axis.add_patch(Rectangle((column, row), 1, 1, **cell))
    hidden = any((position == apple).all() for position in positions)
    corner = 0.2 if hidden else 0.5  # beside an agent, or in the middle
    diamond = {"marker": "D", "markersize": 9, "color": APPLE_COLOUR, "zorder": 5}
    axis.plot(apple[1] + corner, apple[0] + corner, **diamond)
    for agent, (row, column) in enumerate(positions):
        here = (positions == positions[agent]).all(-1)  # itself, too
        left = here[:agent].sum()
        shift = 0.3 + 0.4 * left / (here.sum() - 1) if here.sum() > 1 else 0.5
        disc = {"marker": "o", "markersize": 17, "color": AGENT_COLOURS[agent]}
        axis.plot(column + shift, row + 0.5, **disc, zorder=3)
        number = {"color": "white", "ha": "center", "va": "center"}
        axis.text(column + shift, row + 0.5, str(agent), **number, zorder=4)
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
