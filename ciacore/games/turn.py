"""Turn, the didactic game of the paper: agents take turns to eat apples.

The rules stand in words in `act`, the view of an agent in `seen_from`. `tabulate` asks
both about every case once; the game then plays N boards at once by looking cases up.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cache, reduce
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped

from ciacore.fast.arrays import integers, library, tensor
from ciacore.games.checks import Checked, check_n_games
from ciacore.types import Array, Generator, Spec, Step, refuse

UP, DOWN, LEFT, RIGHT, EAT, STAY = range(6)
N_ACTIONS = 6
MOVES = {UP: (-1, 0), DOWN: (1, 0), LEFT: (0, -1), RIGHT: (0, 1)}  # (row, column)
NOWHERE = -1  # no cell
MEAL = 10  # points for an apple
FINE = 1  # points lost by an action that is punished
# (row, column) offsets of the 3x3 window around an agent, row by row
WINDOW = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 0), (0, 1), (1, -1), (1, 0), (1, 1)]


class TurnState(NamedTuple):
    """N boards. Cells are numbered row by row; `Turn.places` gives rows and columns."""

    positions: Int[Array, "N K"]  # cell of each agent
    apple: Int[Array, "N"]  # its cell
    free: Int[Array, "N"]  # index of the free agent; the others are trapped
    t: Int[Array, "N"]  # steps played


class Outcome(NamedTuple):
    """What one agent's action does."""

    cell: int  # where the agent is afterwards
    bitten: int  # the cell it bites into; NOWHERE where it does not bite
    fine: int  # points it loses


def act(size: int, cell: int, action: int, free: bool) -> Outcome:
    """The rule of the game: what one agent's action does.

    A bite is a meal where the apple is in the bitten cell; elsewhere it does nothing.

    Args:
        size: cells per side of the board.
        cell: where the agent is, 0 to size² - 1.
        action: UP, DOWN, LEFT, RIGHT, EAT or STAY.
        free: whether the agent is free; else it is trapped.

    Returns:
        The agent's next cell, the cell it bites into, and its fine.
    """
    if action == STAY:
        return Outcome(cell, NOWHERE, fine=0)
    if not free:
        return Outcome(cell, NOWHERE, fine=FINE)
    if action == EAT:
        return Outcome(cell, bitten=cell, fine=0)
    row, column = divmod(cell, size)
    down, right = MOVES[action]
    row, column = row + down, column + right
    over_the_border = row not in range(size) or column not in range(size)
    if over_the_border:
        return Outcome(cell, NOWHERE, fine=FINE)
    return Outcome(row * size + column, NOWHERE, fine=0)


def seen_from(size: int, cell: int, thing: int) -> list[float]:
    """What is seen from a cell: the 3x3 window around it, row by row.

    Args:
        size: cells per side of the board.
        cell: the cell in the middle of the window.
        thing: the cell of what is looked for.

    Returns:
        Nine numbers, 1 where the thing is, else 0; all 0 where it is out of view.
    """
    row, column = divmod(cell, size)
    place = divmod(thing, size)
    return [float((row + down, column + right) == place) for down, right in WINDOW]


class Told(NamedTuple):
    """What the table says of one agent's action; of a team's it is all added up.

    Only the free agent says who is free next and eats, so that the sums are the team's.
    """

    cell: int  # where the agent is afterwards; of no use in a sum
    points: int  # for an apple, less what it is fined
    free: int  # who is free next; 0 from a trapped agent
    eaten: int  # 1 where it eats the apple


class Tables(NamedTuple):
    """`act` and `seen_from` for every case, and the one-hot rows of the features."""

    agents: Int[Array, "K"]  # 0, 1, ...
    # of two agents on few cells, in a single lookup: [cell of agent 0, cell of agent 1,
    # cell of the apple] -> what each of them observes; elsewhere empty
    seen_by_both: Float[Array, "cells cells cells 2 18"]
    others: Int[
        Array, "K others"
    ]  # [agent] -> who comes after it in the ring, in order
    # [free agent, agent, its cell, its action, cell of the apple] -> Told
    outcome: Int[Array, "K K cells 6 cells 4"]
    window: Float[Array, "cells cells 9"]  # [own cell, cell of a thing] -> seen_from
    one_hot_cell: Float[Array, "cells cells"]
    one_hot_agent: Float[Array, "K K"]


class Constants(NamedTuple):
    """What is the same at every step of N games; nobody writes to it."""

    available: Bool[Array, "N K 6"]  # True
    never: Bool[Array, "N"]
    always: Bool[Array, "N"]


FEW_CELLS = 25  # up to which two agents are looked up together: 2 MB


@cache
def tabulate(size: int, n_agents: int = 2) -> Tables:
    """The tables of a board, in numpy; they are made once and must not be written to.

    Args:
        size: cells per side of the board.
        n_agents: K.
    """
    n_cells = size**2
    agents = np.arange(n_agents)
    ahead = 1 + np.arange(n_agents - 1)  # in the ring
    shape = (n_agents, n_agents, n_cells, N_ACTIONS)
    outcome = np.zeros((*shape, n_cells, len(Told._fields)), np.int64)
    for free, agent, cell, action in np.ndindex(*shape):
        after, bitten, fine = act(size, cell, action, agent == free)
        eaten = np.arange(n_cells) == bitten  # for each cell of the apple
        next_free = (free + eaten) % n_agents * (agent == free)
        told = Told(after, MEAL * eaten - fine, next_free, eaten)
        outcome[free, agent, cell, action] = np.stack(np.broadcast_arrays(*told), -1)
    window = np.zeros((n_cells, n_cells, len(WINDOW)), np.float32)
    for cell, thing in np.ndindex(n_cells, n_cells):
        window[cell, thing] = seen_from(size, cell, thing)
    return Tables(
        agents=agents,
        seen_by_both=views_of_two(window) if n_cells <= FEW_CELLS else window[:0],
        others=(agents[:, None] + ahead) % n_agents,
        outcome=outcome,
        window=window,
        one_hot_cell=np.eye(n_cells, dtype=np.float32),
        one_hot_agent=np.eye(n_agents, dtype=np.float32),
    )


def views_of_two(
    window: Float[np.ndarray, "cells cells 9"],
) -> Float[np.ndarray, "cells cells cells 2 18"]:
    """What each of two agents observes: the other agent, then the apple.

    Args:
        window: [own cell, cell of a thing] -> `seen_from`.

    Returns:
        By the cells of agent 0, agent 1 and the apple.
    """
    n_cells = len(window)
    found = np.empty((n_cells, n_cells, n_cells, 2, 2 * len(WINDOW)), np.float32)
    others, apples = found[..., : len(WINDOW)], found[..., len(WINDOW) :]
    others[..., 0, :] = window[:, :, None]
    others[..., 1, :] = window.swapaxes(0, 1)[:, :, None]
    apples[..., 0, :] = window[:, None, :]
    apples[..., 1, :] = window[None, :, :]
    return found


def tabulate_in_torch(size: int, n_agents: int, device: torch.device) -> Tables:
    """The tables of a board as tensors.

    Args:
        size: cells per side of the board.
        n_agents: K.
        device: where the tensors are.
    """
    return Tables(*[tensor(table).to(device) for table in tabulate(size, n_agents)])


def first_cells(size: int) -> list[int]:
    """Where the agents start, agent by agent: opposite corners, then opposite edges.

    Args:
        size: cells per side of the board.
    """
    last, middle = size - 1, size // 2
    corners = [(0, 0), (last, last), (0, last), (last, 0)]
    edges = [(0, middle), (last, middle), (middle, 0), (middle, last)]
    return [row * size + column for row, column in corners + edges]


def over_agents(
    combine: Callable[[Array, Array], Array], values: Shaped[Array, "N K ..."]
) -> Shaped[Array, "N ..."]:
    """The values of all agents combined; of few agents faster than a reduction.

    Args:
        combine: of two.
        values: of each agent.
    """
    return reduce(combine, [values[:, agent] for agent in range(values.shape[1])])


class Turn(Checked):
    """The game of Turn.

    Story:
        Two agents live on a small board with one apple. Only the free agent may move
        and eat; the other is trapped by fences. When the free agent eats, the turn
        passes and a new apple appears. Nobody sees whose turn it is, so a good team
        must work it out, and a good critic must credit the agents alternately. With
        more agents the turn goes round in a ring: 0, 1, ..., K - 1, and 0 again.
    Agents and actions:
        K = 2 agents (up to 8), 6 actions each: 0 up (row - 1), 1 down (row + 1), 2 left
        (column - 1), 3 right (column + 1), 4 eat, 5 stay. All actions are always
        available.
    Observation:
        18 numbers per agent, for every K: a 3x3 window around it showing the other
        agents (how many are on each cell, but not which), then one showing the apple,
        each all zero when out of view. Windows are row-major with offsets in natural
        order (-1, 0, +1), the own cell at index 4. Own position, walls, time and whose
        turn it is are not observed.
    State:
        25 + 26K numbers (77 for two agents): one-hot cell of the apple (25), of each
        agent (25), and who is free (K). With `units=True` 51K: per agent its one-hot
        cell (25), whether it is free (1) and the apple's cell (25).
    Rewards:
        Shared. +10 when the free agent eats on the apple's cell (eating elsewhere: 0);
        -1 when the free agent walks into the border (it stays where it is); -1 for
        every action of a trapped agent but staying. The rewards of all agents add up.
    Episode end:
        Truncated after exactly `horizon` steps, never terminated. The published learner
        does not bootstrap there.
    Start:
        Agent 0 at (0, 0) and free, agent 1 at (4, 4) and trapped; the apple uniform
        over all cells, occupied cells included. Agents may share a cell. A new apple
        may appear anywhere, also where the last one was. Further agents start trapped
        at (0, 4), (4, 0), (0, 2), (4, 2), (2, 0), (2, 4).
    Scale:
        Returns for two agents: both stay 0, both random about -93, full information
        about 232. Full information hardly depends on K; chance falls by about 83 with
        each further agent, which pays for five of its six actions.
    Differences:
        Windows in natural order, where the published code wraps (0, +1, -1); a
        relabelling without effect on what is known (deviation 1). Randomness comes from
        the generator passed in. `units=True`, for Qatten, and K above 2 are ours.

    References:
        Liu et al. (2023), "Contrastive Identity-Aware Learning for Multi-Agent Value
        Decomposition", Didactic Game and appendix; rules as in the authors' code.
    """

    def __init__(
        self,
        size: int = 5,
        horizon: int = 100,
        units: bool = False,
        n_agents: int = 2,
    ) -> None:
        """Fixes the sizes; the tables are made when they are needed first.

        Args:
            size: cells per side of the board.
            horizon: steps per episode.
            units: whether the state has one block of features per agent; the game is
                then called turn_units.
            n_agents: K, 2 to 8; above 2 the game is called turn_<K>.

        Raises:
            InvalidInputError: size below 2, horizon below 1 or n_agents outside 2 to 8.
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
        starts = first_cells(size)
        if not isinstance(n_agents, int) or not 2 <= n_agents <= len(starts):
            refuse(
                "n_agents",
                f"a whole number from 2 to {len(starts)}",
                n_agents,
                "The paper's game has 2 agents.",
            )
        n_cells = size**2
        unit_size = 2 * n_cells + 1
        crowd = "" if n_agents == 2 else f"_{n_agents}"
        self.name = f"turn{crowd}_units" if units else f"turn{crowd}"
        self.size = size
        self.first_cells = starts[:n_agents]
        self.units = units
        self._in_torch: dict[torch.device, Tables] = {}  # made where they are needed
        self._constants: dict[tuple[Any, int], Constants] = {}  # and so are these
        self.spec = Spec(
            n_agents=n_agents,
            n_actions=N_ACTIONS,
            observation_size=2 * len(WINDOW),
            state_size=(
                n_agents * unit_size if units else (n_agents + 1) * n_cells + n_agents
            ),
            unit_size=unit_size if units else 0,
            horizon=horizon,
            dtype=torch.uint8,
            ends_early=False,
            in_numpy=True,
        )

    def __getstate__(self) -> dict[str, object]:
        """Without the tensors, which another process makes where it needs them."""
        return {**self.__dict__, "_in_torch": {}, "_constants": {}}

    def reset(self, n_games: int, rng: Generator) -> TurnState:
        """N fresh boards: the agents where they start, agent 0 free.

        Args:
            n_games: N, at least 1.
            rng: draws the apples; a numpy generator gives numpy arrays, a torch
                generator tensors on its device.

        Returns:
            The boards at t = 0.

        Raises:
            InvalidInputError: n_games is not a whole number of at least 1.
        """
        check_n_games(n_games)
        apple = self._new_apple(n_games, rng)
        arrays = library(apple)
        cells = [arrays.full_like(apple, cell) for cell in self.first_cells]
        return TurnState(
            positions=arrays.stack(cells, -1),
            apple=apple,
            free=arrays.zeros_like(apple),
            t=arrays.zeros_like(apple),
        )

    def advance(
        self, state: TurnState, actions: Int[Array, "N K"], rng: Generator
    ) -> Step:
        """Plays one joint action on every board.

        All agents act by the rule (`act`). Where one of them bites into the apple, the
        turn passes to the next agent and a new apple appears.

        Args:
            state: N boards.
            actions: the action of each agent, 0 to 5.
            rng: draws a new apple for every board, whether it is needed or not.

        Returns:
            The boards one step later, the team rewards, the ends, and in `info` which
            boards are `valid` (all) and on which the apple was `eaten`.
        """
        tables = self._tables(actions)
        free, apple = state.free[:, None], state.apple[:, None]
        told = tables.outcome[free, tables.agents, state.positions, actions, apple]
        of_agents = Told(*(told[..., number] for number in range(len(Told._fields))))
        total = over_agents(operator.add, told)  # [N, 4]
        of_team = Told(*(total[:, number] for number in range(len(Told._fields))))

        n_games, eaten = len(actions), of_team.eaten > 0
        new_apple = self._new_apple(n_games, rng)
        apple = library(actions).where(eaten, new_apple, state.apple)
        t = state.t + 1

        constants = self._constants_of(actions)
        return Step(
            TurnState(of_agents.cell, apple, of_team.free, t),
            1.0 * of_team.points,
            constants.never,  # terminated
            t >= self.spec.horizon,  # truncated
            {"valid": constants.always, "eaten": eaten},
        )

    def observe(self, state: TurnState) -> Float[Array, "N K 18"]:
        """What each agent sees: the window of the other agents, then the apple's."""
        tables = self._tables(state.apple)
        if self.spec.n_agents == 2 and len(tables.seen_by_both):
            agent_0, agent_1 = state.positions[:, 0], state.positions[:, 1]
            return tables.seen_by_both[agent_0, agent_1, state.apple]  # [N, 2, 18]
        apple = tables.window[state.positions, state.apple[:, None]]  # [N, K, 9]
        other_agents = None
        for ahead in range(self.spec.n_agents - 1):
            one_of_them = state.positions[:, tables.others[:, ahead]]  # [N, K]
            seen = tables.window[state.positions, one_of_them]  # [N, K, 9]
            other_agents = seen if other_agents is None else other_agents + seen
        return library(apple).concatenate([other_agents, apple], -1)

    def global_state(self, state: TurnState) -> Float[Array, "N S"]:
        """Everything but the time, as the card says: one-hot cells and who is free."""
        if self.units:
            return self._state_in_units(state)
        tables = self._tables(state.apple)
        arrays = library(state.apple)
        cells = arrays.concatenate([state.apple[:, None], state.positions], 1)
        one_hots = tables.one_hot_cell[cells].reshape(len(cells), -1)
        return arrays.concatenate([one_hots, tables.one_hot_agent[state.free]], 1)

    def available(self, state: TurnState) -> Bool[Array, "N K 6"]:
        """All actions, always."""
        return self._constants_of(state.free).available

    def places(self, state: TurnState) -> tuple[Int[Array, "N K 2"], Int[Array, "N 2"]]:
        """(row, column) of the agents, and of the apple."""
        return self._place(state.positions), self._place(state.apple)

    def placed(
        self,
        positions: Int[Array, "N K 2"],
        apple: Int[Array, "N 2"],
        free: Int[Array, "N"],
    ) -> TurnState:
        """The boards with these rows and columns, at t = 0.

        Args:
            positions: (row, column) of each agent.
            apple: its (row, column).
            free: index of the free agent, 0 to K - 1.

        Returns:
            The boards.

        Raises:
            InvalidInputError: a place outside the board.
        """
        return TurnState(
            positions=self._cell("positions", positions),
            apple=self._cell("apple", apple),
            free=free,
            t=library(free).zeros_like(free),
        )

    def _state_in_units(self, state: TurnState) -> Float[Array, "N S"]:
        """Per agent: its cell, whether it is free, and the apple's cell."""
        tables = self._tables(state.apple)
        arrays = library(state.apple)
        own_cell = tables.one_hot_cell[state.positions]  # [N, K, 25]
        is_free = tables.one_hot_agent[state.free][..., None]  # [N, K, 1]
        apple = tables.one_hot_cell[state.apple[:, None]]  # [N, 1, 25]
        apples = arrays.concatenate([apple] * self.spec.n_agents, 1)  # [N, K, 25]
        units = arrays.concatenate([own_cell, is_free, apples], -1)
        return units.reshape(len(units), -1)

    def _place(self, cell: Int[Array, "..."]) -> Int[Array, "... 2"]:
        """(row, column) of cells."""
        return library(cell).stack([cell // self.size, cell % self.size], -1)

    def _cell(self, name: str, place: Int[Array, "... 2"]) -> Int[Array, "..."]:
        """The cells of places; `name` is the argument that a refusal names."""
        low, high = place.min(), place.max()
        if low < 0 or high >= self.size:
            refuse(
                name,
                f"rows and columns from 0 to {self.size - 1}",
                f"values from {low} to {high}",
                "Rows and columns count from 0.",
            )
        return place[..., 0] * self.size + place[..., 1]

    def _tables(self, like: Array) -> Tables:
        """The tables in numpy or torch, and on the device, of an array."""
        if isinstance(like, np.ndarray):
            return tabulate(self.size, self.spec.n_agents)
        if like.device not in self._in_torch:
            made = tabulate_in_torch(self.size, self.spec.n_agents, like.device)
            self._in_torch[like.device] = made
        return self._in_torch[like.device]

    def _constants_of(self, like: Array) -> Constants:
        """The constants of as many games as an array has, where the array is."""
        place = np if isinstance(like, np.ndarray) else like.device
        if (place, len(like)) not in self._constants:
            n_games, spec = len(like), self.spec
            arrays, device = library(like), like.device
            shape = (n_games, spec.n_agents, spec.n_actions)
            self._constants[place, n_games] = Constants(
                available=arrays.ones(shape, dtype=bool, device=device),
                never=arrays.zeros(n_games, dtype=bool, device=device),
                always=arrays.ones(n_games, dtype=bool, device=device),
            )
        return self._constants[place, len(like)]

    def _new_apple(self, n_games: int, rng: Generator) -> Int[Array, "N"]:
        """A random cell for each board."""
        return integers(rng, self.size**2, (n_games,))
