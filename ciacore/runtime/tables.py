"""The metrics of runs as a table that every spreadsheet reads."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ciacore.runtime.files import write_whole
from ciacore.runtime.store import Run
from ciacore.types import refuse

FIRST = ("game", "method", "seed", "env_steps", "mean_return", "win_rate")


def to_csv(runs: Run | Sequence[Run], path: str | Path) -> Path:
    """Writes the metrics of runs as a CSV file, a row per evaluation.

    The columns are game, method and seed; env steps; the mean of the greedy returns,
    and the share of games won where a game can be won; then episodes, updates, epsilon,
    and the losses as `loss_<name>`. What a run does not have stays empty.

    Args:
        runs: one or several.
        path: of the file; its folder is made, an older file is replaced.

    Returns:
        The path.

    Raises:
        InvalidInputError: no runs, or the file cannot be written.
    """
    runs = [runs] if isinstance(runs, Run) else list(runs)
    if not runs or not all(isinstance(run, Run) for run in runs):
        refuse("runs", "one run or several", runs, "Read some with load_run.")
    table = [row for run in runs for row in rows(run)]
    names = dict.fromkeys(name for row in table for name in row)
    columns = [name for name in FIRST if name in names]
    columns += [name for name in names if name not in FIRST]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.getvalue())
    except OSError as error:
        got = f"{path} ({error.strerror})"
        refuse("path", "a file that can be written", got, "Choose another place.")
    return path


def rows(run: Run) -> list[dict[str, Any]]:
    """A row per evaluation of a run, with the names of its columns."""
    found = []
    whose = {"game": run.game, "method": run.config.method, "seed": run.seed}
    for index in range(len(run.metrics["env_steps"])):
        row = dict(whose)
        for name, values in run.metrics.items():
            value = values[index]
            if name == "episode_return":
                row["mean_return"] = sum(value) / len(value)
            elif name == "won":
                row["win_rate"] = sum(value) / len(value)
            elif name == "losses":
                losses = value or {}
                row |= {f"loss_{loss}": number for loss, number in losses.items()}
            else:
                row[name] = value
        found.append(row)
    return found
