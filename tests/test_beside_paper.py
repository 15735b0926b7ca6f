"""Our means beside the paper's: bands by hand, verdicts on made-up runs."""

from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from ciabook.evidence.beside_paper import (
    Reading,
    beside,
    judged,
    mixture_band,
    mixture_mean,
    readings,
)
from ciabook.evidence.statistics import bootstrap, mean

from ciacore.methods import METHODS
from ciacore.runtime.store import Run

PAPER = Path(__file__).resolve().parents[1] / "book" / "data" / "paper_figure4b.json"
QUARTER = NormalDist().inv_cdf(0.75)


def test_a_band_gives_back_the_deviation_it_was_made_of():
    """Deviation 30 of five seeds: a bootstrap error of 30 sqrt(4 / 5) / sqrt(5)."""
    half_width = QUARTER * 30 * (4 / 5) ** 0.5 / 5**0.5
    assert Reading(0.0, half_width, 5).sd() == pytest.approx(30)
    five = np.array([-30.0, -15.0, 0.0, 15.0, 30.0])
    band = bootstrap(mean, five, 0.5)
    drawn = Reading(0.0, float(band.high - band.low) / 2, 5).sd()
    assert drawn == pytest.approx(five.std(ddof=1), rel=0.1)


def test_a_mixture_by_hand():
    """Half at 80, half at 0: mean 40; two of five at 80 scatter by 39.2."""
    assert mixture_mean(0.5, 80.0, 0.0) == 40
    values = np.array([80.0, 80.0, 0.0, 0.0, 0.0])
    band = mixture_band(0.4, 80.0, 0.0, 5)
    assert band == pytest.approx(QUARTER * values.std() / 5**0.5)


@pytest.mark.parametrize(
    ("values", "margin", "verdict"),
    [
        ([9, 10, 11, 10, 10], 5.0, "agrees"),
        ([19, 20, 21, 20, 20], 5.0, "differs"),
        ([-30, 0, 10, 30, 60], 5.0, "cannot tell"),  # scattered
        ([11, 12, 13, 12, 12], 20.0, "agrees"),  # above, and still within the margin
    ],
)
def test_verdicts(values, margin, verdict):
    found = judged(np.array(values), Reading(10.0, 0.3, 5), margin)
    assert found.verdict == verdict


def run(*means: float) -> Run:
    steps = [100 + 10_000 * i for i in range(len(means))]
    metrics = {"env_steps": steps, "episode_return": [[each] for each in means]}
    return Run(METHODS["qmix"], "turn", 1, metrics, {}, {})


def test_the_last_four_evaluations_up_to_a_step_are_averaged():
    """Up to 250,000 steps, the one due then among them; later steps are not there."""
    runs = [run(*[0.0] * 23, 1.0, 2.0, 5.0, 90.0), run(*[0.0] * 27)]
    found = beside(runs, PAPER, "qmix")
    assert list(found) == [250_000]
    at = found[250_000]
    assert at.ours.mean == pytest.approx((0 + 1 + 2 + 5) / 4 / 2)
    assert at.paper == readings(PAPER, "qmix")[250_000]
    gap = at.paper.mean - readings(PAPER, "qmix_cia")[250_000].mean
    assert at.margin == pytest.approx(abs(gap) / 2)
