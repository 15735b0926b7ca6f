"""What a step of a battle costs on a GPU, and on a core beside it.

    python env/gpu/battle.py [--stand-in]

Prints JSON: for a device and a number of battles at once, the seconds to compile them,
and the milliseconds of a step of all of them.
"""

from __future__ import annotations

import argparse
import json
import time

import stand_in
import torch

from ciacore.games.battles.smax import Smax

SCENARIO = "6h_vs_8z"
AT_ONCE, STEPS = (1, 32, 1024), 50


def measure(n_games: int, device: torch.device, steps: int) -> dict[str, float]:
    """One number of battles.

    Args:
        n_games: how many at once.
        device: where they are played.
        steps: how many are timed.
    """
    game, rng = Smax(SCENARIO), torch.Generator(device).manual_seed(0)
    began = time.perf_counter()
    state = game.reset(n_games, rng)
    for timed in (1, steps):
        for _ in range(timed):
            actions = game.available(state).int().argmax(-1)
            state = game.advance(state, actions, rng).state
            bool(state.available.any())  # as play asks whether all is over
        if timed == 1:
            compiled, began = time.perf_counter() - began, time.perf_counter()
    ms = 1e3 * (time.perf_counter() - began) / steps
    return {"seconds_to_compile": compiled, "ms_per_step": ms}


def main() -> None:
    """Prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stand-in", action="store_true")
    options = parser.parse_args()
    device = stand_in.device(options.stand_in)
    at_once, steps = ((1,), 2) if options.stand_in else (AT_ONCE, STEPS)
    rows = [{"device": "core", "battles": 1, **measure(1, torch.device("cpu"), steps)}]
    for n_games in at_once:
        row = {"device": device.type, "battles": n_games}
        rows.append({**row, **measure(n_games, device, steps)})
    print(json.dumps({"scenario": SCENARIO, "rows": rows}))


if __name__ == "__main__":
    main()
