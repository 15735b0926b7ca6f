"""Studies on Turn: the paper's, its coefficients, and many short runs."""

from __future__ import annotations

from collections.abc import Sequence

from ciabook.studies.runs import SEEDS, Entry, grid
from ciacore.config import Config
from ciacore.methods import METHODS

ALPHAS = (0.005, 0.01, 0.02, 0.04, 0.05, 0.1, 0.5, 1.0)  # the paper's grid
CIA = METHODS["qmix_cia"]


def with_alpha(alpha: float) -> Config:
    """QMIX(CIA) with a coefficient; the published one keeps its name."""
    if alpha == CIA.cia_coefficient:
        return CIA
    return CIA.but(method=f"qmix_cia_{alpha}", cia_coefficient=alpha)


def short_runs(methods: Sequence[str]) -> list[Entry]:
    """Many short runs of some methods on Turn.

    How often a team learns to stay is decided early: many short runs say more than a
    few long ones.
    """
    configs = []
    for name in methods:
        changes = {"method": f"{name}_rest", "env_steps": 250_000}
        configs.append(METHODS[name].but(**changes))
    return grid(configs, "turn", range(1, 21))


STUDIES: dict[str, list[Entry]] = {
    "smoke": grid(
        [METHODS[name].but(env_steps=2_000) for name in ("qmix", "qmix_cia")],
        "turn",
        (1, 2),
    ),
    # what a cluster is tried with
    "minute": grid([METHODS["qmix_cia"].but(env_steps=150_000)], "turn", (1, 2)),
    "turn": grid(METHODS.values(), "turn"),
    "departures": grid(
        [
            CIA,
            CIA.but(method="qmix_cia_exact", credit_derivative="exact"),
            CIA.but(
                method="qmix_cia_attached",
                credit_derivative="exact",
                credit_detach=False,
            ),
            METHODS["qmix_cc"],
        ],
        "turn",
    ),
    "alpha": grid([with_alpha(alpha) for alpha in ALPHAS], "turn", SEEDS[:3]),
    "rest": short_runs(("qmix", "qmix_cc", "qmix_cia")),
    # one backbone, and three things done to its credits: made alike, left alone, made
    # to differ
    "cause": short_runs(("qmix_rs", "qmix", "qmix_cia")),
}
