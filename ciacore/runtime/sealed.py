"""Many small runs in one file, for trees that must stay small.

`<results>/<game>/<method>.sealed` stands for folders `<results>/<game>/<method>/seed_k`
that are not there: it holds their files byte for byte, and whoever reads such a folder
is given them from here. Its first line is JSON and says what is in it; the rest is the
files, compressed together. Reading executes nothing.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from ciacore.runtime.files import write_whole
from ciacore.types import refuse

FORMAT = 1  # raised whenever the meaning of the file changes
ENDING = ".sealed"
Files = dict[str, bytes]  # name of a file -> its content


def sealed_file(methods_folder: Path) -> Path:
    """The sealed file beside a method's folder, whether it is there or not."""
    return methods_folder.with_name(methods_folder.name + ENDING)


def write_sealed(file: Path, runs: Mapping[int, Files]) -> Path:
    """Writes the files of some seeds as one; the same runs give the same bytes.

    Args:
        file: `<results>/<game>/<method>.sealed`.
        runs: seed -> the files of its run folder, all of them text.

    Returns:
        The file.

    Raises:
        InvalidInputError: there is no run.
    """
    if not runs:
        refuse("runs", "at least one run", "none", "Train them first.")
    seeds = sorted(runs)
    texts = {
        str(seed): {name: runs[seed][name].decode() for name in sorted(runs[seed])}
        for seed in seeds
    }
    plain = json.dumps(texts, sort_keys=True).encode()
    packed = lzma.compress(plain)
    head = {
        "format": FORMAT,
        "game": file.parent.name,
        "method": file.name.removesuffix(ENDING),
        "seeds": seeds,
        "bytes": len(plain),
        "sha256": hashlib.sha256(packed).hexdigest(),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(head).encode() + b"\n" + packed)
    return file


def read_sealed(file: Path) -> dict[int, Files]:
    """Seed -> the files of its run, of a sealed file that is whole.

    Raises:
        InvalidInputError: it is missing, damaged, truncated, foreign, of another
            format, or lies where that of another method belongs.
    """
    try:
        stamp = file.stat()
    except OSError as error:
        refuse("results", f"the file {file}", error.strerror, "Correct the path.")
    return _read(file, stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=32)
def _read(file: Path, changed: int, size: int) -> dict[int, Files]:
    """As `read_sealed`; read once until the file changes."""
    line, _, packed = file.read_bytes().partition(b"\n")
    try:
        head = json.loads(line)
    except ValueError:
        refuse_damaged(file, "its first line is not JSON")
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        found = head.get("format") if isinstance(head, dict) else None
        cure = "Read it with the version of ciacore that wrote it."
        refuse("results", f"a sealed file of format {FORMAT}", f"{found}: {file}", cure)
    own = (file.parent.name, file.name.removesuffix(ENDING))
    if (head.get("game"), head.get("method")) != own:
        got = f"that of {head.get('method')} on {head.get('game')}"
        cure = "Move it back to where it was written."
        refuse("results", f"the runs of {own[1]} on {own[0]} in {file}", got, cure)
    if hashlib.sha256(packed).hexdigest() != head.get("sha256"):
        refuse_damaged(file, "its content has another sha256")
    return {int(seed): files for seed, files in unpacked(file, head, packed).items()}


def unpacked(file: Path, head: dict[str, Any], packed: bytes) -> dict[str, Files]:
    """The files in a sealed file.

    Args:
        file: where it lies, for errors.
        head: its first line.
        packed: what follows.

    Raises:
        InvalidInputError: it holds something else than its first line says.
    """
    size = head.get("bytes")
    try:
        # never more than was promised, whoever wrote it
        plain = lzma.LZMADecompressor().decompress(packed, max_length=size + 1)
        texts = json.loads(plain)
        found = {
            seed: {name: text.encode() for name, text in files.items()}
            for seed, files in texts.items()
        }
        seeds = sorted(int(seed) for seed in found)
    except (lzma.LZMAError, ValueError, TypeError, AttributeError):
        refuse_damaged(file, "its content cannot be unpacked")
    if len(plain) != size or seeds != head.get("seeds"):
        refuse_damaged(file, "its content is not what its first line says")
    return found


def refuse_damaged(file: Path, what: str) -> NoReturn:
    """Refuses a damaged sealed file.

    Args:
        file: where it lies.
        what: is wrong with it.

    Raises:
        InvalidInputError: always.
    """
    cure = "Restore it from version control, or seal its runs again."
    refuse("results", "a whole sealed file", f"{file}: {what}", cure)


def sealed_seeds(methods_folder: Path) -> list[int]:
    """The seeds of a method that a sealed file holds; none where there is no file.

    Raises:
        InvalidInputError: it is damaged.
    """
    file = sealed_file(methods_folder)
    return sorted(read_sealed(file)) if file.is_file() else []


def sealed_run(folder: Path) -> Files | None:
    """The files of a run folder, from the sealed file that stands for it.

    Args:
        folder: `<results>/<game>/<method>/seed_<k>`; one that is there is no concern of
            this function.

    Returns:
        Its files; None where no sealed file has them.

    Raises:
        InvalidInputError: the sealed file is damaged.
    """
    word, _, number = folder.name.partition("_")
    file = sealed_file(folder.parent)
    if word != "seed" or not number.isdecimal() or not file.is_file():
        return None
    return read_sealed(file).get(int(number))


def is_kept(folder: Path) -> bool:
    """Whether a run lies in its folder, or in the sealed file that stands for it.

    Args:
        folder: of the run.

    Raises:
        InvalidInputError: the sealed file is damaged.
    """
    return folder.exists() or sealed_run(folder) is not None
