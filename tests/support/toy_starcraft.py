"""A double of SMAC's StarCraft2Env: its methods, attributes and ways to fail.

Inside is a toy. A battle is won on step 3 where agent 0 stops, lost on step 5 where it
walks north, and else goes on to the limit.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ciacore.games.battles.starcraft import SIZES


class Double:
    """Files in a folder steer it.

    - `crash`: a step answers as upstream does after a crash.
    - `die`: the process ends.
    - `twice`: the maximum of the reward grows with the next start.
    """

    def __init__(self, scenario: str, folder: str) -> None:
        self.sizes = SIZES[scenario]
        self.folder = Path(folder)
        unit = self.sizes.unit - 4
        self.shield_bits_ally = min(unit, 1)
        self.unit_type_bits = max(unit - 1, 0)
        self.max_reward = self.sizes.max_reward
        self._episode_steps = 0
        self.launched = False

    def marked(self, name: str) -> bool:
        """Whether a mark is there; it is used up."""
        if not (self.folder / name).exists():
            return False
        (self.folder / name).unlink()
        return True

    def reset(self) -> None:
        """Begins an episode."""
        if self.launched and self.marked("twice"):
            self.max_reward += 100  # upstream, after a crash in the first episode
        self.launched = True
        self._episode_steps = 0

    def get_env_info(self) -> dict:
        """The sizes under upstream's names."""
        return {
            "n_agents": self.sizes.n_agents,
            "n_actions": self.sizes.n_actions,
            "obs_shape": self.sizes.observation,
            "state_shape": self.sizes.state,
            "episode_limit": self.sizes.limit,
        }

    def get_obs(self) -> list:
        """Each agent sees the number of the step."""
        seen = np.full(self.sizes.observation, self._episode_steps, np.float32)
        return [seen] * self.sizes.n_agents

    def get_state(self) -> np.ndarray:
        """The number of the step."""
        return np.full(self.sizes.state, self._episode_steps, np.float32)

    def get_avail_actions(self) -> list:
        """Everything but the no-op of the dead."""
        return [[0] + [1] * (self.sizes.n_actions - 1)] * self.sizes.n_agents

    def step(self, actions: list[int]) -> tuple:
        """Reward, whether the episode has ended, and upstream's info."""
        assert len(actions) == self.sizes.n_agents
        assert all(0 < action < self.sizes.n_actions for action in actions)
        if self.marked("die"):
            os._exit(9)
        if self.marked("crash"):
            return 0, True, {}
        self._episode_steps += 1
        wins = self._episode_steps == 3 and actions[0] == 1
        lost = self._episode_steps == 5 and actions[0] == 2
        info = {
            "battle_won": wins,
            "dead_allies": self.sizes.n_agents if lost else 0,
            "dead_enemies": 0,
        }
        reward = 20.0 if wins else 0.5
        ended = wins or lost or self._episode_steps >= self.sizes.limit
        return reward, ended, info

    def save_replay(self) -> None:
        """Leaves a mark."""
        (self.folder / f"replay_{os.getpid()}").touch()

    def close(self) -> None:
        """Leaves a mark."""
        (self.folder / f"closed_{os.getpid()}").touch()
