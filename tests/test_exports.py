"""Exports hold the numbers of the runs where other tools look for them."""

import shutil

import numpy as np
import pytest
from ciabook.evidence.exports import to_marl_eval, to_rliable
from support.toys import Stroll, small

from ciacore import train
from ciacore.runtime.store import read_runs
from ciacore.types import InvalidInputError


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    for method in ("one", "two"):
        train(small(method=method, mixer="vdn"), Stroll(), [1, 2], folder, processes=1)
    return folder


def test_marl_eval(results):
    runs = read_runs(results, "stroll", ["one", "two"])
    table = to_marl_eval({"stroll": runs})["ciacore"]["stroll"]
    assert set(table) == {"one", "two"} and set(table["one"]) == {"seed_1", "seed_2"}
    for run in runs["two"]:
        entry = table["two"][f"seed_{run.seed}"]
        steps = [entry[f"step_{index}"] for index in range(len(entry) - 1)]
        returns = run.metrics["episode_return"]
        assert [step["step_count"] for step in steps] == run.metrics["env_steps"]
        assert [step["return"] for step in steps] == returns
        assert entry["absolute_metrics"] == {"return": returns[-1]}


def test_rliable(results):
    runs = read_runs(results, "stroll", ["one", "two"])
    tables = to_rliable({"a": runs, "b": dict(reversed(runs.items()))}, last=2)
    assert set(tables) == {"one", "two"}
    assert tables["one"].shape == tables["two"].shape == (2, 2)
    by_hand = np.mean(runs["one"][1].metrics["episode_return"][-2:])
    assert np.allclose(tables["one"][1], by_hand, rtol=1e-12)
    assert tables["one"][0, 0] != tables["one"][1, 0]


def test_tables_with_holes_are_refused(results):
    runs = read_runs(results, "stroll", ["one", "two"])
    message = "games: expected as many runs of two on every game"
    with pytest.raises(InvalidInputError, match=message):
        to_rliable({"a": runs, "b": {"one": runs["one"]}}, last=1)
    message = "last: expected a whole number from 1 to"
    with pytest.raises(InvalidInputError, match=message):
        to_rliable({"a": runs}, last=99)


def test_a_damaged_run_is_named(results, tmp_path):
    shutil.copytree(results, tmp_path / "copy")
    file = tmp_path / "copy" / "stroll" / "one" / "seed_2" / "metrics.json"
    file.write_text(file.read_text().replace("[", "[ ", 1))
    with pytest.raises(InvalidInputError, match=r"one/seed_2/metrics\.json"):
        read_runs(tmp_path / "copy", "stroll", ["one"])
