"""CIA in other games: the rule of book/rules/other_games.md, as code.

python -m ciabook.evidence.other_games     writes book/data/other_games.json
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ciabook.evidence.paired import Paired, differences_of, paired
from ciabook.evidence.statistics import holm
from ciabook.studies.other_games import IN_OTHER_GAMES, OTHER_GAMES
from ciabook.studies.runs import SEEDS
from ciabook.turn.scripted_players import Uniform
from ciacore.games import make_game
from ciacore.learning.rollout import play
from ciacore.runtime.files import write_whole
from ciacore.runtime.provenance import provenance
from ciacore.runtime.store import Run, read_runs
from ciacore.types import Game, refuse

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "book" / "data" / "other_games.json"
# the most that a team can be paid in an episode: all food, or no distance and no bump
BOUNDS = {
    "Foraging-8x8-2p-2f-coop": 1.0,
    "Foraging-10x10-3p-3f": 1.0,
    "simple_spread": 0.0,
}
OURS = "qmix_cia"
THEIRS = ("qmix", "qmix_rs", "vdn")  # the family: ours against each of them
LEVEL = 0.05  # of the whole family
MARGIN = 0.05  # a difference of scores that counts as none
LEARNED = 0.05  # the score from which on a game counts as learned
LEARNED_GAMES = 2  # so many must be, before two methods are called equal
EPISODES = 1_024  # of random play
SEED = 901  # of random play, and of nothing that is compared

# label of a game -> method -> seed -> score
Scores = dict[str, dict[str, dict[int, float]]]


def last_quarter(run: Run) -> float:
    """The mean greedy return over the last quarter of a run's evaluations.

    Args:
        run: with at least four evaluations.

    Raises:
        InvalidInputError: it has fewer.
    """
    evaluations = run.metrics["episode_return"]
    quarter = len(evaluations) // 4
    if quarter == 0:
        cure = "Train longer, or evaluate more often."
        refuse("runs", "at least 4 evaluations", len(evaluations), cure)
    return float(np.mean([np.mean(returns) for returns in evaluations[-quarter:]]))


def score(mean_return: float, at_random: float, bound: float) -> float:
    """How far a team has come from random play to the bound: 0 to 1.

    Args:
        mean_return: of the team.
        at_random: of random play.
        bound: the most that can be paid.
    """
    return (mean_return - at_random) / (bound - at_random)


def stored(results: Path) -> dict[str, dict[str, list[Run]]]:
    """The runs that are there: label of a game -> method -> runs.

    Args:
        results: the folder of all runs.

    Raises:
        InvalidInputError: a run is damaged or another's.
    """
    found = {}
    for label, (game, _) in OTHER_GAMES.items():
        there = [
            method
            for method in IN_OTHER_GAMES
            if any((results / game / method).glob("seed_*"))
        ]
        found[label] = read_runs(results, game, there)
    return found


def scores(
    runs: Mapping[str, Mapping[str, Sequence[Run]]], at_random: Mapping[str, float]
) -> Scores:
    """The score of every run.

    Args:
        runs: label of a game -> method -> runs.
        at_random: label of a game -> mean return of random play.
    """
    found: Scores = {}
    for label, methods in runs.items():
        found[label] = {}
        for method, group in methods.items():
            found[label][method] = {
                run.seed: score(last_quarter(run), at_random[label], BOUNDS[label])
                for run in group
            }
    return found


def learned(found: Scores) -> list[str]:
    """The games in which some method's mean score is at least LEARNED.

    Args:
        found: of every run.
    """
    return [
        label
        for label, methods in found.items()
        if any(np.mean(list(seeds.values())) >= LEARNED for seeds in methods.values())
    ]


def compare(found: Scores, theirs: str) -> Paired | None:
    """One comparison of the family; None while the two share no run.

    Args:
        found: of every run.
        theirs: the other method.
    """
    return paired(
        {
            label: differences_of(methods.get(OURS, {}), methods.get(theirs, {}))
            for label, methods in found.items()
        }
    )


def family(found: Scores) -> dict[str, Paired]:
    """All comparisons that the runs allow: the other method -> the comparison.

    Args:
        found: of every run.
    """
    compared = {theirs: compare(found, theirs) for theirs in THEIRS}
    return {theirs: each for theirs, each in compared.items() if each is not None}


def corrected(compared: Mapping[str, Paired]) -> dict[str, float]:
    """The p-values of the family, corrected by Holm.

    A test whose runs are missing keeps its place, with p = 1.

    Args:
        compared: as `family` returns it.
    """
    p_values = {
        theirs: compared[theirs].p_value if theirs in compared else 1.0
        for theirs in THEIRS
    }
    return holm(p_values)


def verdict(comparison: Paired, p_value: float, learned_games: int) -> str:
    """What a comparison shows of QMIX(CIA).

    Args:
        comparison: with another method.
        p_value: corrected for the family.
        learned_games: how many games count as learned.

    Returns:
        "better", "worse", "equal" or "undecided".
    """
    if p_value <= LEVEL:
        return "better" if comparison.value > 0 else "worse"
    inside = -MARGIN < comparison.low and comparison.high < MARGIN
    is_tight = inside and comparison.coverage >= 1 - LEVEL
    if is_tight and learned_games >= LEARNED_GAMES:
        return "equal"
    return "undecided"


def answer(found: Scores) -> str:
    """The answer to the question of the rule, in words.

    Args:
        found: the score of every run that is there.
    """
    compared = family(found)
    if "qmix" not in compared:
        return "It waits for its runs."
    p_values = corrected(compared)
    games = len(learned(found))
    words = {
        theirs: verdict(compared[theirs], p_values[theirs], games)
        for theirs in compared
    }
    said = SAID[words["qmix"]]
    if words["qmix"] == "better" and words.get("qmix_rs") == "better":
        said += " Its credits matter here, too."
    counted = sum(len(seeds) for each in found.values() for seeds in each.values())
    whole = len(OTHER_GAMES) * len(IN_OTHER_GAMES) * len(SEEDS)
    if counted < whole:
        said += f" This is provisional: {counted} of {whole} runs are there."
    return said


# the verdict against QMIX -> the sentence
SAID = {
    "better": "CIA helps here.",
    "worse": "CIA harms here.",
    "equal": "CIA does as well as QMIX here.",
    "undecided": "The question stays open.",
}


def random_returns(game: Game, episodes: int) -> dict[str, float]:
    """What random play is paid.

    Args:
        game: any.
        episodes: how many are played.

    Returns:
        The mean return and its standard error.
    """
    rng = torch.Generator().manual_seed(SEED)
    played = play(game, Uniform(), episodes, rng, gamma=1.0)
    returns = (played.rewards * played.weights).sum(1)
    error = float(returns.std()) / episodes**0.5
    return {"mean_return": float(returns.mean()), "standard_error": error}


def measured(episodes: int = EPISODES) -> dict[str, Any]:
    """What random play is paid in every game, and where that was found out.

    Args:
        episodes: of random play.
    """
    found = {}
    for label, (name, _) in OTHER_GAMES.items():
        found[label] = random_returns(make_game(name), episodes)
    return {
        "episodes": episodes,
        "seed": SEED,
        "random": found,
        "provenance": provenance("cpu"),
    }


def main() -> None:
    """Writes what random play is paid."""
    write_whole(DATA, json.dumps(measured(), indent=1) + "\n")


if __name__ == "__main__":
    main()
