"""What trained networks do: their credits, how these differ, and how agents act."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ciacore.learning.rollout import play
from ciacore.losses import weighted_mean
from ciacore.runtime.evaluation import (
    Team,
    evaluate_on,
    team,
)
from ciacore.runtime.store import Run
from ciacore.types import Episodes, Game, refuse

# --------------------------------------------------------------------------------
# networks of stored runs


def with_networks(runs: Mapping[str, Sequence[Run]]) -> dict[str, list[Run]]:
    """Method by method the runs whose networks were kept: those of the first seeds.

    Raises:
        InvalidInputError: a method has none.
    """
    kept = {}
    for method, group in runs.items():
        kept[method] = [run for run in group if run.weights]
        if not kept[method]:
            refuse(
                "runs",
                "a run with weights for every method",
                f"none of {method}",
                "Take results that keep weights, or train the method again.",
            )
    return kept


def greedy_episodes(team: Team, game: Game, n_games: int, seed: int) -> Episodes:
    """Episodes of a team without exploration.

    Args:
        team: whose agents act.
        game: what they play.
        n_games: B, the number of episodes.
        seed: of the game's random numbers.

    Returns:
        B whole episodes.
    """
    greedy = team.parts.explorer.evaluating(team.parts.agent)
    rng = torch.Generator().manual_seed(seed)
    return play(game, greedy, n_games, rng, team.config.gamma)


def concatenated(batches: Sequence[Episodes]) -> Episodes:
    """Episodes of several teams as one batch; latents are dropped."""
    without = [batch._replace(context=batch.context[:, :0]) for batch in batches]
    fields = {}
    for name in Episodes._fields:
        fields[name] = torch.cat([getattr(batch, name) for batch in without])
    return Episodes(**fields)


# --------------------------------------------------------------------------------
# distances of credits


def credit_distribution(
    credits: Float[Tensor, "... K"], normalised: bool = False
) -> Float[Tensor, "... K"]:
    """d_t = softmax over agents of the credits of a step (Liu et al. 2023, Eq. 9).

    Args:
        credits: [..., K] of any number of steps.
        normalised: divide by the mean credit of each step beforehand, so that inflated
            credits do not look more peaked.

    Returns:
        Shares [..., K] that add up to 1 over the agents.
    """
    if normalised:
        credits = credits / credits.abs().mean(-1, keepdim=True).clamp(min=1e-12)
    return credits.softmax(-1)


def kl_matrix(
    distributions: Sequence[Float[Tensor, "B T K"]], weights: Float[Tensor, "B T"]
) -> Float[np.ndarray, "teams teams"]:
    """How far the credits of teams lie apart on the same steps, in nats.

    Lambda(i, j) is the mean over real steps of KL(d^i_t || d^j_t) (Liu et al. 2023,
    Eq. 10).

    Args:
        distributions: of each team, [B, T, K], as `credit_distribution` gives them.
        weights: [B, T], 1 for a real step and 0 for padding.

    Returns:
        Lambda [teams, teams], with zeros on the diagonal.
    """
    table = np.zeros((len(distributions), len(distributions)))
    for i, p in enumerate(distributions):
        for j, q in enumerate(distributions):
            log_ratio = p.clamp(min=1e-30).log() - q.clamp(min=1e-30).log()
            divergence = (p * log_ratio).sum(-1)
            table[i, j] = float(weighted_mean(divergence, weights))
    return table


# --------------------------------------------------------------------------------
# can credits be told apart


def retrieval_accuracy(credits: Float[Tensor, "B T K"]) -> float:
    """How often temporal credits are handed back to their owner; chance is 1 / K.

    Over half of the episodes, the mean temporal credits of each agent stand for it. In
    the other half, every agent's credits go to the agent whose mean is nearest. Both
    halves serve as both.
    """
    x = credits.transpose(1, 2)  # [B, K, T]
    even, odd = x[::2], x[1::2]
    owners = torch.arange(x.shape[1])
    right = []
    for known, asked in ((even, odd), (odd, even)):
        means = known.mean(0).expand(len(asked), -1, -1)
        distance = torch.cdist(asked, means)  # [B, K asked, K known]
        right.append((distance.argmin(-1) == owners).double().mean())
    return float(torch.stack(right).mean())


def identified(credits: Float[Tensor, "B T K"], ridge: float = 0.01) -> float:
    """How well the CIA loss could be solved with the credits as they are.

    An identity w_k is right in an episode when w_k . x_j is largest for j = k, as CIA
    asks. Here the best identities are looked for: over half of the episodes, w_k is
    fitted by least squares so that w_k . (x_k - x_j) is 1 for every other agent j. The
    other half is asked, and both halves serve as both. No network is changed. Unlike
    `retrieval_accuracy` this compares the agents of one episode with each other, so
    what they share does not count.

    Args:
        credits: [B, T, K] of whole episodes.
        ridge: how strongly w_k is kept small, in units of the mean square of a
            difference at a step.

    Returns:
        How often an identity finds its agent's credits; chance is 1 / K.
    """
    x = credits.transpose(1, 2).double()  # [B, K, T]
    even, odd = x[::2], x[1::2]
    n_agents = x.shape[1]
    right = []
    for known, asked in ((even, odd), (odd, even)):
        for k in range(n_agents):
            others = [j for j in range(n_agents) if j != k]
            difference = (known[:, [k]] - known[:, others]).flatten(0, 1)
            square = difference.mT @ difference / len(difference)
            penalty = (ridge * square.diagonal().mean()).clamp(min=1e-12)
            penalised = square + penalty * torch.eye(len(square))
            w = torch.linalg.solve(penalised, difference.mean(0))
            scores = asked @ w  # [B, K]
            best = scores == scores.amax(1, keepdim=True)
            right.append((best[:, k] / best.sum(1)).mean())  # equal scores: a guess
    return float(torch.stack(right).mean())


def relative_difference(
    credits: Float[Tensor, "B T K"], weights: Float[Tensor, "B T"] | None = None
) -> float:
    """(largest - smallest credit of a step) / their mean, averaged over steps.

    Args:
        credits: [B, T, K] of whole episodes.
        weights: [B, T], 1 for a step that counts and 0 for padding; by default all
            steps count.
    """
    span = credits.amax(-1) - credits.amin(-1)
    relative = span / credits.mean(-1).clamp(min=1e-12)
    return float(
        relative.mean() if weights is None else weighted_mean(relative, weights)
    )


# --------------------------------------------------------------------------------
# do agents act differently


def common_histories(episodes: Episodes, agent: int) -> Episodes:
    """The same episodes, with every agent in the place of one.

    Args:
        episodes: B recorded episodes.
        agent: whose observations and actions all agents get, from 0 to K-1.

    Returns:
        Episodes in which the agents have one history in common.
    """
    index = torch.full((episodes.actions.shape[-1],), agent)
    return episodes._replace(
        observations=episodes.observations[:, :, index],
        actions=episodes.actions[..., index],
        available=episodes.available[:, :, index],
    )


class Difference(NamedTuple):
    """How differently the agents of a team act on common histories."""

    # between the softmax of standardised values of two agents, divided by log 2, so
    # between 0 and 1; the mean over pairs
    jensen_shannon: float
    # share of steps and pairs with different greedy actions: the policies as played
    disagreement: float


def behavioural_difference(team: Team, episodes: Episodes) -> Difference:
    """How differently agents act, averaged over histories, real steps and pairs.

    Utilities have no unit of their own (a mixer may scale them at will), so before the
    softmax each agent's values at a step get mean 0 and standard deviation 1 over the
    available actions.

    Args:
        team: whose agents are compared.
        episodes: recorded ones; the history of each of their agents is shown to all.
    """
    n_agents = episodes.actions.shape[-1]
    weights = episodes.weights
    distances = []
    disagreements = []
    for owner in range(n_agents):
        shown = common_histories(episodes, owner)
        values = evaluate_on(team, shown).action_values
        available = shown.available[:, :-1]
        p = standardised(values, available).masked_fill(~available, -1e9).softmax(-1)
        greedy = values.masked_fill(~available, -1e9).argmax(-1)  # [B, T, K]
        for i in range(n_agents):
            for j in range(i + 1, n_agents):
                divergence = jensen_shannon(p[:, :, i], p[:, :, j])
                distances.append(float(weighted_mean(divergence, weights)))
                differ = (greedy[:, :, i] != greedy[:, :, j]).float()
                disagreements.append(float(weighted_mean(differ, weights)))
    return Difference(float(np.mean(distances)), float(np.mean(disagreements)))


def jensen_shannon(
    p: Float[Tensor, "... A"], q: Float[Tensor, "... A"]
) -> Float[Tensor, "..."]:
    """H((p + q) / 2) - (H(p) + H(q)) / 2, in units of log 2 (Lin 1991).

    Args:
        p: probabilities [..., A].
        q: probabilities [..., A].

    Returns:
        A number between 0 (equal) and 1 (never the same action) for each pair.
    """
    middle = (p + q) / 2
    return (entropy(middle) - (entropy(p) + entropy(q)) / 2) / math.log(2)


def measured(
    runs: Sequence[Run], game: Game, episodes: int, shared: int = 4
) -> list[dict[str, Any]]:
    """Both ends of the paper's chain (Liu et al. 2023, Fig. 1b), a row per network.

    Every network is asked about the same pool of episodes.

    Args:
        runs: stored runs with weights.
        game: the game they were trained on.
        episodes: greedy episodes of every network, for its return.
        shared: how many of these go into the pool, the first ones.

    Returns:
        Method, seed, measures of credits and of behaviour, and the mean return.
    """
    teams = []
    own = []
    for run in runs:
        teams.append(team(run, game))
        own.append(greedy_episodes(teams[-1], game, episodes, seed=run.seed))
    pool = concatenated([first_episodes(batch, shared) for batch in own])
    rows = []
    for run, one, batch in zip(runs, teams, own, strict=True):
        credits = evaluate_on(one, pool).credits
        difference = behavioural_difference(one, pool)
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


def first_episodes(batch: Episodes, count: int) -> Episodes:
    """The first episodes of a batch.

    Args:
        batch: B episodes.
        count: how many to keep, from 1 to B.
    """
    fields = {name: field[:count] for name, field in batch._asdict().items()}
    return Episodes(**fields)


def standardised(
    values: Float[Tensor, "... A"], available: Bool[Tensor, "... A"]
) -> Float[Tensor, "... A"]:
    """Mean 0 and standard deviation 1 over the available actions.

    Args:
        values: [..., A] of all actions.
        available: [..., A], which actions count.

    Returns:
        [..., A]; 0 where an action is not available, or all values are equal.
    """
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
    """Share of steps that each agent spends on each cell of a board.

    Args:
        cells: [B, T, K, 2], row and column of each agent at each step.
        size: cells along an edge of the board.

    Returns:
        [K, size, size]; the shares of an agent add up to 1.
    """
    flat = cells[..., 0] * size + cells[..., 1]  # [B, T, K]
    shares = []
    for agent in range(flat.shape[-1]):
        counts = np.bincount(flat[..., agent].flatten().numpy(), minlength=size**2)
        shares.append(counts.reshape(size, size) / counts.sum())
    return np.stack(shares)
