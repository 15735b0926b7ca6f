"""The recurrent utility network that all agents share (Hausknecht & Stone 2015; Rashid et al. 2018)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.types import Episodes, Spec


class RecurrentAgent(nn.Module):
    """Q_k(tau_k, .) = fc_out(GRU(relu(fc_in([o_k, last action of k, one-hot k]))))."""

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        self.spec = spec
        self.hidden_size = config.hidden_size
        inputs = spec.observation_size + spec.n_actions + spec.n_agents
        self.fc_in = nn.Linear(inputs, config.hidden_size)
        self.gru = nn.GRU(config.hidden_size, config.hidden_size)
        self.fc_out = nn.Linear(config.hidden_size, spec.n_actions)
        self.register_buffer("identity", torch.eye(spec.n_agents), persistent=False)

    def unroll(self, episodes: Episodes) -> tuple[Float[Tensor, "B slots K A"], Float[Tensor, "B slots K H"]]:
        """Action values and hidden states along whole episodes (T+1 slots), in one fused call."""
        x = self.embed(episodes.observations.float(), self.last_actions(episodes))  # [B, T+1, K, H]
        batch, _, n_agents, _ = x.shape
        sequences = x.transpose(0, 1).flatten(1, 2)  # [T+1, B·K, H]
        hidden, _ = self.gru(sequences)
        hidden = hidden.unflatten(1, (batch, n_agents)).transpose(0, 1)  # [B, T+1, K, H]
        return self.fc_out(hidden), hidden

    def step(
        self, observations: Float[Tensor, "N K O"], last_actions: Float[Tensor, "N K A"], hidden: Float[Tensor, "NK H"]
    ) -> tuple[Float[Tensor, "N K A"], Float[Tensor, "NK H"]]:
        """Action values and the next hidden state, one step at a time, while playing."""
        x = self.embed(observations, last_actions)
        gru = self.gru
        weights = (gru.weight_ih_l0, gru.weight_hh_l0, gru.bias_ih_l0, gru.bias_hh_l0)
        hidden = torch.gru_cell(x.flatten(0, 1), hidden, *weights)
        return self.fc_out(hidden).unflatten(0, observations.shape[:2]), hidden

    def initial(self, n_games: int, device: torch.device) -> Float[Tensor, "NK H"]:
        """The hidden state at the start of N games: zeros."""
        return torch.zeros(n_games * self.spec.n_agents, self.hidden_size, device=device)

    def embed(self, observations: Float[Tensor, "... K O"], last_actions: Float[Tensor, "... K A"]) -> Tensor:
        """relu(fc_in([o_k, last action of k, one-hot k]))."""
        identity = self.identity.expand(*observations.shape[:-2], -1, -1)
        return F.relu(self.fc_in(torch.cat([observations, last_actions, identity], dim=-1)))

    def last_actions(self, episodes: Episodes) -> Float[Tensor, "B slots K A"]:
        """One-hot u_{t-1}; all zeros at t = 0 and after padding (where no action is available)."""
        one_hot = F.one_hot(episodes.actions, self.spec.n_actions)
        filled = episodes.available[:, :-1].any(-1, keepdim=True)
        return F.pad(one_hot * filled, (0, 0, 0, 0, 1, 0)).float()
