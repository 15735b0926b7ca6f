"""Part of `make bench`: what the face of the battles and an update cost on one core.

The face is measured beside raw SMAX, which is `jit(vmap(step_env))`, called once per
step from Python. The face adds SMAC's observations, state, available actions, rewards
and ends. Both step 32 battles with random available actions, drawn outside the measured
time, and take turns. Medians of 5 rounds go to book/results/bench/battles.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# read when JAX starts
ONE_CORE = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "OMP_NUM_THREADS": "1"}
os.environ |= ONE_CORE
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import torch  # noqa: E402
from bench.measure import RESULTS, keep, update_times  # noqa: E402

from ciacore import METHODS  # noqa: E402
from ciacore.games.battles.battlefield import (  # noqa: E402
    BATTLES,
    HeuristicEnemySMAX,
    settings,
)
from ciacore.games.battles.smax import Smax  # noqa: E402
from ciacore.runtime.provenance import now, provenance  # noqa: E402

GAMES, ROUNDS, UPDATES = 32, 5, 5


def drawn(available: torch.Tensor) -> torch.Tensor:
    """An available action per agent, [N, K], of available actions [N, K, A]."""
    n_games, n_agents, _ = available.shape
    rows = available.flatten(0, 1).float()
    return torch.multinomial(rows, 1).view(n_games, n_agents)


def face(game: Smax, steps: int) -> Callable[[], float]:
    """Seconds for so many steps through the face.

    Args:
        game: The battle.
        steps: How many steps all games take.
    """

    def measured() -> float:
        state = game.reset(GAMES, torch.Generator().manual_seed(0))
        seconds = 0.0
        for _ in range(steps):
            actions = drawn(game.available(state))
            begin = time.perf_counter()
            step = game.advance(state, actions, torch.Generator())
            state = step.state
            game.observe(state)
            game.global_state(state)
            game.available(state).any()
            seconds += time.perf_counter() - begin
        return seconds

    return measured


def raw(game: Smax, steps: int) -> Callable[[], float]:
    """Seconds for so many steps of SMAX itself; on uneven ground, of our subclasses.

    Args:
        game: The battle.
        steps: How many steps all games take.
    """
    flat = game.battle.ground is None
    env = HeuristicEnemySMAX(**settings(game.battle)) if flat else game.smax
    begin_all = jax.jit(jax.vmap(env.reset))
    step_all = jax.jit(jax.vmap(env.step_env))
    choices = jax.jit(jax.vmap(env.get_avail_actions))

    def measured() -> float:
        keys = jax.random.split(jax.random.PRNGKey(0), GAMES)
        _, state = begin_all(keys)
        seconds = 0.0
        for _ in range(steps):
            available = choices(state)
            actions = {}
            for agent in env.agents:
                may = torch.tensor(available[agent].tolist())
                actions[agent] = jnp.asarray(drawn(may.unsqueeze(1)).squeeze(1))
            begin = time.perf_counter()
            _, state, *rest = step_all(keys, state, actions)
            jax.block_until_ready((state, rest))
            seconds += time.perf_counter() - begin
        return seconds

    return measured


def rates(game: Smax, steps: int) -> dict[str, float]:
    """Env steps per second, raw and through the face, and their ratio.

    Both take turns, round by round.

    Args:
        game: The battle.
        steps: How many steps all games take per round.
    """
    raw_work = raw(game, steps)
    face_work = face(game, steps)
    raw_work()  # compiles
    face_work()
    raw_seconds, face_seconds, ratios = [], [], []
    for _ in range(ROUNDS):
        raw_seconds.append(raw_work())
        face_seconds.append(face_work())
        ratios.append(raw_seconds[-1] / face_seconds[-1])
    return {
        "raw_per_s": round(GAMES * steps / statistics.median(raw_seconds)),
        "face_per_s": round(GAMES * steps / statistics.median(face_seconds)),
        "face_over_raw": round(statistics.median(ratios), 3),
    }


def updates(game: Smax) -> dict[str, float]:
    """ms per update on 32 episodes that last until the limit."""
    found = {}
    for method in ("qmix", "qmix_cia"):
        times = update_times(METHODS[method], game.spec, UPDATES + 1)
        found[f"{method}_update_ms"] = round(statistics.median(times[1:]), 1)
    return found


def main() -> None:
    """Measures, prints, and writes the file whole or not at all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100, help="steps per round")
    parser.add_argument("--scenarios", nargs="*", default=list(BATTLES))
    parser.add_argument("--out", type=Path, default=RESULTS / "battles.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, Any] = {}
    for name in options.scenarios:
        game = Smax(name)
        rows[name] = {**rates(game, options.steps), **updates(game)}
        print(name, rows[name], flush=True)
    facts = {**provenance("cpu"), "finished": now()}
    result = {
        "games": GAMES,
        "steps": options.steps,
        "rounds": ROUNDS,
        "scenarios": rows,
        "provenance": facts,
    }
    keep(options.out, result)


if __name__ == "__main__":
    main()
