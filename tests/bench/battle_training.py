"""Part of `make bench`: whole trainings in battles, beside the published structure.

Both play the very same battles of SMAX, and take turns in one process on one core. A
turn is a few episodes with an update after each. Rates are environment steps per second
of CPU time, so that what else runs takes no part. Writes
book/results/bench/battle_training.json.
"""

from __future__ import annotations

import argparse
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
from bench.published_structure import Published, Sizes  # noqa: E402

from ciacore import METHODS  # noqa: E402
from ciacore.games.battles.battlefield import BATTLES  # noqa: E402
from ciacore.games.battles.smax import Smax  # noqa: E402
from ciacore.runtime.one_core import one_core  # noqa: E402
from ciacore.runtime.provenance import now, provenance  # noqa: E402
from ciacore.training import Training  # noqa: E402

BUFFER = 500  # episodes; more are never played here
WARM_UP = 60  # episodes of each before the first that counts
TURN = 4  # iterations of one side before the other has its turn
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


class Side:
    """A training whose CPU time is counted."""

    def __init__(
        self,
        iterate: Callable[[], Any],
        env_steps: Callable[[], int],
        evaluate: Callable[[], Any],
    ) -> None:
        self.iterate = iterate
        self.env_steps = env_steps
        self.evaluate = evaluate
        self.rates: list[float] = []
        self.evaluations: list[float] = []

    def turn(self) -> float:
        """Env steps per second of a few iterations."""
        begin, steps = time.process_time(), self.env_steps()
        for _ in range(TURN):
            self.iterate()
        seconds = time.process_time() - begin
        self.rates.append((self.env_steps() - steps) / seconds)
        return self.rates[-1]

    def evaluation(self) -> float:
        """Seconds of one evaluation."""
        begin = time.process_time()
        self.evaluate()
        self.evaluations.append(time.process_time() - begin)
        return self.evaluations[-1]

    def with_evaluation(self, rate: float) -> float:
        """A rate that counts the evaluations of that many steps, too."""
        share = statistics.median(self.evaluations) / EVALUATION_INTERVAL
        return 1 / (1 / rate + share)


def ours(game: Smax, method: str, n_games: int = 1) -> Side:
    """Our training on a battle.

    Args:
        game: The battle.
        method: A name of METHODS.
        n_games: Games per update.
    """
    config = METHODS[method].but(
        buffer=BUFFER, evaluation_interval=10**9, n_games=n_games
    )
    training = Training(config, game, 1, torch.device("cpu"))
    return Side(training.iterate, lambda: training.clock.env_steps, training.evaluate)


def compare(game: Smax, method: str, turns: int) -> dict[str, Any]:
    """Rates of both sides, and their ratio turn by turn.

    Args:
        game: The battle.
        method: "qmix" or "qmix_cia".
        turns: How many of each side.
    """
    theirs = published(game, method == "qmix_cia")
    sides = (
        ours(game, method),
        Side(theirs.iteration, lambda: theirs.env_steps, theirs.evaluate),
    )
    for side in sides:
        for _ in range(WARM_UP):
            side.iterate()
        side.evaluate()  # compiles
        side.evaluation()
    ratios = []
    for _ in range(turns):
        mine, baseline = (side.turn() for side in sides)
        ratios.append(mine / baseline)
    mine, baseline = (statistics.median(side.rates) for side in sides)
    whole = sides[0].with_evaluation(mine) / sides[1].with_evaluation(baseline)
    return {
        "ours_per_s": round(mine, 1),
        "published_per_s": round(baseline, 1),
        "ratio": round(statistics.median(ratios), 2),
        "ratios": sorted(round(ratio, 2) for ratio in ratios),
        "ratio_with_evaluations": round(whole, 2),
    }


def eight_games(game: Smax, method: str, turns: int) -> float:
    """Env steps per second with eight games per update.

    Args:
        game: The battle.
        method: A name of METHODS.
        turns: How many turns are timed.
    """
    side = ours(game, method, n_games=8)
    for _ in range(WARM_UP // 8):
        side.iterate()
    return round(statistics.median(side.turn() for _ in range(turns)), 1)


def main() -> None:
    """Measures, prints, and writes the file whole or not at all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=10, help="turns of each side")
    parser.add_argument("--scenarios", nargs="*", default=list(BATTLES))
    parser.add_argument("--methods", nargs="*", default=["qmix", "qmix_cia"])
    parser.add_argument("--out", type=Path, default=RESULTS / "battle_training.json")
    options = parser.parse_args()
    rows: dict[str, Any] = {}
    with one_core():
        for name in options.scenarios:
            game = Smax(name)
            rows[name] = {
                method: compare(game, method, options.turns)
                for method in options.methods
            }
            eight = eight_games(game, options.methods[-1], options.turns)
            rows[name]["eight_games_per_s"] = eight
            print(name, rows[name], flush=True)
        facts = {**provenance("cpu"), "finished": now()}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = {
        "scenarios": rows,
        "turns": options.turns,
        "iterations_per_turn": TURN,
        "warm_up": WARM_UP,
        "peak_memory_mb": round(memory / 1024),
        "provenance": facts,
    }
    keep(options.out, result)


if __name__ == "__main__":
    main()
