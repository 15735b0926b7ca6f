"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def write_whole(path: Path, data: bytes | str) -> None:
    """Writes a file so that it appears whole or not at all, replacing an older one.

    Args:
        path: the file; its folder exists.
        data: all of its content; text is stored as UTF-8.

    Raises:
        OSError: the folder is missing or cannot be written, or the disk is full.
    """
    with opened_whole(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextmanager
def opened_whole(path: Path) -> Iterator[BinaryIO]:
    """Opens a file for writing bytes; it takes its name only when it is complete.

    What is written goes to `.<name>.part` beside the file. When the block ends, that
    is flushed to the disk and renamed. When the block or the writing fails, it is
    removed, and an older file of this name stays as it was.

    Args:
        path: the file; its folder exists.

    Yields:
        The open part.

    Raises:
        OSError: the folder is missing or cannot be written, or the disk is full.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with open(part, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
