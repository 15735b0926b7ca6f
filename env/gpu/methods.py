"""Whether all methods in one graph are faster than one after the other.

    python env/gpu/methods.py SEEDS [--stand-in]

Prints JSON: an iteration of all methods of Turn, with so many seeds of each, as one
graph; and the iterations of a graph for each method, which add up. The stand-in tries
two methods, one that is stacked and one that is not.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import stand_in
import torch
from method import ROUNDS, SMALL, made, speed, until_captured

from ciacore import METHODS
from ciacore.config import Config
from ciacore.games import Turn
from ciacore.runtime.cuda_graphs import SeedsInOneGraph

TWO = ("vdn", "maven")


def measured(
    configs: list[Config], game: Turn, seeds: int, device: torch.device, rounds: int
) -> dict[str, Any]:
    """An iteration of some methods in one graph.

    Args:
        configs: the methods.
        game: what is played.
        seeds: how many of each.
        device: where they lie.
        rounds: how many iterations are timed.
    """
    began = time.perf_counter()
    members = [each for config in configs for each in made(config, game, seeds, device)]
    graph = SeedsInOneGraph(members)
    until_captured(graph)
    captured = time.perf_counter() - began
    return {
        "branches": len(graph.branches),
        "seconds_until_captured": captured,
        **speed(graph, rounds),
        "memory_mb": torch.cuda.max_memory_allocated() / 1e6,
    }


def main() -> None:
    """Prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seeds", type=int)
    parser.add_argument("--stand-in", action="store_true")
    options = parser.parse_args()
    device = stand_in.device(options.stand_in)
    configs, game, rounds = [*METHODS.values()], Turn(), ROUNDS
    if options.stand_in:
        configs = [METHODS[name].but(**SMALL) for name in TWO]
        game, rounds = Turn(horizon=5), 2
    more = (game, options.seeds, device, rounds)
    together = measured(configs, *more)  # first, as its memory is the most
    alone = {config.method: measured([config], *more) for config in configs}
    found = {
        "seeds": options.seeds,
        "recurrences": torch.backends.cudnn.rnn.fp32_precision,
        **together,
        "alone": alone,
        "ms_one_after_the_other": sum(each["ms"] for each in alone.values()),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
