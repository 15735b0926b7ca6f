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
from ciacore.runtime.session import train_here


def main() -> int:
    """Trains what standard input names, and returns the exit code.

    Lines of JSON on standard output say how far it is, or why it failed.
    """
    order = pickle.load(sys.stdin.buffer)  # from the parent's pipe
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what anything prints goes to standard error, not among the answers

    def progress(env_steps: int, total: int, **facts: float) -> None:
        answers.write(json.dumps({"env_steps": env_steps, **facts}) + "\n")

    def report(entry: Entry) -> None:
        answers.write(json.dumps({"evaluation": entry}) + "\n")

    for slot, name, part in order["parts"]:
        SLOTS[slot][name] = part
    seed, cpu = order["seed"], torch.device("cpu")
    folders, options = {seed: order["folder"]}, order["options"]
    if order["report"]:
        options = options._replace(log=report)
    try:
        _, errors = train_here(
            order["config"], order["game"], folders, cpu, progress, options
        )
        if seed in errors:
            raise errors[seed]
    except (BrokenPipeError, KeyboardInterrupt, InterruptedError):
        return 1  # a checkpoint is kept
    except Exception as error:
        failure = {
            "error": type(error).__name__,
            "message": str(error),
            "traceback": traceback.format_exc(),
        }
        answers.write(json.dumps(failure) + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
