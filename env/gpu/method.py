"""Whether a method can be captured and resumed, and what an iteration costs.

    python env/gpu/method.py METHOD SEEDS [--branches] [--stand-in]

Prints JSON. Few seeds are also compared with the same trainings without graphs, and
resumed from checkpoints. Each call is a process of its own: a capture that fails leaves
CUDA unusable.
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
FEW = 5  # seeds that are compared and resumed


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


def differences(ours: list[Training], others: list[Training]) -> dict[str, Any]:
    """How far trainings are apart.

    Args:
        ours: of every seed one.
        others: as far as the first ones.

    Returns:
        The largest difference of a parameter, and whether replays and random numbers
        are the same.
    """
    apart, same = [], {"replay": True, "generators": True}
    for first, second in zip(ours, others, strict=True):
        one, two = tensors_of(first), tensors_of(second)
        for name in one:
            part = name.partition(".")[0]
            if part in same:
                same[part] &= torch.equal(one[name], two[name])
            elif part in ("online", "target", "auxiliaries"):
                apart.append(float((one[name] - two[name]).abs().max()))
    return {"parameters": max(apart), "same": same}


def alike(ours: list[Training]) -> list[Training]:
    """Trainings of the same Config and seeds, at their start."""
    first = ours[0]
    return made(first.config, first.game, len(ours), first.device)


def without_graphs(ours: list[Training]) -> dict[str, Any]:
    """What the same trainings without graphs, one by one, differ by."""
    plain = alike(ours)
    for one, other in zip(ours, plain, strict=True):
        while other.clock.episodes < one.clock.episodes:
            other.iterate()
    return differences(ours, plain)


def resumed(together: SeedsInOneGraph, stacked: bool) -> dict[str, Any]:
    """What trainings differ by that were resumed on the way.

    Args:
        together: captured; it goes on as far as the others.
        stacked: whether seeds are stacked.
    """
    ours, again = together.trainings, alike(together.trainings)
    for one, other in zip(ours, again, strict=True):
        facts = json.loads(json.dumps(facts_of(one)))
        tensors = {name: value.cpu().clone() for name, value in tensors_of(one).items()}
        restore(other, facts, tensors)
    until_captured(SeedsInOneGraph(again, stacked))
    while ours[0].clock.episodes < again[0].clock.episodes:
        together.iterate()
    torch.cuda.synchronize()
    return differences(ours, again)


def main() -> None:
    """Prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("seeds", type=int)
    parser.add_argument("--branches", action="store_true")
    parser.add_argument("--stand-in", action="store_true")
    options = parser.parse_args()
    device = stand_in.device(options.stand_in)
    config, game, rounds = METHODS[options.method], Turn(), ROUNDS
    if options.stand_in:
        config, game, rounds = config.but(**SMALL), Turn(horizon=5), 2
    began = time.perf_counter()
    stacked = not options.branches
    together = SeedsInOneGraph(made(config, game, options.seeds, device), stacked)
    until_captured(together)
    found: dict[str, Any] = {
        "seeds": options.seeds,
        "seeds_stacked": together.seeds_stacked[config],
        "recurrences": torch.backends.cudnn.rnn.fp32_precision,
        "seconds_until_captured": time.perf_counter() - began,
        **speed(together, rounds),
        "memory_mb": torch.cuda.max_memory_allocated() / 1e6,
    }
    if options.seeds <= FEW:
        found["without_graphs"] = without_graphs(together.trainings)
        found["resumed"] = resumed(together, stacked)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
