"""The process that trains one seed for `ciacore.runtime.processes`.

It is started there and by nobody else.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import traceback

import torch

from ciacore.methods import SLOTS
from ciacore.runtime.metrics import Entry
from ciacore.runtime.session import Task, train_here


def main() -> int:
    """Trains what standard input names, and returns the exit code.

    Lines of JSON on standard output say how far it is, or why it failed.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what anything prints goes to standard error, not among the answers
    try:
        order = pickle.load(sys.stdin.buffer)  # from the parent's pipe
    except Exception as error:  # what importing a game or a part may raise
        answers.write(json.dumps(failure(error, "CannotLoad")) + "\n")
        return 1

    def progress(env_steps: int, total: int, **facts: float) -> None:
        answers.write(json.dumps({"env_steps": env_steps, **facts}) + "\n")

    def report(entry: Entry) -> None:
        answers.write(json.dumps({"evaluation": entry}) + "\n")

    for slot, name, part in order["parts"]:
        SLOTS[slot][name] = part
    task = Task(order["config"], order["seed"], order["folder"])
    game, options = order["game"], order["options"]
    if order["report"]:
        options = options._replace(log=report)
    try:
        cpu = torch.device("cpu")
        _, errors = train_here([task], game, cpu, progress, options)
        if task in errors:
            raise errors[task]
    except (BrokenPipeError, KeyboardInterrupt, InterruptedError):
        return 1  # a checkpoint is kept
    except Exception as error:
        answers.write(json.dumps(failure(error, type(error).__name__)) + "\n")
        return 1
    return 0


def failure(error: Exception, name: str) -> dict[str, str]:
    """What the parent is told of an error that is being handled.

    Args:
        error: what was raised.
        name: of its class, as the parent knows it.
    """
    return {
        "error": name,
        "message": str(error),
        "traceback": traceback.format_exc(),
    }


if __name__ == "__main__":
    sys.exit(main())
