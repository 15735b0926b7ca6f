"""Retraining the beginning of a stored run."""

import pytest
import torch
from ciabook.studies.recheck import SAME, recheck

from ciacore import Config, train
from ciacore.games import MatrixGame
from ciacore.types import InvalidInputError

GAME = MatrixGame([[1.0, 2.0], [3.0, 4.0]])
CONFIG = Config(
    env_steps=60,
    batch=4,
    hidden_size=4,
    mixing_size=4,
    evaluation_interval=10,
    evaluation_games=8,
)


@pytest.fixture(scope="module")
def runs():
    return train(CONFIG, GAME, seeds=[1, 2])


def changed(run, **provenance):
    versions = {**run.provenance["versions"], **provenance}
    return run._replace(
        provenance={**run.provenance, **provenance, "versions": versions}
    )


def with_returns(run, shift):
    returns = [
        [value + shift for value in entry] for entry in run.metrics["episode_return"]
    ]
    return run._replace(metrics={**run.metrics, "episode_return": returns})


def test_the_same_machine_gives_the_same_returns(runs):
    outcome = recheck(runs[0], runs, GAME, evaluations=3)
    assert outcome.exact and outcome.passed and not outcome.differing
    assert outcome.env_steps == runs[0].metrics["env_steps"][:3]
    assert outcome.stored == outcome.again


def test_a_changed_number_is_noticed(runs):
    outcome = recheck(with_returns(runs[0], 0.25), runs, GAME, evaluations=2)
    assert not outcome.exact and not outcome.passed


@pytest.mark.parametrize(
    "name", [name for name in SAME if name not in ("device", "threads")]
)
def test_elsewhere_a_band_replaces_exactness(runs, name):
    """The band, worked out again: the spread of seeds plus four standard errors."""
    away = changed(with_returns(runs[0], 0.25), **{name: "another"})
    outcome = recheck(away, runs, GAME, evaluations=1)
    assert outcome.differing == [name] and not outcome.exact
    returns = torch.tensor([run.metrics["episode_return"][0] for run in runs])
    spread = returns.mean(1).max() - returns.mean(1).min()
    error = 4 * (2 * returns[0].var() / returns.shape[1]).sqrt()
    assert outcome.band == pytest.approx([float(spread + error)])
    assert outcome.passed == (0.25 <= outcome.band[0])
    far = changed(with_returns(runs[0], 100.0), **{name: "another"})
    assert not recheck(far, runs, GAME, evaluations=1).passed


def test_the_threads_are_put_back(runs):
    torch.set_num_threads(2)
    before = torch.get_num_threads()
    recheck(runs[0], runs, GAME, evaluations=1)
    assert torch.get_num_threads() == before and runs[0].provenance["threads"] == 1


@pytest.mark.parametrize("evaluations", [0, -1, 1_000])
def test_impossible_numbers_of_evaluations(runs, evaluations):
    message = "evaluations: expected a whole number from 1 to"
    with pytest.raises(InvalidInputError, match=message):
        recheck(runs[0], runs, GAME, evaluations)
