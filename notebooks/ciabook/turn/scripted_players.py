"""Scripted players for Turn, which mark its scale.

They show what nobody, chance, a careful searcher and an all-knowing team would earn.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ciacore.games.turn import DOWN, EAT, LEFT, RIGHT, STAY, UP, Turn, TurnState


class Stay:
    """Both agents stay, always.

    Acts on observations (`ciacore.learning.rollout.Policy`).
    """

    def start(
        self,
        observations: Float[Tensor, "N K O"],
        states: Float[Tensor, "N S"],
        rng: torch.Generator,
    ) -> None:
        """No memory.

        Args:
            observations: [N, K, O], at the start of N games.
            states: [N, S], which no agent looks at.
            rng: nothing is drawn.
        """

    def act(
        self,
        observations: Float[Tensor, "N K O"],
        available: Bool[Tensor, "N K A"],
        memory: None,
        rng: torch.Generator,
    ) -> tuple[Int[Tensor, "N K"], None]:
        """Action 5 for everybody.

        Args:
            observations: [N, K, O], not looked at.
            available: [N, K, A].
            memory: none.
            rng: nothing is drawn.
        """
        actions = torch.full(available.shape[:2], STAY, device=available.device)
        return actions, None


class Uniform:
    """Each agent takes one of its available actions, all equally likely.

    Acts on observations (`ciacore.learning.rollout.Policy`).
    """

    def start(
        self,
        observations: Float[Tensor, "N K O"],
        states: Float[Tensor, "N S"],
        rng: torch.Generator,
    ) -> None:
        """No memory.

        Args:
            observations: [N, K, O], at the start of N games.
            states: [N, S], which no agent looks at.
            rng: nothing is drawn.
        """

    def act(
        self,
        observations: Float[Tensor, "N K O"],
        available: Bool[Tensor, "N K A"],
        memory: None,
        rng: torch.Generator,
    ) -> tuple[Int[Tensor, "N K"], None]:
        """One draw per game and agent.

        Args:
            observations: [N, K, O], not looked at.
            available: [N, K, A], what may be drawn.
            memory: none.
            rng: for the draws.
        """
        drawn = torch.multinomial(available.flatten(0, 1).float(), 1, generator=rng)
        return drawn.view(available.shape[:2]), None


class StatePolicy(ABC):
    """A player of Turn that is shown the full state, which no learned agent ever is."""

    @abstractmethod
    def start(self, game: Turn, state: TurnState, rng: torch.Generator) -> Any:
        """The memory at the start of an episode.

        Args:
            game: the rules.
            state: of N games.
            rng: for what is random.
        """

    @abstractmethod
    def act(
        self, game: Turn, state: TurnState, memory: Any, rng: torch.Generator
    ) -> tuple[Int[Tensor, "N K"], Any]:
        """An action for each agent, and the memory for the next step.

        Args:
            game: the rules.
            state: of N games.
            memory: from the step before.
            rng: for what is random.
        """


class FullInformation(StatePolicy):
    """The free agent walks straight to the apple and eats it; the other one stays."""

    def start(self, game: Turn, state: TurnState, rng: torch.Generator) -> None:
        """No memory.

        Args:
            game: the rules.
            state: of N games.
            rng: nothing is drawn.
        """

    def act(
        self, game: Turn, state: TurnState, memory: None, rng: torch.Generator
    ) -> tuple[Int[Tensor, "N K"], None]:
        """Towards the apple, then eat.

        Args:
            game: the rules.
            state: of N games.
            memory: none.
            rng: nothing is drawn.
        """
        _, apple = game.places(state)
        actions = towards(free_position(game, state), apple, EAT)
        return only_free(state, actions), None


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

    def start(self, game: Turn, state: TurnState, rng: torch.Generator) -> SweepMemory:
        """The first agent to be free heads for its nearest way-point.

        Args:
            game: the rules.
            state: of N games.
            rng: nothing is drawn.
        """
        points = way_points(game.size).to(state.t.device)
        goal = nearest(points, free_position(game, state))
        return SweepMemory(goal, state.free)

    def act(
        self, game: Turn, state: TurnState, memory: SweepMemory, rng: torch.Generator
    ) -> tuple[Int[Tensor, "N K"], SweepMemory]:
        """Towards a visible apple, else towards the way-point of this search.

        Args:
            game: the rules.
            state: of N games.
            memory: where the searches stand.
            rng: nothing is drawn.
        """
        here = free_position(game, state)
        _, apple = game.places(state)
        points = way_points(game.size).to(state.t.device)
        goes_on = state.free == memory.free
        goal = torch.where(goes_on, memory.goal, nearest(points, here))
        # reached without seeing the apple: the next one
        reached = (here == points[goal]).all(-1)
        goal = (goal + reached) % len(points)
        visible = (apple - here).abs().amax(-1) <= 1
        to_apple = towards(here, apple, EAT)
        to_goal = towards(here, points[goal], STAY)
        actions = torch.where(visible, to_apple, to_goal)
        return only_free(state, actions), SweepMemory(goal, state.free)


class Observing(StatePolicy):
    """A policy that acts on observations, in the place of one that sees the state."""

    def __init__(self, policy: Any) -> None:
        """A player that passes on what agents may see.

        Args:
            policy: a `ciacore.learning.rollout.Policy`, trained or scripted.
        """
        self.policy = policy

    def start(self, game: Turn, state: TurnState, rng: torch.Generator) -> Any:
        """The policy's own memory.

        Args:
            game: the rules.
            state: of N games.
            rng: for what is random.
        """
        return self.policy.start(game.observe(state), game.global_state(state), rng)

    def act(
        self, game: Turn, state: TurnState, memory: Any, rng: torch.Generator
    ) -> tuple[Int[Tensor, "N K"], Any]:
        """What the policy does with the observations of this state.

        Args:
            game: the rules.
            state: of N games.
            memory: the policy's own, from the step before.
            rng: for what is random.
        """
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
        game: the rules.
        policy: a `StatePolicy`, or a `ciacore.learning.rollout.Policy` that acts on
            observations.
        n_games: N.
        rng: for everything that is random.
    """
    player = policy if isinstance(policy, StatePolicy) else Observing(policy)
    states = [game.reset(n_games, rng)]
    taken = []
    rewards = []
    memory = player.start(game, states[0], rng)
    for _ in range(game.spec.horizon):
        actions, memory = player.act(game, states[-1], memory, rng)
        step = game.step(states[-1], actions, rng)
        states.append(step.state)
        taken.append(actions)
        rewards.append(step.rewards)
    return Trace(states, torch.stack(taken, dim=1), torch.stack(rewards, dim=1))


def returns(
    game: Turn, policy: Any, n_games: int, rng: torch.Generator
) -> Float[Tensor, "N"]:
    """Undiscounted returns of N episodes.

    Args:
        game: the rules.
        policy: as for `trace`.
        n_games: N.
        rng: for everything that is random.
    """
    return trace(game, policy, n_games, rng).rewards.sum(1)


def way_points(size: int) -> Int[Tensor, "W 2"]:
    """Cells (row, column) whose 3x3 windows cover the board.

    They are visited row by row, every other row backwards. For the 5x5 board they are
    (1, 1), (1, 3), (3, 3), (3, 1).
    """
    lines = [min(line, max(size - 2, 0)) for line in range(1, size + 1, 3)]
    points = []
    for index, row in enumerate(lines):
        forwards = index % 2 == 0
        for column in lines if forwards else reversed(lines):
            points.append((row, column))
    return torch.tensor(points)


def nearest(points: Int[Tensor, "W 2"], here: Int[Tensor, "N 2"]) -> Int[Tensor, "N"]:
    """Index of the way-point with the shortest walk from here; the first of equals.

    Args:
        points: [W, 2], row and column of the way-points.
        here: [N, 2], row and column of the agents that ask.
    """
    return (here.unsqueeze(1) - points).abs().sum(-1).argmin(1)


def free_position(game: Turn, state: TurnState) -> Int[Tensor, "N 2"]:
    """Row and column of the free agent.

    Args:
        game: the rules.
        state: of N games.
    """
    positions, _ = game.places(state)  # [N, K, row and column]
    games = torch.arange(len(state.free), device=state.free.device)
    return positions[games, state.free]


def towards(
    here: Int[Tensor, "N 2"], there: Int[Tensor, "N 2"], arrived: int
) -> Int[Tensor, "N"]:
    """The next action on a shortest walk, rows before columns.

    Args:
        here: [N, 2], row and column.
        there: [N, 2], row and column.
        arrived: the action on the spot.
    """
    down, right = (there - here).unbind(-1)
    across = torch.where(right == 0, arrived, torch.where(right < 0, LEFT, RIGHT))
    return torch.where(down == 0, across, torch.where(down < 0, UP, DOWN))


def only_free(state: TurnState, actions: Int[Tensor, "N"]) -> Int[Tensor, "N K"]:
    """The action for the free agent, staying for the trapped ones.

    Args:
        state: of N games.
        actions: [N], of the free agents.
    """
    agents = torch.arange(state.positions.shape[1], device=actions.device)
    return torch.where(state.free.unsqueeze(1) == agents, actions.unsqueeze(1), STAY)
