"""The recurrent utility network that all agents share.

(Hausknecht & Stone 2015; Rashid et al. 2018.)
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.fast import numpy_twins
from ciacore.fast.gru import gru_along
from ciacore.fast.unique_rows import UniqueRows, unique_rows
from ciacore.types import Episodes, Spec


class RecurrentAgent(nn.Module):
    """Q_k(tau_k, .) = fc_out(GRU(relu(fc_in([o_k, last action of k, one-hot k]))))."""

    def __init__(self, spec: Spec, config: Config, head: Any = None) -> None:
        """Makes the network.

        Args:
            spec: the sizes of the game.
            config: `hidden_size` is read here.
            head: (spec, config) -> the last layer; `SharedHead` unless another is
                given.
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
        self, episodes: Episodes, inputs: UniqueRows | None = None
    ) -> tuple[Float[Tensor, "B slots K A"], Float[Tensor, "B slots K H"]]:
        """Action values and hidden states along whole episodes, T+1 slots.

        Args:
            episodes: B of them.
            inputs: what `inputs(episodes)` gives, where it is known already.
        """
        inputs = inputs or self.inputs(episodes)
        x = F.relu(self.fc_in(inputs.rows.float()))
        hidden = gru_along(self.gru, x, inputs)  # [slots, B·K, H]
        hidden = hidden.unflatten(1, (-1, self.spec.n_agents))
        values = self.fc_out(hidden, episodes.context)
        return values.transpose(0, 1), hidden.transpose(0, 1)

    def inputs(self, episodes: Episodes) -> UniqueRows:
        """[o_k, last action of k, one-hot k] at every slot: rows of [slots, B·K, I].

        They keep the type that stores observations.
        """
        observations = episodes.observations.transpose(0, 1).contiguous()
        last_actions = self.last_actions(episodes).transpose(0, 1).contiguous()
        return unique_rows(self.join(observations, last_actions).flatten(1, 2))

    def step(
        self,
        observations: Float[Tensor, "N K O"],
        last_actions: Float[Tensor, "N K A"],
        hidden: Float[Tensor, "NK H"],
        context: Float[Tensor, "N Z"] | None = None,
    ) -> tuple[Float[Tensor, "N K A"], Float[Tensor, "NK H"]]:
        """Action values and the next hidden state, one step at a time, while playing.

        Args:
            observations: [N, K, O] of N games.
            last_actions: [N, K, A] one-hot; zeros at the start.
            hidden: [N K, H] after the step before.
            context: [N, Z] the latent of the episode, where there is one.
        """
        x = F.relu(self.fc_in(self.join(observations, last_actions)))
        weights = (
            self.gru.weight_ih_l0,
            self.gru.weight_hh_l0,
            self.gru.bias_ih_l0,
            self.gru.bias_hh_l0,
        )
        hidden = torch.gru_cell(x.flatten(0, 1), hidden, *weights)
        return self.fc_out(hidden.unflatten(0, observations.shape[:2]), context), hidden

    def initial(
        self, n_games: int
    ) -> tuple[Float[Tensor, "NK H"], Float[Tensor, "N K A"]]:
        """Hidden state and last actions at the start of N games: zeros."""
        n_agents, n_actions = self.spec.n_agents, self.spec.n_actions
        hidden = self.identity.new_zeros(n_games * n_agents, self.hidden_size)
        return hidden, self.identity.new_zeros(n_games, n_agents, n_actions)

    def one_hot(self, actions: Int[Tensor, "N K"]) -> Float[Tensor, "N K A"]:
        """The actions taken, as `step` reads them at the next step."""
        return self.choices[actions]

    def join(self, observations: Tensor, last_actions: Tensor) -> Tensor:
        """[o_k, last action of k, one-hot k]: what the first layer reads.

        Args:
            observations: [..., K, O], of any type.
            last_actions: [..., K, A], one-hot, of the same type.
        """
        identity = self.identity.to(observations.dtype)
        identity = identity.expand(*observations.shape[:-2], -1, -1)
        return torch.cat([observations, last_actions, identity], dim=-1)

    def last_actions(self, episodes: Episodes) -> Tensor:
        """One-hot u_{t-1} [B, slots, K, A].

        All zeros at t = 0 and after padding, where no action is available.
        """
        filled = episodes.available[:, :-1].any(-1, keepdim=True)
        choices = self.choices.to(episodes.observations.dtype)
        taken = F.embedding(episodes.actions, choices)
        return F.pad(taken * filled, (0, 0, 0, 0, 1, 0))


class SharedHead(nn.Linear):
    """Q_k = W h_k + b, the same for all agents."""

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__(config.hidden_size, spec.n_actions)

    def forward(
        self, hidden: Float[Tensor, "... K H"], context: Float[Tensor, "B Z"] | None
    ) -> Float[Tensor, "... K A"]:
        """Action values of hidden states.

        Args:
            hidden: [..., K, H].
            context: the latents; they are not looked at.
        """
        return super().forward(hidden)


numpy_twins.register(SharedHead, numpy_twins.shared_head)
numpy_twins.register(RecurrentAgent, numpy_twins.NumpyRecurrentAgent, "fc_out")
