"""An environment of one's own: two agents on a line are paid while they stand together.

It is one of PettingZoo, and knows nothing of this book:

    make_game("pettingzoo:examples.own_environment")
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from pettingzoo import ParallelEnv

PLACES = 7
COLOURS = ((0, 114, 178), (213, 94, 0))  # of the agents


class Meet(ParallelEnv):
    """Each sees both places, its own first, and moves back, stays, or moves on."""

    metadata = {"name": "meet", "render_modes": ["rgb_array"]}  # noqa: RUF012
    possible_agents = ["left", "right"]  # noqa: RUF012
    max_cycles = 20  # how long an episode lasts

    def __init__(self, render_mode: str | None = None) -> None:
        """Nobody stands anywhere yet.

        Args:
            render_mode: "rgb_array" where `render` is wanted.
        """
        self.render_mode = render_mode

    def observation_space(self, agent: str) -> Box:
        """Two places."""
        return Box(0, PLACES - 1, (2,), np.float32)

    def action_space(self, agent: str) -> Discrete:
        """Back, stay, on."""
        return Discrete(3)

    def reset(
        self, seed: int | None = None, options: dict | None = None
    ) -> tuple[dict, dict]:
        """A fresh episode: both stand anywhere.

        Args:
            seed: of where they stand.
            options: not used.
        """
        self.places = np.random.default_rng(seed).integers(PLACES, size=2)
        self.agents, self.t = list(self.possible_agents), 0
        return self.seen(), {agent: {} for agent in self.agents}

    def seen(self) -> dict[str, np.ndarray]:
        """What both agents see."""
        own_first = self.places, self.places[::-1]
        return {
            agent: places.astype(np.float32)
            for agent, places in zip(self.possible_agents, own_first, strict=True)
        }

    def step(self, actions: dict[str, int]) -> tuple[dict, dict, dict, dict, dict]:
        """Both move; the time limit ends it.

        Args:
            actions: 0, 1 or 2, by agent.
        """
        moves = [int(actions[agent]) - 1 for agent in self.possible_agents]
        self.places = np.clip(self.places + moves, 0, PLACES - 1)
        self.t += 1
        together = float(self.places[0] == self.places[1])
        acted, at_limit = self.agents, self.t == self.max_cycles
        self.agents = [] if at_limit else acted
        paid = dict.fromkeys(acted, together)
        ended, cut = dict.fromkeys(acted, False), dict.fromkeys(acted, at_limit)
        return self.seen(), paid, ended, cut, {agent: {} for agent in acted}

    def render(self) -> np.ndarray:
        """A row of squares for each agent, its own one coloured."""
        picture = np.full((40, 20 * PLACES, 3), 255, np.uint8)
        for row, (place, colour) in enumerate(zip(self.places, COLOURS, strict=True)):
            picture[20 * row : 20 * row + 20, 20 * place : 20 * place + 20] = colour
        return picture


def parallel_env(**arguments: Any) -> Meet:
    """The function that a name such as `pettingzoo:<module>` calls.

    Args:
        arguments: of the environment.
    """
    return Meet(**arguments)
