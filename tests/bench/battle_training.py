"""Part of `make bench`: whole trainings in battles, beside the published structure.

Both play the very same battles of SMAX and learn from the same episodes, in turns, in
one process on one core: an episode and an update each. Rates are environment steps per
second of CPU time. Writes book/results/bench/battle_training.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# read when JAX starts
ONE_CORE = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "OMP_NUM_THREADS": "1"}
os.environ |= ONE_CORE

import numpy as np  # noqa: E402
import torch  # noqa: E402
from bench.measure import RESULTS, keep  # noqa: E402
from bench.published_structure import EpisodeStore, Published, Sizes  # noqa: E402

from ciacore import METHODS  # noqa: E402
from ciacore.games.battles.battlefield import BATTLES  # noqa: E402
from ciacore.games.battles.smax import Smax  # noqa: E402
from ciacore.learning.replay import pack  # noqa: E402
from ciacore.learning.rollout import play  # noqa: E402
from ciacore.runtime.one_core import one_core  # noqa: E402
from ciacore.runtime.provenance import now, provenance  # noqa: E402
from ciacore.training import Training  # noqa: E402
from ciacore.types import Episodes  # noqa: E402

CAPACITY = 5_000  # episodes of a replay, as published
BUFFER = 500  # episodes; more are never played here
WARM_UP = 40  # episodes of each before the first that counts
EVALUATIONS = 2  # of each side
EVALUATION_INTERVAL = 10_000  # env steps


class OneBattle:
    """One battle, stepped from Python as SMAC's environment is."""

    def __init__(self, game: Smax, seed: int) -> None:
        self.game = game
        self.rng = torch.Generator().manual_seed(seed)
        self.reset()

    def reset(self) -> None:
        """A fresh battle."""
        self.state = self.game.reset(1, self.rng)

    def step(self, actions: Any) -> tuple[float, bool, dict]:
        """Plays one action per agent.

        Returns:
            The reward, whether the episode has ended, and whether by the time limit.
        """
        joint = torch.as_tensor(actions).view(1, -1)
        step = self.game.advance(self.state, joint, self.rng)
        self.state = step.state
        ended = bool(step.terminated[0]) or bool(step.truncated[0])
        return float(step.rewards[0]), ended, {}

    def get_obs(self) -> list[np.ndarray]:
        """What each agent sees."""
        return list(self.state.observations[0].numpy())

    def get_state(self) -> np.ndarray:
        """All units."""
        return self.state.states[0].numpy()

    def get_avail_agent_actions(self, agent: int) -> list[int]:
        """1 for each action that the agent may take."""
        return self.state.available[0, agent].int().tolist()


def published(game: Smax, cia: bool) -> Published:
    """The published structure on a battle.

    Args:
        game: The battle.
        cia: Whether it has the CIA loss.
    """
    spec = game.spec
    sizes = Sizes(
        n_agents=spec.n_agents,
        n_actions=spec.n_actions,
        observation=spec.observation_size,
        state=spec.state_size,
        horizon=spec.horizon,
    )
    one = OneBattle(game, 1)
    return Published(1, cia, game=one, sizes=sizes, buffer=BUFFER)


class Seconds:
    """CPU seconds per env step of one side: of play, of updates, of evaluations."""

    def __init__(self) -> None:
        self.play: list[float] = []  # per env step
        self.update: list[float] = []  # per update
        self.evaluation: list[float] = []  # per evaluation

    def per_step(self, steps_per_update: float) -> float:
        """Seconds of training per env step, evaluations left out."""
        update = statistics.median(self.update) / steps_per_update
        return statistics.median(self.play) + update

    def of_evaluations(self) -> float:
        """Seconds of evaluations per env step."""
        return statistics.median(self.evaluation) / EVALUATION_INTERVAL


def seconds(work: Callable[[], Any]) -> float:
    """CPU seconds that some work takes."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def training_on(game: Smax, method: str, n_games: int = 1) -> Training:
    """Our training on a battle.

    Args:
        game: The battle.
        method: A name of METHODS.
        n_games: Games per update.
    """
    config = METHODS[method].but(
        buffer=BUFFER, evaluation_interval=10**9, n_games=n_games
    )
    return Training(config, game, 1, torch.device("cpu"))


def as_store(episodes: Episodes, theirs: Published) -> EpisodeStore:
    """One episode as the published structure stores it.

    Args:
        episodes: A single one.
        theirs: Whose sizes it has.
    """
    store = EpisodeStore(theirs.sizes, 1)
    length = int(episodes.weights.sum())
    ended = (episodes.discounts == 0) & (episodes.weights > 0)
    for t in range(length + 1):
        slot = {
            "state": episodes.states[0, t],
            "avail_actions": episodes.available[0, t],
            "obs": episodes.observations[0, t],
        }
        store.write(t, slot)
        if t < length:
            step = {
                "actions": episodes.actions[0, t].long(),
                "reward": [episodes.rewards[0, t]],
                "terminated": [ended[0, t]],
            }
            store.write(t, step, mark_filled=False)
    return store


def compare(game: Smax, method: str, iterations: int) -> dict[str, Any]:
    """Rates of both sides, which learn from the very same episodes: those of ours.

    The published structure plays, too, and is timed at it; its own episodes are dropped
    and ours put in their place, so that batches of both are equally long.

    Args:
        game: The battle.
        method: "qmix" or "qmix_cia".
        iterations: How many are timed.
    """
    training = training_on(game, method)
    theirs = published(game, method == "qmix_cia")
    ours, baseline = Seconds(), Seconds()
    lengths, ratios = [], []
    training.evaluate()  # compiles
    config, rngs = training.config, training.rngs

    def update() -> None:
        batch = training.replay.sample(config.batch, rngs["replay"])
        training.log.add(training.learner.update(batch))

    for number in range(WARM_UP + iterations):
        training.set_epsilon()
        policy = training.explore()
        begin = time.process_time()
        episodes = play(game, policy, 1, rngs["play"], config.gamma)
        training.replay.insert(training.without_padding(episodes))
        spent = time.process_time() - begin
        length = float(episodes.weights.sum())
        training.steps = int(length)
        before = theirs.env_steps
        their_play = seconds(theirs.rollout)
        their_play /= theirs.env_steps - before
        theirs.replay.index = (theirs.replay.index - 1) % BUFFER
        theirs.replay.count -= 1
        theirs.replay.insert(as_store(episodes, theirs))
        due = training.clock.update_due(config)
        training.count()
        if not due:
            continue
        our_update, their_update = seconds(update), seconds(theirs.update)
        if number < WARM_UP:
            continue
        lengths.append(length)
        ours.play.append(spent / length)
        ours.update.append(our_update)
        baseline.play.append(their_play)
        baseline.update.append(their_update)
        ratios.append(their_update / our_update)
    for _ in range(EVALUATIONS):
        ours.evaluation.append(seconds(training.evaluate))
        baseline.evaluation.append(seconds(theirs.evaluate))
    mean = statistics.mean(lengths)
    mine, other = ours.per_step(mean), baseline.per_step(mean)
    whole = other + baseline.of_evaluations()
    held = training.replay.nbytes() / len(training.replay)  # per episode
    padded = sum(field.nbytes for field in pack(play(game, policy, 1, rngs["play"], 1)))
    return {
        "steps_per_episode": round(mean, 1),
        "ours_per_s": round(1 / mine, 1),
        "published_per_s": round(1 / other, 1),
        "ratio": round(other / mine, 2),
        "ratio_of_updates": round(statistics.median(ratios), 2),
        "ratio_with_evaluations": round(whole / (mine + ours.of_evaluations()), 2),
        "our_update_ms": round(1000 * statistics.median(ours.update), 1),
        "our_play_ms_per_step": round(1000 * statistics.median(ours.play), 3),
        "replay_mb_of_5000": round(CAPACITY * held / 1e6),
        "padded_replay_mb_of_5000": round(CAPACITY * padded / 1e6),
    }


def eight_games(game: Smax, method: str, iterations: int) -> float:
    """Env steps per CPU second with eight games per update.

    Args:
        game: The battle.
        method: A name of METHODS.
        iterations: How many are timed.
    """
    training = training_on(game, method, n_games=8)
    for _ in range(WARM_UP // 8):
        training.iterate()
    rates = []
    for _ in range(iterations):
        begin, before = time.process_time(), training.clock.env_steps
        training.iterate()
        steps = training.clock.env_steps - before
        rates.append(steps / (time.process_time() - begin))
    return round(statistics.median(rates), 1)


def main() -> None:
    """Measures, prints, and writes the file whole or not at all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=40, help="of each side")
    parser.add_argument("--scenarios", nargs="*", default=list(BATTLES))
    parser.add_argument("--methods", nargs="*", default=["qmix", "qmix_cia"])
    parser.add_argument("--out", type=Path, default=RESULTS / "battle_training.json")
    options = parser.parse_args()
    rows: dict[str, Any] = {}
    if options.out.is_file():  # rows that are not asked for stay
        rows = json.loads(options.out.read_text())["scenarios"]
    with one_core():
        for name in options.scenarios:
            game = Smax(name)
            rows[name] = {
                method: compare(game, method, options.iterations)
                for method in options.methods
            }
            eight = eight_games(game, options.methods[-1], options.iterations)
            rows[name]["eight_games_per_s"] = eight
            rows[name]["finished"] = now()
            print(name, rows[name], flush=True)
        facts = {**provenance("cpu"), "finished": now()}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = {
        "scenarios": rows,
        "iterations": options.iterations,
        "warm_up": WARM_UP,
        "peak_memory_mb": round(memory / 1024),
        "provenance": facts,
    }
    keep(options.out, result)


if __name__ == "__main__":
    main()
