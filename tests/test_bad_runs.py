"""Damaged, foreign and half-written runs are refused before they are parsed."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import torch
from support.faults import Bomb, empty, flip, foreign, refused, truncate
from support.runs import made_up
from support.toys import Stroll, small

from ciacore import train
from ciacore.runtime import store
from ciacore.runtime.store import read_run, read_runs, write_run
from ciacore.types import InvalidInputError

pytestmark = pytest.mark.usefixtures("as_users_run_it")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "stroll" / "qmix").mkdir(parents=True)
    return write_run(tmp_path / "stroll" / "qmix" / "seed_1", made_up(w=torch.ones(5)))


def unparsed(monkeypatch) -> None:
    """From here on, parsing anything but the seal fails the test."""
    parse = store.parse_json

    def seal_only(path, data):
        assert path.name == "provenance.json", f"{path.name} was parsed"
        return parse(path, data)

    monkeypatch.setattr(store, "parse_json", seal_only)
    monkeypatch.setattr(
        store, "parse_weights", lambda _: pytest.fail("weights were parsed")
    )


@pytest.mark.parametrize("damage", [truncate, flip, empty, foreign])
@pytest.mark.parametrize("name", store.BODY)
def test_changed_file_is_named_and_never_parsed(folder, name, damage, monkeypatch):
    damage(folder / name)
    unparsed(monkeypatch)
    refused(
        lambda: read_run(folder),
        "run",
        "the recorded sha256",
        str(folder / name),
        "retrain it",
    )


@pytest.mark.parametrize("name", [*store.BODY, "provenance.json"])
def test_missing_file_is_named(folder, name, monkeypatch):
    (folder / name).unlink()
    unparsed(monkeypatch)
    refused(
        lambda: read_run(folder),
        "run",
        str(folder / name),
        "No such file",
        "incomplete",
    )


@pytest.mark.parametrize("damage", [truncate, empty, foreign])
def test_damaged_seal(folder, damage, monkeypatch):
    damage(folder / "provenance.json")
    unparsed(monkeypatch)
    refused(
        lambda: read_run(folder),
        "run",
        "valid JSON",
        str(folder / "provenance.json"),
        "truncated or foreign",
    )


@pytest.mark.parametrize("seal", ["[]", "{}", '{"sha256": 3}', '"text"'])
def test_foreign_seal(folder, seal, monkeypatch):
    (folder / "provenance.json").write_text(seal)
    unparsed(monkeypatch)
    refused(
        lambda: read_run(folder),
        "run",
        "sha256 digests",
        str(folder),
        "not a run of ciacore",
    )


def seal_again(folder: Path) -> None:
    """What somebody does who edits a run on purpose."""
    seal = json.loads((folder / "provenance.json").read_text())
    seal["sha256"] = {
        name: store.hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in store.BODY
    }
    (folder / "provenance.json").write_text(json.dumps(seal))


@pytest.mark.parametrize(
    ("other", "got"), [({"format": 99}, "99"), ({"format": None}, "None")]
)
def test_other_format(folder, other, got):
    spec = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**spec, **other}))
    seal_again(folder)
    refused(
        lambda: read_run(folder),
        "run",
        f"format {store.FORMAT}",
        got,
        "version of ciacore",
    )


@pytest.mark.parametrize(
    "config",
    [
        "3",
        '{"format": 1}',
        '{"format": 1, "game": "t", "seed": 1, "config": {"new": 1}}',
    ],
)
def test_sealed_but_foreign_config(folder, config):
    (folder / "config.json").write_text(config)
    seal_again(folder)
    refused(lambda: read_run(folder), "run", str(folder))


def test_pickle_in_place_of_weights_is_never_executed(folder, tmp_path):
    """Neither under the old seal nor under a forged one."""
    target = tmp_path / "exploded"
    (folder / "weights.safetensors").write_bytes(pickle.dumps(Bomb(target)))
    refused(lambda: read_run(folder), "run", "sha256", "weights.safetensors")
    seal_again(folder)
    refused(lambda: read_run(folder), "run", "weights.safetensors")
    assert not target.exists()
    pickle.loads(pickle.dumps(Bomb(target))).close()
    assert target.exists()  # the bomb was real


def test_missing_folder_and_missing_method(folder, tmp_path):
    refused(
        lambda: read_run(tmp_path / "nowhere"),
        "run",
        "a run folder",
        "nowhere",
        "Train it first",
    )
    refused(
        lambda: read_runs(tmp_path, "stroll", ["qmix", "vdn"]),
        "results",
        "runs of vdn on stroll",
        "train.ipynb",
    )


def test_folder_that_is_no_seed(folder, tmp_path):
    (folder.parent / "seed_1 (copy)").mkdir()
    refused(
        lambda: read_runs(tmp_path, "stroll", ["qmix"]),
        "results",
        "seed_<number>",
        "seed_1 (copy)",
        "move it away",
    )


def test_runs_are_never_overwritten(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    refused(
        lambda: write_run(folder, made_up(w=torch.zeros(1))),
        "results",
        "without this run",
        "seed_1",
    )
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


# ------------------------------------------------------------------ interrupted writing


def test_failure_while_writing_leaves_nothing(tmp_path, monkeypatch):
    calls = []

    def full_disk(number):
        calls.append(number)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("ciacore.runtime.store.os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_run(tmp_path / "seed_1", made_up(w=torch.ones(1)))
    assert len(calls) == 3 and list(tmp_path.iterdir()) == []


def test_weights_that_cannot_be_written_leave_nothing(tmp_path):
    run = made_up(w=torch.ones(1))
    run.metrics["episode_return"].append([float("nan")])
    with pytest.raises(ValueError, match="JSON"):
        write_run(tmp_path / "seed_1", run)
    assert list(tmp_path.iterdir()) == []


def test_killed_between_writing_and_renaming_shows_no_run(tmp_path, monkeypatch):
    """As if the process died at the rename: no clean-up runs, and no run is seen."""
    (tmp_path / "stroll" / "qmix").mkdir(parents=True)
    folder = tmp_path / "stroll" / "qmix" / "seed_1"

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(store.shutil, "rmtree", lambda *_, **__: None)
        patched.setattr(Path, "rename", die)
        write_run(folder, made_up(w=torch.ones(1)))
    (left,) = folder.parent.iterdir()
    assert left.name.startswith(".seed_1.") and len(list(left.iterdir())) == 4
    refused(
        lambda: read_runs(tmp_path, "stroll", ["qmix"]),
        "results",
        "runs of qmix on stroll",
    )
    write_run(folder, made_up(w=torch.ones(1)))  # and the place is free
    assert [run.seed for run in read_runs(tmp_path, "stroll", ["qmix"])["qmix"]] == [1]


# ----------------------------------------------------------- for once through papermill


def test_papermill_stops_at_an_unknown_parameter(tmp_path):
    """papermill alone would warn and train with the defaults."""
    notebooks = ROOT / "notebooks"
    command = [sys.executable, "-m", "papermill"]
    command += [str(notebooks / "train.ipynb"), str(tmp_path / "out.ipynb")]
    command += ["--cwd", str(notebooks), "--kernel", "python3", "--no-progress-bar"]
    command += ["-p", "env_step", "100", "-p", "results", str(tmp_path / "runs")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=180, env=environment
    )
    assert done.returncode != 0
    message = "parameters: expected one of method, game, seeds, env_steps"
    assert message in done.stderr and "Did you mean 'env_steps'?" in done.stderr
    assert not (tmp_path / "runs").exists()
    notebook = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    trained = [cell for cell in notebook.cells if "train_methods(" in cell.source]
    assert len(trained) == 1 and trained[0].execution_count is None


def test_refusals_are_value_errors():
    assert issubclass(InvalidInputError, ValueError)


def test_a_run_in_the_place_of_another_is_refused(tmp_path):
    """A copied folder is no other seed: its seal is whole, its place is not."""
    train(small(method="qmix"), Stroll(), [1], results=tmp_path)
    shutil.copytree(
        tmp_path / "stroll" / "qmix" / "seed_1", tmp_path / "stroll" / "qmix" / "seed_2"
    )
    with pytest.raises(
        InvalidInputError,
        match="expected the run stroll/qmix/seed_2, got 'stroll/qmix/seed_1",
    ):
        read_runs(tmp_path, "stroll", ["qmix"])


def test_runs_of_different_configs_are_never_averaged(tmp_path):
    train(small(method="qmix"), Stroll(), [1], results=tmp_path)
    # another budget is no other method
    train(small(method="qmix", env_steps=30), Stroll(), [2], results=tmp_path)
    assert len(read_runs(tmp_path, "stroll", ["qmix"])["qmix"]) == 2
    train(small(method="qmix", gamma=0.5), Stroll(), [3], results=tmp_path)
    with pytest.raises(InvalidInputError, match="runs of one Config"):
        read_runs(tmp_path, "stroll", ["qmix"])
