"""Copies of an environment, in this process or in worker processes.

A worker (`python -m ciacore.games.adapters.worker`) reads orders from its standard
input and answers on its standard output. It ends when nobody is left to give orders.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import weakref
from contextlib import suppress
from typing import Any

import numpy as np

from ciacore.games.adapters.padded import Padded, Result, Rules, Seen
from ciacore.types import InvalidInputError

# index of a copy -> the seed of its next episode, its joint action, or nothing
Orders = dict[int, Any]
# index of a copy -> what it answers: what is seen and what happened, or a picture
Answers = dict[int, tuple[Seen, Result] | np.ndarray | None]


class Here:
    """Copies in this process."""

    def __init__(self, rules: Rules) -> None:
        """None is made yet.

        Args:
            rules: of the game.
        """
        self.rules = rules
        self.copies: dict[int, Padded] = {}

    def ask(self, method: str, orders: Orders) -> Answers:
        """Resets some copies, plays one step in them, or has them drawn.

        Args:
            method: reset, step or picture.
            orders: by copy.

        Returns:
            What each of them answers.
        """
        answers = {}
        for index, order in orders.items():
            if index not in self.copies:
                self.copies[index] = Padded(self.rules)
            answers[index] = getattr(self.copies[index], method)(order)
        return answers

    def close(self) -> None:
        """Forgets all copies."""
        self.copies.clear()


class Workers:
    """Copies in several processes; copy i lives in process i modulo their number."""

    def __init__(self, rules: Rules, processes: int) -> None:
        """Starts the processes.

        Args:
            rules: of the game.
            processes: how many.
        """
        self.running = [started(rules) for _ in range(processes)]
        self.close = weakref.finalize(self, stop, self.running)

    def ask(self, method: str, orders: Orders) -> Answers:
        """As `Here.ask`; all processes work at the same time.

        Args:
            method: reset, step or picture.
            orders: by copy.

        Returns:
            What each of them answers.

        Raises:
            InvalidInputError: an environment is not what it was taken for.
            RuntimeError: an environment failed, or its process is gone.
        """
        asked = []
        for number, process in enumerate(self.running):
            share = {
                index: order
                for index, order in orders.items()
                if index % len(self.running) == number
            }
            if share:
                asked.append(process)
                # of a process that is gone: it will not answer either
                with suppress(OSError):
                    send(process, (method, share))
        found = [answer_of(process) for process in asked]
        answers: Answers = {}
        for answer in found:
            if isinstance(answer, Exception):
                self.close()
                raise answer
            answers |= answer
        return answers


def started(rules: Rules) -> subprocess.Popen:
    """A worker with copies of its own.

    Args:
        rules: of the game.
    """
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    process = subprocess.Popen(
        # -P: sys.path is ours, without the working directory
        [sys.executable, "-P", "-m", "ciacore.games.adapters.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )
    with suppress(OSError):
        send(process, rules)
    return process


def send(process: subprocess.Popen, message: Any) -> None:
    """Puts a message into a worker's pipe.

    Args:
        process: the worker.
        message: what it is told.
    """
    pickle.dump(message, process.stdin)
    process.stdin.flush()


def answer_of(process: subprocess.Popen) -> Answers | Exception:
    """What a worker answers, or an error that is to be raised here."""
    try:
        return pickle.load(process.stdout)  # from the child's pipe
    except (EOFError, pickle.UnpicklingError):
        code = process.wait()
        return RuntimeError(f"an environment's process ended with exit code {code}")


def stop(running: list[subprocess.Popen]) -> None:
    """Lets workers end and waits for them.

    Args:
        running: the workers.
    """
    for process in running:
        with suppress(OSError):
            process.stdin.close()
    for process in running:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
    running.clear()


def portable(error: Exception, traceback: str) -> Exception:
    """An error that can be sent to another process.

    Args:
        error: what was raised.
        traceback: where.
    """
    if isinstance(error, InvalidInputError):
        return InvalidInputError(str(error))
    foreign = RuntimeError(f"an environment failed: {type(error).__name__}: {error}")
    foreign.add_note(traceback)
    return foreign
