"""Who has the credit at 30,000 steps, in teams of QMIX that will sleep and that wake?

    python -m ciabook.evidence.early_credits RUNS
        writes book/results/early_credits.json; RUNS is the folder of the study
        `own_turn_early`

The networks are those of the arm `qmix` of *What wakes a team?*, cut off at 30,000
steps. Who sleeps is read from the whole runs of the same seeds.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ciabook.evidence.analysis import (
    evaluate_on,
    greedy_episodes,
    identified,
    retrieval_accuracy,
    team,
)
from ciabook.evidence.wake import asleep
from ciabook.evidence.wake_checks import runs_of
from ciabook.evidence.whose_turn import balanced_score, free_agents
from ciabook.studies.own_turn import EARLY
from ciabook.studies.study import ROOT
from ciabook.studies.wake import WAKE, WAKE_SEEDS
from ciacore.games.turn import STAY, Turn
from ciacore.learning.rollout import play
from ciacore.runtime.files import write_whole
from ciacore.runtime.provenance import now, provenance
from ciacore.runtime.store import Run
from ciacore.types import refuse

RESULT = ROOT / "book" / "results" / "early_credits.json"
EPISODES = 256
SEED = 1  # of the games' random numbers
# about that of training at 30,000 steps, where epsilon is 0.43; a little more, so that
# both agents are free often
EPSILON = 0.6


def early_row(run: Run, whole: Run, sleeps: bool) -> dict[str, Any]:
    """What one network does with its credits.

    Args:
        run: of 30,000 steps, with weights.
        whole: of the same seed and Config, and longer.
        sleeps: whether the team of the whole run sleeps.

    Returns:
        Seed; whether it sleeps; [free agent][agent] mean credits; the share of greedy
        steps at which each agent stays; whether credits are *told apart* and
        *identified*; how often the free agent has the larger one (*balanced*); how
        alike the two courses are within an episode (*parallel*).

    Raises:
        InvalidInputError: the whole run did not begin as this one.
    """
    count = len(run.metrics["episode_return"])
    if run.metrics["episode_return"] != whole.metrics["episode_return"][:count]:
        cure = "Train both with one version on one machine."
        refuse("runs", f"the first steps of seed {whole.seed}", "others", cure)
    game = Turn()
    ours = team(run, game)
    exploring = ours.parts.explorer.learning(ours.parts.agent, EPSILON)
    rng = torch.Generator().manual_seed(SEED)
    episodes = play(game, exploring, EPISODES, rng, ours.config.gamma)
    credits = evaluate_on(ours, episodes).credits
    free = free_agents(episodes)
    greedy = greedy_episodes(ours, game, EPISODES, SEED)
    stays = (greedy.actions == STAY).double().mean((0, 1))
    return {
        "seed": run.seed,
        "asleep": sleeps,
        "credits": [
            [float(credits[free == who][:, agent].mean()) for agent in (0, 1)]
            for who in (0, 1)
        ],
        "stays": stays.tolist(),
        "told apart": retrieval_accuracy(credits),
        "identified": identified(credits),
        "balanced": balanced_score(credits, free),
        "parallel": parallel(credits),
    }


def parallel(credits: Float[Tensor, "B T 2"]) -> float:
    """The correlation of two agents' credits within an episode, mean over episodes.

    Args:
        credits: [B, T, 2] of whole episodes.
    """
    around = credits.double() - credits.double().mean(1, keepdim=True)
    size = around.norm(dim=1).prod(-1).clamp(min=1e-12)
    return float((around.prod(-1).sum(1) / size).mean())


def read_early(file: Path) -> list[dict[str, Any]]:
    """The rows of a file that `main` wrote.

    Args:
        file: its place.
    """
    return json.loads(file.read_text())["rows"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the file; returns the exit code."""
    began = now()
    (folder,) = sys.argv[1:] if arguments is None else arguments
    wholes = runs_of(ROOT / "book" / "results" / "wake", WAKE["qmix"], WAKE_SEEDS)
    runs = runs_of(Path(folder), EARLY, WAKE_SEEDS)
    rows = []
    for run, whole, sleeps in zip(runs, wholes, asleep(wholes), strict=True):
        rows.append(early_row(run, whole, bool(sleeps)))
    made = {**provenance("cpu"), "started": began, "finished": now()}
    facts = {"episodes": EPISODES, "epsilon": EPSILON, "rows": rows}
    write_whole(RESULT, json.dumps({**facts, "provenance": made}, indent=1) + "\n")
    print(f"{len(rows)} networks looked at: {RESULT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
