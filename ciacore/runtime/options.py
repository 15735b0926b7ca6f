"""What a caller of `train` wants besides the runs: who is told, and what is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ciacore.runtime.metrics import LOGS
from ciacore.types import known_name, refuse

# Who is told of evaluations: a name in LOGS, or a function of one entry.
Told = str | Callable[[dict[str, Any]], None] | None


class Options(NamedTuple):
    """The wishes of a caller; none of them changes a number of the run."""

    log: Told = None  # a name in LOGS, or called with each evaluation's entry
    keep_checkpoint: bool = False  # so that the finished run can be trained further
    keep_best: bool = False  # the weights of the best evaluation
    keep_every: int | None = None  # the weights every so many env steps


NO_OPTIONS = Options()


def check_options(options: Options, results: str | Path | None) -> None:
    """Refuses what cannot be done, before anything is computed.

    Args:
        options: the wishes.
        results: the folder of all runs; None keeps runs in memory.

    Raises:
        InvalidInputError: a wish of the wrong type, a log that is not installed, or
            something to be kept while there is no folder.
    """
    for name in ("keep_checkpoint", "keep_best"):
        value = getattr(options, name)
        if not isinstance(value, bool):
            refuse(name, "True or False", value, "Write it without quotes.")
    every = options.keep_every
    is_count = isinstance(every, int) and not isinstance(every, bool) and every >= 1
    if every is not None and not is_count:
        cure = "Write e.g. 100_000, or leave it out."
        refuse("keep_every", "a whole number of env steps", every, cure)
    check_log(options.log)
    wanted = [name for name in options._fields[1:] if getattr(options, name)]
    if isinstance(options.log, str):
        wanted.append("log")
    if wanted and results is None:
        expected = f"a folder, since {wanted[0]} writes files"
        refuse("results", expected, None, 'Write e.g. results="runs".')


def check_log(log: Told) -> None:
    """Refuses a log of an unknown name, or one whose package is missing."""
    if log is None or callable(log):
        return
    if not isinstance(log, str):
        cure = f"Write log={next(iter(LOGS))!r}, or pass a function of one entry."
        refuse("log", "a name, a function or None", log, cure)
    LOGS[known_name(log, LOGS, "log")].check()
