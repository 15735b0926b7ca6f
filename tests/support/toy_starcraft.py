"""A double of SMAC's StarCraft2Env: its methods, attributes and ways to fail, with a toy inside.

A battle is won on step 3 where agent 0 stops, lost on step 5 where it walks north, and
else goes on to the limit.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ciacore.games.battles.starcraft import SIZES


class Double:
    """Files in a folder steer it: `crash` (a step answers as upstream does then), `die` (the process ends), `twice`."""

    def __init__(self, scenario: str, folder: str) -> None:
        self.sizes, self.folder = SIZES[scenario], Path(folder)
        unit = self.sizes.unit - 4
        self.shield_bits_ally, self.unit_type_bits = min(unit, 1), max(unit - 1, 0)
        self.max_reward, self._episode_steps, self.launched = (
            self.sizes.max_reward,
            0,
            False,
        )

    def marked(self, name: str) -> bool:
        """Whether a mark is there; it is used up."""
        if not (self.folder / name).exists():
            return False
        (self.folder / name).unlink()
        return True

    def reset(self) -> None:
        if self.launched and self.marked("twice"):
            self.max_reward += 100  # upstream, after a crash in the first episode
        self.launched, self._episode_steps = True, 0

    def get_env_info(self) -> dict:
        names = ("n_agents", "n_actions", "obs_shape", "state_shape")
        return {
            **dict(zip(names, self.sizes, strict=False)),
            "episode_limit": self.sizes.limit,
        }

    def get_obs(self) -> list:
        return [
            np.full(self.sizes.observation, self._episode_steps, np.float32)
        ] * self.sizes.n_agents

    def get_state(self) -> np.ndarray:
        return np.full(self.sizes.state, self._episode_steps, np.float32)

    def get_avail_actions(self) -> list:
        return [[0, 1, *[1] * (self.sizes.n_actions - 2)]] * self.sizes.n_agents

    def step(self, actions: list[int]) -> tuple:
        assert len(actions) == self.sizes.n_agents and all(
            0 < action < self.sizes.n_actions for action in actions
        )
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
        return (
            (20.0 if wins else 0.5),
            wins or lost or self._episode_steps >= self.sizes.limit,
            info,
        )

    def save_replay(self) -> None:
        (self.folder / f"replay_{os.getpid()}").touch()

    def close(self) -> None:
        (self.folder / f"closed_{os.getpid()}").touch()
