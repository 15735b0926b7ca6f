"""Drops the weights of runs of which only the metrics are read.

So a repository of many runs stays small. The sha256 of what is dropped stays in
provenance.json.

    python -m ciabook.studies.drop_weights RUN [RUN ...]     run folders
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ciacore.runtime.files import write_whole
from ciacore.runtime.store import WEIGHTS, format_json, read_run


def drop_weights(folder: Path) -> bool:
    """Whether there were weights to drop.

    At every moment the folder is a whole run, with weights or without.

    Raises:
        InvalidInputError: it is no run, or a damaged one.
    """
    seal = read_run(folder).provenance
    dropped = seal["sha256"].pop(WEIGHTS, None)
    if dropped is not None:
        seal["weights_dropped"] = dropped
        write_whole(folder / "provenance.json", format_json(seal))
    (folder / WEIGHTS).unlink(missing_ok=True)
    return dropped is not None


def main(arguments: Sequence[str] | None = None) -> int:
    """Drops the weights of the run folders named; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="drop_weights", description=__doc__.splitlines()[0]
    )
    parser.add_argument("runs", nargs="+", type=Path)
    folders = parser.parse_args(arguments).runs
    count = sum(drop_weights(folder) for folder in folders)
    print(f"{count} of {len(folders)} runs lost their weights")
    return 0


if __name__ == "__main__":
    sys.exit(main())
