"""Where runs end: final returns by hand."""

from pathlib import Path

import numpy as np
import pytest
from ciabook.evidence.final_returns import (
    GROUP,
    LAST,
    TWO_MILLION,
    final_returns,
    returns_at_two_million,
)

from ciacore import METHODS
from ciacore.runtime.store import Run, read_runs
from ciacore.types import InvalidInputError

STUDY = Path(__file__).resolve().parents[1] / "book" / "results" / "study"


def run(*means: float) -> Run:
    """A run with these mean returns, of two games each.

    Evaluations are due at 0, 10,000, ... steps and come an episode of 100 later.
    """
    metrics = {
        "env_steps": [100 + 10_000 * i for i in range(len(means))],
        "episode_return": [[m - 1, m + 1] for m in means],
    }
    return Run(METHODS["qmix"], "turn", 1, metrics, {}, {})


def test_the_final_return_is_the_mean_of_the_last_evaluations():
    runs = [run(-9, 1, 2, 3, 4, 5), run(7, 0, 0, 0, 0, 1)]
    np.testing.assert_allclose(final_returns(runs), [3, 0.2])
    np.testing.assert_allclose(final_returns(runs, last=2), [4.5, 0.5])
    # the last one that counts was due at 20,000 steps and came at 20,100
    for at in (20_000, 29_999):
        np.testing.assert_allclose(final_returns(runs, last=2, at=at), [1.5, 0])
    assert final_returns([]).shape == (0,)


def test_returns_beside_the_papers_are_at_two_million_steps():
    """Of 206 evaluations the 198th to the 201st count: 1.97 to 2 million steps."""
    long = run(*range(206))
    np.testing.assert_allclose(returns_at_two_million([long]), [198.5])
    np.testing.assert_allclose(final_returns([long]), [203])


def test_the_glossary_says_when_final_returns_are_measured():
    long = read_runs(STUDY, "turn", ["qmix"])["qmix"][0]
    first, *_, last = (step // 10_000 / 100 for step in long.metrics["env_steps"][-5:])
    glossary = (STUDY.parents[1] / "notation.md").read_text(encoding="utf-8")
    assert f"from {first:.2f} to {last:.2f} million steps" in glossary
    assert (LAST, GROUP, TWO_MILLION) == (5, 4, 2_000_000)  # "five", "four", the term


def test_too_few_evaluations_are_refused():
    message = r"runs: expected at least . evaluations"
    for arguments in ({}, {"last": 2, "at": 9_999}):
        with pytest.raises(InvalidInputError, match=message):
            final_returns([run(1, 2, 3)], **arguments)
