"""Whether a method can be captured and resumed, and what an iteration costs.

    python env/gpu/method.py METHOD SEEDS [--stand-in]

Prints JSON. One seed is also compared with the same training without graphs, and
resumed from a checkpoint. Each call is a process of its own: a capture that fails
leaves CUDA unusable.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import stand_in
import torch

from ciacore import METHODS
from ciacore.config import Config
from ciacore.games import Turn
from ciacore.runtime.cuda_graphs import SeedsInOneGraph
from ciacore.runtime.snapshot import facts_of, restore, tensors_of
from ciacore.training import Training

SMALL = {"batch": 4, "buffer": 8, "hidden_size": 8, "evaluation_games": 3}
ROUNDS = 30


def made(
    config: Config, game: Turn, seeds: int, device: torch.device
) -> list[Training]:
    """Trainings at their start.

    Args:
        config: the method.
        game: what is played.
        seeds: how many.
        device: where they lie.
    """
    numbers = range(1, seeds + 1)
    return [Training(config, game, seed, device, in_numpy=False) for seed in numbers]


def until_captured(together: SeedsInOneGraph) -> None:
    """Iterates until whole iterations are launched as a graph."""
    while "iteration" not in together.graphs:
        together.iterate()
    torch.cuda.synchronize()


def speed(together: SeedsInOneGraph, rounds: int) -> dict[str, float]:
    """Milliseconds of an iteration of all seeds, evaluations among them.

    Args:
        together: captured.
        rounds: how many are timed.
    """
    whole, host = [], []
    for _ in range(rounds):
        torch.cuda.synchronize()
        began = time.perf_counter()
        together.iterate()
        host.append(1e3 * (time.perf_counter() - began))
        torch.cuda.synchronize()
        whole.append(1e3 * (time.perf_counter() - began))
    ms = statistics.median(whole)
    first = together.trainings[0]
    steps = len(together.trainings) * first.config.n_games * first.game.spec.horizon
    return {
        "ms": ms,
        "host_ms": statistics.median(host),
        "env_steps_per_s": 1e3 * steps / ms,
    }


def differences(ours: Training, other: Training) -> dict[str, Any]:
    """How far two trainings are apart.

    Args:
        ours: one of them.
        other: as far as the first.

    Returns:
        The largest difference of a parameter, and whether replays and random numbers
        are the same.
    """
    one, two = tensors_of(ours), tensors_of(other)
    apart = [
        float((one[name] - two[name]).abs().max())
        for name in one
        if name.startswith(("online", "target", "auxiliaries"))
    ]
    same = {
        part: all(
            torch.equal(one[name], two[name]) for name in one if name.startswith(part)
        )
        for part in ("replay", "generators")
    }
    return {"parameters": max(apart), "same": same}


def without_graphs(ours: Training) -> dict[str, Any]:
    """What the same training without graphs differs by."""
    (plain,) = made(ours.config, ours.game, 1, ours.device)
    while plain.clock.episodes < ours.clock.episodes:
        plain.iterate()
    return differences(ours, plain)


def resumed(together: SeedsInOneGraph) -> dict[str, Any]:
    """What a training differs by that was resumed on the way.

    Args:
        together: one seed, captured; it goes on as far as the other.
    """
    (ours,) = together.trainings
    facts = json.loads(json.dumps(facts_of(ours)))
    tensors = {name: value.cpu().clone() for name, value in tensors_of(ours).items()}
    (again,) = made(ours.config, ours.game, 1, ours.device)
    restore(again, facts, tensors)
    graphs = SeedsInOneGraph([again])
    until_captured(graphs)
    while ours.clock.episodes < again.clock.episodes:
        together.iterate()
    torch.cuda.synchronize()
    return differences(ours, again)


def main() -> None:
    """Prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("seeds", type=int)
    parser.add_argument("--stand-in", action="store_true")
    options = parser.parse_args()
    device = stand_in.device(options.stand_in)
    config, game, rounds = METHODS[options.method], Turn(), ROUNDS
    if options.stand_in:
        config, game, rounds = config.but(**SMALL), Turn(horizon=5), 2
    began = time.perf_counter()
    together = SeedsInOneGraph(made(config, game, options.seeds, device))
    until_captured(together)
    found: dict[str, Any] = {
        "seeds": options.seeds,
        "recurrences": torch.backends.cudnn.rnn.fp32_precision,
        "seconds_until_captured": time.perf_counter() - began,
        **speed(together, rounds),
        "memory_mb": torch.cuda.max_memory_allocated() / 1e6,
    }
    if options.seeds == 1:
        found["without_graphs"] = without_graphs(together.trainings[0])
        found["resumed"] = resumed(together)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
