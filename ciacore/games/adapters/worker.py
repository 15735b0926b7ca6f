"""The process that plays copies of an environment for `ciacore.games.adapters.workers`.

It is started there and by nobody else.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback

from ciacore.games.adapters.workers import Here, portable


def main() -> int:
    """Answers orders until there are no more, and returns the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent decides when to end
        signal.signal(number, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anything prints goes to standard error, not among the answers
    failed: Exception | None = None
    copies = None
    try:
        copies = Here(pickle.load(sys.stdin.buffer))  # from the parent's pipe
    except Exception as error:  # what importing an environment may raise
        failed = portable(error, traceback.format_exc())
    while True:
        try:
            method, orders = pickle.load(sys.stdin.buffer)
        except EOFError:
            return 0
        answer = failed
        if copies is not None:
            try:
                answer = copies.ask(method, orders)
            except Exception as error:  # whatever an environment may raise
                answer = portable(error, traceback.format_exc())
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    sys.exit(main())
