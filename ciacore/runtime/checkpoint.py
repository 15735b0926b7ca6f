"""A training interrupted: one sealed file, and a lock that keeps it to one process."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Collection, Iterator
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

FORMAT = 3  # raised whenever the meaning of a checkpoint changes
MAGIC = b"ciacore checkpoint"
NAME = "checkpoint"
PIECE = "replay-"  # begins the names of the files that are written once
ATTEMPTS = 5  # at a lock, a hundredth of a second apart: `held` has it for an instant


def work_folder(folder: Path) -> Path:
    """Where a run is kept until it is complete: `.seed_<k>` beside `seed_<k>`."""
    return folder.with_name(f".{folder.name}")


@contextmanager
def locked(folder: Path) -> Iterator[Path]:
    """Holds a run's work folder.

    The system lets go of it when the process ends, however it ends. What a killed
    process left half-written is swept away; a complete run takes its work folder with
    it.

    Raises:
        InvalidInputError: another process is at work on this run, or the folder cannot
            be made.
    """
    work = work_folder(folder)
    try:
        handle = acquire(work)
    except OSError as error:
        got = f"{work} ({error.strerror})"
        cure = "Choose another folder."
        refuse("results", "a folder that can be written", got, cure)
    with handle:
        sweep(work, NAME, "lock", *pieces(work))
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
    """Whether a process is at work on a run at this moment.

    The lock is taken for an instant to find out, which `acquire` waits for.
    """
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
        except FileNotFoundError:
            continue  # another process has just finished and removed the folder
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
            expected = "a run that no other process is training"
            refuse("results", expected, f"{work} held by process {owner}", cure)
        with suppress(FileNotFoundError):  # removed before we had it
            if os.path.samestat(os.fstat(handle.fileno()), os.stat(work / "lock")):
                handle.truncate(0)
                handle.write(str(os.getpid()))
                handle.flush()
                return handle
        handle.close()


def write_checkpoint(
    work: Path,
    facts: dict[str, Any],
    tensors: dict[str, Tensor],
    sealed: dict[str, dict[str, Tensor]],
) -> None:
    """Replaces the checkpoint of a work folder.

    It is one file, sealed with sha256, and renamed into place when it is whole. What
    never changes has files of its own, which are written once, before it.

    Args:
        work: the locked work folder.
        facts: what JSON can hold.
        tensors: by name, on any device.
        sealed: tensors that never change, by the name of their piece.
    """
    digests = {}
    for name, piece in sealed.items():
        path = work / f"{PIECE}{name}"
        digests[name] = digest_of(path) or write_sealed(path, {}, piece)
    write_sealed(work / NAME, {**facts, "pieces": digests}, tensors)
    drop_pieces(work, digests)


def drop_pieces(work: Path, kept: Collection[str]) -> None:
    """Removes the pieces that no checkpoint names.

    Such a one may be left of a process that was killed between a piece and its
    checkpoint. Training goes on from the checkpoint before, perhaps on another machine,
    and what it will seal under that name need not be the same to the last bit.

    Args:
        work: the locked work folder.
        kept: names of the pieces that the checkpoint names.
    """
    for name in pieces(work):
        if name.removeprefix(PIECE) not in kept:
            (work / name).unlink()


def write_sealed(path: Path, facts: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """Writes a sealed file, whole or not at all; returns its sha256.

    Args:
        path: of the file.
        facts: what JSON can hold.
        tensors: by name, on any device.
    """
    held = {
        name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()
    }
    body = format_tensors(held, {"facts": json.dumps(facts)})
    digest = hashlib.sha256(body).hexdigest()
    with opened_whole(path) as file:
        file.write(b"%s %d %s\n" % (MAGIC, FORMAT, digest.encode()))
        file.write(body)
    return digest


def pieces(work: Path) -> list[str]:
    """The names of the files of a work folder that are written once."""
    return [path.name for path in work.iterdir() if path.name.startswith(PIECE)]


def digest_of(path: Path) -> str | None:
    """The sha256 that a sealed file names, None where there is no such file."""
    try:
        with open(path, "rb") as file:
            return file.readline().split()[-1].decode()
    except (FileNotFoundError, IndexError):
        return None


def read_checkpoint(
    work: Path,
) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, dict[str, Tensor]]] | None:
    """Facts, tensors and pieces of the checkpoint in a work folder.

    Nothing in it is executed.

    Returns:
        None where there is no checkpoint.

    Raises:
        InvalidInputError: a file is foreign, of another format, truncated or changed,
            or missing.
    """
    if not (work / NAME).exists():
        return None
    facts, tensors = read_sealed(work / NAME)
    sealed = {}
    for name, digest in facts.pop("pieces").items():
        path = work / f"{PIECE}{name}"
        if digest_of(path) != digest:
            cure = f"Remove {work} to train this run from its start."
            refuse("checkpoint", f"{path.name} as it was written", str(path), cure)
        sealed[name] = read_sealed(path)[1]
    return facts, tensors, sealed


def read_sealed(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Facts and tensors of a sealed file.

    Args:
        path: of the file.

    Raises:
        InvalidInputError: the file is foreign, of another format, truncated or changed.
    """
    again = f"Remove {path.parent} to train this run from its start."
    foreign = f"The file is foreign. {again}"
    head, _, body = path.read_bytes().partition(b"\n")
    if not head.startswith(MAGIC + b" ") or len(head.split()) != 4:
        refuse("checkpoint", "a checkpoint of ciacore", str(path), foreign)
    found, digest = head.split()[2:]
    if found != b"%d" % FORMAT:
        got = f"format {found.decode(errors='replace')} in {path}"
        cure = f"Resume it with the version of ciacore that wrote it. {again}"
        refuse("checkpoint", f"format {FORMAT}", got, cure)
    if hashlib.sha256(body).hexdigest().encode() != digest:
        cure = f"The file was truncated or changed. {again}"
        refuse("checkpoint", "the recorded sha256", str(path), cure)
    try:
        return json.loads(metadata(body)["facts"]), parse_tensors(body)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        refuse("checkpoint", "safetensors", f"{path} ({error})", foreign)


def metadata(body: bytes) -> dict[str, str]:
    """The strings in the header of a safetensors file.

    The header's length stands in the first 8 bytes, then JSON follows.
    """
    length = int.from_bytes(body[:8], "little")
    return json.loads(body[8 : 8 + length])["__metadata__"]
