"""Runs in the forms that other tools read: marl-eval's JSON, and rliable's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ciabook.evidence.final_returns import final_returns
from ciacore.runtime.store import Run
from ciacore.types import refuse

# game -> method -> runs; `ciacore.runtime.store.read_runs` gives the inner mapping
Games = Mapping[str, Mapping[str, Sequence[Run]]]


def to_marl_eval(games: Games, environment: str = "ciacore") -> dict[str, Any]:
    """The layout of marl-eval (Gorsane et al. 2022).

    Its levels are environment, task, algorithm, seed and step. Every evaluation is a
    step with its list of returns. `absolute_metrics` holds the last evaluation:
    marl-eval has a longer one of the best networks in mind, which is not made here.

    Args:
        games: game -> method -> runs.
        environment: the name of the outermost level.

    Returns:
        What `json.dump` may write for marl-eval.
    """
    tasks: dict[str, Any] = {}
    for game, methods in games.items():
        tasks[game] = {name: seeds(runs) for name, runs in methods.items()}
    return {environment: tasks}


def seeds(runs: Sequence[Run]) -> dict[str, Any]:
    """The seeds of one method on one game."""
    found = {}
    for run in runs:
        steps = run.metrics["env_steps"]
        returns = run.metrics["episode_return"]
        entry: dict[str, Any] = {}
        for index, step in enumerate(steps):
            entry[f"step_{index}"] = {"step_count": step, "return": returns[index]}
        entry["absolute_metrics"] = {"return": returns[-1]}
        found[f"seed_{run.seed}"] = entry
    return found


def to_rliable(games: Games, last: int) -> dict[str, np.ndarray]:
    """The score tables of rliable (Agarwal et al. 2021), one per method.

    A score is the mean greedy return of the last evaluations of a run.

    Args:
        games: game -> method -> runs.
        last: how many evaluations; 50 are the last 500,000 steps that the paper's Table
            1 averages.

    Returns:
        Method -> scores [runs, games].

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
        groups = [methods[name] for methods in games.values()]
        shortest = min(
            len(run.metrics["env_steps"]) for group in groups for run in group
        )
        if not 1 <= last <= shortest:
            refuse(
                "last",
                f"a whole number from 1 to {shortest}, the evaluations of {name}",
                last,
                "Ask for fewer.",
            )
        columns = [final_returns(group, last) for group in groups]
        tables[name] = np.stack(columns, axis=1)
    return tables
