"""MAVEN: a latent drawn once per episode that all agents follow, and that their behaviour must tell (Mahajan 2019)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.fast.arrays import library, uniform
from ciacore.learning.auxiliary import Auxiliary, descend
from ciacore.learning.exploration import EpsilonGreedy, Memory
from ciacore.losses import weighted_mean
from ciacore.networks import mlp, player
from ciacore.types import Array, Episodes, Forward, Generator, Spec, refuse

# hidden width and learning rate of the latent policy, as published
POLICY_SIZE, POLICY_RATE = 128, 5e-4
# episodes it remembers, gradient steps per episode, episodes per step
KEPT, STEPS, DRAWN = 512, 8, 64


class LatentHead(nn.Module):
    """Q_k = W_k h_k, where the latent and the agent's identity write W_k (Mahajan et al. 2019, Fig. 2)."""

    def __init__(self, spec: Spec, config: Config) -> None:
        """
        Raises:
            InvalidInputError: there is no latent.
        """
        super().__init__()
        if config.latent_size == 0:
            refuse(
                "latent_size",
                "at least 1, for agents that follow a latent",
                0,
                'Start from METHODS["maven"].',
            )
        self.shape = (spec.n_actions, config.hidden_size)
        self.noise_head = nn.Linear(
            config.latent_size + spec.n_agents, spec.n_actions * config.hidden_size
        )
        self.register_buffer("identity", torch.eye(spec.n_agents), persistent=False)

    def forward(
        self, hidden: Float[Tensor, "... B K H"], context: Float[Tensor, "B Z"]
    ) -> Float[Tensor, "... B K A"]:
        identity = self.identity.expand(len(context), -1, -1)
        latent = context.unsqueeze(1).expand(-1, identity.shape[1], -1)
        # [B, K, A, H]
        w = self.noise_head(torch.cat([latent, identity], dim=-1)).unflatten(
            -1, self.shape
        )
        return torch.einsum("bkah,...bkh->...bka", w, hidden)

    def in_numpy(self) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """The head as it is now, for play in numpy."""
        weight, bias = (
            self.noise_head.weight.detach().numpy().T,
            self.noise_head.bias.detach().numpy(),
        )
        n_latents = len(weight) - len(self.identity)
        # [Z, AH], [K, AH]
        of_latent, of_agent = weight[:n_latents].copy(), weight[n_latents:] + bias

        def values(hidden: np.ndarray, context: np.ndarray) -> np.ndarray:
            w = ((context @ of_latent)[:, None] + of_agent).reshape(
                len(context), -1, *self.shape
            )
            return (w @ hidden[..., None])[..., 0]

        return values


class LatentInformation(nn.Module):
    """The cross-entropy of a discriminator that must name the latent from what the agents would do, at every step.

    (Mahajan et al. 2019, Eq. 5: a bound on the mutual information of latent and
    behaviour.) It is told the state and the softmax of the agents' values; its gradient
    reaches the agents, and not the mixer.
    """

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        self.coefficient = config.maven_coefficient
        inputs, layers = (
            spec.n_agents * spec.n_actions + spec.state_size,
            config.maven_layers,
        )
        self.discriminator = mlp(
            inputs, *[config.maven_size] * layers, config.latent_size
        )

    def forward(self, record: Forward) -> Float[Tensor, ""]:
        episodes, context = record.episodes, record.episodes.context
        behaviour = behaviours(record.action_values[:, :-1], episodes.available[:, :-1])
        told = torch.cat(
            [behaviour.flatten(-2), episodes.states[:, :-1].float()], dim=-1
        )
        log_p = self.discriminator(told).log_softmax(-1)
        return weighted_mean(-(log_p * context.unsqueeze(1)).sum(-1), record.weights)


def behaviours(
    action_values: Float[Tensor, "... K A"], available: Bool[Tensor, "... K A"]
) -> Float[Tensor, "... K A"]:
    """softmax of the values over the available actions; uniform in padding."""
    return action_values.masked_fill(~available, -9_999_999.0).softmax(-1)


class LatentPolicy(Auxiliary):
    """pi(z | s_0), learned from the returns of whole episodes by policy gradient (Mahajan et al. 2019, Sec. 4).

    The published entropy bonus lacks the factor log pi, so that its coefficient c is a
    mere constant baseline of the return; `maven_entropy="exact"` has a true one.
    """

    learning_rates = {"policy": POLICY_RATE}  # noqa: RUF012  (never changed)

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        S, Z = spec.state_size, config.latent_size
        self.entropy, self.coefficient = (
            config.maven_entropy,
            config.maven_entropy_coefficient,
        )
        self.policy = mlp(S, POLICY_SIZE, Z)
        self.register_buffer("states", torch.zeros(KEPT, S))
        self.register_buffer("latents", torch.zeros(KEPT, Z))
        self.register_buffer("returns", torch.zeros(KEPT))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def played(self, episodes: Episodes, rng: torch.Generator | None) -> None:
        """Remembers the episodes, forgets the oldest, and takes a few gradient steps."""
        slots = (
            self.seen + torch.arange(len(episodes.rewards), device=self.seen.device)
        ) % KEPT
        self.states[slots] = episodes.states[:, 0].float()
        self.latents[slots] = episodes.context
        self.returns[slots] = episodes.rewards.sum(1)
        self.seen += len(slots)
        for _ in range(STEPS):
            drawn = torch.rand(
                DRAWN, generator=rng, device=self.seen.device
            ) * self.seen.clamp(max=KEPT)
            self.step(drawn.long().clamp(max=KEPT - 1))

    def step(self, drawn: Int[Tensor, "M"]) -> None:
        """One gradient step on the remembered episodes `drawn`."""
        log_p = self.policy(self.states[drawn]).log_softmax(-1)
        log_chosen = (log_p * self.latents[drawn]).sum(-1)
        bonus = (
            log_chosen if self.entropy == "published" else (log_p.exp() * log_p).sum(-1)
        )
        descend(
            self.optimizers["policy"],
            (self.coefficient * bonus - log_chosen * self.returns[drawn]).sum(),
        )

    def explorer(self, numpy: bool) -> Callable[[Array], Array]:
        """Logits [N, Z] of states [N, S], while playing."""
        return player(self.policy, numpy)


class LatentExploration(NamedTuple):
    """Epsilon-greedy agents that follow a latent, drawn for the episode from its first state."""

    plain: EpsilonGreedy
    logits: Callable[[Array], Array]

    def begin(
        self,
        observations: Float[Array, "N K O"],
        states: Float[Array, "N S"],
        rng: Generator,
    ) -> Memory:
        """The memory at the start of N games."""
        logits = self.logits(states)
        gumbel = -library(logits).log(
            -library(logits).log(uniform(rng, tuple(logits.shape)) + 1e-20) + 1e-20
        )
        context = one_hot(logits + gumbel)
        return self.plain.begin(observations, states, rng)._replace(context=context)

    def act(
        self,
        observations: Float[Array, "N K O"],
        available: Bool[Array, "N K A"],
        memory: Memory,
        rng: Generator,
    ) -> tuple[Int[Array, "N K"], Memory]:
        """As without a latent; the agents read it from their memory."""
        return self.plain.act(observations, available, memory, rng)


def one_hot(keys: Float[Array, "N Z"]) -> Float[Array, "N Z"]:
    """1 where a row has its largest key, 0 elsewhere."""
    if isinstance(keys, Tensor):
        return F.one_hot(keys.argmax(-1), keys.shape[-1]).float()
    return np.eye(keys.shape[-1], dtype=np.float32)[keys.argmax(-1)]


def latent_exploration(
    plain: EpsilonGreedy, auxiliaries: Any, config: Config, numpy: bool, learning: bool
) -> Any:
    """MAVEN's explorer, while learning and in evaluations; without a latent policy all latents are equally likely."""
    if config.latent_size == 0:
        refuse(
            "latent_size",
            "at least 1, for an explorer that draws a latent",
            0,
            'Start from METHODS["maven"].',
        )
    if "latent_policy" in auxiliaries:
        return LatentExploration(plain, auxiliaries["latent_policy"].explorer(numpy))
    size = config.latent_size
    return LatentExploration(
        plain,
        lambda states: library(states).broadcast_to(
            0 * states[:, :1], (len(states), size)
        ),
    )
