"""MAVEN beside its own mixer without latents: the rule, fixed before its runs.

The rule in words is book/rules/maven.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ciabook.evidence.final_returns import LAST, final_returns
from ciacore.runtime.store import Run
from ciacore.types import refuse

COLLAPSED = 0.1  # of the entropy of latents that are all equally likely
ARMS = ("maven", "maven_entropy", "qmix_maven_hypernetworks")


def breadth(run: Run) -> float:
    """The entropy of a run's latent policy at its end, 1 where all are equally likely.

    Raises:
        InvalidInputError: the run has no latents, or did not log their entropy.
    """
    logged = [row for row in run.metrics["losses"][-LAST:] if row]
    if run.config.latent_size < 2 or any(
        "latent_policy_entropy" not in row for row in logged
    ):
        expected = "a run of MAVEN that logs latent_policy_entropy"
        refuse("run", expected, run.config.method, "Train it again.")
    mean = np.mean([row["latent_policy_entropy"] for row in logged])
    return float(mean / math.log(run.config.latent_size))


def order(ours: Sequence[Run], theirs: Sequence[Run]) -> str:
    """Where our runs end beside theirs: "above", "below" or "mixed".

    Args:
        ours: runs of an arm.
        theirs: runs of another.
    """
    own, other = final_returns(ours), final_returns(theirs)
    if own.min() > other.max():
        return "above"
    return "below" if own.max() < other.min() else "mixed"


def verdict(runs: Mapping[str, Sequence[Run]]) -> str:
    """What remains of "MAVEN does as well", in a sentence.

    Args:
        runs: by arm, the keys of ARMS.
    """
    maven, broad, without = (runs[arm] for arm in ARMS)
    informative = all(breadth(run) >= COLLAPSED for run in broad)
    helps = order(broad, without) == "above"
    tail = "" if informative else " The latents collapsed in spite of their entropy."
    if informative and helps:
        return "Latents in play help."
    if order(maven, without) == "above":
        if not informative:
            return f"Something of MAVEN helps.{tail}"
        return "Something of MAVEN helps, and it is not the latents in play."
    if helps:
        return f"Something of MAVEN with entropy helps.{tail}"
    return f"The latents add nothing that is seen here.{tail}"
