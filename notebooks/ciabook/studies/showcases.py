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
# as the files with which MAVEN's authors launched and drew their runs have it
M_STEP: dict[str, Any] = {
    "env_steps": 100_000,
    "buffer": 1_000,
    "epsilon_end": 0.01,
    "evaluation_interval": 1_000,
}
M_STEP_MAVEN: dict[str, Any] = {
    "epsilon_steps": 100,
    "maven_coefficient": 1.0,
    "maven_size": 32,
    "maven_layers": 1,
    "maven_entropy_coefficient": 0.001,
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


MAVEN = showcase("maven", **M_STEP, **M_STEP_MAVEN)
TRACED = [
    MAVEN.but(method="maven_even_showcase", auxiliaries=()),
    MAVEN.but(method="maven_broad_showcase", maven_entropy_weight=1.0),
]
STUDIES: dict[str, list[Entry]] = {
    # each method in its own paper's test
    "showcases_tiny": [
        *grid(
            [showcase(name, **TWO_STEP) for name in ("vdn", "qmix")],
            "two_step",
            SHOWCASE_SEEDS,
        ),
        *grid(
            [showcase("qmix", **M_STEP), MAVEN],
            "m_step",
            SHOWCASE_SEEDS,
        ),
    ],
    "showcases_prey": grid(
        [showcase(name, **PREY) for name in PREY_METHODS],
        "predator_prey",
        SHOWCASE_SEEDS[:3],
    ),
    # does MAVEN fail in the m-step game because its latents leave play?
    "showcases_trace": grid(TRACED, "m_step", SHOWCASE_SEEDS),
}
