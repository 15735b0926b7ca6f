"""Part of `make bench`: one training by three paths: compiled, stepwise and plain.

    PYTHONPATH=tests python -m bench.two_paths

*Compiled* is the default. *Stepwise* plays the battles step by step, and learns alike.
*Plain* is what CIACORE_FAST=0 says: stepwise play, and updates without anything of
`ciacore.fast`. All have the seed and the Config of a run of the study `battles_proof`,
shortened: its exploration, too, in the same proportion. They take turns, an iteration
each, until every one has played its steps. A second seed on the compiled path says how
far apart two trainings lie anyway.

Each path rounds in its own way, and rounding adds up over updates. So paths part where
an agent's two best values are nearly equal; the gap between them is written down.
Writes book/results/bench/two_paths.json.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

# read when JAX starts
ONE_CORE = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "OMP_NUM_THREADS": "1"}
os.environ |= ONE_CORE

import torch  # noqa: E402
from bench.measure import RESULTS, keep  # noqa: E402
from ciabook.studies.battles import proof  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from ciacore.config import Config  # noqa: E402
from ciacore.games.battles.smax import Smax  # noqa: E402
from ciacore.runtime.one_core import one_core  # noqa: E402
from ciacore.runtime.provenance import now, provenance  # noqa: E402
from ciacore.training import Training  # noqa: E402
from ciacore.types import Episodes, Game  # noqa: E402

METHOD, SCENARIO, SEED, OTHER_SEED = "qmix_cia", "10m_vs_11m", 1, 2
EVALUATIONS = 6  # of a training, after the first
PATHS = ("compiled", "stepwise", "plain")


@contextmanager
def on_path(name: str) -> Iterator[None]:
    """Computes by one of PATHS for as long as it lasts.

    Args:
        name: of the path.
    """
    if name == "plain":
        with patch.dict(os.environ, CIACORE_FAST="0"):
            yield
    elif name == "stepwise":
        with patch("ciacore.learning.rollout.play_whole", lambda *_: None):
            yield
    else:
        yield


class OnPath:
    """A training whose episodes and losses are remembered, iteration by iteration."""

    def __init__(self, path: str, config: Config, game: Game, seed: int) -> None:
        self.path = path
        self.training = Training(config, game, seed, torch.device("cpu"))
        self.losses: list[dict[str, float]] = []  # of every update
        self.lengths: list[int] = []  # of every episode, in env steps
        self.seconds = 0.0  # of CPU time
        self.agent: nn.Module | None = None  # as it played the last episode
        collect, update = self.training.collect, self.training.learner.update

        def collected(*arguments: Any) -> Episodes:
            self.agent = copy.deepcopy(self.training.learner.online["agent"])
            self.episode = collect(*arguments)
            self.lengths.append(int(self.episode.weights.sum()))
            return self.episode

        def updated(*arguments: Any) -> dict[str, Tensor]:
            losses = update(*arguments)
            self.losses.append({name: float(loss) for name, loss in losses.items()})
            return losses

        self.training.collect = collected
        self.training.learner.update = updated

    def iterate(self) -> None:
        """One iteration by the path."""
        begin = time.process_time()
        with on_path(self.path):
            self.training.iterate()
        self.seconds += time.process_time() - begin

    def curve(self) -> dict[str, list[float]]:
        """Mean return and share of wins of every evaluation."""
        metrics = self.training.log.metrics
        return {
            "env_steps": metrics["env_steps"],
            "return": [round(statistics.mean(r), 3) for r in metrics["episode_return"]],
            "win_rate": [round(statistics.mean(won), 3) for won in metrics["won"]],
        }


def gap(one: OnPath, other: OnPath) -> float | None:
    """How near the two best values were where two paths first took other actions.

    Asked are the agents that differ at the first step where any does, by what the first
    path says of their values; the answer is the largest gap among them.

    Args:
        one: a path.
        other: another, equally far.

    Returns:
        None where both took the same actions in their last episode.
    """
    steps = min(one.lengths[-1], other.lengths[-1])
    mine, theirs = one.episode, other.episode
    differs = mine.actions[0, :steps] != theirs.actions[0, :steps]
    if not differs.any():
        return None
    first = int(differs.any(-1).int().argmax())
    with torch.no_grad():
        values, _ = one.agent.unroll(mine)
    values = values[0, first].masked_fill(~mine.available[0, first], -1e9)
    best = values[differs[first]].topk(2, -1).values
    return float((best[:, 0] - best[:, 1]).max())


class Parting:
    """How long a path goes with the compiled one."""

    def __init__(self, compiled: OnPath, other: OnPath) -> None:
        self.compiled, self.other = compiled, other
        self.together = True
        self.found: dict[str, Any] = {
            "episodes": 0,  # with the same actions
            "updates": 0,  # before the first other action
            "largest_difference_of_loss": 0.0,  # relative, until then
            "gap": None,  # where they part
        }

    def look(self) -> None:
        """Compares the last iterations of both."""
        if not self.together:
            return
        self.found["gap"] = gap(self.compiled, self.other)
        same_length = self.compiled.lengths[-1] == self.other.lengths[-1]
        if self.found["gap"] is not None or not same_length:
            self.together = False
            return
        self.found["episodes"] += 1
        mine, theirs = self.compiled.losses, self.other.losses
        self.found["updates"] = len(mine)
        if mine:
            loss = mine[-1]["loss"]
            apart = abs(theirs[-1]["loss"] - loss) / max(abs(loss), 1e-12)
            key = "largest_difference_of_loss"
            self.found[key] = max(self.found[key], apart)


def apart(one: dict[str, list[float]], other: dict[str, list[float]]) -> float:
    """The mean distance of two learning curves in return, evaluation by evaluation.

    Args:
        one: a curve.
        other: another; both begin with an evaluation after the first episode.
    """
    pairs = zip(one["return"], other["return"], strict=False)
    return round(statistics.mean(abs(a - b) for a, b in pairs), 3)


def measure(env_steps: int) -> dict[str, Any]:
    """Everything, as one JSON value.

    Args:
        env_steps: of every training.
    """
    began, study = now(), proof(METHOD, SCENARIO)
    share = env_steps / study.env_steps
    config = study.but(
        env_steps=env_steps,
        epsilon_steps=round(share * study.epsilon_steps),
        evaluation_interval=env_steps // EVALUATIONS,
    )
    game = Smax(SCENARIO)
    with one_core():
        paths = {name: OnPath(name, config, game, SEED) for name in PATHS}
        other_seed = OnPath("compiled", config, game, OTHER_SEED)
        compiled = paths["compiled"]
        partings = {name: Parting(compiled, paths[name]) for name in PATHS[1:]}
        everyone = [*paths.values(), other_seed]
        while going_on := [each for each in everyone if each.training.running()]:
            for each in going_on:
                each.iterate()
            if compiled in going_on:
                for parting in partings.values():
                    parting.look()
            if len(compiled.lengths) % 20 == 0:
                seconds = {each.path: round(each.seconds) for each in everyone[:3]}
                print(len(compiled.lengths), "episodes, CPU", seconds, flush=True)
        facts = provenance("cpu")
    rows = {}
    for name, path in paths.items():
        rows[name] = {
            "episodes": len(path.lengths),
            "updates": len(path.losses),
            "cpu_seconds": round(path.seconds, 1),
            "curve": path.curve(),
        }
    return {
        "method": config.method,
        "scenario": SCENARIO,
        "seed": SEED,
        "other_seed": OTHER_SEED,
        "env_steps": env_steps,
        "of_the_study": study.env_steps,
        "epsilon_steps": config.epsilon_steps,
        "paths": rows,
        "other_seed_curve": other_seed.curve(),
        "with_the_compiled": {
            name: {**parting.found, "together_to_the_end": parting.together}
            for name, parting in partings.items()
        },
        "curves_apart": {
            **{
                name: apart(compiled.curve(), paths[name].curve()) for name in PATHS[1:]
            },
            "other_seed": apart(compiled.curve(), other_seed.curve()),
        },
        "provenance": {**facts, "started": began, "finished": now()},
    }


def main() -> None:
    """Measures, prints, and writes the file whole or not at all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env-steps", type=int, default=12_000, help="of a training")
    parser.add_argument("--out", type=Path, default=RESULTS / "two_paths.json")
    options = parser.parse_args()
    result = measure(options.env_steps)
    for name in ("with_the_compiled", "curves_apart"):
        print(name, result[name])
    keep(options.out, result)


if __name__ == "__main__":
    main()
