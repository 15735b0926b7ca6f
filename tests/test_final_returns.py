"""Where runs end: final returns by hand, and what counts as rest."""

import numpy as np
import pytest
from ciabook.evidence.final_returns import at_rest, final_returns

from ciacore import METHODS
from ciacore.runtime.store import Run
from ciacore.types import InvalidInputError


def run(*means: float) -> Run:
    """A run with these mean returns at 10, 20, ... steps, of two games each."""
    metrics = {
        "env_steps": [10 * (i + 1) for i in range(len(means))],
        "episode_return": [[m - 1, m + 1] for m in means],
    }
    return Run(METHODS["qmix"], "turn", 1, metrics, {}, {})


def test_the_final_return_is_the_mean_of_the_last_evaluations():
    runs = [run(-9, 1, 2, 3, 4, 5), run(7, 0, 0, 0, 0, 1)]
    np.testing.assert_allclose(final_returns(runs), [3, 0.2])
    np.testing.assert_allclose(final_returns(runs, last=2), [4.5, 0.5])
    # evaluations until 30 steps
    np.testing.assert_allclose(final_returns(runs, last=2, at=30), [1.5, 0])
    assert final_returns([]).shape == (0,)


def test_rest_is_within_one_point_of_nothing():
    runs = [run(*[value] * 5) for value in (-1.0, -0.99, 0.0, 0.99, 1.0, 10.0)]
    assert at_rest(runs).tolist() == [False, True, True, True, False, False]
    leaves = run(0, 0, 40, 40)
    assert at_rest([leaves], last=2, at=20).all()
    assert not at_rest([leaves], last=2).any()


def test_too_few_evaluations_are_refused():
    message = r"runs: expected at least . evaluations"
    for arguments in ({}, {"last": 2, "at": 15}):
        with pytest.raises(InvalidInputError, match=message):
            final_returns([run(1, 2, 3)], **arguments)
