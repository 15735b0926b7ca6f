"""Tactics found in recordings of battles, by stated rules, and pictures of the moments they happen."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from ciabook.battles.recording import FIRST_FOE, FIRST_MOVE, Recording

ALLY, FOE, GROUND = "#117733", "#882255", "#dddddd"
FOCUS, RETURN, GAP = 3, 4, 150.0


class Tactic(NamedTuple):
    """One occurrence."""

    name: str
    battle: int
    t: int  # step
    agents: tuple[int, ...]


def alive(recording: Recording, battle: int, t: int) -> np.ndarray:
    """[U]"""
    return recording.health[battle, t] > 0


def focus_fire(recording: Recording, battle: int) -> list[Tactic]:
    """Three agents or more attack one foe in the same step, and they are more than half of those that attack."""
    found = []
    for t in range(recording.lengths[battle]):
        targets = recording.targets[battle, t + 1, : recording.n_agents]
        attackers = targets[targets >= 0]
        if len(attackers):
            values, counts = np.unique(attackers, return_counts=True)
            if counts.max() >= FOCUS and counts.max() > len(attackers) / 2:
                who = tuple(np.flatnonzero(targets == values[counts.argmax()]))
                found.append(Tactic("focus fire", battle, t, who))
    return found


def nearest_foe(recording: Recording, battle: int, t: int, agent: int) -> float:
    """The distance to the nearest living foe, in cells."""
    foes = np.arange(recording.health.shape[-1]) >= recording.n_agents
    there = recording.positions[battle, t, foes & alive(recording, battle, t)].astype(
        float
    )
    if len(there) == 0:
        return np.inf
    return float(
        np.linalg.norm(
            there - recording.positions[battle, t, agent].astype(float), axis=-1
        ).min()
    )


def kiting(recording: Recording, battle: int) -> list[Tactic]:
    """An agent attacks, then moves away from the nearest foe, by half a cell or more, and attacks again in 4 steps.

    The step counted is that of the move.
    """
    found = []
    for agent in range(recording.n_agents):
        actions = recording.actions[battle, : recording.lengths[battle], agent]
        for t in (
            np.flatnonzero((actions[1:] >= FIRST_MOVE) & (actions[1:] < FIRST_FOE)) + 1
        ).tolist():
            again = actions[t + 1 : t + 1 + RETURN] >= FIRST_FOE
            if actions[t - 1] >= FIRST_FOE and again.any():
                gained = nearest_foe(recording, battle, t + 1, agent) - nearest_foe(
                    recording, battle, t, agent
                )
                if np.isfinite(gained) and gained >= 0.5:
                    found.append(Tactic("kiting", battle, t, (agent,)))
    return sorted(found, key=lambda each: each.t)


def alternate_attack(recording: Recording, battle: int) -> list[Tactic]:
    """A foe that attacked one agent turns to another one two cells or more away, and back to the first, in 12 steps.

    The paper's picture of it: agents take turns to draw a foe, which wastes its time on
    walking.
    """
    found = []
    length, n = recording.lengths[battle], recording.n_agents
    for foe in range(n, recording.health.shape[-1]):
        row = recording.targets[battle, 1 : length + 1, foe]
        times = np.flatnonzero(row >= 0)
        turns = [
            (times[i], row[times[i]])
            for i in range(len(times))
            if i == 0 or row[times[i]] != row[times[i - 1]]
        ]
        for (_, first), (t, second), (back, third) in zip(
            turns, turns[1:], turns[2:], strict=False
        ):
            spots = recording.positions[battle, t + 1, [first, second]].astype(float)
            if (
                first == third
                and back - t <= 12
                and np.linalg.norm(spots[0] - spots[1]) >= 2
            ):
                found.append(
                    Tactic(
                        "alternate attack", battle, int(t), (int(first), int(second))
                    )
                )
    return sorted(found, key=lambda each: each.t)


def encircling(recording: Recording, battle: int) -> list[Tactic]:
    """Three agents or more stand around the middle of the foes, within 9 cells, and leave no gap of 150 degrees.

    Counted at the step it begins.
    """
    found, before = [], False
    n = recording.n_agents
    for t in range(recording.lengths[battle]):
        here = alive(recording, battle, t)
        spots = recording.positions[battle, t].astype(float)
        now = False
        if here[n:].any() and here[:n].sum() >= FOCUS:
            offset = spots[:n][here[:n]] - spots[n:][here[n:]].mean(0)
            near = np.linalg.norm(offset, axis=-1) < 9
            if near.sum() >= FOCUS:
                angles = np.sort(
                    np.degrees(np.arctan2(offset[near, 1], offset[near, 0]))
                )
                gaps = np.diff(np.append(angles, angles[0] + 360))
                now = bool(gaps.max() < GAP)
        if now and not before:
            found.append(
                Tactic("encircling", battle, t, tuple(np.flatnonzero(here[:n])))
            )
        before = now
    return found


TACTICS = (focus_fire, kiting, alternate_attack, encircling)


def tactics(recording: Recording) -> list[Tactic]:
    """All occurrences in all battles."""
    return [
        each
        for battle in range(len(recording.lengths))
        for find in TACTICS
        for each in find(recording, battle)
    ]


def key_moments(recording: Recording, battle: int, count: int = 3) -> list[int]:
    """Steps to show, by a rule: the first attack of an agent, and the steps at which most units fell.

    Ties go to the earlier step; no two lie closer than a tenth of the time from the
    first attack to the last death.
    """
    length, n = int(recording.lengths[battle]), recording.n_agents
    attacks = (recording.targets[battle, 1 : length + 1, :n] >= 0).any(-1)
    chosen = [int(attacks.argmax()) if attacks.any() else 0]
    here = recording.health[battle, : length + 1] > 0
    fallen = (here[:-1] & ~here[1:]).sum(-1)
    apart = max(1, (int(np.flatnonzero(fallen).max(initial=0)) - chosen[0]) // 10)
    for t in np.argsort(-fallen, kind="stable"):
        if (
            fallen[t]
            and len(chosen) < count
            and all(abs(int(t) - other) >= apart for other in chosen)
        ):
            chosen.append(int(t))
    return sorted(chosen)


def draw_moment(
    axis: Axes, recording: Recording, battle: int, t: int, margin: float = 2.5
) -> None:
    """The battle at step t: units with bars of health, a black arrow where each walks, a white one whom it attacks."""
    n, here = recording.n_agents, alive(recording, battle, t)
    spots, later = (
        recording.positions[battle, step].astype(float) for step in (t, t + 1)
    )
    full = recording.health[battle, 0].astype(float)
    ground = np.where(recording.walkable, 0.62, 0.25)
    axis.imshow(
        ground, origin="lower", extent=(0, 32, 0, 32), cmap="gray", vmin=0, vmax=1
    )
    for side, colour in (
        (np.arange(len(here)) < n, ALLY),
        (np.arange(len(here)) >= n, FOE),
    ):
        group = spots[side & here]
        if len(group) > 1:  # the formation, shaded
            centre, spread = (
                group.mean(0),
                np.linalg.norm(group - group.mean(0), axis=-1).max() + 1,
            )
            axis.add_patch(
                Circle(centre, spread, color=colour, alpha=0.18, linewidth=0)
            )
    for unit in np.flatnonzero(here):
        colour, marker = (ALLY, "o") if unit < n else (FOE, "s")
        (x, y), share = (
            spots[unit],
            float(recording.health[battle, t, unit]) / full[unit],
        )
        axis.plot(
            x,
            y,
            marker=marker,
            markersize=6,
            color=colour,
            markeredgecolor="white",
            markeredgewidth=0.6,
            zorder=4,
        )
        axis.plot(
            [x - 0.5, x - 0.5 + share],
            [y + 0.7] * 2,
            color="#ffffff",
            linewidth=1.4,
            zorder=5,
        )
        target = recording.targets[battle, t + 1, unit]
        if target >= 0:
            arrow = {
                "arrowstyle": "->",
                "color": "white",
                "linewidth": 1.0 if unit < n else 0.5,
                "shrinkB": 3,
            }
            axis.annotate("", spots[target], (x, y), arrowprops=arrow, zorder=3)
        elif np.linalg.norm(later[unit] - spots[unit]) > 0.3:
            end = spots[unit] + 1.2 * (later[unit] - spots[unit])
            axis.annotate(
                "",
                end,
                (x, y),
                arrowprops={"arrowstyle": "->", "color": "black", "linewidth": 0.8},
                zorder=3,
            )
    low, high = spots[here].min(0) - margin, spots[here].max(0) + margin
    side = max(*(high - low), 8.0) / 2
    middle = (low + high) / 2
    axis.set(
        xlim=(middle[0] - side, middle[0] + side),
        ylim=(middle[1] - side, middle[1] + side),
    )
    axis.set_facecolor("0.25")
    axis.set(
        xticks=[],
        yticks=[],
        aspect="equal",
        title=f"step {t}: {here[:n].sum()} against {here[n:].sum()}",
    )
    axis.grid(False)
