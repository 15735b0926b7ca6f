"""Do distinct credits cause diverse agents? One backbone, three things done to its credits, all networks measured.

make study STUDY=cause ARGS="--results runs/cause"    trains them: the book's runs of
this length keep no weights python -m ciabook.evidence.credits_and_diversity runs/cause
asks all networks about the same episodes: book/results/cause.json
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ciabook.evidence.analysis import measured, with_networks
from ciabook.studies.study import find
from ciacore.games import Turn
from ciacore.runtime.provenance import now, provenance
from ciacore.runtime.store import WEIGHTS, read_runs
from ciacore.types import InvalidInputError

RESULT = Path(__file__).resolve().parents[3] / "book" / "results" / "cause.json"
# from alike to distinct
ARMS = tuple(dict.fromkeys(entry.config.method for entry in find("cause")))
EPISODES = 32  # greedy ones behind a network's return
SHARED = 4  # of them in the pool that all networks are asked about


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="cause", description=__doc__.splitlines()[0])
    parser.add_argument(
        "runs", type=Path, help="a results folder whose runs of the study have weights"
    )
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    began, game = now(), Turn()
    try:
        kept = with_networks(read_runs(options.runs, game.name, ARMS))
    except InvalidInputError as error:
        print(f"cause: {error}", file=sys.stderr)
        return 2
    runs = [run for group in kept.values() for run in group]
    rows = [
        {**row, "weights": run.provenance["sha256"][WEIGHTS]}
        for row, run in zip(measured(runs, game, EPISODES, SHARED), runs, strict=True)
    ]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    facts = {"episodes": EPISODES, "shared": SHARED, "rows": rows}
    part = options.out.with_name(f".{options.out.name}.part")
    made = {**provenance("cpu"), "started": began, "finished": now()}
    part.write_text(json.dumps({**facts, "provenance": made}, indent=1) + "\n")
    os.replace(part, options.out)
    print(f"{len(rows)} networks measured: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
