"""Seals the runs of an arm: one file for its forty seeds, where only metrics are read.

A run folder without weights is three small files. A study of a thousand runs is then
thousands of files with nearly the same words; sealed, an arm is one file of a tenth of
the size (`ciacore.runtime.sealed`). Whoever reads a run is given it from there: every
file is as it was, so that its provenance and its sha256 still hold.

    python -m ciabook.studies.seal STUDY [METHOD ...]
        seals the methods of a study whose runs are all done, and says what the others
        lack; --results FOLDER: where the runs lie, --to FOLDER: where the sealed files
        go (by default there, too), --replace: removes the folders that were sealed
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from ciabook.studies.runs import Entry
from ciabook.studies.study import find, folder_of, place_of, survey
from ciacore.runtime.sealed import ENDING, Files, read_sealed, write_sealed
from ciacore.types import InvalidInputError, known_name, refuse

# of a run of which only the metrics are read
FILES = {"config.json", "metrics.json", "provenance.json"}


def arms(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """The runs of a study by method."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.config.method, []).append(entry)
    return found


def lacking(entries: Sequence[Entry], results: Path) -> list[str]:
    """What an arm lacks, in words that name every seed; nothing where all are done.

    Args:
        entries: its runs.
        results: the folder of all runs.
    """
    found = []
    for each in survey(entries, results):
        if each.state != "done":
            words = f"seed {each.entry.seed} is {each.state}"
            found.append(f"{words}: {each.detail}" if each.detail else words)
    return found


def files_of(folder: Path) -> Files:
    """The files of a run folder, which holds no weights.

    Raises:
        InvalidInputError: it holds anything else.
    """
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    if set(found) != FILES:
        cure = "Drop its weights first (python -m ciabook.studies.drop_weights)."
        got = f"{', '.join(sorted(found))} in {folder}"
        refuse("run", f"only {', '.join(sorted(FILES))}", got, cure)
    return found


def seal(entries: Sequence[Entry], results: Path, to: Path) -> Path:
    """Seals an arm, and reads it back.

    Args:
        entries: its runs, all of one method and game, all done.
        results: the folder of all runs.
        to: the folder that receives `<game>/<method>.sealed`.

    Returns:
        The sealed file.

    Raises:
        InvalidInputError: a run is missing, damaged or has weights.
    """
    lacks = lacking(entries, results)
    if lacks:
        refuse(
            "runs", "an arm whose runs are all done", lacks, "Train what is missing."
        )
    game, method = entries[0].game, entries[0].config.method
    runs = {}
    for entry in entries:
        folder = folder_of(entry, results)
        if not folder.is_dir():
            cure = "There is nothing left to do."
            refuse("runs", "run folders", f"{method}, sealed already", cure)
        runs[entry.seed] = files_of(folder)
    file = write_sealed(to / game / f"{method}{ENDING}", runs)
    if read_sealed(file) != runs:
        refuse("runs", "a sealed file that reads as it was written", file, "Try again.")
    return file


def main(arguments: Sequence[str] | None = None) -> int:
    """Seals what is whole; returns the exit code, which is 1 where an arm is not."""
    parser = argparse.ArgumentParser(prog="seal", description=__doc__.splitlines()[0])
    parser.add_argument("study")
    parser.add_argument("methods", nargs="*")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--to", type=Path)
    parser.add_argument("--replace", action="store_true")
    options = parser.parse_args(arguments)
    try:
        every = arms(find(options.study))
        results = options.results or place_of(options.study)
        chosen = options.methods or list(every)
        for name in chosen:
            known_name(name, every, "method")
        whole = [sealed_arm(every[name], results, options) for name in chosen]
    except InvalidInputError as error:
        print(f"seal: {error}", file=sys.stderr)
        return 2
    return 0 if all(whole) else 1


def sealed_arm(
    entries: Sequence[Entry], results: Path, options: argparse.Namespace
) -> bool:
    """Seals an arm if it is whole, says what was done, and whether it was whole.

    Args:
        entries: its runs.
        results: the folder of all runs.
        options: of the command line.
    """
    name = entries[0].config.method
    lacks = lacking(entries, results)
    if lacks:
        done = len(entries) - len(lacks)
        print(f"{name}: {done} of {len(entries)} done, not sealed; {'; '.join(lacks)}")
        return False
    folders = [folder_of(entry, results) for entry in entries]
    if not any(folder.exists() for folder in folders):
        print(f"{name}: sealed already")
        return True
    file = seal(entries, results, options.to or results)
    print(f"{name}: {len(entries)} runs in {file}, {file.stat().st_size:,} bytes")
    if options.replace:
        for folder in folders:
            shutil.rmtree(folder)
        if not any(folders[0].parent.iterdir()):
            folders[0].parent.rmdir()
    return True


if __name__ == "__main__":
    sys.exit(main())
