"""Retraining the beginning of a stored run and comparing.

The numbers must be equal on the same PyTorch and CPU; elsewhere they must lie in
a band.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from ciacore.runtime.experiment import train
from ciacore.runtime.provenance import legs_of
from ciacore.runtime.store import Run
from ciacore.types import Game, refuse

# where all of these agree, so must the returns
SAME = ("numerics", "fast", "cpu", "device", "threads", "python", "torch", "numpy")
# what an older run did not record, because it could not be otherwise
ALWAYS = {"fast": True}


class Recheck(NamedTuple):
    """The evaluations of a stored run beside those of its retraining."""

    env_steps: list[int]
    stored: list[float]  # mean greedy returns
    again: list[float]
    band: list[float]  # how far the two may lie apart where exactness is not promised
    differing: list[str]  # what of SAME is not as it was, in any leg of this part
    exact: bool  # every single return is equal

    @property
    def passed(self) -> bool:
        """Exact where everything in SAME agrees; otherwise every mean in its band."""
        if not self.differing:
            return self.exact
        for stored, again, width in zip(
            self.stored, self.again, self.band, strict=True
        ):
            if not abs(stored - again) <= width:
                return False
        return True


def recheck(run: Run, siblings: Sequence[Run], game: Game, evaluations: int) -> Recheck:
    """Trains the first evaluations of a run again.

    Args:
        run: the stored run.
        siblings: all stored seeds of the method, for the band: at each evaluation the
            spread (largest minus smallest mean) over seeds, plus four standard errors
            of the difference of two means over the evaluation games.
        game: the run's game.
        evaluations: how many, from the first.

    Raises:
        InvalidInputError: another game than the run's, or a number of evaluations the
            run does not have.
    """
    held = len(run.metrics["env_steps"])
    if game.name != run.game:
        refuse("game", run.game, game.name, "Pass the game the run was trained on.")
    if not 1 <= evaluations <= held:
        refuse(
            "evaluations",
            f"a whole number from 1 to {held}",
            evaluations,
            "Ask for fewer.",
        )
    steps = run.metrics["env_steps"][:evaluations]
    shorter = run.config.but(env_steps=max(1, steps[-1] - 1))
    (again,) = train(shorter, game, [run.seed], device=run.provenance["device"])
    stored = run.metrics["episode_return"][:evaluations]
    repeated = again.metrics["episode_return"][:evaluations]
    band = []
    for index in range(evaluations):
        means = [mean(other.metrics["episode_return"][index]) for other in siblings]
        spread = max(means) - min(means)
        variance = squared_error(stored[index]) + squared_error(repeated[index])
        band.append(spread + 4 * math.sqrt(variance))
    legs = [leg for leg in legs_of(run.provenance) if leg["env_steps"] < steps[-1]]
    differing = []
    for name in SAME:
        here = fact(again.provenance, name)
        if any(fact(leg, name) != here for leg in legs):
            differing.append(name)
    return Recheck(
        env_steps=steps,
        stored=[mean(returns) for returns in stored],
        again=[mean(returns) for returns in repeated],
        band=band,
        differing=differing,
        exact=stored == repeated,
    )


def fact(provenance: dict, name: str) -> object:
    """An entry of a provenance, or the version of a package.

    Args:
        provenance: of a run, or of a leg of one.
        name: of the entry or the package.

    Returns:
        What was recorded; None where an older run did not record it.
    """
    known = {**provenance, **provenance.get("versions", {})}
    return known.get(name, ALWAYS.get(name))


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean."""
    return sum(values) / len(values)


def squared_error(values: Sequence[float]) -> float:
    """The squared standard error of the mean."""
    centre = mean(values)
    squares = sum((value - centre) ** 2 for value in values)
    return squares / (len(values) - 1) / len(values)
