"""The training loop of one seed: `Training.iterate` is Algorithm 1 on one page."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ciacore.config import Config
from ciacore.contract import check_episodes
from ciacore.learning.exploration import epsilon_at
from ciacore.learning.learner import Learner, Parts
from ciacore.learning.player import Player, place_of_play
from ciacore.learning.ragged_replay import RaggedReplay
from ciacore.learning.replay import Replay, trim
from ciacore.learning.rollout import play, player_of, plays_in_numpy
from ciacore.methods import assemble
from ciacore.types import Episodes, Game, Generator, Policy, Spec

# The independent sources of randomness of one seed.
PURPOSES = ("initial", "play", "replay", "evaluation", "learning")

# The fields of a Config that say when something happens, and with which epsilon:
# everything that `Clock` and `epsilon_at` read. Where no episode ends early, trainings
# of one game that agree in them count alike, whatever their methods are.
SCHEDULE = (
    "env_steps",
    "n_games",
    "batch",
    "target_interval",
    "evaluation_interval",
    "epsilon_start",
    "epsilon_end",
    "epsilon_steps",
)


def schedule_of(config: Config) -> tuple[int | float, ...]:
    """The values of a Config in the fields of SCHEDULE; equal ones count alike.

    Args:
        config: of a method.
    """
    return tuple(getattr(config, name) for name in SCHEDULE)


class Training:
    """One seed in training: its networks, replay and randomness, and how far it is."""

    def __init__(
        self,
        config: Config,
        game: Game,
        seed: int,
        device: torch.device,
        in_numpy: bool | None = None,
    ) -> None:
        """Draws the networks; nothing is played yet.

        Args:
            config: the method.
            game: what is played.
            seed: of all randomness.
            device: where networks learn; episodes are played and kept there, too,
                unless they end early (`place_of_play`).
            in_numpy: play in numpy; by default on a CPU, where game and agent can.
        """
        self.config, self.game, self.seed, self.device = config, game, seed, device
        place = self.place = place_of_play(game.spec, device)
        self.rngs = generators(seed, device, place)
        rng = self.rngs["initial"]
        self.learner = make_learner(config, game.spec, rng, device)
        copies = None if place == device else draw(config, game.spec, rng)
        self.player = Player(self.learner, copies)
        if in_numpy is None:
            in_numpy = plays_in_numpy(self.player.now()[0], game.spec, place)
        self.in_numpy = in_numpy
        if in_numpy:
            self.rngs |= numpy_generators(seed)
        if game.spec.ends_early:
            self.replay = RaggedReplay(config.buffer)
        else:
            self.replay = Replay(config.buffer, place)
        self.clock = Clock()
        self.log = Log(device)
        self.error: FloatingPointError | None = None  # a loss that is no longer finite
        self.epsilon: float | Tensor = 1.0
        self.steps = 0  # env steps of the current iteration
        # Of the last evaluation:
        n_games = config.evaluation_games
        self.returns = torch.zeros(n_games, device=place)
        self.won = torch.zeros(n_games, dtype=torch.bool, device=place)

    def iterate(self) -> None:
        """One iteration: play, store, sample, update, copy the target, evaluate."""
        self.set_epsilon()
        self.play_and_update(self.clock.update_due(self.config))
        self.count()
        if self.clock.copy_due(self.config):
            self.copy_target()
        if self.clock.evaluation_due(self.config):
            self.evaluate()
            self.write_evaluation()

    def play_and_update(self, update: bool) -> None:
        """Plays, stores, and where an update is due samples a batch and learns from it.

        All of it happens on the device, so that it may be captured as a CUDA graph.

        Args:
            update: False while the replay holds less than a batch.
        """
        config = self.config
        episodes = self.collect(self.rngs["play"])
        if self.game.spec.ends_early:  # else nothing here may wait for the device
            check_episodes(episodes)
        self.steps = self.steps_in(episodes)
        self.replay.insert(self.without_padding(episodes))
        if self.learner.auxiliaries:
            shown = self.where_it_learns(episodes)
            self.learner.on_episodes(shown, self.rngs["learning"])
        if update:
            batch = self.replay.sample(config.batch, self.rngs["replay"])
            batch = self.where_it_learns(self.without_padding(batch))
            early = self.game.spec.ends_early
            self.log.add(self.learner.update(batch, self.rngs["learning"], early))

    # what the loop calls, in its order

    def set_epsilon(self) -> None:
        """Sets the chance of a random action for this iteration."""
        epsilon = epsilon_at(self.clock.env_steps, self.config)
        if isinstance(self.epsilon, Tensor):  # where a CUDA graph reads it
            self.epsilon.fill_(epsilon)
        else:
            self.epsilon = epsilon
        self.learner.env_steps.fill_(self.clock.env_steps)

    def collect(self, rng: Generator) -> Episodes:
        """Plays the episodes of an iteration.

        Args:
            rng: for what is random in play.
        """
        config = self.config
        return play(
            self.game,
            self.explore(),
            config.n_games,
            rng,
            config.gamma,
            config.bootstrap_at_limit,
        )

    def explore(self) -> Policy:
        """The policy that collects episodes, with the agents as they are now."""
        agent, explorer = self.player.now()
        return explorer.learning(player_of(agent, self.in_numpy), self.epsilon)

    def steps_in(self, episodes: Episodes) -> int:
        """The env steps that were played; known beforehand where none ends early."""
        spec = self.game.spec
        if spec.ends_early:
            return int(episodes.weights.sum())
        return self.config.n_games * spec.horizon

    def where_it_learns(self, episodes: Episodes) -> Episodes:
        """The episodes on the device of the networks."""
        if self.place == self.device:
            return episodes
        return Episodes(*(field.to(self.device) for field in episodes))

    def without_padding(self, episodes: Episodes) -> Episodes:
        """The episodes up to the end of the longest."""
        return trim(episodes) if self.game.spec.ends_early else episodes

    def count(self) -> None:
        """Counts the iteration's episodes, env steps and update."""
        self.log.count += self.clock.update_due(self.config)
        self.clock = self.clock.after_iteration(self.config, self.steps)

    def copy_target(self) -> None:
        """Copies the online networks to the target networks."""
        self.learner.copy_target()
        self.note_copy()

    def note_copy(self) -> None:
        """Remembers when the target networks were copied."""
        before = self.clock.episodes - self.config.n_games
        self.clock = self.clock._replace(copied_at=before)

    def evaluate(self) -> None:
        """Plays greedy episodes, all at once, on the device; keeps their returns."""
        episodes = self.play_greedily(self.rngs["evaluation"])
        self.returns.copy_(episodes.rewards.sum(1))  # undiscounted
        self.won.copy_(episodes.won)

    def play_greedily(self, rng: Generator) -> Episodes:
        """Plays the episodes of an evaluation.

        Args:
            rng: for what is random in play.
        """
        config = self.config
        agent, explorer = self.player.now()
        greedy = explorer.evaluating(player_of(agent, self.in_numpy))
        return play(self.game, greedy, config.evaluation_games, rng, config.gamma)

    def write_evaluation(self) -> None:
        """Reads an evaluation back from the device and writes it down."""
        if not self.losses_are_finite():
            return
        found = {"episode_return": self.returns.tolist()}
        if self.game.spec.winnable:
            found["won"] = self.won.tolist()
        epsilon = epsilon_at(self.clock.env_steps - self.steps, self.config)
        self.log.write(self.clock, epsilon, found)
        self.clock = self.clock._replace(evaluated_at=self.clock.env_steps)

    # how it stands

    def losses_are_finite(self) -> bool:
        """Whether all losses since the last evaluation were; `error` says which not."""
        try:
            self.log.means(self.clock)
        except FloatingPointError as error:
            self.error = error
        return self.error is None

    def running(self) -> bool:
        """Whether there is more to do."""
        return self.error is None and self.clock.running(self.config)

    def summary(self) -> dict[str, float]:
        """What a progress bar shows."""
        epsilon = epsilon_at(self.clock.env_steps, self.config)
        return {"epsilon": epsilon, "return": self.log.last_return}


class Clock(NamedTuple):
    """How far training is, and what is due; it counts as the published code does."""

    env_steps: int = 0
    episodes: int = 0
    updates: int = 0
    evaluated_at: int | None = None  # env_steps of the last evaluation
    # episodes played before the iteration of the last target copy
    copied_at: int = 0

    def running(self, config: Config) -> bool:
        """Whether to go on: the last episode is the first to exceed `env_steps`."""
        return self.env_steps <= config.env_steps

    def update_due(self, config: Config) -> bool:
        """In every iteration whose episodes leave the replay with at least a batch."""
        return self.episodes + config.n_games >= config.batch

    def copy_due(self, config: Config) -> bool:
        """Every `target_interval` episodes, counted before the current iteration's."""
        before = self.episodes - config.n_games
        return before - self.copied_at >= config.target_interval

    def evaluation_due(self, config: Config) -> bool:
        """After the first iteration, then every `evaluation_interval` env steps."""
        if self.evaluated_at is None:
            return True
        return self.env_steps - self.evaluated_at >= config.evaluation_interval

    def after_iteration(self, config: Config, env_steps: int) -> Clock:
        """The clock one iteration later.

        Args:
            config: `n_games` episodes were played, with an update where one was due.
            env_steps: of these episodes together.
        """
        return self._replace(
            env_steps=self.env_steps + env_steps,
            episodes=self.episodes + config.n_games,
            updates=self.updates + self.update_due(config),
        )


class Log:
    """The metrics of one run: a list per quantity, an entry per evaluation.

    Losses are means since the evaluation before.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = device
        self.metrics: dict[str, list] = {}
        self.sums: dict[str, Tensor] = {}  # of the losses since the last evaluation
        self.count = 0  # updates since then
        self.last_return = math.nan

    def add(self, values: dict[str, Tensor]) -> None:
        """Adds up the losses of one update, in place, on the device."""
        for name, value in values.items():
            if name not in self.sums:
                self.sums[name] = torch.zeros_like(value)
            self.sums[name] += value

    def means(self, clock: Clock) -> dict[str, float]:
        """The mean losses since the last evaluation.

        Raises:
            FloatingPointError: one of them is not finite.
        """
        if not self.count:
            return {}
        means = {
            name: float(self.sums[name]) / self.count for name in sorted(self.sums)
        }
        for name, value in means.items():
            if not math.isfinite(value):
                when = f"before {clock.env_steps} env steps"
                cure = "Lower learning_rate or gradient_clip."
                raise FloatingPointError(
                    f"{name}: expected finite numbers, got {value} {when}. {cure}"
                )
        return means

    def write(self, clock: Clock, epsilon: float, found: dict[str, list]) -> None:
        """Closes an entry.

        Args:
            clock: how far training is.
            epsilon: of the iteration.
            found: what the evaluation gave; `episode_return` is among it.

        Raises:
            FloatingPointError: a loss is not finite.
        """
        returns = found["episode_return"]
        self.last_return = sum(returns) / len(returns)
        entry = {
            "env_steps": clock.env_steps,
            "episodes": clock.episodes,
            "updates": clock.updates,
            "epsilon": epsilon,
            **found,
            "losses": self.means(clock) or None,
        }
        for name, value in entry.items():
            self.metrics.setdefault(name, []).append(value)
        for value in self.sums.values():
            value.zero_()
        self.count = 0


def seeds_of(seed: int) -> dict[str, int]:
    """A seed of its own for every purpose, all fixed by one."""
    numbers = np.random.SeedSequence(seed).generate_state(len(PURPOSES))
    return {
        purpose: int(number) for purpose, number in zip(PURPOSES, numbers, strict=True)
    }


def generators(
    seed: int, device: torch.device, place: torch.device | None = None
) -> dict[str, Generator]:
    """Independent generators, one per purpose.

    Networks are drawn on the CPU, alike for every device.

    Args:
        seed: of all of them.
        device: where learning draws.
        place: where play and replay draw; on the same device by default.
    """
    places = {"initial": torch.device("cpu"), "learning": device}
    found: dict[str, Generator] = {}
    for purpose, number in seeds_of(seed).items():
        drawn_on = places.get(purpose, place or device)
        found[purpose] = torch.Generator(drawn_on).manual_seed(number)
    return found


def numpy_generators(seed: int) -> dict[str, Generator]:
    """The generators of what is played, for play in numpy."""
    numbers = seeds_of(seed)
    return {
        purpose: np.random.default_rng(numbers[purpose])
        for purpose in ("play", "evaluation")
    }


def make_learner(
    config: Config, spec: Spec, rng: torch.Generator, device: torch.device
) -> Learner:
    """A learner with fresh networks.

    Args:
        config: the method.
        spec: the sizes of the game.
        rng: the networks are drawn from it alone.
        device: where they are moved to.
    """
    return Learner(draw(config, spec, rng).to(device), config)


def draw(config: Config, spec: Spec, rng: torch.Generator) -> Parts:
    """Fresh networks, on the CPU.

    Args:
        config: the method.
        spec: the sizes of the game.
        rng: they are drawn from it alone; it stays as it is.
    """
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(rng.get_state())
        return assemble(spec, config)
