"""`make bench`: how fast this library trains, beside the published structure.

Both are measured in one process on one core. Prints a table and writes it with its
provenance to book/results/bench/cpu.json. Everything is a median; ours and the baseline
take turns of 20 iterations, so that a machine that slows down slows both, and the ratio
is the median over pairs of turns.
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
from functools import partial
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
CPU = torch.device("cpu")
METHODS_MEASURED = ("qmix", "qmix_cia")
EPISODES_PER_EVALUATION = 100
# iterations of one side before the other has its turn, so that each finds the caches as
# in a real training
BLOCK = 20
WARM_UP = 33  # episodes, until the replay fills a batch


def milliseconds(work: Callable[[], Any], device: torch.device | str = "cpu") -> float:
    """How long one call takes, in milliseconds.

    Args:
        work: What is called.
        device: Where it computes; on a GPU its end is waited for.
    """
    begin = time.perf_counter()
    work()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - begin)


def summary(times: dict[str, list[float]]) -> dict[str, float]:
    """Medians, and what an episode costs with its share of an evaluation."""
    found = {}
    for part, values in times.items():
        found[part] = round(statistics.median(values), 3)
    evaluation = found["evaluate"] / EPISODES_PER_EVALUATION
    episode = found["rollout"] + found["sample"] + found["update"] + evaluation
    found["episode"] = round(episode, 3)
    found["env_steps_per_s"] = round(100_000 / episode, 1)
    return found


def ours(training: Training, epsilon: float = 1.0) -> dict[str, Callable[[], Any]]:
    """The parts of an iteration, as `Training` composes them.

    Args:
        training: Whose iterations are measured.
        epsilon: The share of random actions in its episodes.
    """
    config = training.config
    rngs = training.rngs
    batch: Episodes | None = None

    def rollout() -> None:
        training.epsilon = epsilon
        policy = training.explore()
        rng = rngs["play"]
        episodes = play(training.game, policy, config.n_games, rng, config.gamma)
        training.replay.insert(episodes)

    def sample() -> None:
        nonlocal batch
        batch = training.replay.sample(config.batch, rngs["replay"])

    def update() -> None:
        training.log.add(training.learner.update(batch))

    return {
        "rollout": rollout,
        "sample": sample,
        "update": update,
        "evaluate": training.evaluate,
    }


def published(baseline: Published) -> dict[str, Callable[[], Any]]:
    """The same parts of the baseline."""
    batch: dict[str, torch.Tensor] = {}

    def sample() -> None:
        nonlocal batch
        batch = baseline.replay.sample(baseline.batch)

    def update() -> None:
        baseline.learner.train(batch, baseline.episodes - 1)

    return {
        "rollout": baseline.rollout,
        "sample": sample,
        "update": update,
        "evaluate": baseline.evaluate,
    }


def turn(work: dict[str, Callable[[], Any]]) -> dict[str, list[float]]:
    """The times of `BLOCK` iterations of one side, with one evaluation at their end."""
    times: dict[str, list[float]] = {part: [] for part in work}
    for index in range(BLOCK):
        for part, call in work.items():
            if part != "evaluate" or index == BLOCK - 1:
                times[part].append(milliseconds(call))
    return times


def one_seed(method: str, rounds: int, late: bool = False) -> dict[str, Any]:
    """One seed on one core: ours and the baseline in turn, and the memory of ours.

    Args:
        method: `qmix` or `qmix_cia`.
        rounds: How many iterations of each side are timed.
        late: With the agents and the exploration that our full-length training ended
            with, else those of the start of a training.
    """
    config = METHODS[method]
    training = Training(config, Turn(), 1, CPU)
    epsilon = config.epsilon_start
    if late:
        run = read_run(STUDY / method / "seed_1")
        training.learner.online.load_state_dict(run.weights)
        training.learner.copy_target()
        epsilon = config.epsilon_end
    our_work = ours(training, epsilon)
    their_work = published(Published(1, cia=method == "qmix_cia"))
    for work in (our_work, their_work):
        for _ in range(WARM_UP):
            work["rollout"]()

    our_times: dict[str, list[float]] = {part: [] for part in our_work}
    their_times: dict[str, list[float]] = {part: [] for part in their_work}
    ratios = []
    for _ in range(max(1, rounds // BLOCK)):
        our_turn = turn(our_work)
        their_turn = turn(their_work)
        for part in our_work:
            our_times[part] += our_turn[part]
            their_times[part] += their_turn[part]
        ratios.append(summary(their_turn)["episode"] / summary(our_turn)["episode"])
    ring = sum(field.numel() * field.element_size() for field in training.replay.ring)
    return {
        "ours": summary(our_times),
        "baseline": summary(their_times),
        # of two turns that follow each other
        "ratio": round(statistics.median(ratios), 3),
        "ratios": sorted(round(ratio, 2) for ratio in ratios),
        "replay_mb": round(ring / 1e6, 1),
        "different": different(training),
    }


def many_seeds(method: str, seeds: int, env_steps: int) -> dict[str, float]:
    """Whole trainings of several seeds at once, starting included.

    Args:
        method: Its name.
        seeds: How many there are.
        env_steps: The length of each training, in environment steps.

    Returns:
        The rate of all of them together.
    """
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
    """What several games per seed buy, in milliseconds per iteration.

    An iteration is N episodes and one update; evaluations are left out. All take turns.
    """
    trainings = {}
    times: dict[int, list[float]] = {}
    for n in (1, 8, 32):
        config = METHODS["qmix_cia"].but(n_games=n)
        trainings[n] = Training(config, Turn(), 1, CPU)
        times[n] = []
    for training in trainings.values():
        while not training.clock.updates:
            training.iterate()
    for _ in range(max(1, rounds // BLOCK)):
        for n, training in trainings.items():
            for _ in range(BLOCK):
                times[n].append(milliseconds(partial(training.play_and_update, True)))
    rows = []
    for n, found in times.items():
        ms = statistics.median(found)
        rate = round(100_000 * n / ms, 1)
        rows.append({"n_games": n, "ms": round(ms, 2), "env_steps_per_s": rate})
    return rows


def pieces(rounds: int) -> dict[str, float]:
    """What three decisions are worth, in milliseconds.

    They are play in numpy, the GRU written out, and rows that repeat looked at once.
    """
    config = METHODS["qmix"]
    times: dict[str, list[float]] = {}
    for name, in_numpy in (("rollout in torch", False), ("rollout in numpy", True)):
        training = Training(config, Turn(), 1, CPU, in_numpy)
        rollout = ours(training)["rollout"]
        times[name] = [milliseconds(rollout) for _ in range(rounds)]

    agent = training.learner.online["agent"]
    batch = some_batch(training)
    steps = training.game.spec.horizon + 1
    gradient = torch.randn(config.batch, steps, 2, config.hidden_size)

    def unroll() -> None:
        _, hidden = agent.unroll(batch)
        hidden.backward(gradient)

    paths = {
        "torch.nn.GRU": row_by_row,
        "GRUSequence": none_repeat,
        "rows once": nullcontext,
    }
    for name in paths:
        times[name] = []
    for _ in range(rounds):
        for name, path in paths.items():
            with path():
                times[name].append(milliseconds(unroll))
    return {name: round(statistics.median(found), 2) for name, found in times.items()}


def some_batch(training: Training) -> Episodes:
    """A batch of a training's own episodes.

    Where it has too few of them, it plays more, as at the start of its exploration.
    """
    while len(training.replay) < 4 * training.config.batch:
        ours(training)["rollout"]()
    return training.replay.sample(training.config.batch, training.rngs["replay"])


def different(training: Training) -> dict[str, int]:
    """How many agent inputs and states of a batch are looked at.

    These are the different ones, or all where they are many.
    """
    batch = some_batch(training)
    inputs = training.learner.online["agent"].inputs(batch).once
    states = unique_rows(mixer_states(batch)[:, :-1])
    return {"inputs": len(inputs.rows), "states": len(states.rows)}


def random_batch(spec: Spec, config: Config) -> Episodes:
    """Full-length episodes of noise.

    Args:
        spec: The sizes of the game.
        config: How many episodes, and the size of their latents.
    """
    rng = torch.Generator().manual_seed(0)
    shape = (config.batch, spec.horizon)
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


def update_times(config: Config, spec: Spec, rounds: int) -> list[float]:
    """Milliseconds per update of a fresh learner on one batch of noise.

    Args:
        config: What is trained.
        spec: The sizes of the game.
        rounds: How many updates are timed; the first ones may be slower.
    """
    learner = make_learner(config, spec, torch.Generator().manual_seed(0), CPU)
    batch = random_batch(spec, config)
    return [milliseconds(lambda: learner.update(batch)) for _ in range(rounds)]


AGENTS_AND_HORIZONS = (
    (2, 25),
    (2, 50),
    (2, 100),
    (2, 200),
    (2, 400),
    (4, 100),
    (8, 100),
    (16, 100),
)


def growth(rounds: int) -> list[dict[str, float]]:
    """Milliseconds per QMIX(CIA) update for more agents and longer episodes.

    The batches are of noise, with Turn's other sizes.
    """
    config = METHODS["qmix_cia"]
    rows = []
    for agents, horizon in AGENTS_AND_HORIZONS:
        spec = Turn().spec._replace(n_agents=agents, horizon=horizon)
        times = update_times(config, spec, rounds + 2)
        rows.append(
            {
                "agents": agents,
                "horizon": horizon,
                "ms": round(statistics.median(times[2:]), 2),
                "gflop": counted.update(spec, config).flops / 1e9,
            }
        )
    return rows


def peak_gflops() -> float:
    """What a large square matrix product reaches on one core of this machine."""
    a = torch.randn(1024, 1024)
    best = min(milliseconds(lambda: a @ a) for _ in range(10))
    return round(2 * 1024**3 / best / 1e6, 1)


def floor(peak: float) -> dict[str, float]:
    """What an update of QMIX on Turn must compute and move, and how long that takes.

    Args:
        peak: Billions of floating-point operations per second.
    """
    config = METHODS["qmix"]
    rows = different(Training(config, Turn(), 1, CPU))
    work = counted.update(Turn().spec, config)
    once = counted.update(Turn().spec, config, **rows)
    return {
        "gflop": work.flops / 1e9,
        "mb": work.bytes / 1e6,
        "peak_gflops": peak,
        **rows,
        "once_gflop": once.flops / 1e9,
        "once_ms": round(once.flops / 1e6 / peak, 2),
        "ms": round(work.flops / 1e6 / peak, 2),
    }


def measure(rounds: int, env_steps: int) -> dict[str, Any]:
    """Everything, as one JSON value.

    Args:
        rounds: How many iterations are timed per method.
        env_steps: The length of the trainings of several seeds.
    """
    began = now()
    with one_core():
        table = {name: one_seed(name, rounds) for name in METHODS_MEASURED}
        late = {name: one_seed(name, rounds, True) for name in METHODS_MEASURED}
        peak = peak_gflops()
        larger = growth(max(3, rounds // 6))
        games = games_at_once(rounds)
        split = pieces(rounds)
        facts = provenance("cpu")
    seeds = []
    for count in range(1, cores() + 1):
        seeds.append(many_seeds("qmix_cia", count, env_steps))
    least = floor(peak)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    facts |= {
        "started": began,
        "finished": now(),
        "cores": cores(),
        "rounds": rounds,
    }
    return {
        "table": table,
        "late": late,
        "reference_ms": REFERENCE,
        "floor": least,
        "growth": larger,
        "games": games,
        "pieces": split,
        "seeds": seeds,
        "peak_rss_mb": round(memory / 1000, 1),
        "provenance": facts,
    }


def show(result: dict[str, Any]) -> None:
    """The table as text."""
    columns = ("rollout", "sample", "update", "evaluate", "episode")
    print(f"{'ms':18}", end="")
    for column in columns:
        print(f"{column:>10}", end="")
    print(f"{'env steps/s':>13}")
    for method, rows in result["table"].items():
        for name in ("ours", "baseline"):
            print(f"{method} {name}".ljust(18), end="")
            for column in columns:
                print(f"{rows[name][column]:10.2f}", end="")
            print(f"{rows[name]['env_steps_per_s']:13.0f}")
        late = result["late"][method]["ratio"]
        print(f"{method}: {rows['ratio']:.2f} times the baseline")
        print(f"{method}: replay of 5000 episodes {rows['replay_mb']} MB")
        print(f"{method}: {late:.2f} times at the end of a training")
        print(f"{method}: turns between {rows['ratios'][0]} and {rows['ratios'][-1]}")
    print("published code, another machine (ms):", result["reference_ms"])
    print("arithmetic floor of an update:", result["floor"])
    print("games per seed:", result["games"])
    print("seeds at once, start included:", result["seeds"])


def keep(path: Path, result: dict[str, Any]) -> None:
    """Writes the file whole or not at all, and says where.

    Args:
        path: The file.
        result: Anything that JSON can hold.
    """
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
