"""Tactics found in recordings of battles, by stated rules.

The moments they happen are drawn as pictures.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ciabook.battles.recording import FIRST_FOE, FIRST_MOVE, Recording
from ciabook.page.plots import AGENT_COLOURS

FOE = "#882255"
CLOSED = 0.55  # how light ground is that nobody can enter; open ground is 1
FOCUS = 3  # agents at least that make a group
RETURN = 4  # steps within which a kiting agent attacks again
RETREAT = 0.5  # cells at least that it wins by moving away
APART = 2.0  # cells at least between two agents that take turns to draw a foe
BACK = 12  # steps within which the foe turns back to the first
AROUND = 9.0  # cells from the middle of the foes within which agents encircle them
GAP = 150.0  # degrees: a gap of this size lets foes out


class Tactic(NamedTuple):
    """One occurrence."""

    name: str
    battle: int
    t: int  # step
    agents: tuple[int, ...]


def alive(recording: Recording, battle: int, t: int) -> np.ndarray:
    """Which units are alive.

    Args:
        recording: B battles.
        battle: which of them.
        t: slot, from 0 to the length of the battle.

    Returns:
        [U] bool.
    """
    return recording.health[battle, t] > 0


def focus_fire(recording: Recording, battle: int) -> list[Tactic]:
    """Three agents or more attack one foe in the same step.

    They must be more than half of those that attack.

    Args:
        recording: B battles.
        battle: which of them.
    """
    found = []
    for t in range(recording.lengths[battle]):
        targets = recording.targets[battle, t + 1, : recording.n_agents]
        attacked = targets[targets >= 0]
        if len(attacked) == 0:
            continue
        foes, counts = np.unique(attacked, return_counts=True)
        most = counts.max()
        if most >= FOCUS and most > len(attacked) / 2:
            agents = np.flatnonzero(targets == foes[counts.argmax()])
            found.append(Tactic("focus fire", battle, t, tuple(agents)))
    return found


def nearest_foe(recording: Recording, battle: int, t: int, agent: int) -> float:
    """The distance to the nearest living foe, in cells.

    Args:
        recording: B battles.
        battle: which of them.
        t: slot, from 0 to the length of the battle.
        agent: whose distance, from 0 to K-1.

    Returns:
        Infinity where no foe is alive.
    """
    is_foe = np.arange(recording.health.shape[-1]) >= recording.n_agents
    spots = recording.positions[battle, t].astype(float)
    foes = spots[is_foe & alive(recording, battle, t)]
    if len(foes) == 0:
        return np.inf
    return float(np.linalg.norm(foes - spots[agent], axis=-1).min())


def kiting(recording: Recording, battle: int) -> list[Tactic]:
    """An agent attacks, moves away from the nearest foe, and soon attacks again.

    It moves away by half a cell or more, and attacks again within 4 steps. The step
    counted is that of the move.

    Args:
        recording: B battles.
        battle: which of them.
    """
    found = []
    for agent in range(recording.n_agents):
        actions = recording.actions[battle, : recording.lengths[battle], agent]
        is_move = (actions >= FIRST_MOVE) & (actions < FIRST_FOE)
        is_attack = actions >= FIRST_FOE
        for t in range(1, len(actions)):
            again = is_attack[t + 1 : t + 1 + RETURN].any()
            if not (is_attack[t - 1] and is_move[t] and again):
                continue
            before = nearest_foe(recording, battle, t, agent)
            after = nearest_foe(recording, battle, t + 1, agent)
            gained = after - before
            if np.isfinite(gained) and gained >= RETREAT:
                found.append(Tactic("kiting", battle, t, (agent,)))
    return sorted(found, key=lambda each: each.t)


def alternate_attack(recording: Recording, battle: int) -> list[Tactic]:
    """A foe turns from one agent to another, two cells or more away, and back.

    It turns back to the first within 12 steps. That is the paper's picture: agents take
    turns to draw a foe, which wastes its time on walking.

    Args:
        recording: B battles.
        battle: which of them.
    """
    found = []
    length = recording.lengths[battle]
    for foe in range(recording.n_agents, recording.health.shape[-1]):
        turns = new_targets(recording.targets[battle, 1 : length + 1, foe])
        for index in range(len(turns) - 2):
            _, first = turns[index]
            t, second = turns[index + 1]
            back, third = turns[index + 2]
            spots = recording.positions[battle, t + 1, [first, second]].astype(float)
            distance = np.linalg.norm(spots[0] - spots[1])
            if first == third and back - t <= BACK and distance >= APART:
                found.append(Tactic("alternate attack", battle, t, (first, second)))
    return sorted(found, key=lambda each: each.t)


def new_targets(targets: np.ndarray) -> list[tuple[int, int]]:
    """The steps at which a unit attacks another one than before, and whom.

    Args:
        targets: [T], whom the unit attacks in each step; -1: nobody.
    """
    turns = []
    before = -1
    for t, target in enumerate(targets.tolist()):
        if target >= 0:
            if target != before:
                turns.append((t, target))
            before = target
    return turns


def encircling(recording: Recording, battle: int) -> list[Tactic]:
    """Three agents or more stand around the middle of the foes, and leave no gap.

    They stand within 9 cells, and a gap has 150 degrees. It is counted at the step it
    begins.

    Args:
        recording: B battles.
        battle: which of them.
    """
    found = []
    before = False
    n = recording.n_agents
    for t in range(recording.lengths[battle]):
        here = alive(recording, battle, t)
        now = encircled(recording.positions[battle, t].astype(float), here, n)
        if now and not before:
            agents = tuple(np.flatnonzero(here[:n]))
            found.append(Tactic("encircling", battle, t, agents))
        before = now
    return found


def encircled(spots: np.ndarray, here: np.ndarray, n_agents: int) -> bool:
    """Whether agents stand around the middle of the foes.

    Args:
        spots: [U, 2], where units stand, in cells.
        here: [U] bool, which are alive.
        n_agents: K, the first of the units.
    """
    agents = spots[:n_agents][here[:n_agents]]
    foes = spots[n_agents:][here[n_agents:]]
    if len(foes) == 0 or len(agents) < FOCUS:
        return False
    offset = agents - foes.mean(0)
    near = np.linalg.norm(offset, axis=-1) < AROUND
    if near.sum() < FOCUS:
        return False
    angles = np.sort(np.degrees(np.arctan2(offset[near, 1], offset[near, 0])))
    gaps = np.diff(np.append(angles, angles[0] + 360))
    return bool(gaps.max() < GAP)


TACTICS = (focus_fire, kiting, alternate_attack, encircling)


def tactics(recording: Recording) -> list[Tactic]:
    """All occurrences in all battles."""
    found = []
    for battle in range(len(recording.lengths)):
        for find in TACTICS:
            found += find(recording, battle)
    return found


def key_moments(recording: Recording, battle: int, count: int = 3) -> list[int]:
    """Steps to show, by a rule: the first attack, and where most units fell.

    Ties go to the earlier step; no two lie closer than a tenth of the time from the
    first attack to the last death.

    Args:
        recording: B battles.
        battle: which of them.
        count: how many steps at most.
    """
    length = int(recording.lengths[battle])
    n = recording.n_agents
    attacks = (recording.targets[battle, 1 : length + 1, :n] >= 0).any(-1)
    first = int(attacks.argmax()) if attacks.any() else 0
    here = recording.health[battle, : length + 1] > 0
    fallen = (here[:-1] & ~here[1:]).sum(-1)  # [T], units that fall in each step
    last = int(np.flatnonzero(fallen).max(initial=0))
    apart = max(1, (last - first) // 10)
    chosen = [first]
    for t in np.argsort(-fallen, kind="stable").tolist():
        if fallen[t] == 0 or len(chosen) >= count:
            break
        if all(abs(t - other) >= apart for other in chosen):
            chosen.append(t)
    return sorted(chosen)


def draw_moment(
    axis: Axes, recording: Recording, battle: int, t: int, margin: float = 1.6
) -> None:
    """The battle at a step: units with bars of health, and what each is about to do.

    Agents are discs, each in its own colour, and foes are squares; all are numbered
    from 0. A dashed arrow shows where a unit walks, one in its colour whom it attacks.

    Args:
        axis: to draw on.
        recording: B battles.
        battle: which of them.
        t: the step.
        margin: cells around the units that are shown, too.
    """
    n = recording.n_agents
    here = alive(recording, battle, t)
    spots = recording.positions[battle, t].astype(float)
    later = recording.positions[battle, t + 1].astype(float)
    health = recording.health[battle, t].astype(float)
    full = recording.health[battle, 0].astype(float)
    targets = recording.targets[battle, t + 1]
    ground = np.where(recording.walkable, 1.0, CLOSED)
    board = {"origin": "lower", "extent": (0, 32, 0, 32)}
    axis.imshow(ground, **board, cmap="gray", vmin=0, vmax=1)
    for unit in np.flatnonzero(here):
        share = health[unit] / full[unit]
        draw_unit(axis, spots[unit], share, int(unit), n)
        step = later[unit] - spots[unit]
        colour = unit_colour(int(unit), n)
        if targets[unit] >= 0:
            arrow = {"color": colour, "linewidth": 1.3, "shrinkA": 6, "shrinkB": 6}
            draw_arrow(axis, spots[unit], spots[targets[unit]], arrow)
        elif np.linalg.norm(step) > 0.3:
            arrow = {"color": colour, "linewidth": 1.3, "linestyle": "--", "shrinkA": 6}
            draw_arrow(axis, spots[unit], spots[unit] + 1.2 * step, arrow)
    low = spots[here].min(0) - margin
    high = spots[here].max(0) + margin
    side = max(*(high - low), 8.0) / 2
    x, y = (low + high) / 2
    axis.set(xlim=(x - side, x + side), ylim=(y - side, y + side), aspect="equal")
    axis.set(xticks=[], yticks=[])
    counts = f"step {t}: {here[:n].sum()} against {here[n:].sum()}"
    axis.set_title(counts, fontsize=11)
    axis.set_facecolor(str(CLOSED))
    axis.grid(False)


def unit_colour(unit: int, n_agents: int) -> str:
    """The colour of a unit: an agent's own, or that of all foes.

    Args:
        unit: its number among all units, agents first.
        n_agents: K.
    """
    return AGENT_COLOURS[unit % len(AGENT_COLOURS)] if unit < n_agents else FOE


def moment_key() -> list[Line2D]:
    """What the marks of a drawn moment mean, for a legend."""
    unit = {"linestyle": "none", "markersize": 8}
    line = {"linewidth": 1.5, "color": "0.3"}
    return [
        Line2D([], [], color=AGENT_COLOURS[0], marker="o", label="agent", **unit),
        Line2D([], [], color=FOE, marker="s", label="foe", **unit),
        Line2D([], [], label="attacks", **line),
        Line2D([], [], linestyle="--", label="walks", **line),
    ]


def draw_unit(
    axis: Axes, spot: np.ndarray, share: float, unit: int, n_agents: int
) -> None:
    """A unit with its number, and its bar of health above it.

    Args:
        axis: to draw on.
        spot: [2], where it stands.
        share: of its health that is left, from 0 to 1.
        unit: its number among all units, agents first.
        n_agents: K.
    """
    x, y = spot
    marker, number = ("o", unit) if unit < n_agents else ("s", unit - n_agents)
    look = {"marker": marker, "color": unit_colour(unit, n_agents), "markersize": 11}
    edge = {"markeredgecolor": "white", "markeredgewidth": 0.8}
    axis.plot(x, y, **look, **edge, zorder=4)
    words = {"ha": "center", "va": "center", "color": "white", "fontsize": 8}
    axis.text(x, y, str(number), **words, fontweight="bold", zorder=6, clip_on=True)
    for width, colour in ((1.0, "0.75"), (share, "0.15")):  # all of it, what is left
        bar = {"color": colour, "linewidth": 2, "solid_capstyle": "butt"}
        axis.plot([x - 0.5, x - 0.5 + width], [y + 0.8, y + 0.8], **bar, zorder=5)


def draw_arrow(
    axis: Axes, start: np.ndarray, end: np.ndarray, look: dict[str, Any]
) -> None:
    """An arrow.

    Args:
        axis: to draw on.
        start: [2]
        end: [2]
        look: properties of the arrow, as matplotlib names them.
    """
    axis.annotate("", end, start, arrowprops={"arrowstyle": "->", **look}, zorder=3)
