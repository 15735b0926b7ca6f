"""The manipulation checks of *What wakes a team?*: did a control do what it is for?

They read what was logged of credits and of noise, and no return. They are computed and
committed before the outcomes of their arm are read.

    python -m ciabook.evidence.wake_checks RESULTS [ARM ...]
        writes book/data/wake_checks.json, where other arms stay as they are; RESULTS is
        the folder of the runs, and without an ARM all three of the rule are checked
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ciabook.evidence.wake_calibration import HALVED, ends_at, loss_means, over, rounded
from ciabook.studies.study import ROOT
from ciabook.studies.wake import EQUALISER_STRONG, QMIX_LOGGED, WAKE, WAKE_SEEDS
from ciacore.config import Config
from ciacore.runtime.files import write_whole
from ciacore.runtime.store import Run, read_run, run_folder
from ciacore.types import InvalidInputError, known_name, refuse

FILE = ROOT / "book" / "data" / "wake_checks.json"
# arms with a check: the three of the rule, and one that is not in it
ARMS = ("equaliser", "scale", "noise")
CHECKED = {**{arm: WAKE[arm] for arm in ARMS}, "equaliser_strong": EQUALISER_STRONG}
HALF = 0.5  # at most this share of QMIX's relative difference
NEAR = (0.9, 1.1)  # mean credit divided by c(t) ...
NEAR_OVER = (10_000, 150_000)  # ... at every evaluation from here to there
AS_LARGE = 0.05  # how far the norm of the noise may be from its course, relatively


class Check(NamedTuple):
    """What became of a manipulation."""

    passed: bool  # otherwise the arm is uninformative
    shown: dict[str, Any]  # the numbers it was told by


def equaliser_check(arm: Sequence[Run], qmix: Sequence[Run]) -> Check:
    """Whether the relative difference of credits is at most half of QMIX's.

    Args:
        arm: runs of the equaliser.
        qmix: runs of QMIX that log the same.

    Raises:
        InvalidInputError: other seeds than the arm's, or runs that are too short.
    """
    same_seeds(arm, qmix)
    name = "relative_difference"
    ours = float(np.mean([over(run, name, *HALVED) for run in arm]))
    theirs = float(np.mean([over(run, name, *HALVED) for run in qmix]))
    shown = {"equaliser": rounded(ours), "qmix": rounded(theirs)}
    return Check(ours <= HALF * theirs, shown)


def scale_check(arm: Sequence[Run]) -> Check:
    """Whether the mean credit stays within a tenth of its course.

    Args:
        arm: runs of the scale, whose Configs hold the course.

    Raises:
        InvalidInputError: a run is too short.
    """
    ratios = []
    for run in arm:
        means, _ = loss_means(run, "mean_credit")
        ratios.append(means / expected(run))
    due = ends_at(arm[0])
    first, last = NEAR_OVER
    if due[-1] < last:
        refuse("runs", f"at least {last} env steps", int(due[-1]), "Train longer.")
    asked = (due >= first) & (due <= last)
    found = np.mean(ratios, axis=0)[asked]
    low, high = NEAR
    shown = {
        "env_steps": due[asked].tolist(),
        "mean credit over course": [rounded(ratio) for ratio in found],
        "relative difference": [
            rounded(value)
            for value in np.mean(
                [loss_means(run, "relative_difference")[0][asked] for run in arm], 0
            )
        ],
    }
    return Check(bool(((found >= low) & (found <= high)).all()), shown)


def noise_check(arm: Sequence[Run]) -> Check:
    """Whether the norm of the noise is that of its course.

    Args:
        arm: runs of the noise, whose Configs hold the course.
    """
    ratios = []
    for run in arm:
        means, counts = loss_means(run, "noise")
        ratios.append(means[counts > 0] / expected(run)[counts > 0])
    due = ends_at(arm[0])[loss_means(arm[0], "noise")[1] > 0]
    found = np.mean(ratios, axis=0)
    shown = {
        "env_steps": due.tolist(),
        "norm over course": [rounded(ratio) for ratio in found],
    }
    return Check(bool((np.abs(found - 1) <= AS_LARGE).all()), shown)


def expected(run: Run) -> Float[np.ndarray, "entries"]:
    """The mean of a run's course over the updates before each of its evaluations.

    Update u follows episode u + batch - 1, and sees the env steps before it. Episodes
    are equally long, and one game is played per update.

    Args:
        run: whose Config holds a course.

    Returns:
        By entry of the run's metrics; nan where there was no update.
    """
    metrics, config = run.metrics, run.config
    values = np.array(config.control_course)
    length = metrics["env_steps"][-1] / metrics["episodes"][-1]
    found, done = [], 0
    for updates in metrics["updates"]:
        episodes = np.arange(done, updates) + config.batch - 1
        index = np.ceil(episodes * length / config.control_interval).astype(int) - 1
        along = values[index.clip(0, len(values) - 1)]
        found.append(along.mean() if len(along) else np.nan)
        done = updates
    return np.array(found)


def same_seeds(arm: Sequence[Run], others: Sequence[Run]) -> None:
    """Refuses runs of other seeds.

    Args:
        arm: runs of an arm.
        others: runs that stand beside them.
    """
    seeds, theirs = [run.seed for run in arm], [run.seed for run in others]
    if seeds != theirs:
        refuse("runs", f"the seeds {seeds}", theirs, "Train what is missing.")


def runs_of(results: Path, config: Config, seeds: Sequence[int]) -> list[Run]:
    """The runs of a Config, all of them.

    Args:
        results: the folder of all runs.
        config: of the runs.
        seeds: of the runs.

    Raises:
        InvalidInputError: a run is missing, damaged or of another Config.
    """
    found = []
    for seed in seeds:
        run = read_run(run_folder(results, "turn", config.method, seed))
        if run.config != config:
            cure = "Train it as the study says."
            refuse("results", f"the Config of {config.method}", run.config, cure)
        found.append(run)
    return found


def check(arm: str, results: Path) -> Check:
    """The check of an arm.

    Args:
        arm: a name in CHECKED.
        results: the folder of all runs.

    Raises:
        InvalidInputError: another arm, or a run that is missing, damaged or of another
            Config.
    """
    runs = runs_of(results, CHECKED[known_name(arm, CHECKED, "arm")], WAKE_SEEDS)
    if arm.startswith("equaliser"):
        return equaliser_check(runs, runs_of(results, QMIX_LOGGED, WAKE_SEEDS))
    return scale_check(runs) if arm == "scale" else noise_check(runs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what the checks found, and writes it down; returns the exit code."""
    summary = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser(prog="wake_checks", description=summary)
    parser.add_argument("results", type=Path, help="the folder of the runs")
    parser.add_argument("arms", nargs="*", metavar="ARM", help=", ".join(CHECKED))
    options = parser.parse_args(arguments)
    written = json.loads(FILE.read_text()) if FILE.exists() else {}
    try:
        found = {arm: check(arm, options.results) for arm in options.arms or ARMS}
    except InvalidInputError as error:
        print(f"wake_checks: {error}", file=sys.stderr)
        return 2
    for arm, one in found.items():
        print(f"{arm}: {'passed' if one.passed else 'failed, so uninformative'}")
        written[arm] = one._asdict()
    write_whole(FILE, json.dumps(written, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
