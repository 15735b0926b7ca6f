"""The process that trains one seed for `ciacore.runtime.processes`; it is started by it and by nobody else."""

from __future__ import annotations

import json
import os
import pickle
import sys
import traceback

from ciacore.methods import SLOTS
from ciacore.runtime.experiment import train


def main() -> int:
    """Trains what standard input names; lines of JSON on standard output tell how far it is, or why it failed."""
    order = pickle.load(sys.stdin.buffer)  # from the parent's pipe
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever prints, prints beside the answers

    def progress(env_steps: int, total: int, **facts: float) -> None:
        answers.write(json.dumps({"env_steps": env_steps, **facts}) + "\n")

    for slot, name, part in order.pop("parts"):
        SLOTS[slot][name] = part
    seed = order.pop("seed")
    try:
        train(**order, seeds=[seed], progress=progress)
    except (
        BrokenPipeError,
        KeyboardInterrupt,
        InterruptedError,
    ):  # a checkpoint is kept
        return 1
    except Exception as error:
        told = {
            "error": type(error).__name__,
            "message": str(error),
            "traceback": traceback.format_exc(),
        }
        answers.write(json.dumps(told) + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
