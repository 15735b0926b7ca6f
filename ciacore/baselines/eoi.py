"""EOI: exploring where an agent would be recognised (Jiang & Lu 2021, the variant published for PyMARL)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ciacore.config import Config
from ciacore.fast.arrays import library, uniform
from ciacore.learning.auxiliary import Auxiliary, descend
from ciacore.learning.exploration import EpsilonGreedy, Memory
from ciacore.networks import mlp, player
from ciacore.types import Array, Episodes, Forward, Generator, Spec, refuse

# hidden width, rows per gradient step, of both networks; as published
SIZE, ROWS, LEARNING_RATE = 64, 256, 1e-4
# the classifier's regulariser; reward, discount, target network
ENTROPY, SCALE, GAMMA, KEPT = 0.1, 10.0, 0.92, 0.995
SMALL = 1e-8  # as published, in the logarithms


class EOI(Auxiliary):
    """A classifier p(k | o), and an intrinsic value function V_k(o, u) of the reward 10 p(k | o_k).

    Neither touches agents or mixer; the values serve exploration alone
    (`IntrinsicExploration`).
    """

    learning_rates = {"classifier": LEARNING_RATE, "values": LEARNING_RATE}  # noqa: RUF012  (never changed)

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        K, size = spec.n_agents, spec.observation_size
        self.ends_early = spec.ends_early
        self.renewed = {"published": KEPT, "fixed": 1 - KEPT}[config.eoi_target]
        self.classifier = mlp(size, SIZE, SIZE, K)
        self.values = mlp(size + K, SIZE, SIZE, spec.n_actions)
        # starts elsewhere, as published
        self.target = mlp(size + K, SIZE, SIZE, spec.n_actions).requires_grad_(False)
        self.register_buffer("identity", torch.eye(K), persistent=False)

    def learn(
        self, record: Forward, rng: torch.Generator | None
    ) -> dict[str, Float[Tensor, ""]]:
        """Gradient steps on consecutive blocks of rows; what is left over at the end is not used."""
        blocks = [part.split(ROWS) for part in self.rows(record.episodes)]
        losses = [
            self.step(*block)
            for block in zip(*blocks, strict=True)
            if len(block[0]) == ROWS
        ]
        if not losses:
            return {}
        return {
            name: torch.stack([loss[name] for loss in losses]).mean()
            for name in losses[0]
        }

    def rows(self, episodes: Episodes) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Observation, next observation, agent, action and end of every transition, but (as published) the last one."""
        observations, (n_games, steps) = (
            episodes.observations.float(),
            episodes.rewards.shape,
        )
        n_agents, steps = len(self.identity), steps - 1
        agents = torch.arange(n_agents, device=observations.device).expand(
            n_games, steps, -1
        )
        ended = (episodes.discounts[:, :steps] == 0).unsqueeze(-1).expand_as(agents)
        parts = (
            observations[:, :steps],
            observations[:, 1 : steps + 1],
            agents,
            episodes.actions[:, :steps],
            ended,
        )
        parts = tuple(part.flatten(0, 2) for part in parts)
        if self.ends_early:
            real = (
                (episodes.weights[:, :steps] > 0)
                .unsqueeze(-1)
                .expand_as(agents)
                .flatten()
            )
            parts = tuple(part[real] for part in parts)
        return parts

    def step(
        self,
        observations: Float[Tensor, "R O"],
        after: Float[Tensor, "R O"],
        agents: Int[Tensor, "R"],
        actions: Int[Tensor, "R"],
        ended: Bool[Tensor, "R"],
    ) -> dict[str, Float[Tensor, ""]]:
        """One step of the classifier, then one of the values, then the target's."""
        classifier_loss = identity_loss(self.classifier(after).softmax(-1), agents)
        descend(self.optimizers["classifier"], classifier_loss)
        with torch.no_grad():
            reward = (
                self.classifier(observations)
                .softmax(-1)
                .gather(-1, agents.unsqueeze(-1))
                .squeeze(-1)
            )
            best = self.target(self.told(after, agents)).amax(-1)
            targets = SCALE * reward + GAMMA * ~ended * best
        values = self.values(self.told(observations, agents))
        chosen = values.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
        # as published: a mean over all actions
        value_loss = ((chosen - targets) ** 2).mean() / values.shape[-1]
        descend(self.optimizers["values"], value_loss)
        with torch.no_grad():
            for copied, value in zip(
                self.target.parameters(), self.values.parameters(), strict=True
            ):
                copied.mul_(KEPT).add_(value, alpha=self.renewed)
        return {
            "classifier_loss": classifier_loss.detach(),
            "value_loss": value_loss.detach(),
        }

    def told(
        self, observations: Float[Tensor, "R O"], agents: Int[Tensor, "R"]
    ) -> Float[Tensor, "R OK"]:
        """[o, one-hot k]."""
        return torch.cat([observations, self.identity[agents]], dim=-1)

    def explorer(self, numpy: bool) -> Callable[[Array], Array]:
        """Intrinsic values [N, K, A] of observations [N, K, O], while playing."""
        values, identity = (
            player(self.values, numpy),
            self.identity.numpy() if numpy else self.identity,
        )

        def intrinsic(observations: Array) -> Array:
            told = library(observations).broadcast_to(
                identity, (len(observations), *identity.shape)
            )
            return values(library(observations).concatenate([observations, told], -1))

        return intrinsic


def identity_loss(
    p: Float[Tensor, "R K"], agents: Int[Tensor, "R"]
) -> Float[Tensor, ""]:
    """Cross-entropy with the agent that saw it, plus 0.1 of the entropy; both means run over classes too."""
    log_p = (p + SMALL).log()
    one_hot = F.one_hot(agents, p.shape[-1])
    return -(one_hot * log_p).mean() - ENTROPY * (p * log_p).mean()


class Exploring(NamedTuple):
    """What `IntrinsicExploration` carries from step to step."""

    memory: Memory
    games: Bool[Array, "N"]  # the episodes that explore

    @property
    def context(self) -> Array:
        """The latent of the episode."""
        return self.memory.context


class IntrinsicExploration(NamedTuple):
    """Epsilon-greedy; in some episodes, at some steps, one agent does what it would be recognised by."""

    plain: EpsilonGreedy
    values: Callable[[Array], Array]
    episode_ratio: float  # share of exploring episodes
    explore_ratio: float  # share of their steps

    def begin(
        self,
        observations: Float[Array, "N K O"],
        states: Float[Array, "N S"],
        rng: Generator,
    ) -> Exploring:
        """The memory at the start of N games."""
        memory = self.plain.begin(observations, states, rng)
        return Exploring(
            memory, uniform(rng, (len(observations),)) < self.episode_ratio
        )

    def act(
        self,
        observations: Float[Array, "N K O"],
        available: Bool[Array, "N K A"],
        memory: Exploring,
        rng: Generator,
    ) -> tuple[Int[Array, "N K"], Exploring]:
        """One action per agent, and the memory for the next step."""
        actions, after = self.plain.act(observations, available, memory.memory, rng)
        where, (n_games, n_agents) = library(actions).where, actions.shape
        now = memory.games & (uniform(rng, (n_games,)) < self.explore_ratio)
        keys = uniform(rng, (n_games, n_agents))
        # one agent, all equally likely
        replaced = now[:, None] & (keys == library(keys).amax(keys, -1)[:, None])
        intrinsic = where(available, self.values(observations), -float("inf")).argmax(
            -1
        )
        actions = where(replaced, intrinsic, actions)
        after = after._replace(last_actions=self.plain.agent.one_hot(actions))
        return actions, Exploring(after, memory.games)


def intrinsic_exploration(
    plain: EpsilonGreedy, auxiliaries: Any, config: Config, numpy: bool, learning: bool
) -> Any:
    """EOI's explorer while learning, the plain one in evaluations."""
    if "eoi" not in auxiliaries:
        refuse(
            "explorer",
            'auxiliaries with "eoi"',
            list(auxiliaries),
            'Start from METHODS["eoi"].',
        )
    if not learning:
        return plain
    return IntrinsicExploration(
        plain, auxiliaries["eoi"].explorer(numpy), config.eoi_episodes, config.eoi_steps
    )
