"""A training interrupted: one sealed file that holds everything, and the lock that keeps a run to one process."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as format_tensors
from torch import Tensor

from ciacore.runtime.files import opened_whole
from ciacore.types import refuse

FORMAT = 2  # raised whenever the meaning of a checkpoint changes
MAGIC = b"ciacore checkpoint"
NAME = "checkpoint"
ATTEMPTS = 5  # at a lock, a hundredth of a second apart: `held` has it for an instant


def work_folder(folder: Path) -> Path:
    """Where a run is kept until it is complete: `.seed_<k>` beside `seed_<k>`."""
    return folder.with_name(f".{folder.name}")


@contextmanager
def locked(folder: Path) -> Iterator[Path]:
    """Holds a run's work folder; the system lets go of it when the process ends, however it ends.

    What a killed process left half-written is swept away; a complete run takes its work
    folder with it.

    Raises:
        InvalidInputError: another process is at work on this run, or the folder cannot
            be made.
    """
    work = work_folder(folder)
    try:
        handle = acquire(work)
    except OSError as error:
        refuse(
            "results",
            "a folder that can be written",
            f"{work} ({error.strerror})",
            "Choose another folder.",
        )
    with handle:
        sweep(work, NAME, "lock")
        try:
            yield work
        finally:
            if folder.exists() or not (work / NAME).exists():
                sweep(work, "lock")
                (work / "lock").unlink()
                with suppress(OSError):  # another process may have moved in at once
                    work.rmdir()


def sweep(work: Path, *kept: str) -> None:
    """Removes all but some names from a work folder."""
    for path in work.iterdir():
        if path.name not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def held(folder: Path) -> bool:
    """Whether a process is at work on a run at this moment. It is asked for an instant, which `acquire` waits for."""
    try:
        with open(work_folder(folder) / "lock") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def acquire(work: Path) -> Any:
    """The open, locked file `lock` of a work folder; it names its process."""
    for attempt in count():
        work.mkdir(parents=True, exist_ok=True)
        try:
            handle = open(work / "lock", "a+")
        except (
            FileNotFoundError
        ):  # another process has just finished and removed the folder
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt < ATTEMPTS:
                handle.close()
                time.sleep(0.01)
                continue
            handle.seek(0)
            owner = handle.read().strip() or "unknown"
            handle.close()
            cure = "Wait for it, stop it, or choose another folder."
            refuse(
                "results",
                "a run that no other process is training",
                f"{work} held by process {owner}",
                cure,
            )
        with suppress(FileNotFoundError):  # removed before we had it
            if os.path.samestat(os.fstat(handle.fileno()), os.stat(work / "lock")):
                handle.truncate(0)
                handle.write(str(os.getpid()))
                handle.flush()
                return handle
        handle.close()


def write_checkpoint(
    work: Path, facts: dict[str, Any], tensors: dict[str, Tensor]
) -> None:
    """Replaces the checkpoint of a work folder: one file, sealed with sha256, renamed into place when it is whole."""
    held = {
        name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()
    }
    body = format_tensors(held, {"facts": json.dumps(facts)})
    head = b"%s %d %s\n" % (MAGIC, FORMAT, hashlib.sha256(body).hexdigest().encode())
    with opened_whole(work / NAME) as file:
        file.write(head)
        file.write(body)


def read_checkpoint(work: Path) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Facts and tensors of the checkpoint in a work folder, None where there is none; nothing in it is executed.

    Raises:
        InvalidInputError: the file is foreign, of another format, truncated or changed.
    """
    path = work / NAME
    if not path.exists():
        return None
    cure = f"Remove {work} to train this run from its start."
    head, _, body = path.read_bytes().partition(b"\n")
    if not head.startswith(MAGIC + b" ") or len(head.split()) != 4:
        refuse(
            "checkpoint",
            "a checkpoint of ciacore",
            str(path),
            f"The file is foreign. {cure}",
        )
    found, digest = head.split()[2:]
    if found != b"%d" % FORMAT:
        got = f"format {found.decode(errors='replace')} in {path}"
        refuse(
            "checkpoint",
            f"format {FORMAT}",
            got,
            f"Resume it with the version of ciacore that wrote it. {cure}",
        )
    if hashlib.sha256(body).hexdigest().encode() != digest:
        refuse(
            "checkpoint",
            "the recorded sha256",
            str(path),
            f"The file was truncated or changed. {cure}",
        )
    try:
        return json.loads(metadata(body)["facts"]), parse_tensors(body)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        refuse(
            "checkpoint",
            "safetensors",
            f"{path} ({error})",
            f"The file is foreign. {cure}",
        )


def metadata(body: bytes) -> dict[str, str]:
    """The strings in the header of a safetensors file: its length in 8 bytes, then JSON."""
    length = int.from_bytes(body[:8], "little")
    return json.loads(body[8 : 8 + length])["__metadata__"]
