"""Turn, the didactic game of the paper: two agents take turns to eat apples, and only one of them is ever free."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ciacore.games.checks import check_actions, check_n_games
from ciacore.types import Spec, Step, refuse

UP, DOWN, LEFT, RIGHT, EAT, STAY = range(6)
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1), (0, 0), (0, 0))  # (row, column) change of each action


class TurnState(NamedTuple):
    """N boards."""

    positions: Int[Tensor, "N 2 2"]  # (row, column) of agent 0 and agent 1
    apple: Int[Tensor, "N 2"]  # (row, column)
    free: Int[Tensor, "N"]  # index of the free agent; the other one is trapped
    t: Int[Tensor, "N"]  # steps played


class Tables(NamedTuple):
    """The rules' constants on one device."""

    agents: Int[Tensor, "2"]  # 0, 1
    moves: Int[Tensor, "6 2"]  # (row, column) change of each action
    windows: Float[Tensor, "D D 9"]  # a 3x3 window for each of D = 2 size - 1 offsets, negative ones wrapped
    cells: Float[Tensor, "size size size²"]  # one-hot cells
    turns: Float[Tensor, "2 2"]  # one-hot free agent


class Turn:
    """The game of Turn.

    Story:
        Two agents live on a small board with one apple. Only the free agent may move and eat; the other is
        trapped by fences. When the free agent eats, the turn passes and a new apple appears. Nobody is told
        whose turn it is, so a good team must work it out, and a good critic must credit the agents alternately.
    Agents and actions:
        2 agents, 6 actions each: 0 up (row - 1), 1 down (row + 1), 2 left (column - 1), 3 right (column + 1),
        4 eat, 5 stay. All actions are always available.
    Observation:
        18 numbers per agent: a 3x3 window around it showing the other agent, then one showing the apple, each
        all zero when out of view. Windows are row-major with offsets in natural order (-1, 0, +1), the own cell
        at index 4. Own position, walls, time and whose turn it is are not observed.
    State:
        77 numbers: one-hot cell of the apple (25), of agent 0 (25), of agent 1 (25), and who is free (2).
    Rewards:
        Shared. +10 when the free agent eats on the apple's cell (eating elsewhere: 0); -1 when the free agent
        walks into the border (it stays where it is); -1 for every action of the trapped agent but staying.
        The rewards of both agents add up.
    Episode end:
        Truncated after exactly `horizon` steps, never terminated. The published learner does not bootstrap there.
    Start:
        Agent 0 at (0, 0) and free, agent 1 at (4, 4) and trapped; the apple uniform over all cells, occupied
        cells included. Agents may share a cell. A new apple may appear anywhere, also where the last one was.
    Scale:
        Returns: both stay 0, both random about -93, full information about 232.
    Differences:
        Windows in natural order, where the published code wraps (0, +1, -1); a relabelling without effect on
        what is known (deviation 1). Randomness comes from the generator passed in.
    References:
        Liu et al. (2023), "Contrastive Identity-Aware Learning for Multi-Agent Value Decomposition", Didactic
        Game and appendix; rules as in the authors' code.
    """

    name = "turn"

    def __init__(self, size: int = 5, horizon: int = 100) -> None:
        """
        Args:
            size: cells per side of the board.
            horizon: steps per episode.

        Raises:
            InvalidInputError: size below 2 or horizon below 1.
        """
        if not isinstance(size, int) or size < 2:
            refuse("size", "a whole number of at least 2", size, "The paper's board has size 5.")
        if not isinstance(horizon, int) or horizon < 1:
            refuse("horizon", "a whole number of at least 1", horizon, "The paper's episodes have 100 steps.")
        self.size = size
        self.spec = Spec(
            n_agents=2,
            n_actions=len(MOVES),
            observation_size=2 * 9,
            state_size=3 * size**2 + 2,
            unit_size=0,
            horizon=horizon,
            dtype=torch.uint8,
        )

        self._tables: dict[torch.device, Tables] = {}

    def reset(self, n_games: int, rng: torch.Generator) -> TurnState:
        """N fresh boards on the generator's device."""
        check_n_games(n_games)
        corners = torch.tensor([[0, 0], [self.size - 1, self.size - 1]], device=rng.device)
        start = torch.zeros(n_games, dtype=torch.int64, device=rng.device)
        return TurnState(corners.repeat(n_games, 1, 1), self._new_apple(n_games, rng), start, start)

    def step(self, state: TurnState, actions: Int[Tensor, "N 2"], rng: torch.Generator) -> Step:
        """Plays one joint action in every game.

        Raises:
            InvalidInputError: actions of the wrong shape or type, or outside 0..5.
        """
        check_actions(actions, len(state.t), self.spec)
        positions, apple = state.positions, state.apple.unsqueeze(1)
        tables = self._on(positions.device)
        is_free = state.free.unsqueeze(1) == tables.agents  # [N, K]
        wanted = positions + tables.moves[actions]
        inside = wanted.clamp(0, self.size - 1)  # a move over the border leads back to where it began
        bumps = (wanted != inside).any(-1)  # [N, K]
        eats = is_free & (actions == EAT) & (positions == apple).all(-1)
        eaten = eats.any(-1)  # [N]
        punished = torch.where(is_free, bumps, actions != STAY)
        t = state.t + 1
        after = TurnState(
            positions=torch.where(is_free.unsqueeze(-1), inside, positions),
            apple=torch.where(eaten.unsqueeze(-1), self._new_apple(len(eaten), rng), state.apple),
            free=state.free ^ eaten,
            t=t,
        )
        info = {"valid": torch.ones_like(eaten), "eaten": eaten}
        return Step(after, 10.0 * eaten - punished.sum(-1), torch.zeros_like(eaten), t >= self.spec.horizon, info)

    def observe(self, state: TurnState) -> Float[Tensor, "N 2 18"]:
        """What each agent sees: a window for the other agent, then one for the apple."""
        apple = state.apple.unsqueeze(1).expand_as(state.positions)
        offset = torch.stack([state.positions.flip(1), apple], dim=2) - state.positions.unsqueeze(2)  # [N, K, 2, 2]
        row, column = offset.unbind(-1)
        return self._on(offset.device).windows[row, column].flatten(2)  # a negative offset counts from the end

    def global_state(self, state: TurnState) -> Float[Tensor, "N S"]:
        """Everything but the time: apple, agent 0, agent 1 as one-hot cells, and who is free."""
        row, column = torch.cat([state.apple.unsqueeze(1), state.positions], dim=1).unbind(-1)  # [N, 3]
        tables = self._on(row.device)
        return torch.cat([tables.cells[row, column].flatten(1), tables.turns[state.free]], dim=1)

    def available(self, state: TurnState) -> Bool[Tensor, "N 2 6"]:
        """All actions, always."""
        shape = (len(state.t), self.spec.n_agents, self.spec.n_actions)
        return torch.ones(shape, dtype=torch.bool, device=state.t.device)

    def _on(self, device: torch.device) -> Tables:
        if device not in self._tables:
            windows = torch.zeros(2 * self.size - 1, 2 * self.size - 1, 9)
            for index in range(9):
                windows[index // 3 - 1, index % 3 - 1, index] = 1.0
            tables = Tables(
                agents=torch.arange(2),
                moves=torch.tensor(MOVES),
                windows=windows,
                cells=torch.eye(self.size**2).unflatten(0, (self.size, self.size)),
                turns=torch.eye(2),
            )
            self._tables[device] = Tables(*(table.to(device) for table in tables))
        return self._tables[device]

    def _new_apple(self, n_games: int, rng: torch.Generator) -> Int[Tensor, "N 2"]:
        return torch.randint(self.size, (n_games, 2), generator=rng, device=rng.device)
