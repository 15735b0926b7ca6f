"""Drops the weights of runs of which only the metrics are read, so that a repository of many runs stays small.

python -m ciabook.studies.drop_weights RUN [RUN ...]    run folders; what is dropped
leaves its sha256 in provenance.json
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ciacore.runtime.store import WEIGHTS, format_json, read_run


def slim(folder: Path) -> bool:
    """Whether there were weights to drop. At every moment the folder is a whole run, with weights or without.

    Raises:
        InvalidInputError: it is no run, or a damaged one.
    """
    seal = read_run(folder).provenance
    dropped = seal["sha256"].pop(WEIGHTS, None)
    if dropped is not None:
        part = folder / ".provenance.json.part"
        part.write_bytes(format_json({**seal, "weights_dropped": dropped}))
        os.replace(part, folder / "provenance.json")
    (folder / WEIGHTS).unlink(missing_ok=True)
    return dropped is not None


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="slim", description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    folders = parser.parse_args(arguments).runs
    print(f"{sum(map(slim, folders))} of {len(folders)} runs lost their weights")
    return 0


if __name__ == "__main__":
    sys.exit(main())
