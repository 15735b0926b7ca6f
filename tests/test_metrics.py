"""Metrics while training: every line once, whatever kills the training."""

import json
import random
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from ciabook.studies.runs import Entry
from ciabook.studies.study import latest, standing
from support.faults import StopHere, after, refused
from support.runs import LONGER, TURN, digests, files, same, trainings_to_kill
from support.toys import CIA, Stroll, small

from ciacore import train
from ciacore.games import Turn
from ciacore.runtime.checkpoint import locked, read_checkpoint, work_folder
from ciacore.runtime.metrics import LINES, Stopwatch, events_folder, read_lines
from ciacore.runtime.store import run_folder
from ciacore.training import Training

pytestmark = pytest.mark.usefixtures("as_users_run_it")

CONFIG, GAME = small(**CIA), Turn(horizon=5)
MEASURED = ["time", "steps_per_second", "memory_mib"]


class Winnable(Stroll):
    """Its games are won at their end."""

    name = "winnable"

    def __init__(self) -> None:
        super().__init__()
        self.spec = self.spec._replace(winnable=True)

    def advance(self, state, actions, rng):
        step = super().advance(state, actions, rng)
        return step._replace(info={**step.info, "won": step.terminated})


def without_measures(entries: list[dict]) -> list[dict]:
    """What does not depend on the machine."""
    return [
        {name: entry[name] for name in entry if name not in MEASURED}
        for entry in entries
    ]


def as_lists(entries: list[dict], names) -> dict[str, list]:
    """Entries as the metrics of a run have them."""
    return {name: [entry[name] for entry in entries] for name in names}


# --------------------------------------------------------------------------- a function


@pytest.mark.parametrize("processes", [1, 2])
def test_a_function_is_told_of_every_evaluation_and_changes_nothing(
    processes, tmp_path
):
    told = []
    seeds = [1, 2]
    plain = train(CONFIG, GAME, seeds, processes=1)
    options = {"processes": processes, "log": told.append, "keep_best": True}
    runs = train(CONFIG, GAME, seeds, tmp_path, **options)
    assert all(same(run, expected) for run, expected in zip(runs, plain, strict=True))
    for run in runs:
        mine = [entry for entry in told if entry["seed"] == run.seed]
        assert as_lists(mine, run.metrics) == run.metrics
        for entry in mine:
            assert (entry["game"], entry["method"]) == ("turn", "qmix_cia")
            returns = entry["episode_return"]
            assert entry["mean_return"] == sum(returns) / len(returns)
            assert entry["steps_per_second"] > 0 and entry["memory_mib"] > 1
            assert "win_rate" not in entry
        folder = run_folder(tmp_path, "turn", "qmix_cia", run.seed)
        assert (folder / "weights_best.safetensors").is_file()


def test_wins_are_told():
    told = []
    (run,) = train(CONFIG, Winnable(), [1], log=told.append)
    assert [entry["won"] for entry in told] == run.metrics["won"]
    assert {entry["win_rate"] for entry in told} == {1.0}


def test_speed_is_measured_between_evaluations(monkeypatch):
    """By hand: 50 steps in 2 seconds, then 30 in 3."""
    seconds = iter([10.0, 12.0, 15.0])
    monkeypatch.setattr("time.monotonic", lambda: next(seconds))
    training = Training(CONFIG, Stroll(), 1, torch.device("cpu"))
    training.clock = training.clock._replace(env_steps=100)
    watch = Stopwatch(100)
    training.clock = training.clock._replace(env_steps=150)
    assert watch.lap(training)["steps_per_second"] == 25.0
    training.clock = training.clock._replace(env_steps=180)
    assert watch.lap(training)["steps_per_second"] == 10.0


def test_a_function_that_fails_loses_nothing(tmp_path):
    def log(entry):
        if entry["env_steps"] > 30:
            raise StopHere

    with pytest.raises(StopHere):
        train(CONFIG, GAME, [1], tmp_path, log=log)
    (run,) = train(CONFIG, GAME, [1], tmp_path)
    assert same(run, *train(CONFIG, GAME, [1]))
    assert run.provenance["resumed"][0]["env_steps"] > 30


@pytest.mark.parametrize("log", ["tensorbord", 3, ["tensorboard"]])
def test_a_log_that_is_none(log, tmp_path):
    refused(lambda: train(CONFIG, GAME, [1], tmp_path, log=log), "log")
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------- the lines


def test_lines_appear_as_it_happens(tmp_path):
    folder, seen = run_folder(tmp_path, "turn", "qmix_cia", 1), []
    log = lambda entry: seen.append(read_lines(folder))  # noqa: E731
    (run,) = train(CONFIG, GAME, [1], tmp_path, log=log)
    assert [len(lines) for lines in seen] == [1, 2, 3, 4]
    assert as_lists(seen[-1], run.metrics) == run.metrics
    assert read_lines(folder) == []  # and metrics.json has all
    assert not work_folder(folder).exists()


def test_each_line_is_there_once_after_every_interruption(tmp_path):
    (whole,) = train(CONFIG, GAME, [1])
    count = []
    train(CONFIG, GAME, [1], progress=lambda *_, **__: count.append(1))
    for k in range(1, len(count) + 1):
        results = tmp_path / str(k)
        folder = run_folder(results, "turn", "qmix_cia", 1)
        with pytest.raises(StopHere):
            train(CONFIG, GAME, [1], results, progress=after(k))
        # as if it had gone on after the checkpoint, and was killed within a line
        lines = work_folder(folder) / LINES
        kept = read_lines(folder)
        with open(lines, "ab") as file:
            file.write(json.dumps({**kept[-1], "env_steps": 10**6}).encode() + b"\n{")
        assert len(read_lines(folder)) == len(kept) + 1
        seen = []

        def look(*_, folder=folder, seen=seen, **__) -> None:
            seen.append(read_lines(folder))

        (run,) = train(CONFIG, GAME, [1], results, progress=look)
        assert same(run, whole)
        for found in seen or [kept]:
            steps = [entry["env_steps"] for entry in found]
            assert steps == whole.metrics["env_steps"][: len(steps)], k
            assert found[: len(kept)] == kept  # measures of before the kill, too
    assert k > 9


def killed_while_writing(results: Path, tries: int, seed: int) -> list[int]:
    """SIGKILL at random moments, with an evaluation at every iteration.

    After each kill the lines are whole, in order, and once; those of a checkpoint are
    all there.

    Args:
        results: The folder of its results.
        tries: How often it is killed.
        seed: Of the random moments.

    Returns:
        How many lines there were after each kill.
    """
    moments, counts = random.Random(seed), []
    folder = run_folder(results, "turn", "qmix_cia", 1)
    with trainings_to_kill(results) as killed_after:
        for _ in range(tries):
            killed_after(moments.random() * 0.2)
            steps = [entry["env_steps"] for entry in read_lines(folder)]
            # an evaluation every ten steps from the first on: none doubled or lost
            assert steps == list(range(10, 10 * len(steps) + 1, 10))
            checkpoint = read_checkpoint(work_folder(folder))
            if checkpoint is not None and steps:
                known = checkpoint[0]["log"]["metrics"]["env_steps"]
                assert len(steps) >= len(known)
            counts.append(len(steps))
    return counts


def test_killed_while_lines_are_written(tmp_path):
    """A part of the long test."""
    counts = killed_while_writing(tmp_path, tries=5, seed=1)
    assert max(counts) > 5


@pytest.mark.long
def test_killed_two_hundred_times_while_lines_are_written(tmp_path):
    counts = killed_while_writing(tmp_path, tries=200, seed=2)
    assert max(counts) > 200
    assert sum(later > earlier for earlier, later in pairwise(counts)) > 50


# ------------------------------------------------------------------------- make status


def test_status_shows_the_last_line_of_a_run(tmp_path):
    entry = Entry(CONFIG, "turn", 1)
    folder = run_folder(tmp_path, "turn", "qmix_cia", 1)
    assert latest(entry, folder) == "no evaluation yet"
    seen = []
    log = lambda _: seen.append(standing(entry, tmp_path))  # noqa: E731
    (run,) = train(CONFIG, GAME, [1], tmp_path, log=log)
    assert {each.state for each in seen} == {"running"}
    for each, steps, returns in zip(
        seen, run.metrics["env_steps"], run.metrics["episode_return"], strict=True
    ):
        mean = sum(returns) / len(returns)
        assert each.detail.startswith(f"{steps} of 60 env steps, return {mean:.1f}, ")
        assert "steps/s" in each.detail and each.detail.endswith("MiB")


# -------------------------------------------------------------------------- TensorBoard


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag -> step and value, as TensorBoard itself reads a run's events."""
    from tensorboard.backend.event_processing import event_accumulator

    found = event_accumulator.EventAccumulator(str(events_folder(folder))).Reload()
    return {
        tag: [(event.step, event.value) for event in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def test_tensorboard_reads_what_was_logged(tmp_path):
    plain = train(CONFIG, GAME, [1, 2], processes=1)
    runs = train(CONFIG, GAME, [1, 2], tmp_path, processes=1, log="tensorboard")
    assert all(same(run, expected) for run, expected in zip(runs, plain, strict=True))
    for run in runs:
        folder = run_folder(tmp_path, "turn", "qmix_cia", run.seed)
        found, steps = events(folder), run.metrics["env_steps"]
        means = [sum(each) / len(each) for each in run.metrics["episode_return"]]
        assert [step for step, _ in found["mean_return"]] == steps
        assert [value for _, value in found["mean_return"]] == pytest.approx(means)
        assert [value for _, value in found["epsilon"]] == pytest.approx(
            run.metrics["epsilon"]
        )
        losses = [each["loss"] for each in run.metrics["losses"] if each]
        assert [value for _, value in found["losses/loss"]] == pytest.approx(losses)
        assert {"steps_per_second", "memory_mib", "updates"} <= set(found)
        assert "seed" not in found


def test_tensorboard_has_each_evaluation_once_after_kills(tmp_path):
    folder = run_folder(tmp_path, "turn", "qmix_cia", 1)
    with trainings_to_kill(tmp_path, "tensorboard") as killed_after:
        for _ in range(3):
            killed_after(0.2)
            steps = [step for step, _ in events(folder)["mean_return"]]
            assert steps == list(range(10, 10 * len(steps) + 1, 10)) and steps
    assert len(files(events_folder(folder))) == 1


def test_tensorboard_that_is_missing_names_its_cure(tmp_path, monkeypatch):
    for name in list(sys.modules):
        if name.startswith("torch.utils.tensorboard"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    refused(
        lambda: train(CONFIG, GAME, [1], tmp_path, log="tensorboard"),
        "log",
        "make tensorboard",
    )
    assert not list(tmp_path.iterdir())


def test_tensorboard_needs_a_folder():
    refused(lambda: train(CONFIG, GAME, [1], log="tensorboard"), "results", "log")


def test_what_is_logged_is_no_part_of_the_run(tmp_path):
    """The same files, whoever was told."""
    for name, log in {"plain": None, "told": "tensorboard"}.items():
        train(LONGER.but(env_steps=200), TURN, [1], tmp_path / name, log=log)
    assert digests(tmp_path / "plain") == digests(tmp_path / "told")
    with locked(run_folder(tmp_path / "told", "turn", "qmix_cia", 1)):
        pass  # nothing is held
