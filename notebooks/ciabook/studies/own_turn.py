"""Does credit in the second agent's own turn wake a team? (book/rules/own_turn.md)."""

from __future__ import annotations

from typing import Any

from ciabook.studies.battles import frozen
from ciabook.studies.runs import Entry, grid
from ciabook.studies.wake import (
    CALIBRATION_SEEDS,
    LOGGED,
    PREVIEW_SEEDS,
    QMIX_LOGGED,
    WAKE_SEEDS,
    calibration,
)
from ciacore.config import Config
from ciacore.methods import METHODS

FILE = "own_turn.json"
OWN_TURN_SEEDS = range(141, 161)  # fresh: no run of the book used them before
IN_TURN = ("credit_in_turn_0", "credit_in_turn_1")  # logged, without any effect
HELD_TO = 60_000  # env steps, from which on credits are let go
WEIGHT = 1.0  # of the penalty, as that of `scale`
SECOND = "turn_credit_1"  # the term that holds the second agent's credit
FIRST = "turn_credit_0"


def arm(
    name: str, method: str, held: str = "", like: str = "", **changes: Any
) -> Config:
    """An arm of the experiment.

    Args:
        name: of the arm.
        method: a name in METHODS.
        held: the term that holds a credit; none: nothing is held.
        like: whose calibrated course the credit follows, a key of the file's courses.
        changes: fields of its Config that differ from those of the method.
    """
    if held:
        agent = held.removeprefix("turn_credit_")
        courses = frozen(FILE)
        changes |= {
            "control_coefficient": WEIGHT,
            "control_course": courses["courses"][like][agent],
            "control_interval": courses["interval"],
            "control_stop": HELD_TO,
        }
    base = METHODS[method]
    terms = (*base.terms, *([held] if held else []), *LOGGED, *IN_TURN)
    return base.but(method=f"{name}_turn", env_steps=150_000, terms=terms, **changes)


def arms() -> dict[str, Config]:
    """The arms; none before the courses are there."""
    if not frozen(FILE):
        return {}
    return {
        "qmix": arm("qmix", "qmix"),
        "cia": arm("cia", "qmix_cia"),
        "fed": arm("fed", "qmix", SECOND, "qmix_cia"),
        "starved": arm("starved", "qmix_cia", SECOND, "sleepers"),
        "first": arm("first", "qmix", FIRST, "qmix_cia"),
    }


def raised() -> dict[str, Config]:
    """The arm that is read beside the others (departure 2 of the rule)."""
    if not frozen(FILE):
        return {}
    return {"raised": arm("raised", "qmix", FIRST, "first_raised")}


# the arm `qmix` of *What wakes a team?* again, to the step at which its ends are told
EARLY = QMIX_LOGGED.but(method="qmix_early", env_steps=30_000)
OWN_TURN_CALIBRATION = [
    calibration(f"{method}_turn", method, 60_000, [*METHODS[method].terms, *IN_TURN])
    for method in ("qmix", "qmix_cia")
]


def previews() -> list[Config]:
    """The arms that hold a credit, until they let it go."""
    held = {name: config for name, config in arms().items() if config.control_course}
    return [
        config.but(method=f"{name}_turn_preview", env_steps=HELD_TO)
        for name, config in held.items()
    ]


STUDIES: dict[str, list[Entry]] = {
    # seed after seed
    "own_turn": [
        Entry(config, "turn", seed)
        for seed in OWN_TURN_SEEDS
        for config in arms().values()
    ],
    "own_turn_raised": [
        Entry(config, "turn", seed)
        for seed in OWN_TURN_SEEDS
        for config in raised().values()
    ],
    "own_turn_early": [Entry(EARLY, "turn", seed) for seed in WAKE_SEEDS],
    # whether the weight holds a credit, tried on two of the calibration seeds
    "own_turn_previews": grid(previews(), "turn", PREVIEW_SEEDS),
    "own_turn_calibration": grid(OWN_TURN_CALIBRATION, "turn", CALIBRATION_SEEDS),
}
