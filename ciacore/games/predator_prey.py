"""Predator-prey on a grid, where attacking alone is punished.

The rules stand in `advance`: all predators move, one after the other, then each prey is
attacked or moves. The orders are drawn anew in every step and game.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from ciacore.fast.arrays import library, uniform, zeros
from ciacore.games.checks import Checked, check_n_games
from ciacore.games.lookup import Lookup
from ciacore.types import Array, Generator, Spec, Step, refuse

RIGHT, DOWN, LEFT, UP, STAY, ATTACK = range(6)
N_ACTIONS = 6
MOVES = [(0, 1), (1, 0), (0, -1), (-1, 0)]  # (row, column), of the first four actions
CATCH = 10.0  # points for a prey that is caught
NEEDED = 2  # predators that must attack a prey together
SIGHT = 2  # a predator sees this many cells in every direction: a 5x5 window


class PredatorPreyState(NamedTuple):
    """N grids. Cells are numbered row by row; size² is off the grid."""

    predators: Int[Array, "N K"]  # the cell of each
    prey: Int[Array, "N M"]
    t: Int[Array, "N"]  # steps played


class Tables(NamedTuple):
    """The grid. A row is a cell, and the last row is off the grid."""

    # the cell where an action leads, if nobody is there; outside the grid: where it was
    leads: Int[Array, "rows 6"]
    inside: Bool[Array, "rows 6"]  # whether that action stays on the grid
    adjacent: Bool[Array, "rows rows"]  # whether two cells share an edge
    window: Int[Array, "rows 25"]  # the cells in view, row by row
    walls: Float[Array, "rows 25"]  # 1 where the window looks outside the grid
    one_hot: Float[Array, "rows rows"]  # off the grid: all zero


@cache
def tabulate(size: int) -> Tables:
    """The tables of a grid, in numpy; they are made once and must not be written to.

    Args:
        size: cells per side.
    """
    n_cells = size**2
    off = n_cells
    leads = np.full((n_cells + 1, N_ACTIONS), off)
    inside = np.zeros((n_cells + 1, N_ACTIONS), bool)
    adjacent = np.zeros((n_cells + 1, n_cells + 1), bool)
    reach = range(-SIGHT, SIGHT + 1)
    window = np.full((n_cells + 1, len(reach) ** 2), off)
    walls = np.zeros((n_cells + 1, len(reach) ** 2), np.float32)

    def cell_at(row: int, column: int) -> int:
        on_the_grid = row in range(size) and column in range(size)
        return row * size + column if on_the_grid else off

    for cell in range(n_cells):
        row, column = divmod(cell, size)
        leads[cell] = cell
        inside[cell] = True
        for action, (down, right) in enumerate(MOVES):
            there = cell_at(row + down, column + right)
            inside[cell, action] = there != off
            if there != off:
                leads[cell, action] = there
                adjacent[cell, there] = True
        seen = [
            cell_at(row + down, column + right) for down in reach for right in reach
        ]
        window[cell] = seen
        walls[cell] = window[cell] == off
    inside[off, STAY] = True  # the removed can do nothing else
    one_hot = np.eye(n_cells + 1, dtype=np.float32)
    one_hot[off] = 0
    return Tables(leads, inside, adjacent, window, walls, one_hot)


class PredatorPrey(Checked):
    """Predators hunt prey in pairs; a predator that attacks alone is punished.

    Story:
        A prey is caught only if two predators beside it attack in the same step. An
        agent that explores pays a penalty unless another happens to attack as well. So
        attacking looks bad to whoever averages over what the others do, and a monotonic
        mixer learns never to attack if the penalty is large.
    Agents and actions:
        8 predators, 6 actions each: 0 right (column + 1), 1 down (row + 1), 2 left, 3
        up, 4 stay, 5 attack. Moves that leave the grid are not available. Attacking is
        available beside a prey (the two cells share an edge). Who has been removed can
        only stay.
    Observation:
        75 numbers per agent: three 5x5 windows around it, row by row, the own cell at
        index 12. They show the predators (the agent itself, too), the prey, and what
        lies outside the grid. All zero for the removed. Who is who, and the time, are
        not observed.
    State:
        200 numbers: the whole grid, row by row, first the predators, then the prey.
    Rewards:
        Shared. +10 for each prey that at least two predators beside it attack. The
        penalty (-2) for each prey that exactly one attacks.
    Rules of a step:
        First all predators move, one after the other in a random order; where somebody
        is, nobody can go, and a blocked agent stays. Then each prey in a random order:
        if it is caught, it and all its attackers are removed; else it moves to a random
        free cell beside it, and stays if there is none.
    Episode end:
        Terminated when all predators or all prey are removed. Truncated after `horizon`
        steps (200).
    Start:
        8 predators and 8 prey on different cells, uniform at random.
    Scale:
        Returns: at most 40 (each of four catches removes two predators or more); never
        attacking 0; chance about -93, and 5 without a penalty; hunting one prey after
        the other, all together, about 34.
    Differences:
        The sources differ in detail; the rules here are those of Böhmer et al. (2020),
        which the papers on weighted QMIX and QPLEX use, on a grid with walls. A move
        onto an occupied cell is available and does nothing, as in their code; their
        text calls it unavailable. Prey never rest of their own will. Walls have a
        window of their own, where their code writes -1 into that of the predators.
        Son et al. (2019) play with fewer agents, and nobody is removed.

    References:
        Son et al. (2019), "QTRAN"; Böhmer et al. (2020), "Deep Coordination Graphs";
        Rashid et al. (2020), "Weighted QMIX"; Wang et al. (2021), "QPLEX".
    """

    def __init__(
        self,
        penalty: float = -2.0,
        size: int = 10,
        n_predators: int = 8,
        n_prey: int = 8,
        horizon: int = 200,
    ) -> None:
        """Fixes the penalty and the sizes.

        Args:
            penalty: points for each prey that one predator attacks alone; 0 or less.
                Where it is not -2, the game is called predator_prey_<its size>.
            size: cells per side of the grid.
            n_predators: K.
            n_prey: M.
            horizon: steps of the longest episode.

        Raises:
            InvalidInputError: a penalty above 0 or not finite, a count below 1, or more
                predators and prey than cells.
        """
        counts = {
            "size": size,
            "n_predators": n_predators,
            "n_prey": n_prey,
            "horizon": horizon,
        }
        for name, value in counts.items():
            is_whole = isinstance(value, int) and not isinstance(value, bool)
            if not is_whole or value < 1:
                cure = "The published game has the defaults."
                refuse(name, "a whole number of at least 1", value, cure)
        if not -np.inf < penalty <= 0:
            cure = "The papers use 0 to -2."
            refuse("penalty", "a finite number of at most 0", penalty, cure)
        if n_predators + n_prey > size**2:
            cure = "Each needs a cell of its own."
            expected = f"at most {size**2} predators and prey"
            refuse("n_prey", expected, n_predators + n_prey, cure)
        self.name = (
            "predator_prey" if penalty == -2 else f"predator_prey_{abs(penalty):g}"
        )
        self.penalty = penalty
        self.size = size
        self.n_prey = n_prey
        self.off = size**2  # where the removed are
        self._lookup = Lookup(tabulate(size))
        self.spec = Spec(
            n_agents=n_predators,
            n_actions=N_ACTIONS,
            observation_size=3 * (2 * SIGHT + 1) ** 2,
            state_size=2 * size**2,
            unit_size=0,
            horizon=horizon,
            dtype=torch.uint8,
            in_numpy=True,
        )

    def reset(self, n_games: int, rng: Generator) -> PredatorPreyState:
        """N fresh grids with everybody on a cell of his own.

        Args:
            n_games: N, at least 1.
            rng: draws the cells.

        Returns:
            The grids at t = 0.

        Raises:
            InvalidInputError: n_games is not a whole number of at least 1.
        """
        check_n_games(n_games)
        cells = uniform(rng, (n_games, self.off)).argsort(-1)
        predators = self.spec.n_agents
        return PredatorPreyState(
            predators=cells[:, :predators],
            prey=cells[:, predators : predators + self.n_prey],
            t=zeros(rng, (n_games,)),
        )

    def advance(
        self, state: PredatorPreyState, actions: Int[Array, "N K"], rng: Generator
    ) -> Step:
        """Plays one joint action on every grid.

        Args:
            state: N grids.
            actions: the action of each predator, 0 to 5.
            rng: draws the two orders, and where prey go.

        Returns:
            The grids one step later, the team rewards, the ends, and in `info` which
            grids are `valid` (all), and how many prey were `caught` and attacked
            `alone`.
        """
        arrays, n_games = library(actions), len(actions)
        predators = self._move_predators(state, actions, rng)
        attacks = actions == ATTACK
        order = uniform(rng, state.prey.shape).argsort(-1)
        urges = uniform(rng, (*state.prey.shape, len(MOVES)))
        prey = state.prey
        caught = arrays.zeros(n_games, dtype=int, device=actions.device)
        alone = caught
        for turn in range(self.n_prey):
            who, urge = order[:, turn], urges[:, turn]
            predators, prey, attackers = self._hunt(predators, prey, attacks, who, urge)
            caught = caught + (attackers >= NEEDED)
            alone = alone + ((attackers > 0) & (attackers < NEEDED))
        t = state.t + 1
        gone = (predators == self.off).all(-1) | (prey == self.off).all(-1)
        return Step(
            state=PredatorPreyState(predators, prey, t),
            rewards=CATCH * caught + self.penalty * alone,
            terminated=gone,
            truncated=(t >= self.spec.horizon) & ~gone,
            info={
                "valid": arrays.ones_like(gone),
                "caught": caught,
                "alone": alone,
            },
        )

    def observe(self, state: PredatorPreyState) -> Float[Array, "N K O"]:
        """The three windows of each predator."""
        arrays, tables = library(state.t), self._lookup.beside(state.t)
        window = tables.window[state.predators]  # [N, K, 25]
        games = arrays.arange(len(state.t), device=state.t.device)[:, None, None]
        seen = []
        for kind in (state.predators, state.prey):
            grid = tables.one_hot[kind].sum(1)  # [N, cells + 1]
            seen.append(grid[games, window])
        seen.append(tables.walls[state.predators])
        return arrays.concatenate(seen, -1)

    def global_state(self, state: PredatorPreyState) -> Float[Array, "N S"]:
        """The grid of the predators, then that of the prey."""
        tables = self._lookup.beside(state.t)
        grids = []
        for kind in (state.predators, state.prey):
            grids.append(tables.one_hot[kind].sum(1)[:, : self.off])
        return library(state.t).concatenate(grids, -1)

    def available(self, state: PredatorPreyState) -> Bool[Array, "N K 6"]:
        """Moves on the grid, staying, and attacking beside a prey."""
        tables = self._lookup.beside(state.t)
        inside = tables.inside[state.predators]  # [N, K, 6]
        beside = tables.adjacent[state.predators[:, :, None], state.prey[:, None]]
        may_attack = beside.any(-1)[..., None]  # [N, K, 1]
        parts = [inside[..., :ATTACK], may_attack]
        return library(state.t).concatenate(parts, -1)

    def places(
        self, state: PredatorPreyState
    ) -> tuple[Int[Array, "N K 2"], Int[Array, "N M 2"]]:
        """(row, column) of predators and of prey; row `size` is off the grid."""
        found = []
        for cell in (state.predators, state.prey):
            rows_and_columns = [cell // self.size, cell % self.size]
            found.append(library(cell).stack(rows_and_columns, -1))
        return found[0], found[1]

    def _move_predators(
        self, state: PredatorPreyState, actions: Int[Array, "N K"], rng: Generator
    ) -> Int[Array, "N K"]:
        """Where the predators are after one move each, in a random order."""
        tables = self._lookup.beside(actions)
        order = uniform(rng, actions.shape).argsort(-1)
        predators = state.predators
        for turn in range(self.spec.n_agents):
            who = order[:, turn]
            here = of(predators, who)
            there = tables.leads[here, of(actions, who)]
            taken = is_among(there, predators) | is_among(there, state.prey)
            predators = put(predators, who, library(here).where(taken, here, there))
        return predators

    def _hunt(
        self,
        predators: Int[Array, "N K"],
        prey: Int[Array, "N M"],
        attacks: Bool[Array, "N K"],
        who: Int[Array, "N"],
        urge: Float[Array, "N 4"],
    ) -> tuple[Int[Array, "N K"], Int[Array, "N M"], Int[Array, "N"]]:
        """One prey of each grid is attacked, or moves.

        Args:
            predators: their cells.
            prey: their cells.
            attacks: the predators that attack in this step.
            who: the prey.
            urge: how much it wants to go in each direction.

        Returns:
            The cells of predators and prey afterwards, and how many attacked it.
        """
        arrays, tables = library(who), self._lookup.beside(who)
        here = of(prey, who)
        attacking = attacks & tables.adjacent[here[:, None], predators]  # [N, K]
        attackers = attacking.sum(-1)
        caught = attackers >= NEEDED
        predators = arrays.where(attacking & caught[:, None], self.off, predators)

        beside = tables.leads[here][:, : len(MOVES)]  # [N, 4]
        taken = is_among(beside, predators) | is_among(beside, prey)  # walls, too
        choice = arrays.where(taken, -1.0, urge).argmax(-1)
        there = arrays.where(taken.all(-1), here, of(beside, choice))
        return (
            predators,
            put(prey, who, arrays.where(caught, self.off, there)),
            attackers,
        )


def of(values: Int[Array, "N K"], who: Int[Array, "N"]) -> Int[Array, "N"]:
    """One value of each game.

    Args:
        values: of everybody.
        who: whose is wanted.
    """
    games = library(values).arange(len(values), device=values.device)
    return values[games, who]


def put(
    values: Int[Array, "N K"], who: Int[Array, "N"], new: Int[Array, "N"]
) -> Int[Array, "N K"]:
    """The values with one of each game replaced.

    Args:
        values: of everybody.
        who: whose is replaced.
        new: by what.
    """
    arrays = library(values)
    everybody = arrays.arange(values.shape[1], device=values.device)
    return arrays.where(everybody == who[:, None], new[:, None], values)


def is_among(cells: Int[Array, "N ..."], others: Int[Array, "N K"]) -> Array:
    """Whether somebody is on a cell, [N, ...].

    Args:
        cells: that are asked about.
        others: the cells of everybody.
    """
    if len(cells.shape) == 1:
        return (others == cells[:, None]).any(-1)
    return (others[:, None] == cells[:, :, None]).any(-1)
