"""A row of dots per arm, one dot per seed: what became of every team, and no mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

GAP = 2.0  # columns between the book's seeds and the reader's


# kind of team -> how its dot is drawn; told apart by shape as by colour
LOOKS: dict[str, dict[str, Any]] = {
    "asleep": {"marker": "s", "color": "0.55", "markersize": 5},
    "awake": {"marker": "o", "color": "#0072b2", "markersize": 5.5},
    "unclear": {
        "marker": "D",
        "color": "#d55e00",
        "markersize": 5,
        "markerfacecolor": "white",
    },
}


def dot_rows(
    axis: Axes,
    rows: Mapping[str, Sequence[str]],
    notes: Mapping[str, str],
    own: Mapping[str, Sequence[str]] | None = None,
    columns: int = 40,
) -> None:
    """Draws the rows, the first at the top.

    Args:
        axis: to draw on.
        rows: label -> the kind of every team, a key of LOOKS, seed by seed; none where
            an arm waits.
        notes: label -> words at the right of its row; in the row where it has no dots.
        own: label -> the same of the reader's teams, drawn at the right of the book's.
        columns: how many seeds a row of the book has.
    """
    own = own or {}
    start = columns + GAP
    width = start + max((len(kinds) for kinds in own.values()), default=-GAP)
    for height, (label, kinds) in enumerate(rows.items()):
        draw_dots(axis, height, kinds, 0)
        draw_dots(axis, height, own.get(label, ()), start)
        place = (width + 1, height) if kinds else (0, height)
        colour = "0.2" if kinds else "0.45"
        axis.text(*place, notes[label], va="center", fontsize=9, color=colour)
    if own:
        axis.axvline(columns + GAP / 2 - 0.5, color="0.3", linewidth=1)
        axis.text(start - 0.5, -1.1, "yours", fontsize=9)
        axis.text(-0.5, -1.1, "the book's", fontsize=9)
    for kind, look in LOOKS.items():
        axis.plot([], [], linestyle="", label=kind, **look)
    axis.set(yticks=range(len(rows)), yticklabels=list(rows), xticks=[])
    axis.set(xlim=(-1, width + 9), ylim=(len(rows) - 0.4, -1.7))
    axis.grid(visible=False)
    for side in axis.spines.values():
        side.set_visible(False)
    axis.legend(
        loc="upper center", bbox_to_anchor=(0.5, 0), ncols=len(LOOKS), frameon=False
    )


def draw_dots(axis: Axes, height: float, kinds: Sequence[str], start: float) -> None:
    """The dots of a row.

    Args:
        axis: to draw on.
        height: of the row.
        kinds: of the teams, from left to right.
        start: where the first dot is.
    """
    for kind, look in LOOKS.items():
        places = [start + at for at, found in enumerate(kinds) if found == kind]
        axis.plot(places, [height] * len(places), linestyle="", **look)


def figure_for(rows: int) -> tuple[plt.Figure, Axes]:
    """A figure with room for so many rows."""
    return plt.subplots(figsize=(9.5, 1.3 + 0.3 * rows))
