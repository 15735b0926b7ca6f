"""SCDS: an intrinsic reward for behaviour that tells agents apart.

(Li et al. 2021, CDS, with networks that all agents share.)
"""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.learning.auxiliary import Auxiliary, descend
from ciacore.networks import mlp
from ciacore.types import Episodes, Forward, Spec

# Of the predictors, as published.
LEARNING_RATE, MINIBATCH, CLIP = 1e-3, 256, 1.0
# Env steps before the reward fades, and over which its rate is counted.
ANNEALED = 1_000_000


class Samples(NamedTuple):
    """What both predictors read, and what they predict."""

    x: Float[Tensor, "... X"]  # recurrent state before the step, observation, action
    identities: Float[Tensor, "... K"]  # one-hot
    after: Float[Tensor, "... O"]  # the next observation


class SCDS(Auxiliary):
    """The intrinsic reward of every agent; the team's reward grows by their mean.

    r_k = beta1 log q(o'; xi_k, k) - log p(o'; xi_k)
          + beta2 KL(softmax(beta1 Q_k), mean_j softmax(Q_j))

    (Li et al. 2021, Sec. 3, without agent-specific heads: the S of SCDS.) xi_k are the
    recurrent state before the step, the observation and the action (`x` in the code);
    both predictors are unit-variance Gaussians. The reward is weighted by beta. The
    predictors learn from every batch, in one pass of shuffled minibatches.
    """

    learning_rates = {  # noqa: RUF012  (never changed)
        "without_id": LEARNING_RATE,
        "with_id": LEARNING_RATE,
    }

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("identity", torch.eye(spec.n_agents), persistent=False)
        self.register_buffer("choices", torch.eye(spec.n_actions), persistent=False)
        inputs = config.hidden_size + spec.observation_size + spec.n_actions
        size, outputs = config.scds_size, spec.observation_size
        self.without_id = mlp(inputs, size, size, outputs)
        self.with_id = IdentityPredictor(inputs, size, outputs, spec.n_agents)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        predictors = {"without_id": self.without_id, "with_id": self.with_id}
        self.targets = copy.deepcopy(nn.ModuleDict(predictors))
        self.targets.requires_grad_(False)

    @torch.no_grad()
    def reward(
        self,
        episodes: Episodes,
        action_values: Float[Tensor, "B slots K A"],
        hidden: Float[Tensor, "B slots K H"],
        env_steps: Float[Tensor, ""],
    ) -> Float[Tensor, "B T"]:
        """beta · mean_k r_k.

        Args:
            episodes: the batch.
            action_values: of the online agents.
            hidden: their recurrent states.
            env_steps: of training so far.
        """
        weight = self.config.scds_beta * self.share_left(env_steps)
        return weight * self.rewards(episodes, action_values, hidden).mean(-1)

    def rewards(
        self,
        episodes: Episodes,
        action_values: Float[Tensor, "B slots K A"],
        hidden: Float[Tensor, "B slots K H"],
    ) -> Float[Tensor, "B T K"]:
        """r_k, the intrinsic reward of each agent at each step.

        Args:
            episodes: the batch.
            action_values: of the online agents.
            hidden: their recurrent states.
        """
        beta1, beta2 = self.config.scds_beta1, self.config.scds_beta2
        x, identities, after = self.samples(episodes, hidden)
        with_id = -((self.targets["with_id"](x, identities) - after) ** 2).sum(-1)
        without_id = -((self.targets["without_id"](x) - after) ** 2).sum(-1)
        divergence = policy_divergence(action_values[:, :-1], beta1)
        return beta1 * with_id - without_id + beta2 * divergence

    def share_left(self, env_steps: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """How much of the reward is left: all, or after a million env steps less."""
        passed = (env_steps / ANNEALED - 1).clamp(min=0)
        return (1 - self.config.scds_anneal * passed).clamp(min=0)

    def learn(
        self, record: Forward, rng: torch.Generator | None
    ) -> dict[str, Float[Tensor, ""]]:
        """One pass over all samples of the batch, in shuffled minibatches.

        Args:
            record: its episodes and hidden states are learned from.
            rng: draws the order of the samples.

        Returns:
            The mean losses of both predictors.
        """
        with torch.no_grad():
            hidden = record.steps.slots_by_episode(record.hidden)
            samples = self.samples(record.episodes, hidden)
            samples = Samples(*(part.flatten(0, 2) for part in samples))
            weights = record.steps.by_episode(record.weights).unsqueeze(-1)
            weights = weights.expand(-1, -1, len(self.identity)).flatten()
            keys = torch.rand(len(weights), generator=rng, device=weights.device)
            order = keys.argsort()
        sums = {name: weights.new_zeros(()) for name in self.learning_rates}
        minibatches = order.split(MINIBATCH)
        for rows in minibatches:
            x, identities, after = (part[rows] for part in samples)
            weight = weights[rows]
            predictions = {
                "without_id": self.without_id(x),
                "with_id": self.with_id(x, identities),
            }
            for name, prediction in predictions.items():
                errors = ((prediction - after) ** 2).sum(-1) * weight
                # a minibatch may be all padding
                loss = errors.sum() / weight.sum().clamp(min=1)
                descend(self.optimizers[name], loss, CLIP)
                sums[name] += loss.detach()
        return {name: value / len(minibatches) for name, value in sums.items()}

    def samples(
        self, episodes: Episodes, hidden: Float[Tensor, "B slots K H"]
    ) -> Samples:
        """Inputs and targets of both predictors, [B, T, K, ...].

        Args:
            episodes: the batch.
            hidden: the agents' recurrent states, after each slot.
        """
        # h_{t-1}, zeros at t = 0
        before = F.pad(hidden[:, :-2], (0, 0, 0, 0, 1, 0)).detach()
        observations = episodes.observations.float()
        actions = self.choices[episodes.actions]
        x = torch.cat([before, observations[:, :-1], actions], dim=-1)
        identities = self.identity.expand(*x.shape[:2], -1, -1)
        return Samples(x, identities, observations[:, 1:])

    def copy_target(self) -> None:
        """Copies the predictors to those that the rewards are computed with."""
        for name, target in self.targets.items():
            target.load_state_dict(getattr(self, name).state_dict())


class IdentityPredictor(nn.Module):
    """A predictor that reads the identity twice: with its input and one layer later."""

    def __init__(self, inputs: int, size: int, outputs: int, n_agents: int) -> None:
        """Makes the layers.

        Args:
            inputs: numbers in x.
            size: width of both hidden layers.
            outputs: numbers in an observation.
            n_agents: K.
        """
        super().__init__()
        self.first = nn.Linear(inputs + n_agents, size)
        self.second = nn.Linear(size + n_agents, size)
        self.third = nn.Linear(size, outputs)

    def forward(
        self, x: Float[Tensor, "... X"], identities: Float[Tensor, "... K"]
    ) -> Float[Tensor, "... O"]:
        """The predicted next observation.

        Args:
            x: [..., X].
            identities: [..., K] one-hot.
        """
        x = F.relu(self.first(torch.cat([x, identities], dim=-1)))
        x = F.relu(self.second(torch.cat([x, identities], dim=-1)))
        return self.third(x)


def policy_divergence(
    action_values: Float[Tensor, "B T K A"], beta1: float
) -> Float[Tensor, "B T K"]:
    """KL(softmax(beta1 Q_k), mean_j softmax(Q_j)).

    As published the mean knows no beta1, and nothing is masked.

    Args:
        action_values: [B, T, K, A].
        beta1: inverse temperature of the agent's own policy.
    """
    log_p = (beta1 * action_values).log_softmax(-1)
    mean = action_values.softmax(-1).mean(-2, keepdim=True)
    # Where values lie far apart the mean rounds to 0; its logarithm is still a number.
    log_sum = action_values.log_softmax(-1).logsumexp(-2, keepdim=True)
    log_mean = log_sum - math.log(action_values.shape[-2])
    log_mean = torch.where(mean > 0, mean.log(), log_mean)
    return (log_p.exp() * (log_p - log_mean)).sum(-1)
