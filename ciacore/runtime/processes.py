"""Many seeds on one CPU: a process and a core for each.

A worker (`python -m ciacore.runtime.worker`) reads from its standard input what to
train, and answers with a line of JSON per iteration. A worker whose parent is gone
cannot answer, keeps a checkpoint and ends.
"""

from __future__ import annotations

import json
import os
import pickle
import selectors
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ciacore.config import Config
from ciacore.methods import named_parts
from ciacore.runtime.options import NO_OPTIONS, Options
from ciacore.types import Game, InvalidInputError


class CannotLoad(RuntimeError):
    """Another process cannot import what it is to train."""


ERRORS = {
    kind.__name__: kind
    for kind in (InvalidInputError, FloatingPointError, MemoryError, CannotLoad)
}


def picklable(config: Config, game: Game) -> bool:
    """Whether game and parts can be handed to another process.

    What a notebook or script defines cannot: it lies in `__main__`, and every process
    has its own.

    Args:
        config: names the parts.
        game: what is played.
    """
    try:
        everything = pickle.dumps((game, type(game), list(named_parts(config))))
    except Exception:  # each object has its own way to say that it cannot be pickled
        return False
    return b"__main__" not in everything


def train_in_processes(
    config: Config,
    game: Game,
    folders: dict[int, Path],
    workers: int,
    progress: Callable[..., None],
    options: Options = NO_OPTIONS,
) -> dict[int, Exception]:
    """Trains every seed in a process of its own.

    A failed seed does not stop the others. When this process is interrupted, the
    workers keep checkpoints and end.

    Args:
        config: the method.
        game: what is played.
        folders: seed -> its run folder.
        workers: how many at a time.
        progress: called with every answer, over all seeds.
        options: what else the caller wants; a function that logs is called here.

    Returns:
        The errors of the seeds that failed.
    """
    waiting, total = list(folders), len(folders) * config.env_steps
    done = dict.fromkeys(folders, 0)  # env steps, by seed
    errors: dict[int, Exception] = {}
    with selectors.DefaultSelector() as running:
        try:
            while waiting or running.get_map():
                while waiting and len(running.get_map()) < workers:
                    seed = waiting.pop(0)
                    worker = Worker(config, game, seed, folders[seed], options)
                    answers = worker.process.stdout
                    running.register(answers, selectors.EVENT_READ, worker)
                for key, _ in running.select():
                    worker = key.data
                    for message in worker.read():
                        if "evaluation" in message:
                            options.log(message["evaluation"])
                            continue
                        done[worker.seed] = message.pop("env_steps")
                        progress(sum(done.values()), total, **message)
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

    def __init__(
        self,
        config: Config,
        game: Game,
        seed: int,
        folder: Path,
        options: Options = NO_OPTIONS,
    ) -> None:
        """Starts the process.

        Args:
            config: the method.
            game: what is played.
            seed: of the run.
            folder: of the run.
            options: what else the caller wants.
        """
        self.seed, self.error, self.ended = seed, None, False
        self.unread = b""  # the beginning of a line
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        environment = {
            **os.environ,
            "PYTHONPATH": path,
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        self.process = subprocess.Popen(
            # -P: sys.path is ours, without the working directory
            [sys.executable, "-P", "-m", "ciacore.runtime.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        order = {
            "config": config,
            "game": game,
            "seed": seed,
            "folder": folder,
            # A function stays here, and the worker reports what it is to be told.
            "report": callable(options.log),
            "options": options._replace(log=None) if callable(options.log) else options,
            "parts": list(named_parts(config)),
        }
        # If it ended early, `read` finds out why.
        with suppress(BrokenPipeError), self.process.stdin as pipe:
            pipe.write(pickle.dumps(order))  # from parent to child, never a file

    def read(self) -> list[dict[str, Any]]:
        """What has arrived; `ended` and `error` are set when nothing more will."""
        data = os.read(self.process.stdout.fileno(), 1 << 16)
        *lines, self.unread = (self.unread + data).split(b"\n")
        messages = [json.loads(line) for line in lines]
        for message in messages:
            if "error" in message:
                self.error = self.error_from(**message)
        if not data:
            self.ended, code = True, self.process.wait()
            if code and self.error is None:
                self.error = RuntimeError(
                    f"seed {self.seed}: its process ended with exit code {code}. "
                    "Train it again."
                )
        return [message for message in messages if "error" not in message]

    def error_from(self, error: str, message: str, traceback: str) -> Exception:
        """The error that a worker reports.

        Args:
            error: the name of its class; one that is not ours becomes a RuntimeError.
            message: what it says.
            traceback: where it happened, for errors that are not ours.
        """
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
