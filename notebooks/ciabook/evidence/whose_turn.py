"""Do the credits of trained networks follow whose turn it is?

    python -m ciabook.evidence.whose_turn     writes book/results/whose_turn.json

The networks are those of the Turn study, as long as the paper's. All of them are asked
about one pool of episodes, as in the chapter on temporal credits.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ciabook.evidence.analysis import (
    concatenated,
    evaluate_on,
    greedy_episodes,
    retrieval_accuracy,
    team,
    with_networks,
)
from ciabook.evidence.wake import asleep
from ciacore.games import Turn
from ciacore.runtime.files import write_whole
from ciacore.runtime.provenance import now, provenance
from ciacore.runtime.store import WEIGHTS, Run, read_runs
from ciacore.types import Episodes

ROOT = Path(__file__).resolve().parents[3]
STUDY = ROOT / "book" / "results" / "study"
RESULT = ROOT / "book" / "results" / "whose_turn.json"
METHODS = ("qmix", "qmix_cia")
EPISODES = 64  # greedy ones of every network in the pool
SEED = 1  # of the games' random numbers
EARLY = 200_000  # env steps at which a team is called asleep or awake


def free_agents(episodes: Episodes) -> Int[Tensor, "B T"]:
    """Who is free at each step, read from the state's last two entries.

    Args:
        episodes: of Turn.
    """
    return episodes.states[:, :-1, -1].long()


def balanced_score(credits: Float[Tensor, "B T 2"], free: Int[Tensor, "B T"]) -> float:
    """How often the free agent has the larger credit, averaged over who is free.

    Any fixed preference for one agent scores one half.

    Args:
        credits: [B, T, 2], of two agents.
        free: [B, T], who is free.

    Returns:
        From 0 to 1.
    """
    mine = credits.gather(-1, free.unsqueeze(-1))
    other = credits.gather(-1, 1 - free.unsqueeze(-1))
    right = (mine > other).squeeze(-1).double()
    shares = [right[free == agent].mean() for agent in (0, 1) if (free == agent).any()]
    return float(torch.stack(shares).mean())


def scored(runs: Sequence[Run], episodes: int = EPISODES) -> list[dict[str, Any]]:
    """A row per network, all on one pool of episodes.

    Args:
        runs: of Turn, with weights.
        episodes: greedy ones of every network in the pool.

    Returns:
        Method, seed, whether the team was asleep early, its *balanced* score, and how
        often its credits are *told apart*.
    """
    game = Turn()
    teams = [team(run, game) for run in runs]
    own = [greedy_episodes(one, game, episodes, seed=SEED) for one in teams]
    pool = concatenated(own)
    rows = []
    for run, one, sleeps in zip(runs, teams, asleep(runs, at=EARLY), strict=True):
        credits = evaluate_on(one, pool).credits
        rows.append(
            {
                "method": run.config.method,
                "seed": run.seed,
                "asleep": bool(sleeps),
                "balanced": balanced_score(credits, free_agents(pool)),
                "told apart": retrieval_accuracy(credits),
                "weights": run.provenance["sha256"][WEIGHTS],
            }
        )
    return rows


def main() -> int:
    """Scores the published networks; returns the exit code."""
    began = now()
    kept = with_networks(read_runs(STUDY, Turn().name, METHODS))
    rows = scored([run for group in kept.values() for run in group])
    made = {**provenance("cpu"), "started": began, "finished": now()}
    facts = {"episodes": EPISODES, "rows": rows, "provenance": made}
    write_whole(RESULT, json.dumps(facts, indent=1) + "\n")
    print(f"{len(rows)} networks scored: {RESULT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
