"""One seed in training: its networks, replay and randomness, and how far it has come."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ciacore.config import Config
from ciacore.learning.exploration import EpsilonGreedy, epsilon_at
from ciacore.learning.learner import Learner
from ciacore.learning.replay import Replay, cut
from ciacore.learning.rollout import Policy, play
from ciacore.methods import EXPLORERS, assemble
from ciacore.types import Game, Generator, Spec

# independent sources of randomness of one seed
STREAMS = ("initial", "play", "replay", "evaluation", "learning")


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
        """In every iteration whose episodes leave the replay with at least a batch."""
        return self.episodes + config.n_games >= config.batch

    def copy_due(self, config: Config) -> bool:
        """Every `target_interval` episodes, counted before the current iteration's."""
        return self.episodes - config.n_games - self.copied_at >= config.target_interval

    def evaluation_due(self, config: Config) -> bool:
        """After the first iteration, then every `evaluation_interval` env steps."""
        return (
            self.evaluated_at is None
            or self.env_steps - self.evaluated_at >= config.evaluation_interval
        )

    def played(self, config: Config, env_steps: int) -> Clock:
        """One more iteration of `n_games` episodes, `env_steps` long in all, with its update where one was due."""
        updates = self.updates + self.update_due(config)
        return self._replace(
            env_steps=self.env_steps + env_steps,
            episodes=self.episodes + config.n_games,
            updates=updates,
        )


class Training:
    """Plays, learns, copies targets and evaluates, one iteration after the other.

    An iteration is `begin` (host), `act_and_learn` (device, not waited for: an engine
    may capture it), `finish` (host).
    """

    def __init__(
        self,
        config: Config,
        game: Game,
        seed: int,
        device: torch.device,
        in_numpy: bool | None = None,
    ) -> None:
        """
        Args:
            in_numpy: play in numpy; by default on a CPU, where the game can.
        """
        self.config, self.game, self.seed, self.device = config, game, seed, device
        self.in_numpy = (
            device.type == "cpu" and game.spec.in_numpy
            if in_numpy is None
            else in_numpy
        )
        self.rngs = streams(seed, device, self.in_numpy)
        self.learner = make_learner(config, game.spec, self.rngs["initial"], device)
        self.replay, self.clock, self.log = (
            Replay(config.buffer, device),
            Clock(),
            Log(device),
        )
        self.error: FloatingPointError | None = None  # a loss that stopped being finite
        self.epsilon: float | Tensor = 1.0
        self.steps = 0  # env steps of the current iteration
        # of the last evaluation
        self.returns = torch.zeros(config.evaluation_games, device=device)
        self.won = torch.zeros(config.evaluation_games, dtype=torch.bool, device=device)

    def iterate(self) -> None:
        """One iteration."""
        self.begin()
        self.act_and_learn(self.clock.update_due(self.config))
        if self.finish():
            self.evaluate()
            self.record()

    def begin(self) -> None:
        """Sets what the next iteration explores with."""
        epsilon = epsilon_at(self.clock.env_steps, self.config)
        if isinstance(self.epsilon, Tensor):
            self.epsilon.fill_(epsilon)
        else:
            self.epsilon = epsilon
        self.learner.env_steps.fill_(self.clock.env_steps)

    def act_and_learn(self, learn: bool) -> None:
        """Plays `n_games` episodes, keeps them, and makes one update."""
        config, early = self.config, self.game.spec.ends_early
        policy, rng = self.policy(self.epsilon, learning=True), self.rngs["learning"]
        episodes = play(
            self.game, policy, config.n_games, self.rngs["play"], config.gamma
        )
        self.replay.insert(cut(episodes) if early else episodes)
        self.learner.played(episodes, rng)
        self.steps = (
            int(episodes.weights.sum())
            if early
            else config.n_games * self.game.spec.horizon
        )
        if learn:
            batch = self.replay.sample(config.batch, self.rngs["replay"])
            self.log.add(self.learner.update(cut(batch) if early else batch, rng))

    def finish(self) -> bool:
        """Counts the iteration and copies the targets where that is due; True where an evaluation is."""
        learned = self.clock.update_due(self.config)
        self.clock, self.log.count = (
            self.clock.played(self.config, self.steps),
            self.log.count + learned,
        )
        if self.clock.copy_due(self.config):
            self.learner.copy_target()
            self.clock = self.clock._replace(
                copied_at=self.clock.episodes - self.config.n_games
            )
        return self.clock.evaluation_due(self.config)

    def evaluate(self) -> None:
        """Undiscounted returns of greedy episodes, played all at once, on the device."""
        config, rng = self.config, self.rngs["evaluation"]
        episodes = play(
            self.game,
            self.policy(0.0, learning=False),
            config.evaluation_games,
            rng,
            config.gamma,
        )
        self.returns.copy_(episodes.rewards.sum(1))
        self.won.copy_(episodes.won)

    def record(self) -> None:
        """Reads an evaluation back from the device and writes it down."""
        epsilon = epsilon_at(self.clock.env_steps - self.steps, self.config)
        if self.check():
            won = {"won": self.won.tolist()} if self.game.spec.winnable else {}
            self.log.evaluation(
                self.clock, epsilon, {"episode_return": self.returns.tolist(), **won}
            )
            self.clock = self.clock._replace(evaluated_at=self.clock.env_steps)

    def check(self) -> bool:
        """Whether all losses since the last evaluation were finite; otherwise `error` tells which was not."""
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
        return {
            "epsilon": epsilon_at(self.clock.env_steps, self.config),
            "return": self.log.last_return,
        }

    def policy(self, epsilon: float | Tensor, learning: bool) -> Policy:
        """The agents as they are now, with the Config's explorer."""
        agent = self.learner.online["agent"]
        plain = EpsilonGreedy(agent.in_numpy() if self.in_numpy else agent, epsilon)
        explorer = EXPLORERS[self.config.explorer]
        return explorer(
            plain, self.learner.auxiliaries, self.config, self.in_numpy, learning
        )

    def facts(self) -> dict[str, Any]:
        """What a checkpoint keeps beside tensors, as JSON can hold it."""
        numpy = {
            name: rng.bit_generator.state
            for name, rng in self.rngs.items()
            if isinstance(rng, np.random.Generator)
        }
        log = {
            "metrics": self.log.metrics,
            "count": self.log.count,
            "last_return": self.log.last_return,
        }
        identity = {
            "config": self.config.to_dict(),
            "game": self.game.name,
            "seed": self.seed,
        }
        # whose random numbers
        identity["arrays"] = (
            f"{'numpy' if self.in_numpy else 'torch'} on {self.device.type}"
        )
        return {**identity, "clock": self.clock._asdict(), "log": log, "numpy": numpy}

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that the rest of training depends on, by name."""
        optimizers = {
            f"{name}.{index}.{key}": value
            for name, optimizer in self.learner.optimizers().items()
            for index, state in optimizer.state_dict()["state"].items()
            for key, value in state.items()
        }
        torch_rngs = {
            name: rng.get_state()
            for name, rng in self.rngs.items()
            if isinstance(rng, torch.Generator)
        }
        parts = {
            "online": self.learner.online.state_dict(),
            "target": self.learner.target.state_dict(),
            "auxiliaries": self.learner.auxiliaries.state_dict(),
            "optimizer": optimizers,
            "replay": self.replay.tensors(),
            "generators": torch_rngs,
            "losses": self.log.sums,
        }
        return {
            f"{part}.{name}": tensor
            for part, held in parts.items()
            for name, tensor in held.items()
        }

    def restore(self, facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Takes over what `facts` and `tensors` gave; the rest of training is then what it would have been."""
        parts: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            part, _, key = name.partition(".")
            parts.setdefault(part, {})[key] = tensor
        self.learner.online.load_state_dict(parts["online"])
        self.learner.target.load_state_dict(parts["target"])
        self.learner.auxiliaries.load_state_dict(parts.get("auxiliaries", {}))
        states: dict[str, dict[int, dict[str, Tensor]]] = {}
        for name, tensor in parts.get("optimizer", {}).items():
            owner, index, key = name.split(".")
            states.setdefault(owner, {}).setdefault(int(index), {})[key] = tensor
        for name, optimizer in self.learner.optimizers().items():
            optimizer.load_state_dict(
                {**optimizer.state_dict(), "state": states.get(name, {})}
            )
        self.replay.load(parts["replay"])
        for name, state in parts["generators"].items():
            self.rngs[name].set_state(state)
        for name, state in facts["numpy"].items():
            self.rngs[name].bit_generator.state = state
        self.log.sums = {
            name: tensor.to(self.device)
            for name, tensor in parts.get("losses", {}).items()
        }
        self.log.metrics, self.log.count = (
            facts["log"]["metrics"],
            facts["log"]["count"],
        )
        self.log.last_return, self.clock = (
            facts["log"]["last_return"],
            Clock(**facts["clock"]),
        )


def streams(seed: int, device: torch.device, in_numpy: bool) -> dict[str, Generator]:
    """Independent generators, one per purpose, all fixed by the seed."""
    numbers = dict(
        zip(
            STREAMS,
            np.random.SeedSequence(seed).generate_state(len(STREAMS)),
            strict=True,
        )
    )
    rngs: dict[str, Generator] = {
        name: torch.Generator("cpu" if name == "initial" else device).manual_seed(
            int(number)
        )
        # networks are initialised on the CPU, alike for every device
        for name, number in numbers.items()
    }
    if in_numpy:
        rngs |= {
            name: np.random.default_rng(int(numbers[name]))
            for name in ("play", "evaluation")
        }
    return rngs


def make_learner(
    config: Config, spec: Spec, rng: torch.Generator, device: torch.device
) -> Learner:
    """Fresh networks, initialised from `rng` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(rng.get_state())
        agent, mixer, backbone, *named = assemble(spec, config)
    for part in (
        agent,
        mixer,
        backbone,
        *(part for parts in named for part in parts.values()),
    ):
        part.to(device)
    return Learner(agent, mixer, backbone, *named, config)


class Log:
    """The metrics of one run: a list per quantity, an entry per evaluation; losses are means since the one before."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = device
        self.metrics: dict[str, list] = {}
        self.sums: dict[str, Tensor] = {}
        self.count = 0
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
        means = {
            name: float(self.sums[name]) / self.count
            for name in sorted(self.sums)
            if self.count
        }
        for name, value in means.items():
            if not math.isfinite(value):
                cure = "Lower learning_rate or gradient_clip."
                when = f"before {clock.env_steps} env steps"
                raise FloatingPointError(
                    f"{name}: expected finite numbers, got {value} {when}. {cure}"
                )
        return means

    def evaluation(self, clock: Clock, epsilon: float, found: dict[str, list]) -> None:
        """Closes an entry; a loss that is not finite raises FloatingPointError."""
        self.last_return = sum(found["episode_return"]) / len(found["episode_return"])
        counts = {
            "env_steps": clock.env_steps,
            "episodes": clock.episodes,
            "updates": clock.updates,
        }
        entry = {
            **counts,
            "epsilon": epsilon,
            **found,
            "losses": self.means(clock) or None,
        }
        for name, value in entry.items():
            self.metrics.setdefault(name, []).append(value)
        for value in self.sums.values():
            value.zero_()
        self.count = 0
