"""The recurrent utility network that all agents share (Hausknecht & Stone 2015; Rashid et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.recurrence import GRUSequence
from ciacore.types import Episodes, Spec


class RecurrentAgent(nn.Module):
    """Q_k(tau_k, .) = fc_out(GRU(relu(fc_in([o_k, last action of k, one-hot k]))))."""

    def __init__(self, spec: Spec, config: Config, head: Any = None) -> None:
        """
        Args:
            head: what makes the last layer, `SharedHead` unless another is given.
        """
        super().__init__()
        self.spec = spec
        self.hidden_size = config.hidden_size
        inputs = spec.observation_size + spec.n_actions + spec.n_agents
        self.fc_in = nn.Linear(inputs, config.hidden_size)
        self.gru = nn.GRU(config.hidden_size, config.hidden_size)
        self.fc_out = (head or SharedHead)(spec, config)
        self.register_buffer("identity", torch.eye(spec.n_agents), persistent=False)
        self.register_buffer("choices", torch.eye(spec.n_actions), persistent=False)

    def unroll(self, episodes: Episodes) -> tuple[Float[Tensor, "B slots K A"], Float[Tensor, "B slots K H"]]:
        """Action values and hidden states along whole episodes (T+1 slots), in one call."""
        time_first = (part.transpose(0, 1) for part in (episodes.observations.float(), self.last_actions(episodes)))
        x = self.embed(*time_first)  # [T+1, B, K, H]
        rows = x.flatten(1, 2)  # [T+1, B·K, H]
        hidden = self.gru(rows)[0] if rows.is_cuda else GRUSequence.apply(rows, *self.gru_weights())
        hidden = hidden.unflatten(1, x.shape[1:3])
        return self.fc_out(hidden, episodes.context).transpose(0, 1), hidden.transpose(0, 1)

    def step(
        self,
        observations: Float[Tensor, "N K O"],
        last_actions: Float[Tensor, "N K A"],
        hidden: Float[Tensor, "NK H"],
        context: Float[Tensor, "N Z"] | None = None,
    ) -> tuple[Float[Tensor, "N K A"], Float[Tensor, "NK H"]]:
        """Action values and the next hidden state, one step at a time, while playing."""
        x = self.embed(observations, last_actions)
        hidden = torch.gru_cell(x.flatten(0, 1), hidden, *self.gru_weights())
        return self.fc_out(hidden.unflatten(0, observations.shape[:2]), context), hidden

    def begin(self, n_games: int) -> tuple[Float[Tensor, "NK H"], Float[Tensor, "N K A"]]:
        """Hidden state and last actions at the start of N games: zeros."""
        hidden = self.identity.new_zeros(n_games * self.spec.n_agents, self.hidden_size)
        return hidden, self.identity.new_zeros(n_games, self.spec.n_agents, self.spec.n_actions)

    def one_hot(self, actions: Int[Tensor, "N K"]) -> Float[Tensor, "N K A"]:
        """What `step` is told of the actions taken."""
        return self.choices[actions]

    def in_numpy(self) -> NumpyAgent:
        """The agent as it is now, for play in numpy."""
        return NumpyAgent(self)

    def gru_weights(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Input and recurrent weights and biases, stacked reset, update, new."""
        gru = self.gru
        return gru.weight_ih_l0, gru.weight_hh_l0, gru.bias_ih_l0, gru.bias_hh_l0

    def embed(self, observations: Float[Tensor, "... K O"], last_actions: Float[Tensor, "... K A"]) -> Tensor:
        """relu(fc_in([o_k, last action of k, one-hot k]))."""
        identity = self.identity.expand(*observations.shape[:-2], -1, -1)
        return F.relu(self.fc_in(torch.cat([observations, last_actions, identity], dim=-1)))

    def last_actions(self, episodes: Episodes) -> Float[Tensor, "B slots K A"]:
        """One-hot u_{t-1}; all zeros at t = 0 and after padding (where no action is available)."""
        filled = episodes.available[:, :-1].any(-1, keepdim=True)
        return F.pad(self.choices[episodes.actions] * filled, (0, 0, 0, 0, 1, 0))


class SharedHead(nn.Linear):
    """Q_k = W h_k + b, the same for all agents."""

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__(config.hidden_size, spec.n_actions)

    def forward(
        self, hidden: Float[Tensor, "... B K H"], context: Float[Tensor, "B Z"] | None
    ) -> Float[Tensor, "... B K A"]:
        return super().forward(hidden)

    def in_numpy(self) -> Callable[[np.ndarray, np.ndarray | None], np.ndarray]:
        """The head as it is now, for play in numpy."""
        weight, bias = self.weight.detach().numpy().T.copy(), self.bias.detach().numpy().copy()
        return lambda hidden, context: hidden.dot(weight) + bias


class NumpyAgent:
    """A snapshot of a RecurrentAgent that plays in numpy: for a few rows a call costs torch more than the arithmetic.

    One product gives what enters the gates, [r, z, n from x, n from h], from [x, h]. For sigmoid(v), written as
    1/2 + 1/2 tanh(v/2), the weights of r and z are halved beforehand.
    """

    def __init__(self, agent: RecurrentAgent) -> None:
        self.spec, self.hidden_size, size = agent.spec, agent.hidden_size, agent.hidden_size
        self.fc_out = agent.fc_out.in_numpy()
        w_in, b_in = (part.detach().numpy().copy() for part in (agent.fc_in.weight.T, agent.fc_in.bias))
        self.w_in, identity = w_in[: -self.spec.n_agents], w_in[-self.spec.n_agents :]
        self.b_in = b_in + identity  # [K, H]
        w_x, w_h, b_x, b_h = (part.detach().unflatten(0, (3, size)).numpy() for part in agent.gru_weights())
        from_x, from_h = [0, 1, 2], [0, 1, 3]
        self.w = np.zeros((4, 2 * size, size), dtype=np.float32)
        self.w[from_x, :size], self.w[from_h, size:] = w_x.swapaxes(1, 2), w_h.swapaxes(1, 2)
        self.b = np.zeros((4, 1, size), dtype=np.float32)
        self.b[from_x, 0] = b_x
        self.b[from_h, 0] += b_h
        self.w[:2] *= 0.5
        self.b[:2] *= 0.5
        self.choices = np.eye(self.spec.n_actions, dtype=np.float32)

    def step(
        self,
        observations: Float[np.ndarray, "N K O"],
        last_actions: Float[np.ndarray, "N K A"],
        hidden: Float[np.ndarray, "NK H"],
        context: Float[np.ndarray, "N Z"] | None = None,
    ) -> tuple[Float[np.ndarray, "N K A"], Float[np.ndarray, "NK H"]]:
        """Action values and the next hidden state."""
        x = np.maximum(np.concatenate([observations, last_actions], -1) @ self.w_in + self.b_in, 0)
        before = np.concatenate([x.reshape(hidden.shape), hidden], 1) @ self.w + self.b  # [4, NK, H]
        r, z = 0.5 + 0.5 * np.tanh(before[:2])
        n = np.tanh(before[2] + r * before[3])
        hidden = n + z * (hidden - n)
        return self.fc_out(hidden.reshape(*last_actions.shape[:2], -1), context), hidden

    def begin(self, n_games: int) -> tuple[Float[np.ndarray, "NK H"], Float[np.ndarray, "N K A"]]:
        """Hidden state and last actions at the start of N games: zeros."""
        shape = (n_games, self.spec.n_agents, self.spec.n_actions)
        return np.zeros((shape[0] * shape[1], self.hidden_size), np.float32), np.zeros(shape, np.float32)

    def one_hot(self, actions: Int[np.ndarray, "N K"]) -> Float[np.ndarray, "N K A"]:
        """What `step` is told of the actions taken."""
        return self.choices.take(actions, 0)
