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
from ciacore.fast.distinct import Distinct, at_hand, distinct
from ciacore.fast.gru import HALVES, GRUSequence
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

    def unroll(
        self, episodes: Episodes, inputs: Distinct | None = None
    ) -> tuple[Float[Tensor, "B slots K A"], Float[Tensor, "B slots K H"]]:
        """Action values and hidden states along whole episodes, T+1 slots, whose `inputs` may be known already."""
        inputs = inputs or self.inputs(episodes)
        x = F.relu(self.fc_in(inputs.rows.float()))
        hidden = (
            GRUSequence.apply(x, inputs.index, *self.gates())
            if at_hand(x)
            else self.gru(inputs.spread(x))[0]
        )
        hidden = hidden.unflatten(1, (-1, self.spec.n_agents))
        return self.fc_out(hidden, episodes.context).transpose(0, 1), hidden.transpose(
            0, 1
        )

    def gates(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The GRU's weights, as w, b, u and c of `ciacore.fast.gru`."""
        w, u, b, c = (part.unflatten(0, (3, -1)) for part in self.gru_weights())
        return w.roll(1, 0), torch.stack([b[2], b[0] + c[0], b[1] + c[1]]), u, c[2]

    def inputs(self, episodes: Episodes) -> Distinct:
        """[o_k, last action of k, one-hot k] [slots, B·K, I], in the type that stores observations."""
        parts = episodes.observations, self.last_actions(episodes)
        return distinct(
            self.join(*(part.transpose(0, 1).contiguous() for part in parts)).flatten(
                1, 2
            )
        )

    def step(
        self,
        observations: Float[Tensor, "N K O"],
        last_actions: Float[Tensor, "N K A"],
        hidden: Float[Tensor, "NK H"],
        context: Float[Tensor, "N Z"] | None = None,
    ) -> tuple[Float[Tensor, "N K A"], Float[Tensor, "NK H"]]:
        """Action values and the next hidden state, one step at a time, while playing."""
        x = F.relu(self.fc_in(self.join(observations, last_actions)))
        hidden = torch.gru_cell(x.flatten(0, 1), hidden, *self.gru_weights())
        return self.fc_out(hidden.unflatten(0, observations.shape[:2]), context), hidden

    def begin(
        self, n_games: int
    ) -> tuple[Float[Tensor, "NK H"], Float[Tensor, "N K A"]]:
        """Hidden state and last actions at the start of N games: zeros."""
        hidden = self.identity.new_zeros(n_games * self.spec.n_agents, self.hidden_size)
        return hidden, self.identity.new_zeros(
            n_games, self.spec.n_agents, self.spec.n_actions
        )

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

    def join(self, observations: Tensor, last_actions: Tensor) -> Tensor:
        """[o_k, last action of k, one-hot k]."""
        identity = self.identity.to(observations.dtype).expand(
            *observations.shape[:-2], -1, -1
        )
        return torch.cat([observations, last_actions, identity], dim=-1)

    def last_actions(self, episodes: Episodes) -> Tensor:
        """One-hot u_{t-1} [B, slots, K, A]; all zeros at t = 0 and after padding (where no action is available)."""
        filled = episodes.available[:, :-1].any(-1, keepdim=True)
        taken = F.embedding(
            episodes.actions, self.choices.to(episodes.observations.dtype)
        )
        return F.pad(taken * filled, (0, 0, 0, 0, 1, 0))


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
        weight, bias = (
            self.weight.detach().numpy().T.copy(),
            self.bias.detach().numpy().copy(),
        )
        return lambda hidden, context: hidden @ weight + bias


class NumpyAgent:
    """A snapshot of a RecurrentAgent that plays in numpy: for few rows, calls cost torch more than the arithmetic.

    One product gives what enters the gates n, r, z and m, from [x, h].
    """

    def __init__(self, agent: RecurrentAgent) -> None:
        self.spec, self.hidden_size = agent.spec, agent.hidden_size
        self.fc_out = agent.fc_out.in_numpy()
        w_in, b_in = (
            part.detach().numpy().copy()
            for part in (agent.fc_in.weight.T, agent.fc_in.bias)
        )
        self.w_in, identity = w_in[: -self.spec.n_agents], w_in[-self.spec.n_agents :]
        self.b_in = b_in + identity  # [K, H]
        w, b, u, c = (part.detach() for part in agent.gates())
        from_x, from_h = (
            F.pad(part.mT, (0, 0, 0, 0, *gap))
            for part, gap in ((w, (0, 1)), (u, (1, 0)))
        )
        self.w = (torch.cat([from_x, from_h], 1) * HALVES).numpy()
        self.b = (torch.cat([b, c[None]])[:, None] * HALVES).numpy()
        self.choices = np.eye(self.spec.n_actions, dtype=np.float32)

    def step(
        self,
        observations: np.ndarray,
        last_actions: np.ndarray,
        hidden: np.ndarray,
        context: np.ndarray | None = None,
    ) -> tuple[Float[np.ndarray, "N K A"], Float[np.ndarray, "NK H"]]:
        """As `RecurrentAgent.step`: action values and the next hidden state."""
        x = np.maximum(
            np.concatenate([observations, last_actions], -1) @ self.w_in + self.b_in, 0
        )
        # [4, NK, H]
        before = np.concatenate([x.reshape(hidden.shape), hidden], 1) @ self.w + self.b
        r, z = 0.5 + 0.5 * np.tanh(before[1:3])
        n = np.tanh(before[0] + r * before[3])
        hidden = n + z * (hidden - n)
        return self.fc_out(hidden.reshape(*last_actions.shape[:2], -1), context), hidden

    def begin(
        self, n_games: int
    ) -> tuple[Float[np.ndarray, "NK H"], Float[np.ndarray, "N K A"]]:
        """Hidden state and last actions at the start of N games: zeros."""
        shape = (n_games, self.spec.n_agents, self.spec.n_actions)
        return np.zeros((shape[0] * shape[1], self.hidden_size), np.float32), np.zeros(
            shape, np.float32
        )

    def one_hot(self, actions: Int[np.ndarray, "N K"]) -> Float[np.ndarray, "N K A"]:
        """What `step` is told of the actions taken."""
        return self.choices.take(actions, 0)
