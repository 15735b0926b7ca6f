"""MAVEN: a latent drawn once per episode, which all agents follow.

Their behaviour must tell which one it was (Mahajan et al. 2019).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.fast import jax_networks, numpy_twins, whole_episodes
from ciacore.fast.arrays import library, uniform
from ciacore.fast.numpy_twins import playing_like
from ciacore.learning.auxiliary import Auxiliary, descend
from ciacore.learning.exploration import EpsilonGreedy, Memory
from ciacore.losses import weighted_mean
from ciacore.networks import mlp
from ciacore.types import (
    Array,
    Episodes,
    Forward,
    Generator,
    Player,
    Policy,
    Spec,
    refuse,
)

# Hidden width and learning rate of the latent policy, as published.
POLICY_SIZE, POLICY_RATE = 128, 5e-4
KEPT = 512  # episodes it remembers
STEPS, DRAWN = 8, 64  # gradient steps after every batch played; episodes per step


class LatentHead(nn.Module):
    """Q_k = W_k h_k, where the latent and the agent's identity write W_k.

    (Mahajan et al. 2019, Fig. 2.)
    """

    def __init__(self, spec: Spec, config: Config) -> None:
        """Makes the layer.

        Args:
            spec: the sizes of the game.
            config: `latent_size` and `hidden_size` are read here.

        Raises:
            InvalidInputError: there is no latent.
        """
        super().__init__()
        if config.latent_size == 0:
            expected = "at least 1, for agents that follow a latent"
            refuse("latent_size", expected, 0, 'Start from METHODS["maven"].')
        self.shape = (spec.n_actions, config.hidden_size)
        inputs = config.latent_size + spec.n_agents
        self.noise_head = nn.Linear(inputs, spec.n_actions * config.hidden_size)
        self.register_buffer("identity", torch.eye(spec.n_agents), persistent=False)

    def forward(
        self, hidden: Float[Tensor, "... K H"], context: Float[Tensor, "B Z"]
    ) -> Float[Tensor, "... K A"]:
        """Action values of hidden states and latents.

        Args:
            hidden: [..., B, K, H].
            context: [B, Z] one-hot latents.
        """
        identity = self.identity.expand(len(context), -1, -1)
        latent = context.unsqueeze(1).expand(-1, identity.shape[1], -1)
        w = self.noise_head(torch.cat([latent, identity], dim=-1))
        w = w.unflatten(-1, self.shape)  # [B, K, A, H]
        return torch.einsum("bkah,...bkh->...bka", w, hidden)


numpy_twins.register(LatentHead, numpy_twins.latent_head)
whole_episodes.register(LatentHead, jax_networks.latent_head)


class LatentInformation(nn.Module):
    """The cross-entropy of a discriminator that must name the latent at every step.

    (Mahajan et al. 2019, Eq. 5: a bound on the mutual information of latent and
    behaviour.) It reads the state and the softmax of the agents' values; its gradient
    reaches the agents, and not the mixer.
    """

    needs_closed_form = False

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        self.coefficient = config.maven_coefficient
        inputs = spec.n_agents * spec.n_actions + spec.state_size
        hidden = [config.maven_size] * config.maven_layers
        self.discriminator = mlp(inputs, *hidden, config.latent_size)

    def forward(self, record: Forward) -> Float[Tensor, ""]:
        """The cross-entropy over the record's real steps."""
        steps, episodes = record.steps, record.episodes
        before, context = steps.before, steps.of_episodes(episodes.context)
        behaviour = behaviours(before(record.action_values), before(record.available))
        states = before(steps.of_slots(episodes.states)).float()
        features = torch.cat([behaviour.flatten(-2), states], dim=-1)
        log_p = self.discriminator(features).log_softmax(-1)
        cross_entropy = -(log_p * context).sum(-1)
        return weighted_mean(cross_entropy, record.weights)


def behaviours(
    action_values: Float[Tensor, "... K A"], available: Bool[Tensor, "... K A"]
) -> Float[Tensor, "... K A"]:
    """softmax of the values over the available actions; uniform in padding.

    Args:
        action_values: [..., K, A].
        available: [..., K, A] the actions that may be taken.
    """
    return action_values.masked_fill(~available, -9_999_999.0).softmax(-1)


class LatentPolicy(Auxiliary):
    """pi(z | s_0), learned from the returns of whole episodes by policy gradient.

    (Mahajan et al. 2019, Sec. 4.) The published entropy bonus lacks the factor log pi,
    so that its coefficient c is a mere constant baseline of the return;
    `maven_entropy="exact"` has a true one, too small to matter beside raw returns. A
    `maven_entropy_weight` above 0 is one that matters (`soft_policy_loss`).
    """

    learning_rates = {"policy": POLICY_RATE}  # noqa: RUF012  (never changed)

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        S, Z = spec.state_size, config.latent_size
        self.entropy = config.maven_entropy
        self.coefficient = config.maven_entropy_coefficient
        self.weight = config.maven_entropy_weight
        self.policy = mlp(S, POLICY_SIZE, Z)
        self.register_buffer("states", torch.zeros(KEPT, S))
        self.register_buffer("latents", torch.zeros(KEPT, Z))
        self.register_buffer("returns", torch.zeros(KEPT))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        if self.weight > 0:  # log mu(z | s_0), of the policy that drew the latent
            self.register_buffer("log_chances", torch.zeros(KEPT))

    def on_episodes(self, episodes: Episodes, rng: torch.Generator | None) -> None:
        """Remembers the episodes, forgets the oldest, and takes a few gradient steps.

        Args:
            episodes: as they were played.
            rng: draws the remembered episodes of each step.
        """
        device = self.seen.device
        new = torch.arange(len(episodes.rewards), device=device)
        slots = (self.seen + new) % KEPT
        self.states[slots] = episodes.states[:, 0].float()
        self.latents[slots] = episodes.context
        self.returns[slots] = episodes.rewards.sum(1)
        if self.weight > 0:
            with torch.no_grad():
                log_p = self.policy(self.states[slots]).log_softmax(-1)
            self.log_chances[slots] = (log_p * episodes.context).sum(-1)
        self.seen += len(slots)
        for _ in range(STEPS):
            share = torch.rand(DRAWN, generator=rng, device=device)
            drawn = share * self.seen.clamp(max=KEPT)
            self.descend_once(drawn.long().clamp(max=KEPT - 1))

    def descend_once(self, drawn: Int[Tensor, "M"]) -> None:
        """One gradient step on the remembered episodes `drawn`."""
        log_p = self.policy(self.states[drawn]).log_softmax(-1)
        log_chosen = (log_p * self.latents[drawn]).sum(-1)
        returns = self.returns[drawn]
        if self.weight > 0:
            log_ratio = log_chosen - self.log_chances[drawn]
            loss = soft_policy_loss(log_p, log_ratio, returns, self.weight)
        else:
            bonus = log_chosen
            if self.entropy == "exact":
                bonus = (log_p.exp() * log_p).sum(-1)
            loss = (self.coefficient * bonus - log_chosen * returns).sum()
        descend(self.optimizers["policy"], loss)

    @torch.no_grad()
    def learn(
        self, record: Forward, rng: torch.Generator | None
    ) -> dict[str, Float[Tensor, ""]]:
        """Learns nothing; says how broad the policy is, in nats.

        Args:
            record: whose episodes' first states are looked at.
            rng: not used.

        Returns:
            The mean entropy of the latent policy at the start, log Z where all latents
            are equally likely and 0 where one is certain.
        """
        log_p = self.policy(record.episodes.states[:, 0].float()).log_softmax(-1)
        return {"entropy": -(log_p.exp() * log_p).sum(-1).mean()}


def soft_policy_loss(
    log_p: Float[Tensor, "M Z"],
    log_ratio: Float[Tensor, "M"],
    returns: Float[Tensor, "M"],
    weight: float,
) -> Float[Tensor, ""]:
    """-(E[(pi / mu) A] + weight * entropy): a latent policy that stays broad.

    It differs from the published loss in three things. Returns are standardised (A), so
    that the weight has a scale; episodes that an older policy drew count by how likely
    the present one is to draw their latents; and the entropy is one. Where returns do
    not depend on the latent its optimum is the even policy, and the likeliest latents
    are exp(A / weight) times as likely as others.

    Args:
        log_p: [M, Z] log pi(z | s_0) of every latent.
        log_ratio: [M] log pi - log mu of the latent that was drawn.
        returns: [M] of the episodes.
        weight: of the entropy, in standard deviations of the returns.
    """
    spread = returns.std(correction=0) + 1e-6
    advantage = (returns - returns.mean()) / spread
    entropy = -(log_p.exp() * log_p).sum(-1)
    return -(log_ratio.exp() * advantage + weight * entropy).mean()


class FollowingALatent(NamedTuple):
    """Epsilon-greedy agents that follow a latent drawn from the first state."""

    base: EpsilonGreedy
    logits: Callable[[Array], Array]  # of the latents [N, Z], at states [N, S]

    def start(
        self,
        observations: Float[Array, "N K O"],
        states: Float[Array, "N S"],
        rng: Generator,
    ) -> Memory:
        """The memory at the start of N games.

        Args:
            observations: [N, K, O] the first.
            states: [N, S] the first.
            rng: draws the latents, by Gumbel's trick.
        """
        logits = self.logits(states)
        log = library(logits).log
        drawn = uniform(rng, tuple(logits.shape))
        gumbel = -log(-log(drawn + 1e-20) + 1e-20)
        memory = self.base.start(observations, states, rng)
        return memory._replace(context=one_hot(logits + gumbel))

    def act(
        self,
        observations: Float[Array, "N K O"],
        available: Bool[Array, "N K A"],
        memory: Memory,
        rng: Generator,
    ) -> tuple[Int[Array, "N K"], Memory]:
        """As without a latent; the agents read it from their memory.

        Args:
            observations: [N, K, O].
            available: [N, K, A] the actions that may be taken.
            memory: after the step before.
            rng: draws who explores, and what.
        """
        return self.base.act(observations, available, memory, rng)


whole_episodes.register(FollowingALatent, jax_networks.following_a_latent)


class LatentExploration:
    """MAVEN's explorer, while learning and in evaluations.

    Without a latent policy all latents are equally likely.
    """

    def __init__(
        self, spec: Spec, config: Config, auxiliaries: dict[str, Auxiliary]
    ) -> None:
        """Finds the latent policy.

        Args:
            spec: the sizes of the game.
            config: `latent_size` is read here.
            auxiliaries: of the method; one may be the latent policy.

        Raises:
            InvalidInputError: there is no latent.
        """
        if config.latent_size == 0:
            expected = "at least 1, for an explorer that draws a latent"
            refuse("latent_size", expected, 0, 'Start from METHODS["maven"].')
        self.context_size = config.latent_size
        self.latent_policy = auxiliaries.get("latent_policy")

    def learning(self, agent: Player, epsilon: float | Tensor) -> Policy:
        """The policy that collects episodes.

        Args:
            agent: in torch, or its numpy twin.
            epsilon: the chance of a random action.
        """
        base = EpsilonGreedy(agent, epsilon)
        if self.latent_policy is None:
            return FollowingALatent(base, self.equal_logits)
        return FollowingALatent(base, playing_like(agent, self.latent_policy.policy))

    def evaluating(self, agent: Player) -> Policy:
        """The greedy policy; its latents are drawn as while learning."""
        return self.learning(agent, 0.0)

    def equal_logits(self, states: Float[Array, "N S"]) -> Float[Array, "N Z"]:
        """Zeros: all latents are equally likely."""
        shape = (len(states), self.context_size)
        return library(states).broadcast_to(0 * states[:, :1], shape)


def one_hot(keys: Float[Array, "N Z"]) -> Float[Array, "N Z"]:
    """1 where a row has its largest key, 0 elsewhere."""
    if isinstance(keys, Tensor):
        return F.one_hot(keys.argmax(-1), keys.shape[-1]).float()
    return np.eye(keys.shape[-1], dtype=np.float32)[keys.argmax(-1)]
