"""How agents explore: epsilon-greedy, each agent on its own (PyMARL's schedule)."""

from __future__ import annotations

from typing import Any, NamedTuple

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.fast import jax_networks, whole_episodes
from ciacore.fast.arrays import library, lowest, noise_of_explorers
from ciacore.types import Array, Generator, Player, Spec


class Memory(NamedTuple):
    """What a policy carries from step to step."""

    hidden: Float[Array, "NK H"]
    last_actions: Float[Array, "N K A"]  # one-hot, all zeros at the start
    # the latent of the episode; Z = 0 unless an explorer draws one
    context: Float[Array, "N Z"]


class EpsilonGreedy(NamedTuple):
    """Plays an agent: greedy, or with chance epsilon any available action."""

    agent: Any  # an Agent, or the numpy twin of one
    # a tensor where a CUDA graph reads a new value before each launch
    epsilon: float | Tensor

    def start(
        self,
        observations: Float[Array, "N K O"],
        states: Float[Array, "N S"],
        rng: Generator,
    ) -> Memory:
        """The memory at the start of N games: no hidden state, no last action.

        Args:
            observations: [N, K, O] the first.
            states: [N, S] the first; they are not looked at.
            rng: nothing is drawn.
        """
        hidden, last_actions = self.agent.initial(len(observations))
        return Memory(hidden, last_actions, context=observations[:, 0, :0])

    def act(
        self,
        observations: Float[Array, "N K O"],
        available: Bool[Array, "N K A"],
        memory: Memory,
        rng: Generator,
    ) -> tuple[Int[Array, "N K"], Memory]:
        """One action per agent, and the memory for the next step.

        Args:
            observations: [N, K, O].
            available: [N, K, A] the actions that may be taken.
            memory: after the step before.
            rng: draws who explores, and what.
        """
        values, hidden = self.agent.step(
            observations, memory.last_actions, memory.hidden, memory.context
        )
        actions = epsilon_greedy(values, available, self.epsilon, rng)
        return actions, Memory(hidden, self.agent.one_hot(actions), memory.context)


whole_episodes.register(EpsilonGreedy, jax_networks.epsilon_greedy)


class PlainExploration:
    """The explorer of most methods: nothing but epsilon-greedy."""

    context_size = 0

    def __init__(
        self, spec: Spec, config: Config, auxiliaries: dict[str, nn.Module]
    ) -> None:
        pass

    def learning(self, agent: Player, epsilon: float | Tensor) -> EpsilonGreedy:
        """The policy that collects episodes.

        Args:
            agent: in torch, or its numpy twin.
            epsilon: the chance of a random action.
        """
        return EpsilonGreedy(agent, epsilon)

    def evaluating(self, agent: Player) -> EpsilonGreedy:
        """The greedy policy."""
        return EpsilonGreedy(agent, 0.0)


def epsilon_greedy(
    action_values: Float[Array, "N K A"],
    available: Bool[Array, "N K A"],
    epsilon: float | Tensor,
    rng: Generator,
) -> Int[Array, "N K"]:
    """argmax of the values, or of noise where an agent explores.

    Args:
        action_values: [N, K, A].
        available: [N, K, A] the actions that may be taken.
        epsilon: the chance that an agent explores; nothing is drawn for a plain 0.
        rng: draws one number per action, and one more that says who explores.
    """
    where = library(action_values).where
    if not isinstance(epsilon, float) or epsilon > 0:
        noise, explores = noise_of_explorers(rng, tuple(action_values.shape), epsilon)
        action_values = where(explores, noise, action_values)
    return where(available, action_values, lowest(rng)).argmax(-1)


def epsilon_at(env_steps: int, config: Config) -> float:
    """Linear from `epsilon_start` to `epsilon_end` over `epsilon_steps`, then flat.

    Args:
        env_steps: environment steps of training so far.
        config: its three fields named above.
    """
    share = min(env_steps / config.epsilon_steps, 1.0)
    return config.epsilon_start + share * (config.epsilon_end - config.epsilon_start)
