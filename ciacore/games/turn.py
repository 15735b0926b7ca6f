"""Turn, the didactic game of the paper: two agents take turns to eat apples, and only one of them is ever free."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ciacore.fast.arrays import integers, library, tensor
from ciacore.games.checks import Checked, check_n_games
from ciacore.types import Array, Generator, Spec, Step, refuse

UP, DOWN, LEFT, RIGHT, EAT, STAY = range(6)
# (row, column) change of each action
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1), (0, 0), (0, 0))


class TurnState(NamedTuple):
    """N boards. Cells are numbered row by row; `Turn.places` tells rows and columns."""

    positions: Int[Array, "N 2"]  # cell of agent 0 and of agent 1
    apple: Int[Array, "N"]  # its cell
    free: Int[Array, "N"]  # index of the free agent; the other one is trapped
    t: Int[Array, "N"]  # steps played


class Board(NamedTuple):
    """The rules of a board, as tables."""

    agents: Int[Array, "2"]  # 0, 1
    corners: Int[Array, "1 2"]  # where the agents start
    # [trapped, apple, own cell, action] -> next cell, if it eats, if it pays
    outcome: Int[Array, "2 cells cells 6 3"]
    # [cell of agent 0, of agent 1] -> their 3x3 windows
    mates: Float[Array, "cells cells 2 9"]
    sight: Float[Array, "cells cells 9"]  # [own cell, other cell] -> the 3x3 window
    cells: Float[Array, "cells cells"]  # one-hot cells
    turns: Float[Array, "2 2"]  # one-hot free agent
    choices: Bool[Array, "2 2 6"]  # [free agent] -> the available actions of both


class Turn(Checked):
    """The game of Turn.

    Story:
        Two agents live on a small board with one apple. Only the free agent may move
        and eat; the other is trapped by fences. When the free agent eats, the turn
        passes and a new apple appears. Nobody is told whose turn it is, so a good team
        must work it out, and a good critic must credit the agents alternately.
    Agents and actions:
        2 agents, 6 actions each: 0 up (row - 1), 1 down (row + 1), 2 left (column - 1),
        3 right (column + 1), 4 eat, 5 stay. All actions are always available.
    Observation:
        18 numbers per agent: a 3x3 window around it showing the other agent, then one
        showing the apple, each all zero when out of view. Windows are row-major with
        offsets in natural order (-1, 0, +1), the own cell at index 4. Own position,
        walls, time and whose turn it is are not observed.
    State:
        77 numbers: one-hot cell of the apple (25), of agent 0 (25), of agent 1 (25),
        and who is free (2). With `units=True` 102: per agent its one-hot cell (25),
        whether it is free (1) and the apple's cell (25).
    Rewards:
        Shared. +10 when the free agent eats on the apple's cell (eating elsewhere: 0);
        -1 when the free agent walks into the border (it stays where it is); -1 for
        every action of the trapped agent but staying. The rewards of both agents add
        up.
    Episode end:
        Truncated after exactly `horizon` steps, never terminated. The published learner
        does not bootstrap there.
    Start:
        Agent 0 at (0, 0) and free, agent 1 at (4, 4) and trapped; the apple uniform
        over all cells, occupied cells included. Agents may share a cell. A new apple
        may appear anywhere, also where the last one was.
    Scale:
        Returns: both stay 0, both random about -93, full information about 232.
    Differences:
        Windows in natural order, where the published code wraps (0, +1, -1); a
        relabelling without effect on what is known (deviation 1). Randomness comes from
        the generator passed in. `units=True`, for Qatten, is ours.
    References:
        Liu et al. (2023), "Contrastive Identity-Aware Learning for Multi-Agent Value
        Decomposition", Didactic Game and appendix; rules as in the authors' code.
    """

    def __init__(self, size: int = 5, horizon: int = 100, units: bool = False) -> None:
        """
        Args:
            size: cells per side of the board.
            horizon: steps per episode.
            units: tell the state as one block of features per agent; the game is then
                called turn_units.

        Raises:
            InvalidInputError: size below 2 or horizon below 1.
        """
        if not isinstance(size, int) or size < 2:
            refuse(
                "size",
                "a whole number of at least 2",
                size,
                "The paper's board has size 5.",
            )
        if not isinstance(horizon, int) or horizon < 1:
            refuse(
                "horizon",
                "a whole number of at least 1",
                horizon,
                "The paper's episodes have 100 steps.",
            )
        self.name = "turn_units" if units else "turn"
        self.size, self.units, unit_size = size, units, 2 * size**2 + 1
        self.spec = Spec(
            n_agents=2,
            n_actions=len(MOVES),
            observation_size=2 * 9,
            state_size=2 * unit_size if units else 3 * size**2 + 2,
            unit_size=unit_size if units else 0,
            horizon=horizon,
            dtype=torch.uint8,
            ends_early=False,
            in_numpy=True,
        )
        self._boards: dict[object, Board] = {}

    def __getstate__(self) -> dict[str, object]:
        """Without the tables, which are quickly made."""
        return {**self.__dict__, "_boards": {}}

    def reset(self, n_games: int, rng: Generator) -> TurnState:
        """N fresh boards, in the generator's kind of arrays."""
        check_n_games(n_games)
        apple = self._new_apple(n_games, rng)
        zero = apple * 0
        return TurnState(self._board(apple).corners[zero], apple, zero, zero)

    def advance(
        self, state: TurnState, actions: Int[Array, "N 2"], rng: Generator
    ) -> Step:
        """Plays one joint action in every game."""
        board = self._board(actions)
        trapped = state.free[:, None] ^ board.agents  # [N, K], 0 or 1
        outcome = board.outcome[trapped, state.apple[:, None], state.positions, actions]
        of_both = outcome[:, 0] + outcome[:, 1]
        eaten, punished = of_both[:, 1] > 0, of_both[:, 2]
        apple = library(actions).where(
            eaten, self._new_apple(len(eaten), rng), state.apple
        )
        after = TurnState(outcome[..., 0], apple, state.free ^ eaten, state.t + 1)
        never = eaten ^ eaten
        ended = after.t >= self.spec.horizon
        return Step(
            after,
            10.0 * eaten - punished,
            never,
            ended,
            {"valid": ~never, "eaten": eaten},
        )

    def observe(self, state: TurnState) -> Float[Array, "N 2 18"]:
        """What each agent sees: a window for the other agent, then one for the apple."""
        board = self._board(state.apple)
        mate = board.mates[state.positions[:, 0], state.positions[:, 1]]
        return library(mate).concatenate(
            [mate, board.sight[state.positions, state.apple[:, None]]], -1
        )

    def global_state(self, state: TurnState) -> Float[Array, "N S"]:
        """Everything but the time: apple, agent 0, agent 1 as one-hot cells, and who is free; or units."""
        board, concatenate = self._board(state.apple), library(state.apple).concatenate
        if self.units:
            apple = board.cells[state.apple[:, None]]  # [N, 1, 25]
            free = board.turns[state.free][..., None]
            units = concatenate(
                [board.cells[state.positions], free, concatenate([apple, apple], 1)], -1
            )
            return units.reshape(len(units), -1)
        # [N, 3, 25]
        cells = board.cells[concatenate([state.apple[:, None], state.positions], 1)]
        return concatenate([cells.reshape(len(cells), -1), board.turns[state.free]], 1)

    def available(self, state: TurnState) -> Bool[Array, "N 2 6"]:
        """All actions, always."""
        return self._board(state.free).choices[state.free]

    def places(self, state: TurnState) -> tuple[Int[Array, "N 2 2"], Int[Array, "N 2"]]:
        """(row, column) of both agents, and of the apple."""
        stack = library(state.apple).stack
        return tuple(
            stack([cell // self.size, cell % self.size], -1) for cell in state[:2]
        )

    def placed(
        self,
        positions: Int[Array, "N 2 2"],
        apple: Int[Array, "N 2"],
        free: Int[Array, "N"],
    ) -> TurnState:
        """The boards with these rows and columns, at t = 0.

        Raises:
            InvalidInputError: a place outside the board.
        """
        for name, place in (("positions", positions), ("apple", apple)):
            if place.min() < 0 or place.max() >= self.size:
                got = f"values from {place.min()} to {place.max()}"
                refuse(
                    name,
                    f"rows and columns from 0 to {self.size - 1}",
                    got,
                    "Rows and columns count from 0.",
                )
        cells = (
            place[..., 0] * self.size + place[..., 1] for place in (positions, apple)
        )
        return TurnState(*cells, free, 0 * free)

    def _board(self, beside: Array) -> Board:
        """The tables, beside an array."""
        place = beside.device  # "cpu" in numpy, torch.device("cpu") in torch
        if place not in self._boards:
            board = make_board(self.size)
            if isinstance(beside, Tensor):
                board = Board(*(tensor(table).to(place) for table in board))
            self._boards[place] = board
        return self._boards[place]

    def _new_apple(self, n_games: int, rng: Generator) -> Int[Array, "N"]:
        return integers(rng, self.size**2, (n_games,))


def make_board(size: int) -> Board:
    """The rules, written out for every cell, in numpy."""
    cell = np.arange(size**2)
    place = np.stack([cell // size, cell % size], -1)  # (row, column) of each
    wanted = place[:, None] + np.array(MOVES)  # [cells, 6, 2]
    # a move over the border leads back to where it began
    inside = wanted.clip(0, size - 1)
    bumps, acts = (wanted != inside).any(-1), np.arange(len(MOVES)) != STAY
    # [apple, cell, action]
    eats = (cell[:, None, None] == cell[:, None]) & (np.arange(len(MOVES)) == EAT)
    free, trapped = (inside @ [size, 1], eats, bumps), (cell[:, None], False, acts)
    outcome = [
        np.stack([np.broadcast_to(part, eats.shape) for part in parts], -1)
        for parts in (free, trapped)
    ]
    square = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)]
    sight = (
        ((place - place[:, None])[..., None, :] == np.array(square))
        .all(-1)
        .astype(np.float32)
    )
    return Board(
        agents=np.arange(2),
        corners=np.array([[0, size**2 - 1]]),
        outcome=np.stack(outcome),
        mates=np.stack([sight, sight.swapaxes(0, 1)], -2),
        sight=sight,
        cells=np.eye(size**2, dtype=np.float32),
        turns=np.eye(2, dtype=np.float32),
        choices=np.ones((2, 2, len(MOVES)), dtype=bool),
    )
