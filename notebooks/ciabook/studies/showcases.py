"""Each method in the test of its own paper (book/rules/showcases.md)."""

from __future__ import annotations

from typing import Any

from ciabook.studies.runs import Entry, grid
from ciacore.config import Config
from ciacore.methods import METHODS

SHOWCASE_SEEDS = range(301, 306)  # fresh: no run of the book used them before
# a small replay, and steps of the optimizer four times as long
BRISK: dict[str, Any] = {
    "buffer": 500,
    "target_interval": 100,
    "learning_rate": 2e-3,
}
TWO_STEP: dict[str, Any] = {
    **BRISK,
    "env_steps": 5_000,
    "n_games": 4,
    "epsilon_end": 1.0,  # every action is random, as in the paper
    "evaluation_interval": 500,
}
M_STEP: dict[str, Any] = {
    **BRISK,
    "env_steps": 20_000,
    "n_games": 8,
    "epsilon_steps": 10_000,
    "evaluation_interval": 1_000,
}
PREY: dict[str, Any] = {
    "env_steps": 400_000,
    "n_games": 2,
    "batch": 16,
    "target_interval": 100,
    "learning_rate": 1e-3,
    "epsilon_steps": 50_000,
}
PREY_METHODS = ("vdn", "qmix", "qtran", "qplex", "ow_qmix", "cw_qmix")


def showcase(method: str, **changes: Any) -> Config:
    """A method in the test of its own paper (book/rules/showcases.md).

    Args:
        method: a name in METHODS.
        changes: fields of its Config that differ from those of the method.
    """
    return METHODS[method].but(method=f"{method}_showcase", **changes)


STUDIES: dict[str, list[Entry]] = {
    # each method in its own paper's test
    "showcases_tiny": [
        *grid(
            [showcase(name, **TWO_STEP) for name in ("vdn", "qmix")],
            "two_step",
            SHOWCASE_SEEDS,
        ),
        *grid(
            [showcase(name, **M_STEP) for name in ("qmix", "maven")],
            "m_step",
            SHOWCASE_SEEDS,
        ),
    ],
    "showcases_prey": grid(
        [showcase(name, **PREY) for name in PREY_METHODS],
        "predator_prey",
        SHOWCASE_SEEDS[:3],
    ),
}
