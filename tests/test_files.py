"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ciacore.runtime.files import opened_whole, write_whole


def names(folder: Path) -> list[str]:
    """What lies in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def test_bytes_and_text_are_written_and_replaced(tmp_path: Path) -> None:
    file = tmp_path / "numbers.json"
    write_whole(file, b"\x00\xff")
    assert file.read_bytes() == b"\x00\xff"
    write_whole(file, "ε = 0.05\n")
    assert file.read_bytes() == "ε = 0.05\n".encode()
    assert names(tmp_path) == ["numbers.json"]


def test_the_name_appears_only_when_the_file_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "large.bin"
    with opened_whole(file) as part:
        part.write(b"first half, ")
        assert names(tmp_path) == [".large.bin.part"]
        part.write(b"second half")
    assert file.read_bytes() == b"first half, second half"
    assert names(tmp_path) == ["large.bin"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_half_way_leaves_the_old_file_alone(tmp_path: Path, error) -> None:
    file = tmp_path / "kept.txt"
    write_whole(file, "old")
    with pytest.raises(error), opened_whole(file) as part:
        part.write(b"half of the n")
        raise error
    assert file.read_text() == "old"
    assert names(tmp_path) == ["kept.txt"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch, call) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "new.txt", "text")
    assert names(tmp_path) == []


def test_what_a_killed_process_left_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".new.txt.part").write_text("half, and longer than the whole")
    write_whole(tmp_path / "new.txt", "whole")
    assert (tmp_path / "new.txt").read_text() == "whole"
    assert names(tmp_path) == ["new.txt"]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "nowhere" / "new.txt", "text")
