"""How a game looks at one step, on a matplotlib axis.

A game offers its own picture by a method `draw(axis, state, actions)`, which needs no
import of matplotlib. For games of the library, which are pure rules, the pictures are
here, by the class of the game. An environment of another package may draw itself. Any
other game is shown as what its agents see.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes

from ciabook.page.plots import draw_board
from ciacore.types import Array, Game

Drawing = Callable[[Axes, Game, Any, np.ndarray | None], None]

ALLY, FOE, SHOT = "#0072b2", "#d55e00", "#999999"


def drawing_of(game: Game) -> Drawing:
    """What draws a game: its own method, its class's drawing, or `draw_what_is_seen`.

    Args:
        game: any; a subclass is drawn as its nearest ancestor in `DRAWINGS`.
    """
    if callable(getattr(game, "draw", None)):
        return lambda axis, game, state, actions: game.draw(axis, state, actions)
    for kind in type(game).__mro__:
        name = f"{kind.__module__}.{kind.__qualname__}"
        if name in DRAWINGS:
            return DRAWINGS[name]
    return draw_what_is_seen


def array(values: Array) -> np.ndarray:
    """A tensor or an array in numpy."""
    return torch.as_tensor(values).cpu().numpy()


def draw_turn(axis: Axes, game: Game, state: Any, actions: np.ndarray | None) -> None:
    """The board of Turn.

    Args:
        axis: to draw on.
        game: Turn.
        state: of one game.
        actions: [K] what the agents are about to do; not shown here.
    """
    positions, apple = game.places(state)
    board = array(positions)[0], array(apple)[0], int(state.free[0])
    draw_board(axis, *board, size=game.size)


def draw_matrix(axis: Axes, game: Game, state: Any, actions: np.ndarray | None) -> None:
    """The payoff table, with the joint action framed.

    With more than two agents, the table of the first two at the others' actions.

    Args:
        axis: to draw on.
        game: a MatrixGame.
        state: of one game.
        actions: [K] what the agents are about to do; None after the only step.
    """
    table = game.payoff.numpy()
    others = (0,) * (table.ndim - 2) if actions is None else tuple(actions[2:])
    table = table[(..., *others)]
    axis.imshow(table, cmap="Blues", alpha=0.6)
    for (row, column), value in np.ndenumerate(table):
        axis.text(column, row, f"{value:g}", ha="center", va="center")
    if actions is not None:
        row, column = int(actions[0]), int(actions[1])
        frame = {"marker": "s", "markersize": 30, "fillstyle": "none", "color": FOE}
        axis.plot(column, row, markeredgewidth=2.5, **frame)
    ticks = range(len(table))
    axis.set(xticks=ticks, yticks=ticks, xlabel="action of agent 1")
    axis.set(ylabel="action of agent 0")


def draw_predator_prey(
    axis: Axes, game: Game, state: Any, actions: np.ndarray | None
) -> None:
    """The grid: numbered circles are predators, diamonds prey; a ring is an attack.

    Args:
        axis: to draw on.
        game: PredatorPrey.
        state: of one grid.
        actions: [K] what the predators are about to do.
    """
    predators, prey = (array(places)[0] for places in game.places(state))
    attacks = np.zeros(len(predators), bool)
    if actions is not None:
        attacks = np.asarray(actions) == game.spec.n_actions - 1
    for row, column in prey[prey[:, 0] < game.size]:
        axis.plot(column, row, marker="D", markersize=8, color=FOE)
    for agent in np.flatnonzero(predators[:, 0] < game.size):
        row, column = predators[agent]
        axis.plot(column, row, marker="o", markersize=13, color=ALLY)
        number = {"color": "white", "ha": "center", "va": "center", "fontsize": 8}
        axis.text(column, row, str(agent), **number)
        if attacks[agent]:
            ring = {"fillstyle": "none", "color": FOE, "markeredgewidth": 2}
            axis.plot(column, row, marker="o", markersize=18, **ring)
    edge = game.size - 0.5
    axis.set(xlim=(-0.5, edge), ylim=(edge, -0.5), aspect="equal", xticks=[], yticks=[])


def draw_battle(axis: Axes, game: Game, state: Any, actions: np.ndarray | None) -> None:
    """Units on the field: circles are ours, crosses theirs; a line is an attack.

    The size of a mark is the share of its health that a unit has left.

    Args:
        axis: to draw on.
        game: a battle on SMAX.
        state: of one battle.
        actions: [K] what the agents are about to do; the attacks shown are the last.
    """
    units = game.units(state)
    positions, alive = array(units.positions)[0], array(units.alive)[0]
    health, targets = array(units.health)[0], array(units.targets)[0]
    start = array(game.smax.unit_type_health)[array(game.unit_types)]
    share = np.clip(health / start, 0.1, 1)
    axis.imshow(
        ~np.asarray(game.smax._env.walkable[0]),
        cmap="Greys",
        alpha=0.25,
        extent=(0, 32, 32, 0),
    )
    for unit in np.flatnonzero(alive & (targets >= 0)):
        ends = positions[[unit, targets[unit]]]
        axis.plot(ends[:, 0], ends[:, 1], color=SHOT, linewidth=0.8, zorder=1)
    ours = np.arange(len(alive)) < game.n_allies
    for side, marker, colour in ((ours, "o", ALLY), (~ours, "X", FOE)):
        shown = side & alive
        x, y = positions[shown].T
        axis.scatter(x, y, s=70 * share[shown], marker=marker, color=colour, zorder=2)
    axis.set(xlim=(0, 32), ylim=(0, 32), aspect="equal", xticks=[], yticks=[])


def draw_what_is_seen(
    axis: Axes, game: Game, state: Any, actions: np.ndarray | None
) -> None:
    """A row of squares per agent: the numbers that it observes, dark is large.

    Args:
        axis: to draw on.
        game: any.
        state: of one game.
        actions: [K] what the agents are about to do; not shown here.
    """
    seen = array(game.observe(state))[0].astype(float)  # [K, O]
    axis.imshow(seen, cmap="Greys", aspect="auto", interpolation="nearest")
    agents = range(len(seen))
    axis.set(yticks=agents, yticklabels=[f"agent {agent}" for agent in agents])
    axis.set(xlabel="observation", title="what the agents see")


def draw_environment(
    axis: Axes, game: Game, state: Any, actions: np.ndarray | None
) -> None:
    """The environment's own picture, where it was made with `render_mode="rgb_array"`.

    Args:
        axis: to draw on.
        game: an EnvironmentGame.
        state: of one game.
        actions: [K] what the agents are about to do; not shown here.
    """
    picture = game.picture(state)
    if picture is None:
        draw_what_is_seen(axis, game, state, actions)
        return
    axis.imshow(picture)
    axis.set_axis_off()


# class of a game, by module and name -> what draws it; SMAX is not imported for it
DRAWINGS: dict[str, Drawing] = {
    "ciacore.games.turn.Turn": draw_turn,
    "ciacore.games.matrix.MatrixGame": draw_matrix,
    "ciacore.games.predator_prey.PredatorPrey": draw_predator_prey,
    "ciacore.games.battles.smax.Smax": draw_battle,
    "ciacore.games.adapters.environment.EnvironmentGame": draw_environment,
}
