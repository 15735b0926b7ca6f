"""Part of `make bench`: the memory of a training in each battle.

    PYTHONPATH=tests python -m bench.battle_memory

A process of its own trains QMIX(CIA) on a map until its replay holds some episodes, and
writes a checkpoint. There is an evaluation in between. The most that it had in memory
is measured, and once more after an update on a batch of episodes that last until the
limit. What the replay will still take until it is full is computed: 5,000 episodes as
long as those that were played, and as long as the longest there can be. Writes
book/results/bench/battle_memory.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# read when JAX starts
ONE_CORE = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "OMP_NUM_THREADS": "1"}
os.environ |= ONE_CORE

import torch  # noqa: E402
from bench.measure import RESULTS, keep, random_batch  # noqa: E402

from ciacore import METHODS  # noqa: E402
from ciacore.games.battles.battlefield import BATTLES  # noqa: E402
from ciacore.games.battles.smax import Smax  # noqa: E402
from ciacore.runtime.checkpoint import locked  # noqa: E402
from ciacore.runtime.memory import MIB, episode_bytes, run_megabytes  # noqa: E402
from ciacore.runtime.metrics import RESIDENT_UNIT  # noqa: E402
from ciacore.runtime.one_core import one_core  # noqa: E402
from ciacore.runtime.options import NO_OPTIONS  # noqa: E402
from ciacore.runtime.provenance import now, provenance  # noqa: E402
from ciacore.runtime.session import Session  # noqa: E402
from ciacore.training import Training  # noqa: E402

METHOD = "qmix_cia"
GAMES = 8  # per update, as in the comparison of battles: the replay fills faster


def peak() -> float:
    """The most memory that this process has had so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RESIDENT_UNIT / MIB


def train(name: str, episodes: int) -> dict[str, float]:
    """A row of the table, measured in this process.

    Args:
        name: of the map.
        episodes: that the replay holds at the end.
    """
    begin = time.process_time()
    game = Smax(name)
    config = METHODS[METHOD].but(n_games=GAMES)
    with tempfile.TemporaryDirectory() as results, one_core():
        folder = Path(results) / "seed_1"
        with locked(folder) as work:
            training = Training(config, game, 1, torch.device("cpu"))
            session = Session(training, folder, work, NO_OPTIONS)
            while len(training.replay) < episodes:
                training.iterate()
                session.observe()
            session.save()
            session.close()
        measured = peak()
        training.learner.update(random_batch(game.spec, config))
    held, with_longest_batch = training.replay.nbytes() / MIB, peak()
    full = config.buffer * held / len(training.replay)
    longest = config.buffer * episode_bytes(game.spec) / MIB
    return {
        # measured
        "episodes": len(training.replay),
        "updates": training.clock.updates,
        "steps_per_episode": round(training.clock.env_steps / len(training.replay), 1),
        "peak_mib": round(measured),
        "peak_with_longest_batch_mib": round(with_longest_batch),
        "replay_mib": round(held),
        # computed
        "full_replay_mib": round(full),
        "peak_with_full_replay_mib": round(measured + full - held),
        "longest_replay_mib": round(longest),
        "peak_at_most_mib": round(with_longest_batch + longest - held),
        "asked_for_mib": run_megabytes(game.spec, config),
        "cpu_seconds": round(time.process_time() - begin, 1),
    }


def in_a_process(name: str, episodes: int) -> dict[str, Any]:
    """`train` in a process of its own.

    Args:
        name: of the map.
        episodes: that the replay holds at the end.
    """
    command = [sys.executable, "-m", "bench.battle_memory", "--one", name]
    command += ["--episodes", str(episodes)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    row = json.loads(done.stdout.splitlines()[-1])
    # a process begins with the peak of the one that started it
    assert row["peak_mib"] > peak()
    return row


def main() -> None:
    """Measures, prints, and writes the file whole or not at all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=64, help="in the replay")
    parser.add_argument("--scenarios", nargs="*", default=list(BATTLES))
    parser.add_argument("--one", help="a map to be measured in this process")
    parser.add_argument("--out", type=Path, default=RESULTS / "battle_memory.json")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(train(options.one, options.episodes)))
        return
    rows = {}
    for name in options.scenarios:
        rows[name] = in_a_process(name, options.episodes)
        print(name, rows[name], flush=True)
    result = {
        "scenarios": rows,
        "method": METHOD,
        "games_per_update": GAMES,
        "buffer": METHODS[METHOD].buffer,
        "provenance": {**provenance("cpu"), "finished": now()},
    }
    keep(options.out, result)


if __name__ == "__main__":
    main()
