"""Many seeds on one CPU: a process and a core for each.

A worker (`python -m ciacore.runtime.worker`) is told through its standard input what to
train, and answers with a line of JSON per iteration. A worker whose parent is gone
cannot answer, keeps a checkpoint and ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from ciacore.config import Config
from ciacore.methods import named
from ciacore.types import Game, InvalidInputError

ERRORS = {
    kind.__name__: kind for kind in (InvalidInputError, FloatingPointError, MemoryError)
}
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h>


@contextmanager
def one_core() -> Iterator[None]:
    """One thread for torch, so that a result does not depend on what else runs; and freed memory is kept for reuse.

    An update asks for memory in large pieces, which glibc would give back and fetch
    again each time, page by page.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    if sys.platform == "linux":
        # glibc has it, musl does not
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, 1 << 30)
            mallopt(M_TRIM_THRESHOLD, 1 << 30)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def cores() -> int:
    """The cores this process may use."""
    return (
        len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1
    )


def portable(config: Config, game: Game) -> bool:
    """Whether the game, and the parts that the Config names, can be handed to another process.

    What a notebook or script defines cannot: it lies in `__main__`, and every process
    has its own.
    """
    try:
        return b"__main__" not in pickle.dumps((game, type(game), list(named(config))))
    except Exception:  # each object has its own way to say that it cannot be pickled
        return False


def train_in_processes(
    config: Config,
    game: Game,
    seeds: Sequence[int],
    results: Path,
    workers: int,
    progress: Callable[..., None],
) -> dict[int, Exception]:
    """Trains every seed in a process of its own, `workers` at a time, and returns the errors of those that failed.

    A failed seed does not stop the others. When this process is interrupted, the
    workers keep checkpoints and end.
    """
    waiting, errors, done = list(seeds), {}, dict.fromkeys(seeds, 0)
    with selectors.DefaultSelector() as running:
        try:
            while waiting or running.get_map():
                while waiting and len(running.get_map()) < workers:
                    worker = Worker(config, game, waiting.pop(0), results)
                    running.register(
                        worker.process.stdout, selectors.EVENT_READ, worker
                    )
                for key, _ in running.select():
                    worker = key.data
                    for message in worker.read():
                        done[worker.seed] = message.pop("env_steps")
                        progress(
                            sum(done.values()), len(seeds) * config.env_steps, **message
                        )
                    if worker.ended:
                        running.unregister(worker.process.stdout)
                        worker.process.stdout.close()
                        if worker.error:
                            errors[worker.seed] = worker.error
        finally:
            for key in list(running.get_map().values()):
                key.data.stop()
    return errors


class Worker:
    """A process that trains one seed."""

    def __init__(self, config: Config, game: Game, seed: int, results: Path) -> None:
        self.seed, self.error, self.ended, self.rest = seed, None, False, b""
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        }
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "ciacore.runtime.worker",
            ],  # -P: sys.path is ours, without the working directory
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        parts = list(named(config))
        order = {
            "config": config,
            "game": game,
            "seed": seed,
            "results": str(results),
            "parts": parts,
        }
        # if it ended early, `read` finds out why
        with suppress(BrokenPipeError), self.process.stdin as pipe:
            pipe.write(pickle.dumps(order))  # from parent to child, never a file

    def read(self) -> list[dict[str, Any]]:
        """What has arrived; `ended` and `error` are set when nothing more will."""
        data = os.read(self.process.stdout.fileno(), 1 << 16)
        *lines, self.rest = (self.rest + data).split(b"\n")
        messages = [json.loads(line) for line in lines]
        for message in messages:
            if "error" in message:
                self.error = self.told(**message)
        if not data:
            self.ended, code = True, self.process.wait()
            if code and self.error is None:
                self.error = RuntimeError(
                    f"seed {self.seed}: its process ended with exit code {code}. Train it again."
                )
        return [message for message in messages if "error" not in message]

    def told(self, error: str, message: str, traceback: str) -> Exception:
        """The error that a worker reports; one that is not ours names its seed and where it happened."""
        if error in ERRORS:
            return ERRORS[error](message)
        foreign = RuntimeError(f"seed {self.seed}: {error}: {message}")
        foreign.add_note(traceback)
        return foreign

    def stop(self) -> None:
        """Asks the worker to keep a checkpoint and end, and waits for it."""
        self.process.terminate()
        self.process.stdout.close()
        self.process.wait()
