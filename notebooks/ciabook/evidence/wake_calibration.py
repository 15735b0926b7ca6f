"""What the controls of *What wakes a team?* follow, computed from calibration runs.

The runs are those of the studies `wake_calibration` and `wake_previews`, seeds 901 to
910, which appear in no comparison. Nothing here looks at a return.

    python -m ciabook.evidence.wake_calibration RESULTS
        writes book/data/wake_calibration.json; RESULTS is the folder of the runs
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ciabook.studies.study import ROOT
from ciabook.studies.wake import CALIBRATION_SEEDS, EQUALISER_TRIED, PREVIEW_SEEDS
from ciacore.runtime.files import write_whole
from ciacore.runtime.store import Run, read_runs
from ciacore.types import InvalidInputError, refuse

FILE = ROOT / "book" / "data" / "wake_calibration.json"
SCALE_INTERVAL = 10_000  # env steps of one value of c(t): those of an evaluation
SCALE_END = 60_000  # env steps, from which on c(t) is held
NOISE_INTERVAL = 1_000  # env steps of one value of the norm: ten updates
FIRST = 1_000  # updates over which the equaliser is as strong as CIA
NEAR_ENOUGH = 0.2  # how far the norm of the weight that is tried may be, relatively
# env steps between which the equaliser must have halved the relative difference
HALVED = (50_000, 60_000)
DIGITS = 4  # significant ones, of what is written down


def loss_means(
    run: Run, name: str
) -> tuple[Float[np.ndarray, "entries"], Float[np.ndarray, "entries"]]:
    """The means of a logged loss, and over how many updates each was taken.

    Args:
        run: a stored run.
        name: of the loss.

    Returns:
        Both by entry of the run's metrics; 0 where there was no update.

    Raises:
        InvalidInputError: the run has not logged it.
    """
    means = []
    for losses in run.metrics["losses"]:
        if losses is not None and name not in losses:
            cure = "Train it with this term."
            refuse("runs", f"runs that logged {name}", sorted(losses), cure)
        means.append(0.0 if losses is None else losses[name])
    counts = np.diff(run.metrics["updates"], prepend=0)
    return np.array(means), counts.astype(float)


def ends_at(run: Run) -> Int[np.ndarray, "entries"]:
    """The env steps at which the evaluations of a run were due."""
    interval = run.config.evaluation_interval
    return np.array(run.metrics["env_steps"]) // interval * interval


def course(runs: Sequence[Run], name: str, interval: int, end: int) -> list[float]:
    """The course of a loss: the mean over runs of its mean over equal intervals.

    Args:
        runs: of one method, which evaluate at least once per interval.
        name: of the loss.
        interval: env steps of a value.
        end: env steps of the last value.

    Returns:
        A value for each interval; before the first update that of the first interval
        with one.

    Raises:
        InvalidInputError: a run is too short, or has not logged the loss.
    """
    found = []
    for run in runs:
        means, counts = loss_means(run, name)
        due = ends_at(run)
        if due[-1] < end:
            refuse("runs", f"at least {end} env steps", int(due[-1]), "Train longer.")
        values = []
        for start in range(0, end, interval):
            inside = (due > start) & (due <= start + interval)
            updates = counts[inside].sum()
            total = (means * counts)[inside].sum()
            values.append(total / updates if updates else np.nan)
        found.append(values)
    averages = np.mean(found, axis=0)
    first = averages[~np.isnan(averages)][0]
    return [rounded(first if np.isnan(value) else value) for value in averages]


def mean_over_first(runs: Sequence[Run], name: str, updates: int = FIRST) -> float:
    """The mean of a loss over the first updates of all runs.

    Args:
        runs: that evaluated right after this many updates.
        name: of the loss.
        updates: how many.

    Raises:
        InvalidInputError: a run has no evaluation there.
    """
    found = []
    for run in runs:
        means, counts = loss_means(run, name)
        inside = counts.cumsum() <= updates
        if counts[inside].sum() != updates:
            cure = "Train longer, or evaluate more often."
            got = int(counts[inside].sum())
            refuse("runs", f"an evaluation after {updates} updates", got, cure)
        found.append((means * counts)[inside].sum() / updates)
    return float(np.mean(found))


def over(run: Run, name: str, start: int, end: int) -> float:
    """The mean of a loss over the updates between two evaluations.

    Args:
        run: a stored run.
        name: of the loss.
        start: env steps at which the first evaluation was due.
        end: env steps at which the last one was.

    Raises:
        InvalidInputError: the run was not evaluated there.
    """
    due = ends_at(run)
    if start not in due or end not in due:
        expected = f"evaluations due at {start} and {end} env steps"
        refuse("runs", expected, due.tolist(), "Train longer.")
    means, counts = loss_means(run, name)
    inside = (due > start) & (due <= end)
    return float((means * counts)[inside].sum() / counts[inside].sum())


def weight_for(wanted: float, tried: float, norm: float) -> float:
    """The weight whose gradient has a norm, from a weight near it that was tried.

    The relative difference has a gradient of much the same norm whatever its own size,
    so that the norm of the weighted gradient grows as the weight does.

    Args:
        wanted: the norm.
        tried: a weight.
        norm: that it had.

    Returns:
        The weight, to three significant digits.

    Raises:
        InvalidInputError: the two norms are more than a fifth apart.
    """
    if abs(wanted / norm - 1) > NEAR_ENOUGH:
        cure = f"Try {rounded(tried * wanted / norm, 2)}."
        refuse("tried", f"a weight whose norm is near {wanted}", tried, cure)
    return rounded(tried * wanted / norm, 3)


def rounded(value: float, digits: int = DIGITS) -> float:
    """A number to some significant digits.

    Args:
        value: the number.
        digits: how many.
    """
    return float(f"{value:.{digits}g}")


def calibrated(results: Path) -> dict[str, Any]:
    """The courses, the equaliser's weight, and the runs they were computed from.

    Args:
        results: the folder of the runs.

    Raises:
        InvalidInputError: a run is missing, damaged or too short.
    """
    found = {}
    for name in ("cia", "qmix", "equaliser"):
        found[name] = of_seeds(results, name, CALIBRATION_SEEDS)
    for name in ("equaliser_strong", "scale"):
        found[name] = of_seeds(results, name, PREVIEW_SEEDS)
    cia, equaliser = found["cia"], found["equaliser"]
    wanted = mean_over_first(cia, "cia_measured")
    norm = mean_over_first(equaliser, "equaliser_measured")
    of_scale = course(cia, "mean_credit", SCALE_INTERVAL, SCALE_END)
    return {
        "scale": {"course": of_scale, "interval": SCALE_INTERVAL},
        "noise": {
            "course": course(cia, "cia_measured", NOISE_INTERVAL, 150_000),
            "interval": NOISE_INTERVAL,
        },
        "equaliser": {
            "weight": weight_for(wanted, EQUALISER_TRIED, norm),
            "norm of CIA": rounded(wanted),
            "weight tried": EQUALISER_TRIED,
            "norm tried": rounded(norm),
        },
        "previews": {
            "relative difference": relative_differences(found),
            "mean credit over course": over_course(found["scale"], of_scale),
        },
        "runs": {name: made_at(runs) for name, runs in found.items()},
    }


def of_seeds(results: Path, name: str, seeds: Sequence[int]) -> list[Run]:
    """The runs of a calibration, which must have exactly these seeds.

    Args:
        results: the folder of the runs.
        name: of the calibration.
        seeds: of the runs.

    Raises:
        InvalidInputError: a run is missing, damaged, or of another seed.
    """
    method = f"{name}_calibration"
    runs = read_runs(results, "turn", [method])[method]
    found = [run.seed for run in runs]
    if found != [*seeds]:
        cure = "Train the studies wake_calibration and wake_previews."
        refuse("results", f"seeds {[*seeds]} of {method}", found, cure)
    return runs


def relative_differences(found: Mapping[str, Sequence[Run]]) -> dict[str, float]:
    """What the check of the equaliser looks at, on calibration seeds."""
    values = {}
    for name in ("qmix", "cia", "equaliser", "equaliser_strong"):
        each = [over(run, "relative_difference", *HALVED) for run in found[name]]
        values[name] = rounded(float(np.mean(each)))
    return values


def over_course(runs: Sequence[Run], of_scale: Sequence[float]) -> list[float]:
    """What the check of the scale looks at, on calibration seeds.

    Args:
        runs: of the scale.
        of_scale: c(t).
    """
    credits = course(runs, "mean_credit", SCALE_INTERVAL, 150_000)
    held = [*of_scale, *[of_scale[-1]] * (len(credits) - len(of_scale))]
    return [rounded(one / other) for one, other in zip(credits, held, strict=True)]


def made_at(runs: Sequence[Run]) -> dict[str, Any]:
    """The commits that some runs were made at, and the sha256 of their metrics."""
    return {
        "commits": sorted({run.provenance["commit"] for run in runs}),
        "metrics": {
            str(run.seed): run.provenance["sha256"]["metrics.json"] for run in runs
        },
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the file that the study reads; returns the exit code."""
    summary = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser(prog="wake_calibration", description=summary)
    parser.add_argument("results", type=Path, help="the folder of the runs")
    options = parser.parse_args(arguments)
    try:
        found = calibrated(options.results)
    except InvalidInputError as error:
        print(f"wake_calibration: {error}", file=sys.stderr)
        return 2
    write_whole(FILE, json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
