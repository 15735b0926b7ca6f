"""Part of `make bench`: what the face of the battles costs beside raw SMAX, and what an update costs, on one core.

Raw SMAX is `jit(vmap(step_env))`, called once per step from Python. The face adds
SMAC's observations, state, available actions, rewards and ends. Both step 32 battles
with random available actions, drawn outside the measured time, and take turns. Medians
of 5 rounds go to book/results/bench/battles.json.
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
from bench.measure import RESULTS, keep, milliseconds, random_batch  # noqa: E402

from ciacore import METHODS  # noqa: E402
from ciacore.games.battles.battlefield import BATTLES, HeuristicEnemySMAX, settings  # noqa: E402
from ciacore.games.battles.smax import Smax  # noqa: E402
from ciacore.runtime.provenance import now, provenance  # noqa: E402
from ciacore.training import make_learner  # noqa: E402

GAMES, ROUNDS, UPDATES = 32, 5, 5


def drawn(available: torch.Tensor) -> torch.Tensor:
    """An available action per agent, [N, K]."""
    return torch.multinomial(available.flatten(0, 1).float(), 1).view(
        available.shape[:2]
    )


def face(game: Smax, steps: int) -> Callable[[], float]:
    """Seconds for so many steps through the face."""

    def measured() -> float:
        state, seconds = game.reset(GAMES, torch.Generator().manual_seed(0)), 0.0
        for _ in range(steps):
            actions = drawn(game.available(state))
            begin = time.perf_counter()
            step = game.advance(state, actions, torch.Generator())
            state = step.state
            _ = (
                game.observe(state).shape,
                game.global_state(state).shape,
                game.available(state).any(),
            )
            seconds += time.perf_counter() - begin
        return seconds

    return measured


def raw(game: Smax, steps: int) -> Callable[[], float]:
    """Seconds for so many steps of SMAX itself; on uneven ground, of our subclasses of it."""
    flat = game.battle.ground is None
    env = HeuristicEnemySMAX(**settings(game.battle)) if flat else game.smax
    begin_all, step_all = jax.jit(jax.vmap(env.reset)), jax.jit(jax.vmap(env.step_env))
    choices = jax.jit(jax.vmap(env.get_avail_actions))

    def measured() -> float:
        keys = jax.random.split(jax.random.PRNGKey(0), GAMES)
        (_, state), seconds = begin_all(keys), 0.0
        for _ in range(steps):
            available = choices(state)
            actions = {
                a: jnp.asarray(
                    drawn(torch.tensor(available[a].tolist())[:, None])[:, 0]
                )
                for a in env.agents
            }
            begin = time.perf_counter()
            _, state, *rest = step_all(keys, state, actions)
            jax.block_until_ready((state, rest))
            seconds += time.perf_counter() - begin
        return seconds

    return measured


def rates(game: Smax, steps: int) -> dict[str, float]:
    """Env steps per second, raw and through the face, and their ratio, round by round in turn."""
    works = {"raw": raw(game, steps), "face": face(game, steps)}
    for work in works.values():
        work()  # compiles
    rounds = [{name: work() for name, work in works.items()} for _ in range(ROUNDS)]
    middle = {name: statistics.median(each[name] for each in rounds) for name in works}
    per_second = {
        f"{name}_per_s": round(GAMES * steps / seconds)
        for name, seconds in middle.items()
    }
    return {
        **per_second,
        "face_over_raw": round(
            statistics.median(e["raw"] / e["face"] for e in rounds), 3
        ),
    }


def updates(game: Smax) -> dict[str, float]:
    """ms per update on 32 episodes that last until the limit."""
    found = {}
    for method in ("qmix", "qmix_cia"):
        config = METHODS[method]
        learner = make_learner(
            config, game.spec, torch.Generator().manual_seed(0), torch.device("cpu")
        )
        batch = random_batch(game.spec, config)
        times = [
            milliseconds(lambda learner=learner, batch=batch: learner.update(batch))
            for _ in range(UPDATES + 1)
        ]
        found[f"{method}_update_ms"] = round(statistics.median(times[1:]), 1)
    return found


def main() -> None:
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
