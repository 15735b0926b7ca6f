"""Scripted players for Turn: what nobody, chance, a careful searcher and an all-knowing team would earn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ciacore.games.turn import DOWN, EAT, LEFT, RIGHT, STAY, UP, Turn, TurnState


class Stay:
    """Both agents stay, always. Acts on observations (`ciacore.learning.rollout.Policy`)."""

    def begin(
        self,
        observations: Float[Tensor, "N K O"],
        states: Float[Tensor, "N S"],
        rng: torch.Generator,
    ) -> None:
        """No memory."""

    def act(
        self,
        observations: Float[Tensor, "N K O"],
        available: Bool[Tensor, "N K A"],
        memory: None,
        rng: torch.Generator,
    ) -> tuple[Int[Tensor, "N K"], None]:
        """Action 5 for everybody."""
        return torch.full(available.shape[:2], STAY, device=available.device), None


class Uniform:
    """Each agent takes one of its available actions, all equally likely. Acts on observations."""

    def begin(
        self,
        observations: Float[Tensor, "N K O"],
        states: Float[Tensor, "N S"],
        rng: torch.Generator,
    ) -> None:
        """No memory."""

    def act(
        self,
        observations: Float[Tensor, "N K O"],
        available: Bool[Tensor, "N K A"],
        memory: None,
        rng: torch.Generator,
    ) -> tuple[Int[Tensor, "N K"], None]:
        """One draw per game and agent."""
        drawn = torch.multinomial(available.flatten(0, 1).float(), 1, generator=rng)
        return drawn.view(available.shape[:2]), None


class StatePolicy(ABC):
    """A player of Turn that is shown the full state, which no learned agent ever is."""

    @abstractmethod
    def begin(self, game: Turn, state: TurnState, rng: torch.Generator) -> Any:
        """The memory at the start of an episode."""

    @abstractmethod
    def act(
        self, game: Turn, state: TurnState, memory: Any, rng: torch.Generator
    ) -> tuple[Int[Tensor, "N 2"], Any]:
        """An action for each agent, and the memory for the next step."""


class FullInformation(StatePolicy):
    """The free agent walks a shortest path to the apple and eats it; the trapped agent stays."""

    def begin(self, game: Turn, state: TurnState, rng: torch.Generator) -> None:
        """No memory."""

    def act(
        self, game: Turn, state: TurnState, memory: None, rng: torch.Generator
    ) -> tuple[Int[Tensor, "N 2"], None]:
        """Towards the apple, then eat."""
        return only_free(
            state, towards(free_position(game, state), game.places(state)[1], EAT)
        ), None


class SweepMemory(NamedTuple):
    """Where N searches stand."""

    goal: Int[Tensor, "N"]  # index of the way-point the free agent is heading for
    free: Int[Tensor, "N"]  # whose search it is


class Sweep(StatePolicy):
    """A careful searcher without the apple's place.

    It knows whose turn it is and its own cell, and sees the apple in its 3x3 window
    only. A newly freed agent heads for the nearest way-point and then for the next ones
    in turn; once it sees the apple it goes there and eats. The trapped agent stays.
    """

    def begin(self, game: Turn, state: TurnState, rng: torch.Generator) -> SweepMemory:
        """The first agent to be free starts at its nearest way-point."""
        return SweepMemory(
            nearest(
                way_points(game.size).to(state.t.device), free_position(game, state)
            ),
            state.free,
        )

    def act(
        self, game: Turn, state: TurnState, memory: SweepMemory, rng: torch.Generator
    ) -> tuple[Int[Tensor, "N 2"], SweepMemory]:
        """Towards a visible apple, else towards the way-point of this search."""
        here, apple = free_position(game, state), game.places(state)[1]
        points = way_points(game.size).to(state.t.device)
        goal = torch.where(
            state.free == memory.free, memory.goal, nearest(points, here)
        )
        # reached without seeing the apple: the next one
        goal = (goal + (here == points[goal]).all(-1)) % len(points)
        visible = (apple - here).abs().amax(-1) <= 1
        actions = torch.where(
            visible, towards(here, apple, EAT), towards(here, points[goal], STAY)
        )
        return only_free(state, actions), SweepMemory(goal, state.free)


class Observing(StatePolicy):
    """A policy that acts on observations, trained or scripted, in the place of one that sees the state."""

    def __init__(self, policy: Any) -> None:
        """
        Args:
            policy: a `ciacore.learning.rollout.Policy`.
        """
        self.policy = policy

    def begin(self, game: Turn, state: TurnState, rng: torch.Generator) -> Any:
        """The policy's own memory."""
        return self.policy.begin(game.observe(state), game.global_state(state), rng)

    def act(
        self, game: Turn, state: TurnState, memory: Any, rng: torch.Generator
    ) -> tuple[Int[Tensor, "N 2"], Any]:
        """What the policy does with the observations of this state."""
        return self.policy.act(game.observe(state), game.available(state), memory, rng)


class Trace(NamedTuple):
    """N episodes of T steps."""

    states: list[TurnState]  # T + 1 of them, the last one after the last step
    actions: Int[Tensor, "N T 2"]
    rewards: Float[Tensor, "N T"]


@torch.no_grad()
def trace(game: Turn, policy: Any, n_games: int, rng: torch.Generator) -> Trace:
    """Plays N episodes side by side.

    Args:
        policy: a `StatePolicy`, or a `ciacore.learning.rollout.Policy` that acts on
            observations.
    """
    player = policy if isinstance(policy, StatePolicy) else Observing(policy)
    states, moves = [game.reset(n_games, rng)], []
    memory = player.begin(game, states[0], rng)
    for _ in range(game.spec.horizon):
        actions, memory = player.act(game, states[-1], memory, rng)
        step = game.step(states[-1], actions, rng)
        states.append(step.state)
        moves.append((actions, step.rewards))
    actions, rewards = (torch.stack(parts, dim=1) for parts in zip(*moves, strict=True))
    return Trace(states, actions, rewards)


def returns(
    game: Turn, policy: Any, n_games: int, rng: torch.Generator
) -> Float[Tensor, "N"]:
    """Undiscounted returns of N episodes; arguments as for `trace`."""
    return trace(game, policy, n_games, rng).rewards.sum(1)


def way_points(size: int) -> Int[Tensor, "W 2"]:
    """Cells (row, column) whose 3x3 windows cover the board, row by row, every other row backwards.

    For the 5x5 board (1, 1), (1, 3), (3, 3), (3, 1).
    """
    lines = [min(line, max(size - 2, 0)) for line in range(1, size + 1, 3)]
    lanes = [lines if index % 2 == 0 else lines[::-1] for index in range(len(lines))]
    return torch.tensor(
        [
            (row, column)
            for row, lane in zip(lines, lanes, strict=True)
            for column in lane
        ]
    )


def nearest(points: Int[Tensor, "W 2"], here: Int[Tensor, "N 2"]) -> Int[Tensor, "N"]:
    """Index of the way-point with the shortest walk from here; the first of equals."""
    return (here.unsqueeze(1) - points).abs().sum(-1).argmin(1)


def free_position(game: Turn, state: TurnState) -> Int[Tensor, "N 2"]:
    """(row, column) of the free agent."""
    return game.places(state)[0][
        torch.arange(len(state.free), device=state.free.device), state.free
    ]


def towards(
    here: Int[Tensor, "N 2"], there: Int[Tensor, "N 2"], arrived: int
) -> Int[Tensor, "N"]:
    """The next action on a shortest walk, rows before columns; `arrived` is the action on the spot."""
    down, right = (there - here).unbind(-1)
    across = torch.where(right == 0, arrived, torch.where(right < 0, LEFT, RIGHT))
    return torch.where(down == 0, across, torch.where(down < 0, UP, DOWN))


def only_free(state: TurnState, actions: Int[Tensor, "N"]) -> Int[Tensor, "N 2"]:
    """The action for the free agent, staying for the trapped one."""
    agents = torch.arange(2, device=actions.device)
    return torch.where(state.free.unsqueeze(1) == agents, actions.unsqueeze(1), STAY)
