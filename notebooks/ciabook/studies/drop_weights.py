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
    found = [name for name in seal["sha256"] if name.endswith(".safetensors")]
    along = seal.get("kept_dropped", {})  # those that were kept along training
    for name in found:
        dropped = seal["sha256"].pop(name)
        if name == WEIGHTS:
            seal["weights_dropped"] = dropped
        else:
            along[name] = dropped
    if along:
        seal["kept_dropped"] = along
    if found:
        write_whole(folder / "provenance.json", format_json(seal))
    for path in folder.glob("weights*.safetensors"):
        path.unlink()
    return bool(found)


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
