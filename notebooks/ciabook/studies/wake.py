"""What wakes a team? Its arms, what controls follow, and the dose of CIA."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ciabook.studies.runs import Entry, grid
from ciacore.config import Config
from ciacore.methods import METHODS

DATA = Path(__file__).resolve().parents[3] / "book" / "data"
# what controls follow: `ciabook.evidence.wake_calibration` wrote it
CALIBRATED = json.loads((DATA / "wake_calibration.json").read_text())
WAKE_SEEDS = range(101, 141)  # fresh: no run of the book used them before
LOGGED = ("mean_credit", "relative_difference")  # terms without any effect
# chosen on seeds 901 and 904: with it the scale passes its manipulation check
SCALE_WEIGHT = 1.0
# no arm of the rule: an equaliser that more than halves the relative difference of
# credits on seeds 901 and 904, which one as gentle as CIA does not
STRONG_WEIGHT = 0.3


def wake(arm: str, method: str, env_steps: int = 150_000, **changes: Any) -> Config:
    """An arm of the experiment on what wakes a team (book/rules/what_wakes_a_team.md).

    Args:
        arm: its name.
        method: a name in METHODS.
        env_steps: how long it trains.
        changes: fields of its Config that differ from those of the method.
    """
    return METHODS[method].but(method=f"{arm}_wake", env_steps=env_steps, **changes)


# arm: its Config
WAKE = {
    "qmix": wake("qmix", "qmix"),
    "cia": wake("cia", "qmix_cia"),
    "rs": wake("rs", "qmix_rs"),
    "cc": wake("cc", "qmix_cc"),
    "vdn": wake("vdn", "vdn"),
    "one_layer": wake("one_layer", "qmix", hypernetwork_size=0),
    "epsilon_end": wake("epsilon_end", "qmix", epsilon_end=0.1),
    "adam": wake("adam", "qmix", optimizer="adam"),
    "gre": wake("gre", "gre"),
    "epsilon_200k": wake(
        "epsilon_200k", "qmix", env_steps=350_000, epsilon_steps=200_000
    ),
    "qmix_late": wake("qmix_late", "qmix", env_steps=350_000),
    # arms with terms of their own, which also log credits
    "permuted": wake("permuted", "qmix_cia", terms=("cia_permuted", *LOGGED)),
    "frozen": wake("frozen", "qmix_cia", terms=("cia_frozen", *LOGGED)),
    "equaliser": wake(
        "equaliser",
        "qmix",
        terms=("equaliser", *LOGGED),
        control_coefficient=CALIBRATED["equaliser"]["weight"],
    ),
    "scale": wake(
        "scale",
        "qmix",
        terms=("scale", *LOGGED),
        control_coefficient=SCALE_WEIGHT,
        control_course=CALIBRATED["scale"]["course"],
        control_interval=CALIBRATED["scale"]["interval"],
    ),
    "noise": wake(
        "noise",
        "qmix",
        terms=("noise", *LOGGED),
        control_course=CALIBRATED["noise"]["course"],
        control_interval=CALIBRATED["noise"]["interval"],
    ),
    "optimistic": wake("optimistic", "qmix", agent="optimistic", terms=LOGGED),
    "cia_early": wake(
        "cia_early", "qmix_cia", terms=("cia_timed", *LOGGED), control_stop=60_000
    ),
    "cia_late": wake(
        "cia_late",
        "qmix_cia",
        env_steps=350_000,
        terms=("cia_timed", *LOGGED),
        control_start=100_000,
    ),
}
# what the equaliser is held against in its manipulation check: the arm `qmix` again,
# as long as the check looks at it, with its credits logged
QMIX_LOGGED = wake("qmix_logged", "qmix", env_steps=60_000, terms=LOGGED)
EQUALISER_STRONG = WAKE["equaliser"].but(
    method="equaliser_strong_wake", control_coefficient=STRONG_WEIGHT
)
CALIBRATION_SEEDS = range(901, 911)  # in no comparison
EQUALISER_TRIED = 0.02  # a weight near the one that is looked for


def calibration(
    name: str, method: str, env_steps: int, terms: Sequence[str] = (), **changes: Any
) -> Config:
    """Runs that say what a control of the experiment has to follow.

    Means are written down every 1,000 env steps, with a single greedy episode. When a
    team is evaluated has no effect on its training.

    Args:
        name: of the runs.
        method: a name in METHODS.
        env_steps: how long they train.
        terms: besides those that log credits.
        changes: fields of the Config that differ from those of the method.
    """
    return METHODS[method].but(
        method=f"{name}_calibration",
        env_steps=env_steps,
        evaluation_interval=1_000,
        evaluation_games=1,
        terms=(*terms, *LOGGED),
        **changes,
    )


WAKE_CALIBRATION = [
    calibration("cia", "qmix_cia", 150_000, ["cia_measured"]),
    calibration("qmix", "qmix", 60_000),
    calibration(
        "equaliser",
        "qmix",
        103_000,  # ends after a thousand updates
        ["equaliser_measured"],
        control_coefficient=EQUALISER_TRIED,
    ),
]
# weights that were chosen, tried on two of the calibration seeds
PREVIEW_SEEDS = (901, 904)
WAKE_PREVIEWS = [
    calibration(
        "equaliser_strong",
        "qmix",
        60_000,
        ["equaliser"],
        control_coefficient=STRONG_WEIGHT,
    ),
    calibration(
        "scale",
        "qmix",
        150_000,
        ["scale"],
        control_coefficient=SCALE_WEIGHT,
        control_course=CALIBRATED["scale"]["course"],
        control_interval=CALIBRATED["scale"]["interval"],
    ),
]
# 0 and 0.02 are the arms qmix and cia
WAKE_ALPHAS = (0.001, 0.005, 0.01, 0.04, 0.1, 0.5, 1.0)
STUDIES: dict[str, list[Entry]] = {
    # E1: arm after arm
    "wake": [
        Entry(config, "turn", seed) for config in WAKE.values() for seed in WAKE_SEEDS
    ],
    "wake_logged": [Entry(QMIX_LOGGED, "turn", seed) for seed in WAKE_SEEDS],
    "wake_strong": [Entry(EQUALISER_STRONG, "turn", seed) for seed in WAKE_SEEDS],
    "wake_calibration": grid(WAKE_CALIBRATION, "turn", CALIBRATION_SEEDS),
    "wake_previews": grid(WAKE_PREVIEWS, "turn", PREVIEW_SEEDS),
    # E3: the dose of CIA
    "wake_alpha": [
        Entry(wake(f"cia_{alpha}", "qmix_cia", cia_coefficient=alpha), "turn", seed)
        for alpha in WAKE_ALPHAS
        for seed in WAKE_SEEDS
    ],
    # E2: full length, in a results folder of its own; the rule says what is known of
    # these seeds
    "wake_long": grid(
        [METHODS[method] for method in ("qmix", "qmix_cia")], "turn", range(6, 16)
    ),
}
