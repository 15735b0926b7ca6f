"""One game of this library as a PettingZoo `ParallelEnv` (Terry et al. 2021).

`pettingzoo` is needed by this file alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from pettingzoo import ParallelEnv
from torch import Tensor

from ciacore.games.turn import Turn, TurnState
from ciacore.types import Game, refuse


class ParallelGame(ParallelEnv):
    """A single game with one dictionary entry per agent ("agent_0", ...).

    An observation is `{"observation": float32 [O], "action_mask": int8 [A]}`. Every
    agent gets the team's reward. The time limit is reported as truncation. `state()` is
    the global state that mixers see. With the same seed and actions, an episode equals
    that of the batched game with one game and the same seed.
    """

    def __init__(self, game: Game, render_mode: str | None = None) -> None:
        """A view of a game; nothing is played yet.

        Args:
            game: rules, e.g. `Turn()`.
            render_mode: "ansi" to have `render()` return the board as text (Turn only).

        Raises:
            InvalidInputError: a render mode this game does not have.
        """
        modes = ["ansi"] if isinstance(game, Turn) else []
        if render_mode not in (None, *modes):
            refuse(
                "render_mode",
                f"None or one of {modes}",
                render_mode,
                "Leave it out to play without pictures.",
            )
        spec = game.spec
        self.game = game
        self.render_mode = render_mode
        self.metadata = {
            "name": game.name,
            "render_modes": modes,
            "is_parallelizable": True,
        }
        self.possible_agents = [f"agent_{index}" for index in range(spec.n_agents)]
        self.agents: list[str] = []
        self.observation_spaces = {}
        self.action_spaces = {}
        for agent in self.possible_agents:
            self.observation_spaces[agent] = observation_space(game)
            self.action_spaces[agent] = spaces.Discrete(spec.n_actions)
        self.state_space = spaces.Box(-np.inf, np.inf, (spec.state_size,), np.float32)
        self._rng: torch.Generator | None = None
        self._state: Any = None

    def observation_space(self, agent: str) -> spaces.Space:
        """The same object at every call."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space:
        """The same object at every call."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict | None = None
    ) -> tuple[dict, dict]:
        """A fresh episode.

        Args:
            seed: starts the random numbers anew; without it they go on, or start from
                entropy the first time.
            options: none are known; ignored.

        Returns:
            Observations and infos, by agent.
        """
        if self._rng is None:
            self._rng = torch.Generator()
            self._rng.seed()
        if seed is not None:
            self._rng.manual_seed(seed)
        self._state = self.game.reset(1, self._rng)
        self.agents = list(self.possible_agents)
        return self._observations(), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """One joint action.

        Returns:
            Observations, rewards, terminations, truncations and infos, by agent; the
            infos hold what the game says of the step.

        Raises:
            InvalidInputError: before `reset` or after the end, an agent missing or
                unknown, or an action out of range.
        """
        self._check(actions)
        acting = self.agents
        joint = torch.tensor([[int(actions[agent]) for agent in acting]])  # [1, K]
        step = self.game.step(self._state, joint, self._rng)
        self._state = step.state
        info = {name: value.item() for name, value in step.info.items()}
        answer = (
            self._observations(),
            dict.fromkeys(acting, step.rewards.item()),
            dict.fromkeys(acting, step.terminated.item()),
            dict.fromkeys(acting, step.truncated.item()),
            {agent: dict(info) for agent in acting},
        )
        if step.terminated or step.truncated:
            self.agents = []
        return answer

    def state(self) -> np.ndarray:
        """The global state, float32 [S]."""
        self._started()
        return floats(self.game.global_state(self._state)[0])

    def render(self) -> str | None:
        """The board as text where `render_mode` is "ansi"."""
        if self.render_mode is None:
            return None
        self._started()
        return board_text(self.game, self._state)

    def close(self) -> None:
        """Nothing to release."""

    def _observations(self) -> dict[str, dict[str, np.ndarray]]:
        seen = floats(self.game.observe(self._state)[0])  # [K, O]
        masks = self.game.available(self._state)[0].numpy().astype(np.int8)  # [K, A]
        found = {}
        for index, agent in enumerate(self.agents):
            found[agent] = {"observation": seen[index], "action_mask": masks[index]}
        return found

    def _check(self, actions: dict[str, Any]) -> None:
        self._started()
        if not self.agents:
            refuse(
                "step",
                "an episode that is still going on",
                "one that has ended",
                "Call reset first.",
            )
        if set(actions) != set(self.agents):
            refuse(
                "actions",
                f"one action for each of {self.agents}",
                sorted(actions),
                "Name every agent once.",
            )
        for agent in self.agents:
            if not self.action_spaces[agent].contains(actions[agent]):
                last = self.game.spec.n_actions - 1
                refuse(
                    f"actions[{agent!r}]",
                    f"a whole number from 0 to {last}",
                    actions[agent],
                    f"Sample from action_space({agent!r}).",
                )

    def _started(self) -> None:
        if self._state is None:
            refuse("ParallelGame", "an episode", "none yet", "Call reset first.")


def observation_space(game: Game) -> spaces.Space:
    """What one agent gets to see, and which actions it may take."""
    seen = spaces.Box(-np.inf, np.inf, (game.spec.observation_size,), np.float32)
    allowed = spaces.MultiBinary(game.spec.n_actions)
    return spaces.Dict({"observation": seen, "action_mask": allowed})


def floats(values: Tensor) -> np.ndarray:
    """A float32 array of its own."""
    return values.numpy().astype(np.float32)


def board_text(game: Turn, state: TurnState) -> str:
    """The first board of a state: a row of cells per line, then whose turn it is.

    A cell shows `*` for the apple, then the numbers of the agents on it; `.` is an
    empty cell.

    Args:
        game: the rules, for the size of the board.
        state: of any number of games.
    """
    positions, apple = game.places(state)
    places = {"*": apple[0].tolist()}
    for agent, place in enumerate(positions[0].tolist()):
        places[str(agent)] = place
    cells = [[""] * game.size for _ in range(game.size)]
    for label, (row, column) in places.items():
        cells[row][column] += label
    lines = []
    for row in cells:
        lines.append(" ".join(f"{cell or '.':<3}" for cell in row).rstrip())
    lines.append(f"t = {state.t[0]}: agent {state.free[0]} is free")
    return "\n".join(lines)
