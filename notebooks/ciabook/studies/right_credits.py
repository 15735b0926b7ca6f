"""What credits are judged on (book/rules/right_credits.md).

Its seeds are in no other study; `ciabook.evidence.right_credits` trains and scores it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ciabook.studies.runs import Entry, grid
from ciacore.config import Config
from ciacore.methods import METHODS

RIGHT_STEPS, RIGHT_LONG = 200_000, 1_000_000
IN_TURN = ("vdn", "qmix", "qmix_rs", "qmix_cia")
IN_PREDATOR_PREY = ("vdn", "qmix", "qmix_cia", "qplex", "qplex_cia")


def trained(methods: Sequence[str], env_steps: int) -> list[Config]:
    """Methods with another length of training.

    Args:
        methods: names in METHODS.
        env_steps: how long they train.
    """
    return [METHODS[name].but(env_steps=env_steps) for name in methods]


STUDIES: dict[str, list[Entry]] = {
    "right_credits_turn": [
        *grid(trained(IN_TURN, RIGHT_STEPS), "turn_3", range(204, 211)),
        *grid(trained(IN_TURN, RIGHT_STEPS), "turn_6", range(201, 211)),
    ],
    "right_credits_long": grid(trained(IN_TURN, RIGHT_LONG), "turn_3", range(201, 204)),
    "right_credits_prey": grid(
        trained(IN_PREDATOR_PREY, RIGHT_STEPS), "predator_prey_0", range(201, 204)
    ),
}
