"""What a trained team does: greedy episodes, their returns, and its credits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ciacore.config import Config
from ciacore.credits import credits_at, mixing_at
from ciacore.learning.learner import Parts
from ciacore.learning.rollout import play, player_of, plays_in_numpy
from ciacore.losses import mixer_states, utilities_of
from ciacore.methods import assemble
from ciacore.runtime.one_core import one_core
from ciacore.runtime.store import Run
from ciacore.training import generators, numpy_generators
from ciacore.types import Episodes, Game, Generator, Policy, Spec, Utilities, refuse

CPU = torch.device("cpu")


class Team(NamedTuple):
    """The trained networks of a run."""

    name: str
    config: Config
    parts: Parts


class Evaluated(NamedTuple):
    """What a team's networks say about episodes, its own or those of others."""

    credits: Float[Tensor, "B T K"]
    utilities: Utilities
    action_values: Float[Tensor, "B T K A"]


class Evaluation(NamedTuple):
    """What B greedy episodes of a run came to."""

    returns: Float[Tensor, "B"]  # undiscounted
    won: Bool[Tensor, "B"] | None  # None where a game cannot be won
    lengths: Int[Tensor, "B"]  # in steps
    # dQ_tot/dQ_k of the actions taken, 0 in padding; None where not asked for
    credits: Float[Tensor, "B T K"] | None

    def summary(self) -> dict[str, float]:
        """Episodes, mean return with its standard error, length, share of wins."""
        returns = self.returns.double()
        found = {
            "episodes": len(returns),
            "mean_return": float(returns.mean()),
            "mean_length": float(self.lengths.double().mean()),
        }
        if len(returns) > 1:
            found["standard_error"] = float(returns.std() / len(returns) ** 0.5)
        if self.won is not None:
            found["win_rate"] = float(self.won.double().mean())
        return found


def evaluate(
    run: Run, game: Game, episodes: int = 32, seed: int = 0, credits: bool = False
) -> Evaluation:
    """Greedy episodes of a run's team, on the CPU.

    They are played as in training, `evaluation_games` of the Config side by side. With
    the seed of the run and that many episodes they have the random numbers of the first
    evaluation in its training.

    Args:
        run: with weights, e.g. `load_run("runs/turn/qmix_cia/seed_1")`.
        game: that it was trained on, or another of the same sizes.
        episodes: B, how many.
        seed: of the game's random numbers.
        credits: whether the credits along the episodes are computed, too.

    Returns:
        Returns, wins and lengths of the episodes, and their credits.

    Raises:
        InvalidInputError: a number that cannot be, a run without weights, or a game of
            other sizes than that of the run.
    """
    check_run(run)
    check_number("episodes", episodes, 1)
    check_number("seed", seed, 0)
    found = []
    with one_core():
        ours = team(run, game)
        policy, rng = greedy(ours, game, seed)
        left = episodes
        while left > 0:
            count = min(left, run.config.evaluation_games)
            played = play(game, policy, count, rng, run.config.gamma)
            found.append(outcome(ours, game, played, credits))
            left -= count
    fields = zip(*found, strict=True)
    return Evaluation(*(None if f[0] is None else torch.cat(f) for f in fields))


def outcome(team: Team, game: Game, played: Episodes, credits: bool) -> Evaluation:
    """What episodes came to.

    Args:
        team: who played them.
        game: what was played.
        played: B whole episodes.
        credits: whether they are computed.
    """
    found = None
    if credits:
        found = evaluate_on(team, played).credits * played.weights[..., None]
    return Evaluation(
        returns=played.rewards.sum(1),
        won=played.won if game.spec.winnable else None,
        lengths=played.weights.sum(1).long(),
        credits=found,
    )


def greedy(team: Team, game: Game, seed: int) -> tuple[Policy, Generator]:
    """Who plays without exploration, and the random numbers it plays with.

    Args:
        team: whose agents act.
        game: what is played; in numpy where game and agent can, as in training.
        seed: of the random numbers.
    """
    agent = team.parts.agent
    in_numpy = plays_in_numpy(agent, game.spec, CPU)
    policy = team.parts.explorer.evaluating(player_of(agent, in_numpy))
    drawn = numpy_generators(seed) if in_numpy else generators(seed, CPU)
    return policy, drawn["evaluation"]


def team(run: Run, game: Game) -> Team:
    """The networks of a stored run, ready to act.

    Args:
        run: a stored run with weights.
        game: the game it was trained on.

    Raises:
        InvalidInputError: as `load_networks`.
    """
    return Team(run.config.method, run.config, load_networks(run, game.spec))


def load_networks(run: Run, spec: Spec) -> Parts:
    """The networks of a run as they were at the end of training.

    Args:
        run: a stored run.
        spec: of the game it was trained on.

    Raises:
        InvalidInputError: the run was kept without weights, or they do not fit a game
            of these sizes.
    """
    if not run.weights:
        refuse(
            "run",
            "a run with weights",
            f"{run.game}/{run.config.method}/seed_{run.seed} without",
            "Weights are kept for the first seeds only: take one of those, or train "
            "this run again.",
        )
    with torch.random.fork_rng(devices=[]):
        parts = assemble(spec, run.config)
    try:
        parts.networks().load_state_dict(run.weights)
    except RuntimeError as error:
        refuse(
            "spec",
            f"that of the game of this run, {run.game}",
            spec,
            str(error).splitlines()[-1].strip(),
        )
    return parts


def evaluate_on(team: Team, episodes: Episodes, derivative: str = "exact") -> Evaluated:
    """Utilities and credits of a team along recorded episodes.

    The agents get the recorded observations, and the recorded actions as their own.

    Args:
        team: whose networks are evaluated.
        episodes: B recorded episodes, the team's own or those of others.
        derivative: "exact", or "published" for QMIX's closed form with its slip.

    Returns:
        Credits, utilities and action values of steps t = 0 .. T-1.
    """
    latents = team.config.latent_size
    if latents == 0:
        episodes = episodes._replace(context=episodes.context[:, :0])
    elif episodes.context.shape[-1] != latents:
        # another team's episodes: none of the latents is drawn
        shape = (len(episodes.rewards), latents)
        undecided = episodes.rewards.new_full(shape, 1 / latents)
        episodes = episodes._replace(context=undecided)
    with torch.no_grad():
        values, _ = team.parts.agent.unroll(episodes)
        values = values[:, :-1]
        utilities = utilities_of(values, episodes.actions, episodes.available[:, :-1])
        mixing = mixing_at(team.parts.mixer, mixer_states(episodes)[:, :-1])
        if derivative == "published":
            credits = mixing.credits(utilities, derivative="published")
        else:
            credits = credits_at(mixing, utilities)
    return Evaluated(credits.detach(), utilities, values)


def check_run(run: Run) -> None:
    """Refuses anything but a run."""
    if not isinstance(run, Run):
        refuse("run", "a Run", run, "Read one from its folder: load_run(folder).")


def check_number(name: str, value: int, low: int) -> None:
    """Refuses anything but a whole number from some number on.

    Args:
        name: of the argument.
        value: what came.
        low: the smallest that is allowed.
    """
    is_count = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_count or value < low:
        expected = f"a whole number of at least {low}"
        refuse(name, expected, value, f"Write e.g. {name}={max(low, 1)}.")
