"""Figures of the battles compared: differences, learning curves, credits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from ciabook.evidence.paired import Paired
from ciabook.evidence.statistics import bootstrap, mean
from ciabook.page.plots import colour_of, label_of, name_lines
from ciacore.games.battles.starcraft import SIZES
from ciacore.runtime.store import Run


def difference_rows(axis: Axes, compared: Paired, colour: str) -> None:
    """A row of dots per map, one per seed, and the estimate over all of them below.

    Args:
        axis: to draw on.
        compared: a method with CIA against its base.
        colour: of the method with CIA.
    """
    scenarios = list(compared.differences)
    for height, scenario in enumerate(scenarios):
        values = compared.differences[scenario]
        axis.plot(values, [height] * len(values), "o", color=colour, alpha=0.75)
    bottom = len(scenarios)
    axis.axhline(bottom - 0.5, color="0.7", linewidth=0.8)
    axis.plot(
        [compared.low, compared.high], [bottom, bottom], color=colour, linewidth=3
    )
    axis.plot(compared.value, bottom, "D", color=colour, markersize=8)
    axis.axvline(0, color="0.2", linewidth=1)
    labels = [*scenarios, f"all ({compared.coverage:.0%})"]
    axis.set(yticks=range(bottom + 1), yticklabels=labels, ylim=(bottom + 0.6, -0.6))
    axis.set(xlabel="share of battles won, CIA minus its base")


def win_curve(axis: Axes, runs: Mapping[str, Sequence[Run]], scenario: str) -> None:
    """The win rate along training on one map: a mean per method, a thin line per seed.

    Args:
        axis: to draw on.
        runs: method -> runs on the map, methods without any left out.
        scenario: of the map.
    """
    names, heights, colours = [], [], []
    for method, group in runs.items():
        length = min(len(run.metrics["won"]) for run in group)
        steps = np.array(group[0].metrics["env_steps"][:length]) / 1e3
        won = [[np.mean(one) for one in run.metrics["won"][:length]] for run in group]
        values = smoothed(np.array(won))
        colour = colour_of(method)
        axis.plot(steps, values.T, color=colour, linewidth=0.7, alpha=0.35)
        band = bootstrap(mean, values, 0.5, samples=500)
        axis.plot(steps, band.value, color=colour, linewidth=1.8)
        names.append(f"{label_of(method)} ({len(group)})")
        heights.append(float(band.value[-1]))
        colours.append(colour)
    axis.set(title=scenario, ylim=(-0.03, 1.03), xlabel="thousand steps")
    axis.set(ylabel="battles won")
    name_lines(axis, names, heights, colours)


def waits(axis: Axes, title: str) -> None:
    """A panel of which no run is there yet.

    Args:
        axis: to draw on.
        title: of the panel.
    """
    axis.text(0.5, 0.5, "no runs yet", ha="center", transform=axis.transAxes)
    axis.set(title=title, xticks=[])


def smoothed(values: np.ndarray, share: float = 0.05) -> np.ndarray:
    """A running mean over a share of the evaluations, shorter at both ends.

    Args:
        values: [runs, evaluations].
        share: of all evaluations that a point is the mean of.
    """
    reach = round(share * values.shape[1] / 2)
    places = range(values.shape[1])
    windows = [values[:, max(0, t - reach) : t + reach + 1].mean(1) for t in places]
    return np.stack(windows, 1)


def win_curves(
    runs: Mapping[str, Mapping[str, Sequence[Run]]],
    scenarios: Sequence[str],
    methods: Sequence[str],
) -> str:
    """A panel per map, two in a row; a map without runs of the methods says so.

    Args:
        runs: scenario -> method -> runs.
        scenarios: in their order.
        methods: in their order.

    Returns:
        What is missing, in words; nothing where all is there.
    """
    there = {
        name: {m: runs[name][m] for m in methods if runs.get(name, {}).get(m)}
        for name in scenarios
    }
    rows = (len(scenarios) + 1) // 2
    size = (8.5, 2.9 * rows)
    _, axes = plt.subplots(rows, 2, figsize=size, squeeze=False, sharey=True)
    for axis, name in zip(axes.flat, scenarios, strict=False):
        if there[name]:
            win_curve(axis, there[name], name)
        else:
            waits(axis, name)
    for axis in axes.flat[len(scenarios) :]:
        axis.axis("off")
    plt.show()
    absent = [
        f"{label_of(method)} on {name}"
        for name in scenarios
        for method in methods
        if method not in there[name]
    ]
    if len(absent) == len(scenarios) * len(methods):
        return "No runs yet."
    return f"No runs yet: {', '.join(absent)}." if absent else ""


def credits_by_agents(
    axis: Axes,
    rows: Sequence[Mapping[str, Any]],
    measure: str,
    methods: Sequence[str],
    title: str,
    by_chance: bool = False,
) -> None:
    """A measure of credits against the number of agents, a dot per map and seed.

    Args:
        axis: to draw on.
        rows: of book/results/clashes/networks.json that have `measures`.
        measure: a key of them.
        methods: which are drawn.
        title: of the vertical axis.
        by_chance: whether chance, one over the number of agents, is drawn, too.
    """
    sizes = sorted({SIZES[row["scenario"]].n_agents for row in rows})
    for index, method in enumerate(methods):
        shift = 0.16 * (index - (len(methods) - 1) / 2)
        spots = [
            (sizes.index(SIZES[row["scenario"]].n_agents) + shift, found[measure])
            for row in rows
            if (found := row["measures"].get(method))
        ]
        if spots:
            x, y = zip(*spots, strict=True)
            axis.plot(
                x, y, "o", color=colour_of(method), alpha=0.7, label=label_of(method)
            )
    if by_chance:
        chance = [1 / size for size in sizes]
        axis.plot(range(len(sizes)), chance, "k_", markersize=22, label="chance")
    axis.set(xticks=range(len(sizes)), xticklabels=sizes, xlabel="agents", ylabel=title)
    axis.legend(frameon=True, fontsize=9)
