"""Do distinct credits cause diverse agents?

One backbone, three things done to its credits, all networks measured:

    make study STUDY=cause ARGS="--results runs/cause"
    python -m ciabook.evidence.credits_and_diversity runs/cause

The first command trains the networks, since the book's runs of this length keep no
weights. The second asks all of them about the same episodes, and writes
book/results/cause.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ciabook.evidence.analysis import measured, with_networks
from ciabook.studies.study import find
from ciacore.games import Turn
from ciacore.runtime.files import write_whole
from ciacore.runtime.provenance import now, provenance
from ciacore.runtime.store import WEIGHTS, read_runs
from ciacore.types import InvalidInputError

RESULT = Path(__file__).resolve().parents[3] / "book" / "results" / "cause.json"
# from alike to distinct
ARMS = tuple(dict.fromkeys(entry.config.method for entry in find("cause")))
EPISODES = 32  # greedy ones behind a network's return
SHARED = 4  # of them in the pool that all networks are asked about


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures the networks of a results folder; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="credits_and_diversity", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "runs", type=Path, help="a results folder whose runs of the study have weights"
    )
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    began = now()
    game = Turn()
    try:
        kept = with_networks(read_runs(options.runs, game.name, ARMS))
    except InvalidInputError as error:
        print(f"credits_and_diversity: {error}", file=sys.stderr)
        return 2
    runs = [run for group in kept.values() for run in group]
    rows = measured(runs, game, EPISODES, SHARED)
    for row, run in zip(rows, runs, strict=True):
        row["weights"] = run.provenance["sha256"][WEIGHTS]
    facts = {
        "episodes": EPISODES,
        "shared": SHARED,
        "rows": rows,
        "provenance": {**provenance("cpu"), "started": began, "finished": now()},
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(options.out, json.dumps(facts, indent=1) + "\n")
    print(f"{len(rows)} networks measured: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
