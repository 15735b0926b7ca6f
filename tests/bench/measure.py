"""`make bench`: how fast this library trains, beside the published structure, measured in one process on one core.

Prints a table and writes it with its provenance to book/results/bench/cpu.json.
Everything is a median; ours and the baseline take turns of 20 iterations, so that a
machine that slows down slows both, and the ratio is the median over pairs of turns.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from bench import counted
from bench.plain import none_repeat, row_by_row
from bench.published_structure import Published

from ciacore import METHODS, train
from ciacore.config import Config
from ciacore.fast.unique_rows import unique_rows
from ciacore.games import Turn
from ciacore.learning.rollout import play
from ciacore.losses import mixer_states
from ciacore.runtime.one_core import cores, one_core
from ciacore.runtime.provenance import now, provenance
from ciacore.runtime.store import read_run
from ciacore.training import Training, make_learner
from ciacore.types import Episodes, Spec

RESULTS = Path(__file__).resolve().parents[2] / "book" / "results" / "bench"
# ms, the published code on a 2-core x86 machine
REFERENCE = {"rollout": 55.0, "update": 107.0, "evaluate": 1700.0}
STUDY = RESULTS.parent / "study" / "turn"
EPISODES_PER_EVALUATION = 100
# iterations of one side before the other has its turn, so that each finds the caches as
# in a real training
BLOCK = 20
WARM_UP = 33  # episodes, until the replay fills a batch


def milliseconds(work: Callable[[], Any], device: torch.device | str = "cpu") -> float:
    """How long one call takes."""
    begin = time.perf_counter()
    work()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - begin)


def summary(times: dict[str, list[float]]) -> dict[str, float]:
    """Medians, and what an episode costs in all: its share of an evaluation included."""
    parts = {
        name: round(statistics.median(values), 3) for name, values in times.items()
    }
    episode = (
        parts["rollout"]
        + parts["sample"]
        + parts["update"]
        + parts["evaluate"] / EPISODES_PER_EVALUATION
    )
    return {
        **parts,
        "episode": round(episode, 3),
        "env_steps_per_s": round(100_000 / episode, 1),
    }


def ours(training: Training, epsilon: float = 1.0) -> dict[str, Callable[[], Any]]:
    """The parts of an iteration, as `Training` composes them."""
    config, rngs, batch = training.config, training.rngs, []

    def rollout() -> None:
        training.epsilon = epsilon
        policy = training.explore()
        training.replay.insert(
            play(training.game, policy, config.n_games, rngs["play"], config.gamma)
        )

    def sample() -> None:
        batch[:] = [training.replay.sample(config.batch, rngs["replay"])]

    return {
        "rollout": rollout,
        "sample": sample,
        "update": lambda: training.log.add(training.learner.update(batch[0])),
        "evaluate": training.evaluate,
    }


def published(baseline: Published) -> dict[str, Callable[[], Any]]:
    """The same parts of the baseline."""
    batch: list[Any] = []

    def sample() -> None:
        batch[:] = [baseline.replay.sample(baseline.batch)]

    return {
        "rollout": baseline.rollout,
        "sample": sample,
        "update": lambda: baseline.learner.train(batch[0], baseline.episodes - 1),
        "evaluate": baseline.evaluate,
    }


def one_seed(method: str, rounds: int, late: bool = False) -> dict[str, Any]:
    """One seed on one core: ours and the baseline in turn, and what ours takes of memory.

    At the start of a training, or `late`: with the agents and the exploration that our
    full-length training ended with.
    """
    training = Training(METHODS[method], Turn(), 1, torch.device("cpu"))
    config = training.config
    if late:
        training.learner.online.load_state_dict(
            read_run(STUDY / method / "seed_1").weights
        )
        training.learner.copy_target()
    works = {
        "ours": ours(training, config.epsilon_end if late else config.epsilon_start),
        "baseline": published(Published(1, cia=method == "qmix_cia")),
    }
    times: dict[str, dict[str, list[float]]] = {name: {} for name in works}
    for work in works.values():
        for _ in range(WARM_UP):
            work["rollout"]()
    ratios = []
    for _ in range(max(1, rounds // BLOCK)):
        turn: dict[str, dict[str, list[float]]] = {name: {} for name in works}
        for name, work in works.items():
            for index in range(BLOCK):
                for part, call in work.items():
                    if part != "evaluate" or index == BLOCK - 1:
                        turn[name].setdefault(part, []).append(milliseconds(call))
            for part, found in turn[name].items():
                times[name].setdefault(part, []).extend(found)
        ratios.append(
            summary(turn["baseline"])["episode"] / summary(turn["ours"])["episode"]
        )
    ring = sum(field.numel() * field.element_size() for field in training.replay.ring)
    return {
        **{name: summary(parts) for name, parts in times.items()},
        # of two turns that follow each other
        "ratio": round(statistics.median(ratios), 3),
        "ratios": sorted(round(ratio, 2) for ratio in ratios),
        "replay_mb": round(ring / 1e6, 1),
        "different": different(training),
    }


def many_seeds(method: str, seeds: int, env_steps: int) -> dict[str, float]:
    """Whole trainings of several seeds at once, starting included: the rate of all of them together."""
    config = METHODS[method].but(env_steps=env_steps)
    with tempfile.TemporaryDirectory() as results:
        begin = time.perf_counter()
        train(config, Turn(), list(range(1, seeds + 1)), results=results)
        seconds = time.perf_counter() - begin
    return {
        "seeds": seeds,
        "seconds": round(seconds, 2),
        "env_steps_per_s": round(seeds * env_steps / seconds, 1),
    }


def games_at_once(rounds: int) -> list[dict[str, float]]:
    """What several games per seed buy: ms per iteration (N episodes, one update), evaluations left out; in turns."""
    trainings = {
        n: Training(METHODS["qmix_cia"].but(n_games=n), Turn(), 1, torch.device("cpu"))
        for n in (1, 8, 32)
    }
    for training in trainings.values():
        while not training.clock.updates:
            training.iterate()
    times: dict[int, list[float]] = {n: [] for n in trainings}
    for _ in range(max(1, rounds // BLOCK)):
        for n, training in trainings.items():
            times[n] += [
                milliseconds(lambda one=training: one.play_and_update(True))
                for _ in range(BLOCK)
            ]
    medians = {n: statistics.median(found) for n, found in times.items()}
    return [
        {
            "n_games": n,
            "ms": round(ms, 2),
            "env_steps_per_s": round(100_000 * n / ms, 1),
        }
        for n, ms in medians.items()
    ]


def pieces(rounds: int) -> dict[str, float]:
    """What three decisions are worth: play in numpy, the GRU written out, rows that repeat looked at once."""
    config, cpu, found = METHODS["qmix"], torch.device("cpu"), {}
    for name, in_numpy in (("rollout in torch", False), ("rollout in numpy", True)):
        training = Training(config, Turn(), 1, cpu, in_numpy)
        found[name] = [milliseconds(ours(training)["rollout"]) for _ in range(rounds)]
    agent, batch = training.learner.online["agent"], some_batch(training)
    gradient = torch.randn(
        config.batch, training.game.spec.horizon + 1, 2, config.hidden_size
    )
    for _ in range(rounds):
        for name, path in {
            "torch.nn.GRU": row_by_row,
            "GRUSequence": none_repeat,
            "rows once": nullcontext,
        }.items():
            with path():
                spent = milliseconds(lambda: agent.unroll(batch)[1].backward(gradient))
            found.setdefault(name, []).append(spent)
    return {name: round(statistics.median(times), 2) for name, times in found.items()}


def some_batch(training: Training) -> Episodes:
    """A batch of a training's own episodes; without enough of them, as at the start of its exploration."""
    while len(training.replay) < 4 * training.config.batch:
        ours(training)["rollout"]()
    return training.replay.sample(training.config.batch, training.rngs["replay"])


def different(training: Training) -> dict[str, int]:
    """How many agent inputs and states of a batch are looked at: the different ones, or all where they are many."""
    batch = some_batch(training)
    inputs = training.learner.online["agent"].inputs(batch)
    return {
        "inputs": len(inputs.rows),
        "states": len(unique_rows(mixer_states(batch)[:, :-1]).rows),
    }


def random_batch(spec: Spec, config: Config) -> Episodes:
    """Full-length episodes of noise."""
    rng, shape = torch.Generator().manual_seed(0), (config.batch, spec.horizon)
    actions = torch.randint(spec.n_actions, (*shape, spec.n_agents), generator=rng)
    slots = (config.batch, spec.horizon + 1)
    return Episodes(
        observations=torch.randn(
            *slots, spec.n_agents, spec.observation_size, generator=rng
        ),
        states=torch.randn(*slots, spec.state_size, generator=rng),
        actions=actions,
        available=torch.ones(*slots, spec.n_agents, spec.n_actions, dtype=torch.bool),
        rewards=torch.randn(*shape, generator=rng),
        discounts=torch.full(shape, config.gamma),
        weights=torch.ones(shape),
        context=torch.zeros(config.batch, config.latent_size),
        won=torch.zeros(config.batch, dtype=torch.bool),
    )


def growth(rounds: int) -> list[dict[str, float]]:
    """ms per QMIX(CIA) update for more agents and longer episodes, on batches of noise with Turn's other sizes."""
    rows = []
    for agents, horizon in [
        (2, 25),
        (2, 50),
        (2, 100),
        (2, 200),
        (2, 400),
        (4, 100),
        (8, 100),
        (16, 100),
    ]:
        spec, config = (
            Turn().spec._replace(n_agents=agents, horizon=horizon),
            METHODS["qmix_cia"],
        )
        learner = make_learner(
            config, spec, torch.Generator().manual_seed(0), torch.device("cpu")
        )
        batch = random_batch(spec, config)
        times = [
            milliseconds(lambda learner=learner, batch=batch: learner.update(batch))
            for _ in range(rounds + 2)
        ]
        gflop = counted.update(spec, config).flops / 1e9
        rows.append(
            {
                "agents": agents,
                "horizon": horizon,
                "ms": round(statistics.median(times[2:]), 2),
                "gflop": gflop,
            }
        )
    return rows


def peak_gflops() -> float:
    """What the matrix products of this machine reach on one core, on a large square product."""
    a = torch.randn(1024, 1024)
    best = min(milliseconds(lambda: a @ a) for _ in range(10))
    return round(2 * 1024**3 / best / 1e6, 1)


def measure(rounds: int, env_steps: int) -> dict[str, Any]:
    """Everything, as one JSON value."""
    began = now()
    with one_core():
        table, late = (
            {m: one_seed(m, rounds, late) for m in ("qmix", "qmix_cia")}
            for late in (False, True)
        )
        peak, larger, games = (
            peak_gflops(),
            growth(max(3, rounds // 6)),
            games_at_once(rounds),
        )
        split = pieces(rounds)
        facts = provenance("cpu")
    seeds = [many_seeds("qmix_cia", n, env_steps) for n in range(1, cores() + 1)]
    rows = different(Training(METHODS["qmix"], Turn(), 1, torch.device("cpu")))
    work, once = (
        counted.update(Turn().spec, METHODS["qmix"], **kept) for kept in ({}, rows)
    )
    floor = {
        "gflop": work.flops / 1e9,
        "mb": work.bytes / 1e6,
        "peak_gflops": peak,
        **rows,
    }
    floor |= {
        "once_gflop": once.flops / 1e9,
        "once_ms": round(once.flops / 1e6 / peak, 2),
    }
    return {
        "table": table,
        "late": late,
        "reference_ms": REFERENCE,
        "floor": {**floor, "ms": round(1000 * floor["gflop"] / peak, 2)},
        "growth": larger,
        "games": games,
        "pieces": split,
        "seeds": seeds,
        "peak_rss_mb": round(
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, 1
        ),
        "provenance": {
            **facts,
            "started": began,
            "finished": now(),
            "cores": cores(),
            "rounds": rounds,
        },
    }


def show(result: dict[str, Any]) -> None:
    """The table as text."""
    print(
        f"{'ms':18}{'rollout':>10}{'sample':>10}{'update':>10}{'evaluate':>10}{'episode':>10}{'env steps/s':>13}"
    )
    for method, rows in result["table"].items():
        for name in ("ours", "baseline"):
            parts = [
                rows[name][part]
                for part in ("rollout", "sample", "update", "evaluate", "episode")
            ]
            print(
                f"{method} {name}".ljust(18)
                + "".join(f"{value:10.2f}" for value in parts),
                end="",
            )
            print(f"{rows[name]['env_steps_per_s']:13.0f}")
        print(
            f"{method}: {rows['ratio']:.2f} times the baseline; replay of 5000 episodes {rows['replay_mb']} MB"
        )
        print(
            f"{method}: {result['late'][method]['ratio']:.2f} times at the end of a training"
        )
        print(f"{method}: turns between {rows['ratios'][0]} and {rows['ratios'][-1]}")
    print("published code, another machine (ms):", result["reference_ms"])
    print("arithmetic floor of an update:", result["floor"])
    print("games per seed:", result["games"])
    print("seeds at once, start included:", result["seeds"])


def keep(path: Path, result: dict[str, Any]) -> None:
    """Writes the file whole or not at all, and says where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1) + "\n")
    os.replace(part, path)
    print(f"Written: {path}")


def main() -> int:
    """Measures, prints, and writes the file whole or not at all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rounds", type=int, default=60, help="iterations timed per method"
    )
    parser.add_argument(
        "--env-steps",
        type=int,
        default=30_000,
        help="length of the trainings of several seeds",
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "cpu.json")
    options = parser.parse_args()
    result = measure(options.rounds, options.env_steps)
    show(result)
    keep(options.out, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
