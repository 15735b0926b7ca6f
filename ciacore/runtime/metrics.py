"""Metrics while training: one entry per evaluation, as it happens.

The entries are lines of JSON in the run's work folder, and go to whatever else the
caller named. The checkpoint holds what the file needs to be made anew, so a resumed
training has each line once.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from ciacore.runtime.checkpoint import work_folder
from ciacore.runtime.files import write_whole
from ciacore.runtime.provenance import now
from ciacore.training import Training
from ciacore.types import refuse

LINES = "metrics.jsonl"  # in the work folder of a run that is being trained
EVENTS = "tensorboard"  # beside the games in the results folder
MEBIBYTE = 2**20
# unit of `ru_maxrss`, in bytes
RESIDENT_UNIT = 1 if sys.platform == "darwin" else 1024

Entry = dict[str, Any]


# ------------------------------------------------------------------------------ entries


class Stopwatch:
    """Measures the training between two evaluations."""

    def __init__(self, env_steps: int) -> None:
        """Starts.

        Args:
            env_steps: of training so far.
        """
        self.env_steps, self.started = env_steps, time.monotonic()

    def lap(self, training: Training) -> Entry:
        """What was measured since the lap before: time, speed and memory.

        Memory is the most that this process has had so far.
        """
        env_steps, at = training.clock.env_steps, time.monotonic()
        seconds = max(at - self.started, 1e-9)
        speed = (env_steps - self.env_steps) / seconds
        self.env_steps, self.started = env_steps, at
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RESIDENT_UNIT
        found = {
            "time": now(),
            "steps_per_second": round(speed, 1),
            "memory_mib": round(resident / MEBIBYTE, 1),
        }
        if training.device.type == "cuda":
            on_device = torch.cuda.max_memory_allocated(training.device)
            found["gpu_memory_mib"] = round(on_device / MEBIBYTE, 1)
        return found


def entry_of(training: Training, index: int, measured: Entry) -> Entry:
    """All there is to say about one evaluation.

    Args:
        training: the run so far.
        index: which of its evaluations, from 0.
        measured: what a `Stopwatch` measured before it.

    Returns:
        The run's game, method and seed; its metrics (`ciacore.training.Log`), their
        means `mean_return` and, where games are won, `win_rate`; what was measured.
    """
    metrics = {name: held[index] for name, held in training.log.metrics.items()}
    means = {"mean_return": mean(metrics["episode_return"])}
    if "won" in metrics:
        means["win_rate"] = mean(metrics["won"])
    whose = {
        "game": training.game.name,
        "method": training.config.method,
        "seed": training.seed,
    }
    return {**whose, **means, **metrics, **measured}


def mean(values: Sequence[float | bool]) -> float:
    """The mean of some numbers."""
    return sum(values) / len(values)


def scalars(entry: Entry) -> Iterator[tuple[str, float]]:
    """The single numbers of an entry, by name; a loss is called `losses/<name>`."""
    for name, value in entry.items():
        if isinstance(value, int | float) and name != "seed":
            yield name, float(value)
    for name, value in (entry["losses"] or {}).items():
        yield f"losses/{name}", value


# --------------------------------------------------------------------------------- logs


class Lines:
    """A file with a line of JSON per evaluation."""

    def __init__(self, path: Path, entries: Sequence[Entry]) -> None:
        """Makes the file anew.

        Args:
            path: of the file; an older one is replaced.
            entries: of the evaluations so far.
        """
        write_whole(path, b"".join(line(entry) for entry in entries))
        self.file = open(path, "ab", buffering=0)

    def __call__(self, entry: Entry) -> None:
        """Appends a line, at once."""
        self.file.write(line(entry))

    def close(self) -> None:
        """Closes the file."""
        self.file.close()


def line(entry: Entry) -> bytes:
    """An entry as a line of JSON."""
    return json.dumps(entry, allow_nan=False).encode() + b"\n"


def read_lines(folder: Path) -> list[Entry]:
    """The entries of a run that is being trained, or was interrupted.

    A line that is not complete yet is left out. There are none once the run is
    complete: `metrics.json` in the run folder has them all.

    Args:
        folder: where the run will lie.
    """
    try:
        whole, _, _ = (work_folder(folder) / LINES).read_bytes().rpartition(b"\n")
    except FileNotFoundError:
        return []
    return [json.loads(each) for each in whole.splitlines()]


class TensorBoard:
    """A folder with the event file of one run, for TensorBoard."""

    def __init__(self, folder: Path, entries: Sequence[Entry]) -> None:
        """Makes the event file anew.

        Args:
            folder: of the run, `<results>/<game>/<method>/seed_<k>`; the events lie in
                `<results>/tensorboard/<game>/<method>/seed_<k>`.
            entries: of the evaluations so far.

        Raises:
            InvalidInputError: the package tensorboard is not installed.
        """
        self.check()
        from torch.utils.tensorboard import SummaryWriter

        place = events_folder(folder)
        for old in place.glob("events.out.tfevents.*"):
            old.unlink()
        # a TensorBoard that looks on forgets what it has seen from step 0 on
        self.writer = SummaryWriter(str(place), purge_step=0)
        for entry in entries:
            self(entry)

    @staticmethod
    def check() -> None:
        """Refuses to go on without the package tensorboard."""
        try:
            import torch.utils.tensorboard  # noqa: F401
        except ImportError as error:
            cure = "Install it: make tensorboard, or pip install tensorboard."
            refuse("log", "the package tensorboard", str(error), cure)

    def __call__(self, entry: Entry) -> None:
        """Writes every number of the entry, at its env step and time."""
        at = datetime.fromisoformat(entry["time"]).timestamp()
        for name, value in scalars(entry):
            self.writer.add_scalar(name, value, entry["env_steps"], walltime=at)
        self.writer.flush()

    def close(self) -> None:
        """Closes the event file."""
        self.writer.close()


def events_folder(folder: Path) -> Path:
    """Where TensorBoard's events of a run lie.

    Args:
        folder: of the run, `<results>/<game>/<method>/seed_<k>`.
    """
    return folder.parents[2] / EVENTS / Path(*folder.parts[-3:])


# name -> what is told, made from a run's folder and its entries so far
LOGS = {"tensorboard": TensorBoard}
