"""Runs and recordings made up by hand, short trainings, and what their folders hold."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ciabook.battles.recording import Recording

from ciacore.games import Turn
from ciacore.runtime.store import Run
from support.toys import CIA, small

# a training of some seconds
LONGER = small(**CIA, env_steps=1_000, evaluation_interval=100)
TURN = Turn(horizon=10)


# ------------------------------------------------------------------------------ made up


def made_up(seed: int = 1, method: str = "qmix", **weights: torch.Tensor) -> Run:
    """A run that nobody trained, with the given weights."""
    return Run(
        config=small(method=method, terms=("cia",)),
        game="stroll",
        seed=seed,
        metrics={
            "env_steps": [6],
            "episode_return": [[1.5, -2.0]],
            "losses": [None],
        },
        weights=weights,
        provenance={"commit": "abc", "started": "now"},
    )


def recording(steps: int, n_agents: int, n_foes: int) -> Recording:
    """One battle in which nobody moves, attacks or dies.

    The agents stand at x = 10, the foes at x = 20, two cells apart.
    """
    units = n_agents + n_foes
    y = np.concatenate([np.arange(n_agents), np.arange(n_foes)]) * 2.0 + 5
    x = np.where(np.arange(units) < n_agents, 10.0, 20.0)
    slots = (1, steps + 1, units)
    return Recording(
        positions=np.broadcast_to(np.stack([x, y], -1), (*slots, 2)).copy(),
        health=np.ones(slots),
        cooldowns=np.zeros(slots),
        targets=np.full(slots, -1),
        actions=np.ones((1, steps, n_agents), int),
        rewards=np.zeros((1, steps)),
        credits=np.zeros((1, steps, n_agents)),
        lengths=np.array([steps]),
        won=np.array([False]),
        walkable=np.ones((32, 32), bool),
        facts={"scenario": "toy", "player": "nobody", "provenance": {}},
    )


# ---------------------------------------------------------- trained in another process

TRAINING = """
import signal
import sys

from ciacore import train
from ciacore.runtime import session
from support.runs import LONGER, TURN


def progress(env_steps, *_, **__):
    print(env_steps, flush=True)


# a shell may have told its background jobs to ignore it
signal.signal(signal.SIGINT, signal.default_int_handler)
session.CHECKPOINT_SECONDS = float(sys.argv[2])
session.CHECKPOINT_SHARE = 1.0
config = LONGER.but(env_steps=int(sys.argv[3]))
train(config, TURN, [1], sys.argv[1], progress=progress)
"""


def start_training(
    results: Path, seconds: float = 180, env_steps: int = LONGER.env_steps
) -> subprocess.Popen:
    """A process that trains `LONGER`; it prints a line per iteration.

    Args:
        results: The folder of its results.
        seconds: The time between two checkpoints, in seconds; 0 for every iteration.
        env_steps: How long it trains, in environment steps.
    """
    arguments = [str(results), str(seconds), str(env_steps)]
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    environment["OMP_NUM_THREADS"] = "1"
    return subprocess.Popen(
        [sys.executable, "-c", TRAINING, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


FORKED = """
import os
import sys

import torch._dynamo  # what an optimizer would import in every child

from ciacore import train
from ciacore.runtime import provenance, session
from support.runs import LONGER, TURN

session.CHECKPOINT_SECONDS = 0.02
session.CHECKPOINT_SHARE = 1.0
provenance.git = lambda *_: None  # it takes longer than all else
config = LONGER.but(env_steps=10**6, evaluation_interval=1)
log = sys.argv[2] or None
told = []


def progress(*_, **__):
    if not told:
        told.append(print(os.getpid(), flush=True))


for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        train(config, TURN, [1], sys.argv[1], progress=progress, log=log)
    os.waitpid(child, 0)
    print("gone", flush=True)
"""


@contextmanager
def trainings_to_kill(
    results: Path, log: str = ""
) -> Iterator[Callable[[float], None]]:
    """Trainings with an evaluation at every iteration, each killed and then resumed.

    They are forked from one process, which has imported what takes long to import.

    Args:
        results: The folder of their results.
        log: Who else is told of evaluations; nobody by default.

    Yields:
        A function: it starts a training, and kills it (SIGKILL) some seconds after its
        first iteration.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", FORKED, str(results), log]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as parent:

        def killed_after(seconds: float) -> None:
            parent.stdin.write("\n")
            parent.stdin.flush()
            child = int(parent.stdout.readline())
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
            assert parent.stdout.readline() == "gone\n"

        yield killed_after
        parent.stdin.close()


# -------------------------------------------------------------------------- compared


def same(a: Run, b: Run, metrics: bool = True) -> bool:
    """Bit for bit: final weights and, unless told otherwise, the metrics."""
    if a.weights.keys() != b.weights.keys():
        return False
    for name in a.weights:
        if not torch.equal(a.weights[name], b.weights[name]):
            return False
    return a.metrics == b.metrics if metrics else True


def files(folder: Path) -> list[str]:
    """The names of all files under a folder, sorted."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            found.append(path.relative_to(folder).as_posix())
    return sorted(found)


def digests(results: Path) -> dict[str, str]:
    """The sha256 of what the runs are, without when and where they were made."""
    found = {}
    for path in results.glob("*/*/seed_*/*"):
        if path.name != "provenance.json":
            name = str(path.relative_to(results))
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


# ------------------------------------------------------- the first minutes on a GPU


def dry_run(out: Path, *arguments: str) -> dict[str, Any]:
    """What `env/gpu/first_minutes.py` finds on the stand-in for CUDA.

    Args:
        out: The file that it writes.
        arguments: Further ones.
    """
    root = Path(__file__).resolve().parents[2]
    script = root / "env" / "gpu" / "first_minutes.py"
    done = subprocess.run(
        [sys.executable, script, "--stand-in", "--out", out, *arguments],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return json.loads(out.read_text())


def assert_faithful(part: dict[str, Any]) -> None:
    """Without graphs and resumed it is the same training on the stand-in.

    Args:
        part: Of the results. Stacked seeds add up in another order than single ones.
    """
    assert part["ms"] > 0 and part["seeds_stacked"] in (0, part["seeds"])
    for name in ("without_graphs", "resumed"):
        rounding = 1e-4 if part["seeds_stacked"] and name == "without_graphs" else 0.0
        assert part[name]["parameters"] <= rounding, name
        assert part[name]["same"] == {"replay": True, "generators": True}, name
