"""EOI: exploring where an agent would be recognised.

(Jiang & Lu 2021, the variant published for PyMARL.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ciacore.config import Config
from ciacore.fast import jax_networks, whole_episodes
from ciacore.fast.arrays import library, lowest, uniform
from ciacore.fast.eoi_steps import Numbers, losses_of_steps
from ciacore.fast.numpy_twins import playing_like
from ciacore.fast.perceptrons import may_be_written_out
from ciacore.learning.auxiliary import Auxiliary, descend
from ciacore.learning.exploration import EpsilonGreedy, Memory
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

# Hidden width, rows per gradient step and learning rate of both networks, as published.
SIZE, ROWS, LEARNING_RATE = 64, 256, 1e-4
ENTROPY = 0.1  # weight of the classifier's regulariser
SCALE, GAMMA = 10.0, 0.92  # of the intrinsic reward, and its discount
KEPT = 0.995  # share of the target network that stays at a step
SMALL = 1e-8  # as published, in the logarithms


class EOI(Auxiliary):
    """A classifier p(k | o), and values V_k(o, u) of the intrinsic reward 10 p(k | o).

    Neither touches agents or mixer; the values serve exploration alone
    (`IntrinsicPolicy`).
    """

    learning_rates = {  # noqa: RUF012  (never changed)
        "classifier": LEARNING_RATE,
        "values": LEARNING_RATE,
    }

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        K, size = spec.n_agents, spec.observation_size
        self.ends_early = spec.ends_early
        self.renewed = {"published": KEPT, "fixed": 1 - KEPT}[config.eoi_target]
        self.numbers = Numbers(
            rows=ROWS,
            entropy=ENTROPY,
            small=SMALL,
            scale=SCALE,
            gamma=GAMMA,
            kept=KEPT,
            renewed=self.renewed,
        )
        self.classifier = mlp(size, SIZE, SIZE, K)
        self.values = mlp(size + K, SIZE, SIZE, spec.n_actions)
        # The target starts elsewhere, as published.
        self.target = mlp(size + K, SIZE, SIZE, spec.n_actions).requires_grad_(False)
        self.register_buffer("identity", torch.eye(K), persistent=False)

    def learn(
        self, record: Forward, rng: torch.Generator | None
    ) -> dict[str, Float[Tensor, ""]]:
        """Gradient steps on consecutive blocks of rows; a smaller last one is left out.

        Args:
            record: its episodes are learned from.
            rng: nothing is drawn.

        Returns:
            The mean losses of both networks; none where there was no whole block.
        """
        rows = self.rows(record.episodes)
        if may_be_written_out(self):
            losses = losses_of_steps(self, rows, self.numbers)
        else:
            whole = len(rows.agents) // ROWS
            blocks = zip(*(part.split(ROWS)[:whole] for part in rows), strict=True)
            losses = [self.descend_once(Rows(*block)) for block in blocks]
        if not losses:
            return {}
        return {
            name: torch.stack([loss[name] for loss in losses]).mean()
            for name in losses[0]
        }

    def rows(self, episodes: Episodes) -> Rows:
        """Every transition of every agent but, as published, the last of an episode."""
        n_games, n_steps = episodes.rewards.shape
        n_agents, device = len(self.identity), episodes.rewards.device
        # where they stand in the axes of episodes and time, taken as one
        games = torch.arange(n_games, device=device).unsqueeze(-1)
        step = n_steps * games + torch.arange(n_steps - 1, device=device)
        if self.ends_early:
            step = step[episodes.weights[:, :-1] > 0]
        step = step.flatten()
        slot = step + step // n_steps  # an episode has one slot more than it has steps
        observations = episodes.observations.float().flatten(0, 1)
        actions = episodes.actions.flatten(0, 1)
        ended = episodes.discounts.flatten().index_select(0, step) == 0
        return Rows(
            observations=observations.index_select(0, slot).flatten(0, 1),
            after=observations.index_select(0, slot + 1).flatten(0, 1),
            agents=torch.arange(n_agents, device=device).repeat(len(step)),
            actions=actions.index_select(0, step).flatten(),
            ended=ended.repeat_interleave(n_agents),
        )

    def descend_once(self, rows: Rows) -> dict[str, Float[Tensor, ""]]:
        """One step of the classifier, then one of the values, then the target's.

        Returns:
            Both losses, by name.
        """
        p = self.classifier(rows.after).softmax(-1)
        classifier_loss = identity_loss(p, rows.agents)
        descend(self.optimizers["classifier"], classifier_loss)

        own = rows.agents.unsqueeze(-1)
        with torch.no_grad():
            p = self.classifier(rows.observations).softmax(-1)
            reward = p.gather(-1, own).squeeze(-1)
            best = self.target(self.with_identity(rows.after, rows.agents)).amax(-1)
            targets = SCALE * reward + GAMMA * ~rows.ended * best
        values = self.values(self.with_identity(rows.observations, rows.agents))
        chosen = values.gather(-1, rows.actions.unsqueeze(-1)).squeeze(-1)
        # as published: a mean over all actions, of which one has an error
        value_loss = ((chosen - targets) ** 2).mean() / values.shape[-1]
        descend(self.optimizers["values"], value_loss)

        with torch.no_grad():
            target, values = self.target.parameters(), self.values.parameters()
            for copied, value in zip(target, values, strict=True):
                copied.mul_(KEPT).add_(value, alpha=self.renewed)
        return {
            "classifier_loss": classifier_loss.detach(),
            "value_loss": value_loss.detach(),
        }

    def with_identity(
        self, observations: Float[Tensor, "R O"], agents: Int[Tensor, "R"]
    ) -> Float[Tensor, "R OK"]:
        """[o, one-hot k], what the values read.

        Args:
            observations: [R, O].
            agents: [R] whose they are.
        """
        return torch.cat([observations, self.identity[agents]], dim=-1)


class Rows(NamedTuple):
    """Transitions of single agents."""

    observations: Float[Tensor, "... O"]
    after: Float[Tensor, "... O"]  # the next observation
    agents: Int[Tensor, "..."]  # whose it is
    actions: Int[Tensor, "..."]
    ended: Bool[Tensor, "..."]


def identity_loss(
    p: Float[Tensor, "R K"], agents: Int[Tensor, "R"]
) -> Float[Tensor, ""]:
    """Cross-entropy with the agent that saw it, plus 0.1 of the entropy.

    Both means run over classes too, as published.

    Args:
        p: [R, K] the classifier's probabilities.
        agents: [R] who saw it.
    """
    log_p = (p + SMALL).log()
    one_hot = F.one_hot(agents, p.shape[-1])
    return -(one_hot * log_p).mean() - ENTROPY * (p * log_p).mean()


class IntrinsicMemory(NamedTuple):
    """What `IntrinsicPolicy` carries from step to step."""

    memory: Memory  # of the policy beneath
    games: Bool[Array, "N"]  # the episodes that explore

    @property
    def context(self) -> Array:
        """The latent of the episode."""
        return self.memory.context


class IntrinsicPolicy(NamedTuple):
    """Epsilon-greedy; at some steps one agent does what it would be recognised by."""

    base: EpsilonGreedy
    values: Callable[[Array], Array]  # intrinsic values [N, K, A] of observations
    episode_ratio: float  # share of exploring episodes
    explore_ratio: float  # share of their steps

    def start(
        self,
        observations: Float[Array, "N K O"],
        states: Float[Array, "N S"],
        rng: Generator,
    ) -> IntrinsicMemory:
        """The memory at the start of N games.

        Args:
            observations: [N, K, O] the first.
            states: [N, S] the first.
            rng: draws the episodes that explore.
        """
        memory = self.base.start(observations, states, rng)
        explores = uniform(rng, (len(observations),)) < self.episode_ratio
        return IntrinsicMemory(memory, explores)

    def act(
        self,
        observations: Float[Array, "N K O"],
        available: Bool[Array, "N K A"],
        memory: IntrinsicMemory,
        rng: Generator,
    ) -> tuple[Int[Array, "N K"], IntrinsicMemory]:
        """One action per agent, and the memory for the next step.

        Args:
            observations: [N, K, O].
            available: [N, K, A] the actions that may be taken.
            memory: after the step before.
            rng: draws the steps that explore, and the agent that does.
        """
        actions, after = self.base.act(observations, available, memory.memory, rng)
        where = library(actions).where
        n_games, n_agents = actions.shape
        now = memory.games & (uniform(rng, (n_games,)) < self.explore_ratio)
        keys = uniform(rng, (n_games, n_agents))
        has_largest_key = keys == library(keys).amax(keys, -1)[:, None]
        replaced = now[:, None] & has_largest_key  # one agent, all equally likely
        values = where(available, self.values(observations), lowest(rng))
        actions = where(replaced, values.argmax(-1), actions)
        after = after._replace(last_actions=self.base.agent.one_hot(actions))
        return actions, IntrinsicMemory(after, memory.games)


whole_episodes.register(IntrinsicPolicy, jax_networks.intrinsic_policy)


class IntrinsicExploration:
    """EOI's explorer while learning; evaluations are plainly greedy."""

    context_size = 0

    def __init__(
        self, spec: Spec, config: Config, auxiliaries: dict[str, Auxiliary]
    ) -> None:
        """Finds the intrinsic values.

        Args:
            spec: the sizes of the game.
            config: the shares of exploring episodes and steps.
            auxiliaries: of the method; one must be EOI's.

        Raises:
            InvalidInputError: EOI's networks are missing.
        """
        if "eoi" not in auxiliaries:
            cure = 'Start from METHODS["eoi"].'
            expected = 'auxiliaries with "eoi"'
            refuse("explorer", expected, list(auxiliaries), cure)
        self.networks, self.config = auxiliaries["eoi"], config

    def learning(self, agent: Player, epsilon: float | Tensor) -> Policy:
        """The policy that collects episodes.

        Args:
            agent: in torch, or its numpy twin.
            epsilon: the chance of a random action.
        """
        values = intrinsic_values(self.networks, agent)
        base = EpsilonGreedy(agent, epsilon)
        episodes, steps = self.config.eoi_episodes, self.config.eoi_steps
        return IntrinsicPolicy(base, values, episodes, steps)

    def evaluating(self, agent: Player) -> Policy:
        """The greedy policy."""
        return EpsilonGreedy(agent, 0.0)


class IntrinsicValues(NamedTuple):
    """The intrinsic values of observations, while playing."""

    network: Callable[[Array], Array]  # EOI's `values`, or its numpy twin
    identity: Float[Array, "K K"]

    def __call__(self, observations: Float[Array, "N K O"]) -> Float[Array, "N K A"]:
        """V_k(o, .) of every agent."""
        numpy_or_torch = library(observations)
        shape = (len(observations), *self.identity.shape)
        identities = numpy_or_torch.broadcast_to(self.identity, shape)
        inputs = numpy_or_torch.concatenate([observations, identities], -1)
        return self.network(inputs)


def intrinsic_values(networks: EOI, agent: Player) -> IntrinsicValues:
    """The intrinsic values, while playing.

    Args:
        networks: EOI's.
        agent: whose arrays, torch's or numpy's, the observations are.
    """
    network = playing_like(agent, networks.values)
    identity = networks.identity
    if network is not networks.values:
        identity = identity.numpy()
    return IntrinsicValues(network, identity)
