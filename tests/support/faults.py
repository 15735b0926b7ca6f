"""Refusals, interruptions, damaged files, and processes that are killed."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ciacore.runtime.checkpoint import locked
from ciacore.types import InvalidInputError

ROOT = Path(__file__).resolve().parents[2]


# ------------------------------------------------------------------------------ refused


def refused(call: Callable[[], object], *parts: str) -> None:
    """The call raises InvalidInputError, and its message holds all parts.

    Every message has the form "argument: expected ..., got ... . cure".
    """
    with pytest.raises(InvalidInputError) as caught:
        call()
    message = str(caught.value)
    form = re.fullmatch(r"(\w+): expected (.+?), got (.+?)\. (\S.+)", message, re.S)
    assert form, message
    cure = form[4].rstrip()
    assert cure.endswith((".", "?", "'", "]")), message
    for part in parts:
        assert part in message, message


# -------------------------------------------------------------------------- interrupted


class StopHere(Exception):
    """The interruption."""


def after(iterations: int, kind: type[BaseException] = StopHere):
    """A progress callback that interrupts training after some iterations."""
    seen = []

    def progress(*_, **__):
        seen.append(1)
        if len(seen) == iterations:
            raise kind

    return progress


def full_disk(number: int) -> None:
    """Stands in for `os.fsync`."""
    raise OSError(28, "No space left on device")


# ------------------------------------------------------------------------------ damaged


def truncate(path: Path) -> None:
    """The last three bytes are missing."""
    path.write_bytes(path.read_bytes()[:-3])


def flip(path: Path) -> None:
    """One bit in the middle is another."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    """Nothing is left of it."""
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    """It is a file of another kind."""
    path.write_bytes(b"PK\x03\x04 something else entirely")


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


# ------------------------------------------------------------------------------- killed


def alive(process: int) -> bool:
    """Whether a process is there and not a zombie."""
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().split()[2] != "Z"


def workers_of(results: Path) -> list[int]:
    """The processes that hold a run in this folder."""
    found = []
    for lock in results.rglob("lock"):
        text = lock.read_text()
        if text and alive(int(text)):
            found.append(int(text))
    return found


def wait_until_free(folder: Path) -> None:
    """Until no process holds a run.

    A kernel looks once a second whether papermill is still there.
    """
    for _ in range(100):
        try:
            with locked(folder):
                return
        except InvalidInputError:
            time.sleep(0.1)
    pytest.fail("the kernel did not end")


def start_lab(results: Path, *arguments: str) -> subprocess.Popen:
    """The command `lab` in a process of its own; what it starts inherits its mark."""
    environment = dict(os.environ)
    environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{ROOT / 'notebooks'}"
    environment["MARK"] = str(results)
    lab = [sys.executable, "-m", "ciabook.studies.lab"]
    return subprocess.Popen(
        [*lab, *arguments, "--results", str(results)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def command_of(process: int) -> bytes:
    """Command line and environment of a process; nothing if it has gone."""
    place = Path(f"/proc/{process}")
    try:
        return (place / "cmdline").read_bytes() + (place / "environ").read_bytes()
    except OSError:
        return b""


def processes(results: Path) -> list[int]:
    """The processes that name this results folder or run from it."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        process = int(place.name)
        if process != os.getpid() and str(results).encode() in command_of(process):
            found.append(process)
    return found


def wait_until_gone(results: Path, seconds: float = 30) -> None:
    """Until every process of a lab has ended."""
    end = time.monotonic() + seconds
    while processes(results) and time.monotonic() < end:
        time.sleep(0.1)
    assert not processes(results)


def killed_until_done(
    results: Path, arguments: list[str], kills: int, seed: int, within: float
) -> None:
    """Starts a lab again and again, kills it, and in the end lets it finish.

    Each time any one of its processes is killed at a random moment.

    Args:
        results: The folder of its results.
        arguments: Of the command `lab`.
        kills: How often it is killed.
        seed: Of the random moments.
        within: The latest moment, in seconds after the start.
    """
    chance = random.Random(seed)
    for _ in range(kills):
        running = start_lab(results, *arguments)
        time.sleep(chance.uniform(0.5, within))
        found = processes(results)
        if found:
            try:
                os.kill(chance.choice(found), signal.SIGKILL)
            except ProcessLookupError:
                pass
        if chance.random() < 0.5:
            running.kill()
        running.wait()
        wait_until_gone(results)
    assert start_lab(results, *arguments).wait() == 0
    wait_until_gone(results)
