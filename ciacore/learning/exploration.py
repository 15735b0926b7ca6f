"""How agents explore: epsilon-greedy, each agent on its own (PyMARL's schedule)."""

from __future__ import annotations

from typing import Any, NamedTuple

from jaxtyping import Bool, Float, Int
from torch import Tensor

from ciacore.config import Config
from ciacore.fast.arrays import library, uniform
from ciacore.types import Array, Generator


class Memory(NamedTuple):
    """What a policy carries from step to step."""

    hidden: Float[Array, "NK H"]
    last_actions: Float[Array, "N K A"]  # one-hot, all zeros at the start
    # the latent of the episode; Z = 0 unless an explorer draws one
    context: Float[Array, "N Z"]


class EpsilonGreedy(NamedTuple):
    """Plays a recurrent agent: greedy with probability 1 - epsilon, else uniform over the available actions."""

    agent: Any  # a RecurrentAgent, or a NumpyAgent
    # a tensor where a CUDA graph is told a new value before each replay
    epsilon: float | Tensor

    def begin(
        self,
        observations: Float[Array, "N K O"],
        states: Float[Array, "N S"],
        rng: Generator,
    ) -> Memory:
        """The memory at the start of N games."""
        return Memory(
            *self.agent.begin(len(observations)), context=observations[:, 0, :0]
        )

    def act(
        self,
        observations: Float[Array, "N K O"],
        available: Bool[Array, "N K A"],
        memory: Memory,
        rng: Generator,
    ) -> tuple[Int[Array, "N K"], Memory]:
        """One action per agent, and the memory for the next step."""
        values, hidden = self.agent.step(
            observations, memory.last_actions, memory.hidden, memory.context
        )
        actions = epsilon_greedy(values, available, self.epsilon, rng)
        return actions, Memory(hidden, self.agent.one_hot(actions), memory.context)


def epsilon_greedy_alone(
    plain: EpsilonGreedy, auxiliaries: Any, config: Config, numpy: bool, learning: bool
) -> Any:
    """The explorer of most methods: nothing but epsilon-greedy."""
    return plain


def epsilon_greedy(
    action_values: Float[Array, "N K A"],
    available: Bool[Array, "N K A"],
    epsilon: float | Tensor,
    rng: Generator,
) -> Int[Array, "N K"]:
    """argmax of the values, or of noise where an agent explores; unavailable actions never."""
    where = library(action_values).where
    if not isinstance(epsilon, float) or epsilon > 0:
        noise = uniform(rng, (*action_values.shape[:-1], action_values.shape[-1] + 1))
        action_values = where(noise[..., -1:] < epsilon, noise[..., :-1], action_values)
    return where(available, action_values, -float("inf")).argmax(-1)


def epsilon_at(env_steps: int, config: Config) -> float:
    """Linear from `epsilon_start` to `epsilon_end` over `epsilon_steps` environment steps, then flat."""
    share = min(env_steps / config.epsilon_steps, 1.0)
    return config.epsilon_start + share * (config.epsilon_end - config.epsilon_start)
