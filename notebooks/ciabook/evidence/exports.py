"""Runs in the forms that other tools read: marl-eval's JSON, and the score tables of rliable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ciabook.evidence.final_returns import final
from ciacore.runtime.store import Run
from ciacore.types import refuse

Games = Mapping[
    str, Mapping[str, Sequence[Run]]
]  # game -> method -> runs, as ciacore.runtime.store.read_runs gives the inner one


def to_marl_eval(games: Games, environment: str = "ciacore") -> dict[str, Any]:
    """The layout of marl-eval (Gorsane et al. 2022): environment, task, algorithm, seed, step.

    Every evaluation is a step with its list of returns. `absolute_metrics` holds the
    last evaluation: a longer one of the best networks, which marl-eval has in mind, is
    not made here.
    """
    return {
        environment: {
            game: {name: seeds(runs) for name, runs in methods.items()}
            for game, methods in games.items()
        }
    }


def seeds(runs: Sequence[Run]) -> dict[str, Any]:
    """The seeds of one method on one game."""
    found = {}
    for run in runs:
        returns, steps = run.metrics["episode_return"], run.metrics["env_steps"]
        entries = {
            f"step_{index}": {"step_count": step, "return": values}
            for index, (step, values) in enumerate(zip(steps, returns, strict=True))
        }
        found[f"seed_{run.seed}"] = {
            **entries,
            "absolute_metrics": {"return": returns[-1]},
        }
    return found


def to_rliable(games: Games, last: int) -> dict[str, np.ndarray]:
    """Scores [runs, games] per method: the mean greedy return of the last evaluations of a run.

    Args:
        last: how many evaluations; 50 are the last 500,000 steps that the paper's Table
            1 averages.

    Raises:
        InvalidInputError: a method lacks a game, has fewer runs on one than on another,
            or a run has fewer evaluations.
    """
    names = {name for methods in games.values() for name in methods}
    tables = {}
    for name in sorted(names):
        counts = {game: len(methods.get(name, ())) for game, methods in games.items()}
        if len(set(counts.values())) != 1:
            refuse(
                "games",
                f"as many runs of {name} on every game",
                counts,
                "Train what is missing, or leave it out.",
            )
        held = [
            len(run.metrics["env_steps"])
            for methods in games.values()
            for run in methods[name]
        ]
        if not 1 <= last <= min(held):
            refuse(
                "last",
                f"a whole number from 1 to {min(held)}, the evaluations of {name}",
                last,
                "Ask for fewer.",
            )
        tables[name] = np.stack(
            [final(methods[name], last) for methods in games.values()], axis=1
        )
    return tables
