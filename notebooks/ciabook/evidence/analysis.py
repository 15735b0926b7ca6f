"""What trained networks do: their credits, how far those of two networks lie apart, and how differently agents act."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ciabook.evidence.restored import restored
from ciacore.config import Config
from ciacore.credits import credits_at, mixing_at
from ciacore.learning.rollout import play
from ciacore.losses import mixer_states, utilities_of
from ciacore.methods import Parts
from ciacore.runtime.store import Run
from ciacore.types import Episodes, Game, Utilities, refuse


class Team(NamedTuple):
    """The trained networks of a run."""

    name: str
    config: Config
    parts: Parts


class Along(NamedTuple):
    """What a team makes of episodes, its own or others'."""

    credits: Float[Tensor, "B T K"]
    utilities: Utilities
    action_values: Float[Tensor, "B T K A"]


def with_networks(runs: Mapping[str, Sequence[Run]]) -> dict[str, list[Run]]:
    """Method by method the runs whose networks were kept: those of the first seeds.

    Raises:
        InvalidInputError: a method has none.
    """
    kept = {
        method: [run for run in group if run.weights] for method, group in runs.items()
    }
    for method, group in kept.items():
        if not group:
            cure = "Take results that keep weights, or train the method again."
            refuse(
                "runs", "a run with weights for every method", f"none of {method}", cure
            )
    return kept


def team(run: Run, game: Game) -> Team:
    """The networks of a stored run of a game."""
    return Team(run.config.method, run.config, restored(run, game.spec))


def greedy_episodes(team: Team, game: Game, n_games: int, seed: int) -> Episodes:
    """Episodes without exploration."""
    policy = team.parts.explorer.evaluating(team.parts.agent)
    rng = torch.Generator().manual_seed(seed)
    return play(game, policy, n_games, rng, team.config.gamma)


def along(team: Team, episodes: Episodes, derivative: str = "exact") -> Along:
    """Utilities and credits of a team along recorded episodes: it sees what was seen, and is told what was done.

    Args:
        derivative: "exact", or "published" for QMIX's closed form with its slip.
    """
    latents = team.config.latent_size
    # another team's episodes: none of the latents is drawn
    if latents and episodes.context.shape[-1] != latents:
        episodes = episodes._replace(
            context=episodes.rewards.new_full(
                (len(episodes.rewards), latents), 1 / latents
            )
        )
    elif not latents:
        episodes = episodes._replace(context=episodes.context[:, :0])
    with torch.no_grad():
        values = team.parts.agent.unroll(episodes)[0][:, :-1]
        utilities = utilities_of(values, episodes.actions, episodes.available[:, :-1])
        mixing = mixing_at(team.parts.mixer, mixer_states(episodes)[:, :-1])
        if derivative == "published":
            found = mixing.credits(utilities, derivative="published")
        else:
            found = credits_at(mixing, utilities)
    return Along(found.detach(), utilities, values)


def concatenated(batches: Sequence[Episodes]) -> Episodes:
    """Episodes of several teams as one batch; latents are dropped."""
    held = [batch._replace(context=batch.context[:, :0]) for batch in batches]
    return Episodes(*(torch.cat(fields) for fields in zip(*held, strict=True)))


# --------------------------------------------------------------------------------
# distances of credits


def credit_distribution(
    credits: Float[Tensor, "... K"], normalised: bool = False
) -> Float[Tensor, "... K"]:
    """d_t = softmax over agents of the credits of a step (Liu et al. 2023, Eq. 9).

    Args:
        normalised: divide by the mean credit of each step beforehand, so that inflated
            credits do not look more peaked.
    """
    if normalised:
        credits = credits / credits.abs().mean(-1, keepdim=True).clamp(min=1e-12)
    return credits.softmax(-1)


def kl_matrix(
    distributions: Sequence[Float[Tensor, "B T K"]], weights: Float[Tensor, "B T"]
) -> Float[np.ndarray, "teams teams"]:
    """Lambda(i, j): the mean over real steps of KL(d^i_t || d^j_t), in nats (Liu et al. 2023, Eq. 10)."""
    table = np.zeros((len(distributions),) * 2)
    for i, p in enumerate(distributions):
        for j, q in enumerate(distributions):
            divergence = (
                p * (p.clamp(min=1e-30).log() - q.clamp(min=1e-30).log())
            ).sum(-1)
            table[i, j] = float((divergence * weights).sum() / weights.sum())
    return table


# -------------------------------------------------------------------------------- can
# credits be told apart


def retrieval_accuracy(credits: Float[Tensor, "B T K"]) -> float:
    """How often an episode's temporal credits are handed back to their owner; chance is 1 / K.

    The mean temporal credits of each agent over half of the episodes stand for it; in
    the other half every agent's credits go to the agent whose mean is nearest. Both
    halves serve as both.
    """
    x = credits.transpose(1, 2)  # [B, K, T]
    halves, right = (x[::2], x[1::2]), []
    for known, asked in (halves, halves[::-1]):
        # [B, K asked, K known]
        distance = torch.cdist(asked, known.mean(0).expand(len(asked), -1, -1))
        right.append((distance.argmin(-1) == torch.arange(x.shape[1])).double().mean())
    return float(torch.stack(right).mean())


def identified(credits: Float[Tensor, "B T K"], ridge: float = 0.01) -> float:
    """How often an identity finds its agent's credits among those of one episode, as CIA asks; chance is 1 / K.

    Unlike `retrieval_accuracy` it compares the agents of an episode with each other, so
    that what they share does not count, and it looks for the best identities: over half
    of the episodes w_k is fitted by least squares, so that w_k . (x_k - x_j) is 1 for
    every other agent j. In the other half w_k . x_j must be largest for j = k. No
    network is
    changed: this is how well the CIA loss could be solved with the credits as they are.

    Args:
        ridge: what keeps w_k small, in units of the mean square of a difference at a
            step.
    """
    x, right = credits.transpose(1, 2).double(), []  # [B, K, T]
    halves, agents = (x[::2], x[1::2]), range(x.shape[1])
    for known, asked in (halves, halves[::-1]):
        for k in agents:
            d = (known[:, [k]] - known[:, [j for j in agents if j != k]]).flatten(0, 1)
            square = d.mT @ d / len(d)
            penalty = (ridge * square.diagonal().mean()).clamp(min=1e-12)
            w = torch.linalg.solve(square + penalty * torch.eye(len(square)), d.mean(0))
            scores = asked @ w  # [B, K]
            best = scores == scores.amax(1, keepdim=True)
            right.append((best[:, k] / best.sum(1)).mean())  # equal scores: a guess
    return float(torch.stack(right).mean())


def relative_difference(credits: Float[Tensor, "B T K"]) -> float:
    """How far apart the agents' credits are at a step, largest minus smallest over their mean; averaged over steps."""
    span = credits.amax(-1) - credits.amin(-1)
    return float((span / credits.mean(-1).clamp(min=1e-12)).mean())


# -------------------------------------------------------------------------------- do
# agents act differently


def common_histories(episodes: Episodes, agent: int) -> Episodes:
    """The same episodes, with every agent in the place of one: all are shown its observations and told its actions."""
    index = torch.full((episodes.actions.shape[-1],), agent)
    return episodes._replace(
        observations=episodes.observations[:, :, index],
        actions=episodes.actions[..., index],
        available=episodes.available[:, :, index],
    )


class Difference(NamedTuple):
    """How differently the agents of a team act on common histories."""

    # mean over pairs, of the softmax of standardised values, divided by log 2: between
    # 0 and 1
    jensen_shannon: float
    # share of steps and pairs with different greedy actions: of the policies as they
    # are played
    disagreement: float


def behavioural_difference(team: Team, episodes: Episodes) -> Difference:
    """Averages over the histories of all agents, over real steps, and over pairs of agents.

    Utilities have no unit of their own (a mixer may scale them at will), so before the
    softmax each agent's values at a step get mean 0 and standard deviation 1 over the
    available actions.
    """
    n_agents, distances, apart = episodes.actions.shape[-1], [], []
    weights = episodes.weights
    for owner in range(n_agents):
        shown = common_histories(episodes, owner)
        values, available = along(team, shown).action_values, shown.available[:, :-1]
        p = standardised(values, available).masked_fill(~available, -1e9).softmax(-1)
        values = values.masked_fill(~available, -1e9)
        for i in range(n_agents):
            for j in range(i + 1, n_agents):
                middle = (p[:, :, i] + p[:, :, j]) / 2
                divergence = (
                    entropy(middle) - (entropy(p[:, :, i]) + entropy(p[:, :, j])) / 2
                ) / math.log(2)
                distances.append(float((divergence * weights).sum() / weights.sum()))
                other = (
                    values[:, :, i].argmax(-1) != values[:, :, j].argmax(-1)
                ).float()
                apart.append(float((other * weights).sum() / weights.sum()))
    return Difference(float(np.mean(distances)), float(np.mean(apart)))


def measured(
    runs: Sequence[Run], game: Game, episodes: int, shared: int = 4
) -> list[dict[str, Any]]:
    """Both ends of the paper's chain (Liu et al. 2023, Fig. 1b) and the return, a row per network.

    Every network is asked about the same pool: the first `shared` of the greedy
    `episodes` of each.
    """
    teams = [team(run, game) for run in runs]
    own = [
        greedy_episodes(one, game, episodes, seed=run.seed)
        for one, run in zip(teams, runs, strict=True)
    ]
    pool = concatenated(
        [
            batch._replace(
                **{name: field[:shared] for name, field in batch._asdict().items()}
            )
            for batch in own
        ]
    )
    rows = []
    for run, one, batch in zip(runs, teams, own, strict=True):
        credits, difference = (
            along(one, pool).credits,
            behavioural_difference(one, pool),
        )
        rows.append(
            {
                "method": run.config.method,
                "seed": run.seed,
                "told apart": retrieval_accuracy(credits),
                "identified": identified(credits),
                "relative difference": relative_difference(credits),
                "disagreement": difference.disagreement,
                "divergence": difference.jensen_shannon,
                "return": float(batch.rewards.sum(1).mean()),
            }
        )
    return rows


def standardised(
    values: Float[Tensor, "... A"], available: Bool[Tensor, "... A"]
) -> Float[Tensor, "... A"]:
    """Mean 0 and standard deviation 1 over the available actions; 0 where all are alike."""
    count = available.sum(-1, keepdim=True).clamp(min=1)
    centred = (values - (values * available).sum(-1, keepdim=True) / count) * available
    deviation = (centred.square().sum(-1, keepdim=True) / count).sqrt()
    return centred / deviation.clamp(min=1e-12)


def entropy(p: Float[Tensor, "... A"]) -> Float[Tensor, "..."]:
    """-sum p log p."""
    return -(p * p.clamp(min=1e-30).log()).sum(-1)


def visits(
    cells: Int[Tensor, "B T K 2"], size: int
) -> Float[np.ndarray, "K size size"]:
    """Share of steps that each agent spends on each cell of a board."""
    flat = cells[..., 0] * size + cells[..., 1]
    counts = [
        np.bincount(flat[..., k].flatten().numpy(), minlength=size**2)
        for k in range(flat.shape[-1])
    ]
    return np.stack([count.reshape(size, size) / count.sum() for count in counts])
