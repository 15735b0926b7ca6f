"""train(config, game): one method on one game, for one or more seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ciacore.config import Config
from ciacore.exploration import EpsilonGreedy, epsilon_at
from ciacore.learner import Learner
from ciacore.methods import assemble
from ciacore.provenance import now, provenance
from ciacore.replay import Replay
from ciacore.rollout import play
from ciacore.store import Run, check_free, run_folder, write_run
from ciacore.types import Game, refuse

STREAMS = ("initial", "play", "replay", "evaluation")  # independent sources of randomness of one seed


class Clock(NamedTuple):
    """How far training has come, and what is due; counts as the published code does."""

    env_steps: int = 0
    episodes: int = 0
    updates: int = 0
    evaluated_at: int | None = None  # env_steps of the last evaluation
    copied_at: int = 0  # episodes played before the iteration of the last target copy

    def running(self, config: Config) -> bool:
        """The last episode is the first to exceed `env_steps`."""
        return self.env_steps <= config.env_steps

    def update_due(self, config: Config) -> bool:
        """Once the replay can fill a batch, every iteration."""
        return self.episodes >= config.batch

    def copy_due(self, config: Config) -> bool:
        """Every `target_interval` episodes, counted before the current iteration's."""
        return self.episodes - config.n_games - self.copied_at >= config.target_interval

    def evaluation_due(self, config: Config) -> bool:
        """After the first iteration, then every `evaluation_interval` env steps."""
        return self.evaluated_at is None or self.env_steps - self.evaluated_at >= config.evaluation_interval

    def played(self, config: Config, env_steps: int) -> Clock:
        """One more iteration of `n_games` episodes, `env_steps` long in all."""
        return self._replace(env_steps=self.env_steps + env_steps, episodes=self.episodes + config.n_games)


def train(
    config: Config,
    game: Game,
    seeds: Sequence[int] = (0,),
    results: str | Path | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[..., None] | None = None,
) -> list[Run]:
    """Trains a method on a game, one seed after the other; each is independent of the others.

    Args:
        config: the method, e.g. `METHODS["qmix_cia"]`, or `METHODS["qmix_cia"].but(env_steps=100_000)`.
        game: e.g. `Turn()`.
        seeds: one run each.
        results: folder that receives `<game>/<method>/seed_<k>/` when a run is complete; None keeps runs in memory.
        device: where everything happens.
        progress: called after every iteration as `progress(env_steps, total, **facts)`.

    Returns:
        A Run per seed, in the order given.

    Raises:
        InvalidInputError: unusable seeds, an unknown name in the Config, a folder that exists or cannot be written.
        FloatingPointError: the loss stopped being a finite number.
    """
    check_seeds(seeds)
    check_device(device)
    with torch.random.fork_rng(devices=[]):
        assemble(game.spec, config)  # an unknown name stops here, before anything is computed
    folders = [None if results is None else run_folder(results, game.name, config.method, seed) for seed in seeds]
    for folder in folders:
        if folder is not None:
            check_free(folder)
    runs = []
    for seed, folder in zip(seeds, folders, strict=True):
        runs.append(train_seed(config, game, seed, torch.device(device), progress or (lambda *_, **__: None)))
        if folder is not None:
            write_run(folder, runs[-1])
    return runs


def check_seeds(seeds: Sequence[int]) -> None:
    """Refuses no seeds, duplicates, and anything but whole numbers from 0."""
    if isinstance(seeds, str) or not isinstance(seeds, Sequence) or not seeds:
        refuse("seeds", "a list of whole numbers", seeds, "Write e.g. [1, 2, 3].")
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            refuse("seeds", "whole numbers of at least 0", seed, "Write e.g. [1, 2, 3].")
    if len(set(seeds)) != len(seeds):
        refuse("seeds", "different numbers", list(seeds), "Name every seed once.")


def check_device(device: torch.device | str) -> None:
    """Refuses a device that this PyTorch does not know or this machine does not have."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        refuse("device", "a device of this machine", f"{device} ({str(error).splitlines()[0]})", 'Use "cpu".')


def streams(seed: int, device: torch.device) -> dict[str, torch.Generator]:
    """Independent generators, one per purpose, all fixed by the seed."""
    numbers = np.random.SeedSequence(seed).generate_state(len(STREAMS))
    places = {"initial": torch.device("cpu")}  # networks are initialised on the CPU, alike for every device
    return {
        name: torch.Generator(places.get(name, device)).manual_seed(int(number))
        for name, number in zip(STREAMS, numbers, strict=True)
    }


def train_seed(config: Config, game: Game, seed: int, device: torch.device, progress: Callable[..., None]) -> Run:
    """One seed: play one iteration, update, copy targets, evaluate; until the env steps are spent."""
    facts = {**provenance(device), "started": now()}
    rngs = streams(seed, device)
    learner = make_learner(config, game, rngs["initial"], device)
    replay, clock, log = Replay(config.buffer), Clock(), Log()
    while clock.running(config):
        epsilon = epsilon_at(clock.env_steps, config)
        policy = EpsilonGreedy(learner.online["agent"], epsilon)
        episodes = play(game, policy, config.n_games, rngs["play"], config.gamma)
        replay.insert(episodes)
        clock = clock.played(config, int(episodes.weights.sum()))
        if clock.update_due(config):
            log.losses(learner.update(replay.sample(config.batch, rngs["replay"])))
            clock = clock._replace(updates=clock.updates + 1)
        if clock.copy_due(config):
            learner.copy_target()
            clock = clock._replace(copied_at=clock.episodes - config.n_games)
        if clock.evaluation_due(config):
            log.evaluation(clock, epsilon, evaluate(learner, game, config, rngs["evaluation"]))
            clock = clock._replace(evaluated_at=clock.env_steps)
        progress(clock.env_steps, config.env_steps, epsilon=epsilon, **{"return": log.last_return})
    log.means(clock)  # nothing that went wrong after the last evaluation is stored
    facts |= {"finished": now(), "updates": clock.updates}
    weights = {name: value.detach().cpu() for name, value in learner.online.state_dict().items()}
    return Run(config, game.name, seed, log.metrics, weights, facts)


def make_learner(config: Config, game: Game, rng: torch.Generator, device: torch.device) -> Learner:
    """Fresh networks, initialised from `rng` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(rng.get_state())
        agent, mixer, terms = assemble(game.spec, config)
    return Learner(agent.to(device), mixer.to(device), {name: term.to(device) for name, term in terms.items()}, config)


def evaluate(learner: Learner, game: Game, config: Config, rng: torch.Generator) -> list[float]:
    """Undiscounted returns of greedy episodes, played all at once."""
    policy = EpsilonGreedy(learner.online["agent"], epsilon=0.0)
    episodes = play(game, policy, config.evaluation_games, rng, config.gamma)
    return episodes.rewards.sum(1).tolist()


class Log:
    """The metrics of one run: a list per quantity, an entry per evaluation; losses are means since the one before."""

    def __init__(self) -> None:
        self.metrics: dict[str, list] = {}
        self.sums: dict[str, Tensor] = {}
        self.count = 0
        self.last_return = math.nan

    def losses(self, values: dict[str, Tensor]) -> None:
        """Adds up the losses of one update, on the device."""
        self.sums = {name: value + self.sums.get(name, 0.0) for name, value in values.items()}
        self.count += 1

    def means(self, clock: Clock) -> dict[str, float]:
        """The mean losses since the last evaluation.

        Raises:
            FloatingPointError: one of them is not finite.
        """
        means = {name: float(value) / self.count for name, value in self.sums.items()}
        for name, value in means.items():
            if not math.isfinite(value):
                cure = "Lower learning_rate or gradient_clip."
                when = f"before {clock.env_steps} env steps"
                raise FloatingPointError(f"{name}: expected finite numbers, got {value} {when}. {cure}")
        return means

    def evaluation(self, clock: Clock, epsilon: float, returns: list[float]) -> None:
        """Closes an entry; a loss that is not finite raises FloatingPointError."""
        self.last_return = sum(returns) / len(returns)
        counts = {"env_steps": clock.env_steps, "episodes": clock.episodes, "updates": clock.updates}
        entry = {**counts, "epsilon": epsilon, "episode_return": returns, "losses": self.means(clock) or None}
        for name, value in entry.items():
            self.metrics.setdefault(name, []).append(value)
        self.sums, self.count = {}, 0
