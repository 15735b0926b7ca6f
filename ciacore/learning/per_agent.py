"""Agents that share no parameters: a recurrent network for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.fast import numpy_twins
from ciacore.learning.agent import RecurrentAgent
from ciacore.types import Array, Episodes, Spec


class PerAgent(nn.Module):
    """Q_k(tau_k, .) of a network of its own for every agent k.

    Each is a `RecurrentAgent` of a team of one, whose one-hot identity is a single 1.
    """

    def __init__(self, spec: Spec, config: Config) -> None:
        """Makes the networks, one after the other.

        Args:
            spec: the sizes of the game.
            config: `hidden_size` is read here.
        """
        super().__init__()
        alone = spec._replace(n_agents=1)
        self.agents = nn.ModuleList(
            RecurrentAgent(alone, config) for _ in range(spec.n_agents)
        )

    def inputs(self, episodes: Episodes) -> None:
        """Nothing: each network makes its own; another that is asked does, too."""

    def unroll(
        self, episodes: Episodes, inputs: None = None
    ) -> tuple[Float[Tensor, "B slots K A"], Float[Tensor, "B slots K H"]]:
        """Action values and hidden states along whole episodes, T+1 slots.

        Args:
            episodes: B of them.
            inputs: not used.
        """
        found = [
            agent.unroll(seen_by(episodes, number))
            for number, agent in enumerate(self.agents)
        ]
        values, hidden = zip(*found, strict=True)
        return torch.cat(values, 2), torch.cat(hidden, 2)

    def step(
        self,
        observations: Float[Tensor, "N K O"],
        last_actions: Float[Tensor, "N K A"],
        hidden: Float[Tensor, "NK H"],
        context: Float[Tensor, "N Z"] | None = None,
    ) -> tuple[Float[Tensor, "N K A"], Float[Tensor, "NK H"]]:
        """As `RecurrentAgent.step`: action values and the next hidden state.

        Args:
            observations: [N, K, O] of N games.
            last_actions: [N, K, A] one-hot; zeros at the start.
            hidden: [N K, H] after the step before.
            context: [N, Z] the latent of the episode; it is handed on.
        """
        join = torch.cat
        return step_each(self.agents, observations, last_actions, hidden, context, join)

    def initial(
        self, n_games: int
    ) -> tuple[Float[Tensor, "NK H"], Float[Tensor, "N K A"]]:
        """Hidden state and last actions at the start of N games: zeros."""
        hidden, last_actions = self.agents[0].initial(n_games)
        n_agents = len(self.agents)
        return hidden.repeat(n_agents, 1), last_actions.repeat(1, n_agents, 1)

    def one_hot(self, actions: Int[Tensor, "N K"]) -> Float[Tensor, "N K A"]:
        """The actions taken, as `step` reads them at the next step."""
        return self.agents[0].one_hot(actions)


def seen_by(episodes: Episodes, number: int) -> Episodes:
    """Episodes as one agent sees them: a team of one.

    Args:
        episodes: of K agents.
        number: of the agent, from 0.
    """
    own = slice(number, number + 1)
    return episodes._replace(
        observations=episodes.observations[:, :, own],
        actions=episodes.actions[:, :, own],
        available=episodes.available[:, :, own],
    )


def step_each(
    agents: Iterable[Any],
    observations: Float[Array, "N K O"],
    last_actions: Float[Array, "N K A"],
    hidden: Float[Array, "NK H"],
    context: Float[Array, "N Z"] | None,
    join: Callable[[list[Array], int], Array],
) -> tuple[Float[Array, "N K A"], Float[Array, "NK H"]]:
    """A step of every network with the rows of its agent.

    Args:
        agents: K of them, or their twins.
        observations: [N, K, O] of N games.
        last_actions: [N, K, A] one-hot.
        hidden: [N K, H] after the step before, game by game.
        context: [N, Z] the latent of the episode, where there is one.
        join: puts arrays together along an axis.

    Returns:
        Action values [N, K, A], and the next hidden state [N K, H].
    """
    before = hidden.reshape(*observations.shape[:2], -1)
    values, after = [], []
    for number, agent in enumerate(agents):
        own = slice(number, number + 1)
        of_agent, remembered = agent.step(
            observations[:, own], last_actions[:, own], before[:, number], context
        )
        values.append(of_agent)
        after.append(remembered[:, None])
    return join(values, 1), join(after, 1).reshape(hidden.shape)


class NumpyPerAgent:
    """The twin of a PerAgent: the twins of its agents."""

    def __init__(self, agent: PerAgent) -> None:
        """Copies the weights."""
        self.agents = [numpy_twins.numpy_twin(one) for one in agent.agents]

    def step(
        self,
        observations: Float[np.ndarray, "N K O"],
        last_actions: Float[np.ndarray, "N K A"],
        hidden: Float[np.ndarray, "NK H"],
        context: Float[np.ndarray, "N Z"] | None = None,
    ) -> tuple[Float[np.ndarray, "N K A"], Float[np.ndarray, "NK H"]]:
        """As `PerAgent.step`.

        Args:
            observations: [N, K, O] of N games.
            last_actions: [N, K, A] one-hot; zeros at the start.
            hidden: [N K, H] after the step before.
            context: [N, Z] the latent of the episode; it is handed on.
        """
        join = np.concatenate
        return step_each(self.agents, observations, last_actions, hidden, context, join)

    def initial(
        self, n_games: int
    ) -> tuple[Float[np.ndarray, "NK H"], Float[np.ndarray, "N K A"]]:
        """Hidden state and last actions at the start of N games: zeros."""
        hidden, last_actions = self.agents[0].initial(n_games)
        n_agents = len(self.agents)
        return np.tile(hidden, (n_agents, 1)), np.tile(last_actions, (1, n_agents, 1))

    def one_hot(self, actions: Int[np.ndarray, "N K"]) -> Float[np.ndarray, "N K A"]:
        """The actions taken, as `step` reads them at the next step."""
        return self.agents[0].one_hot(actions)


numpy_twins.register(PerAgent, NumpyPerAgent)
