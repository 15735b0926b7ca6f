"""The recurrent utility network that all agents share.

(Hausknecht & Stone 2015; Rashid et al. 2018.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.fast import jax_networks, numpy_twins, whole_episodes
from ciacore.fast.gru import gru_along, gru_step
from ciacore.fast.ragged_gru import go_on
from ciacore.fast.steps import AllSteps, RealSteps, Steps
from ciacore.fast.unique_rows import UniqueRows, unique_rows
from ciacore.types import Episodes, Spec


class Inputs(NamedTuple):
    """What the agents read along episodes."""

    # each different row of [T+1, B·K, I]; or of [R·K, I], of the real slots alone
    once: UniqueRows
    steps: Steps


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
        self, episodes: Episodes, inputs: Inputs | None = None
    ) -> tuple[Float[Tensor, "*slots K A"], Float[Tensor, "*slots K H"]]:
        """Action values and hidden states along whole episodes.

        Args:
            episodes: B of them.
            inputs: what `inputs(episodes)` gives, where it is known already.

        Returns:
            Both of every slot, [B, T+1, K, ...]; of the real slots alone where the
            inputs are.
        """
        inputs = inputs or self.inputs(episodes)
        steps = inputs.steps
        x = F.relu(self.fc_in(inputs.once.rows.float()))
        hidden = gru_along(self.gru, x, inputs.once, steps)
        hidden = hidden.unflatten(-2, (-1, self.spec.n_agents))
        if episodes.context.shape[-1] > 0 and isinstance(steps, RealSteps):
            # a head that follows latents reads whole episodes
            whole = steps.slots_by_episode(hidden).transpose(0, 1)
            values = self.fc_out(whole, episodes.context).transpose(0, 1)
            return steps.of_slots(values), hidden
        values = self.fc_out(hidden, episodes.context)
        return steps.episodes_first(values), steps.episodes_first(hidden)

    def inputs(self, episodes: Episodes, steps: Steps | None = None) -> Inputs:
        """[o_k, last action of k, one-hot k] at every slot.

        They keep the type that stores observations.

        Args:
            episodes: B of them.
            steps: `RealSteps` leaves padding out; every slot is read by default.
        """
        steps = steps or AllSteps()
        observations = steps.time_first(episodes.observations)
        last_actions = self.last_actions(episodes, steps)
        rows = self.join(observations, last_actions).flatten(-3, -2)
        return Inputs(unique_rows(rows), steps)

    @torch.no_grad()
    def without_input(
        self,
        hidden: Float[Tensor, "E K H"],
        actions: Int[Tensor, "E K"],
        counts: list[int],
    ) -> tuple[Float[Tensor, "U K A"], Int[Tensor, "P"]]:
        """Action values of agents that go on though nothing is there to be seen.

        That is what the published code computes of padding.

        Args:
            hidden: [E, K, H] of E episodes at their ends.
            actions: [E, K] recorded there, which the first further slot reads.
            counts: how many episodes go on to each further slot, the first of those
                given; none more than to the slot before.

        Returns:
            All different ones, and which of them each further slot has, slot after
            slot.
        """
        n_agents, n_actions = self.spec.n_agents, self.spec.n_actions
        seen = self.identity.new_zeros(n_agents, self.spec.observation_size)
        no_action = seen.new_zeros(n_agents, n_actions)
        later = F.relu(self.fc_in(self.join(seen, no_action)))
        seen = seen.expand(len(hidden), -1, -1)
        first = F.relu(self.fc_in(self.join(seen, self.one_hot(actions))))
        gone_on = go_on(self.gru, first, later, hidden, counts)
        return self.fc_out(gone_on.hidden, None), gone_on.index

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
        hidden = gru_step(self.gru, x.flatten(0, 1), hidden)
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

    def last_actions(self, episodes: Episodes, steps: Steps) -> Tensor:
        """One-hot u_{t-1} at every slot, in the order of a recurrence: [..., K, A].

        All zeros at t = 0 and after padding, where no action is available.

        Args:
            episodes: B of them.
            steps: which are computed.
        """
        no_action = self.spec.n_actions  # a row of zeros stands below all others
        choices = F.pad(self.choices.to(episodes.observations.dtype), (0, 0, 0, 1))
        filled = episodes.available[:, :-1].any(-1)
        taken = episodes.actions.where(filled, no_action)
        taken = F.pad(taken, (0, 0, 1, 0), value=no_action)
        return F.embedding(steps.time_first(taken), choices)


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
whole_episodes.register(SharedHead, jax_networks.linear)
whole_episodes.register(RecurrentAgent, jax_networks.recurrent_agent)
