"""How agents explore: epsilon-greedy, each agent on its own (PyMARL's schedule)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ciacore.config import Config


class Memory(NamedTuple):
    """What a policy carries from step to step."""

    hidden: Float[Tensor, "NK H"]
    last_actions: Float[Tensor, "N K A"]  # one-hot, all zeros at the start


class EpsilonGreedy(NamedTuple):
    """Plays a recurrent agent: greedy with probability 1 - epsilon, else uniform over the available actions."""

    agent: nn.Module
    epsilon: float

    def begin(self, observations: Float[Tensor, "N K O"]) -> Memory:
        """The memory at the start of N games."""
        n_games, n_agents, _ = observations.shape
        n_actions = self.agent.spec.n_actions
        hidden = self.agent.initial(n_games, observations.device)
        return Memory(hidden, torch.zeros(n_games, n_agents, n_actions, device=observations.device))

    def act(
        self,
        observations: Float[Tensor, "N K O"],
        available: Bool[Tensor, "N K A"],
        memory: Memory,
        rng: torch.Generator,
    ) -> tuple[Int[Tensor, "N K"], Memory]:
        """One action per agent, and the memory for the next step."""
        values, hidden = self.agent.step(observations, memory.last_actions, memory.hidden)
        actions = epsilon_greedy(values, available, self.epsilon, rng)
        return actions, Memory(hidden, F.one_hot(actions, values.shape[-1]).float())


def epsilon_greedy(
    action_values: Float[Tensor, "N K A"], available: Bool[Tensor, "N K A"], epsilon: float, rng: torch.Generator
) -> Int[Tensor, "N K"]:
    """argmax of the values, or of noise where an agent explores; unavailable actions never."""
    if epsilon > 0:
        n_games, n_agents, n_actions = action_values.shape
        noise = torch.rand(n_games, n_agents, n_actions + 1, generator=rng, device=rng.device)
        action_values = torch.where(noise[..., -1:] < epsilon, noise[..., :-1], action_values)
    return action_values.masked_fill(~available, -float("inf")).argmax(-1)


def epsilon_at(env_steps: int, config: Config) -> float:
    """Linear from `epsilon_start` to `epsilon_end` over `epsilon_steps` environment steps, then flat."""
    share = min(env_steps / config.epsilon_steps, 1.0)
    return config.epsilon_start + share * (config.epsilon_end - config.epsilon_start)
