"""SCDS: an intrinsic reward for behaviour that tells agents apart, with shared networks (Li et al. 2021, CDS)."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.learning.auxiliary import Auxiliary, descend
from ciacore.networks import mlp
from ciacore.types import Episodes, Forward, Spec

LEARNING_RATE, MINIBATCH, CLIP = 1e-3, 256, 1.0  # of the predictors, as published
# env steps before the reward fades, and over which the rate is counted
ANNEALED = 1_000_000


class SCDS(Auxiliary):
    """r_k = beta1 log q(o'; xi_k, k) - log p(o'; xi_k) + beta2 KL(softmax(beta1 Q_k), mean_j softmax(Q_j)).

    (Li et al. 2021, Sec. 3, without agent-specific heads: the S of SCDS.) xi_k are the
    recurrent state before the step, the observation and the action (`x` in the code);
    both predictors are unit-variance Gaussians. The team's reward grows by beta ·
    mean_k r_k. The predictors learn from every batch, in one pass of shuffled
    minibatches.
    """

    learning_rates = {"without_id": LEARNING_RATE, "with_id": LEARNING_RATE}  # noqa: RUF012  (never changed)

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("identity", torch.eye(spec.n_agents), persistent=False)
        self.register_buffer("choices", torch.eye(spec.n_actions), persistent=False)
        inputs, size = (
            config.hidden_size + spec.observation_size + spec.n_actions,
            config.scds_size,
        )
        self.without_id = mlp(inputs, size, size, spec.observation_size)
        self.with_id = IdentityPredictor(
            inputs, size, spec.observation_size, spec.n_agents
        )
        for layer in (part for part in self.modules() if isinstance(part, nn.Linear)):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.targets = copy.deepcopy(
            nn.ModuleDict({"without_id": self.without_id, "with_id": self.with_id})
        )
        self.targets.requires_grad_(False)

    @torch.no_grad()
    def reward(
        self,
        episodes: Episodes,
        action_values: Float[Tensor, "B slots K A"],
        hidden: Float[Tensor, "B slots K H"],
        env_steps: Float[Tensor, ""],
    ) -> Float[Tensor, "B T"]:
        """beta · mean_k r_k."""
        share = self.config.scds_beta * self.share(env_steps)
        return share * self.rewards(episodes, action_values, hidden).mean(-1)

    def rewards(
        self,
        episodes: Episodes,
        action_values: Float[Tensor, "B slots K A"],
        hidden: Float[Tensor, "B slots K H"],
    ) -> Float[Tensor, "B T K"]:
        """r_k."""
        x, identities, after = self.samples(episodes, hidden)
        with_id = -((self.targets["with_id"](x, identities) - after) ** 2).sum(-1)
        without_id = -((self.targets["without_id"](x) - after) ** 2).sum(-1)
        divergence = policy_divergence(action_values[:, :-1], self.config.scds_beta1)
        return (
            self.config.scds_beta1 * with_id
            - without_id
            + self.config.scds_beta2 * divergence
        )

    def share(self, env_steps: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """How much of the reward is left: all of it, or after a million env steps less and less."""
        passed = (env_steps / ANNEALED - 1).clamp(min=0)
        return (1 - self.config.scds_anneal * passed).clamp(min=0)

    def learn(
        self, record: Forward, rng: torch.Generator | None
    ) -> dict[str, Float[Tensor, ""]]:
        """One pass over all samples of the batch; returns the mean losses of both predictors."""
        with torch.no_grad():
            samples = [
                part.flatten(0, 2)
                for part in self.samples(record.episodes, record.hidden)
            ]
            weights = (
                record.weights.unsqueeze(-1)
                .expand(-1, -1, len(self.identity))
                .flatten()
            )
            order = torch.rand(
                len(weights), generator=rng, device=weights.device
            ).argsort()
            parts = [
                torch.split(part[order], MINIBATCH) for part in (*samples, weights)
            ]
        sums = {"without_id": weights.new_zeros(()), "with_id": weights.new_zeros(())}
        for x, identities, after, weight in zip(*parts, strict=True):
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
        return {name: value / len(parts[0]) for name, value in sums.items()}

    def samples(
        self, episodes: Episodes, hidden: Float[Tensor, "B slots K H"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the predictors are told (x and the one-hot identity), and what they must foretell; [B, T, K, ...]."""
        # h_{t-1}, zeros at t = 0
        before = F.pad(hidden[:, :-2], (0, 0, 0, 0, 1, 0)).detach()
        observations = episodes.observations.float()
        x = torch.cat(
            [before, observations[:, :-1], self.choices[episodes.actions]], dim=-1
        )
        return x, self.identity.expand(*x.shape[:2], -1, -1), observations[:, 1:]

    def copy_target(self) -> None:
        """The rewards' predictors follow."""
        for name, target in self.targets.items():
            target.load_state_dict(getattr(self, name).state_dict())


class IdentityPredictor(nn.Module):
    """A predictor that is told the agent's identity twice: with its input and with the first hidden layer."""

    def __init__(self, inputs: int, size: int, outputs: int, n_agents: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs + n_agents, size)
        self.second = nn.Linear(size + n_agents, size)
        self.third = nn.Linear(size, outputs)

    def forward(
        self, x: Float[Tensor, "... X"], identities: Float[Tensor, "... K"]
    ) -> Float[Tensor, "... O"]:
        x = F.relu(self.first(torch.cat([x, identities], dim=-1)))
        x = F.relu(self.second(torch.cat([x, identities], dim=-1)))
        return self.third(x)


def policy_divergence(
    action_values: Float[Tensor, "B T K A"], beta1: float
) -> Float[Tensor, "B T K"]:
    """KL(softmax(beta1 Q_k), mean_j softmax(Q_j)); as published the mean knows no beta1, and nothing is masked."""
    log_p = (beta1 * action_values).log_softmax(-1)
    mean = action_values.softmax(-1).mean(-2, keepdim=True)
    return (log_p.exp() * (log_p - mean.log())).sum(-1)
