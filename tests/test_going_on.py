"""A finished run is trained further; weights are kept on the way, on request."""

import json
import shutil

import pytest
import torch
from ciabook.studies.runs import Entry
from ciabook.studies.study import standing
from support.faults import StopHere, after, flip, refused
from support.runs import digests, files, same
from support.toys import CIA, Stroll, small

from ciacore import load_run, train
from ciacore.games import Turn
from ciacore.methods import METHODS
from ciacore.runtime.checkpoint import work_folder
from ciacore.runtime.metrics import read_lines
from ciacore.runtime.store import run_folder
from ciacore.types import InvalidInputError

pytestmark = pytest.mark.usefixtures("as_users_run_it")

SHORT, GAME = small(**CIA, env_steps=30), Turn(horizon=5)
LONG = SHORT.but(env_steps=90)
FILES = ["config.json", "metrics.json", "provenance.json", "weights.safetensors"]
SIZES = {
    "batch": 4,
    "buffer": 16,
    "hidden_size": 8,
    "mixing_size": 4,
    "hypernetwork_size": 8,
    "central_size": 8,
    "evaluation_games": 3,
    "evaluation_interval": 20,
    "epsilon_steps": 40,
}


@pytest.fixture
def folder(tmp_path):
    """Of a finished run that kept its checkpoint."""
    train(SHORT, GAME, [1], tmp_path, keep_checkpoint=True)
    return run_folder(tmp_path, "turn", "qmix_cia", 1)


# ---------------------------------------------------------------------------- going on


@pytest.mark.parametrize("method", ["qmix_cia", "maven", "eoi", "scds", "qtran"])
def test_a_run_that_goes_on_is_the_long_run(method, tmp_path):
    """Bit for bit, auxiliaries and their optimizers included."""
    config = METHODS[method].but(**SIZES, env_steps=50)
    (short,) = train(config, GAME, [1], tmp_path, keep_checkpoint=True)
    longer = config.but(env_steps=120)
    (run,) = train(longer, GAME, [1], tmp_path)
    (whole,) = train(longer, GAME, [1])
    assert same(run, whole) and run.config == longer
    assert not same(run, short, metrics=False)
    (again,) = run.provenance["resumed"]
    assert again["env_steps"] == 55  # the first number of steps to exceed 50
    folder = run_folder(tmp_path, "turn", method, 1)
    assert same(load_run(folder), whole)
    assert files(folder) == FILES  # the checkpoint was not asked for again
    assert [path.name for path in folder.parent.iterdir()] == ["seed_1"]


def test_games_that_end_early_go_on(tmp_path):
    train(SHORT, Stroll(), [1], tmp_path, keep_checkpoint=True)
    (run,) = train(LONG, Stroll(), [1], tmp_path)
    assert same(run, *train(LONG, Stroll(), [1]))


def test_twice_further_and_each_file_is_sealed(folder, tmp_path):
    middle = SHORT.but(env_steps=60)
    train(middle, GAME, [1], tmp_path, keep_checkpoint=True)
    (run,) = train(LONG, GAME, [1], tmp_path, keep_checkpoint=True)
    assert same(run, *train(LONG, GAME, [1]))
    assert [each["env_steps"] for each in run.provenance["resumed"]] == [35, 65]
    assert files(folder) == ["checkpoint", *FILES]
    flip(folder / "checkpoint")
    refused(lambda: load_run(folder), "run", "checkpoint")
    refused(lambda: train(LONG.but(env_steps=99), GAME, [1], tmp_path), "results")


def test_several_seeds_go_on_and_another_begins(tmp_path):
    train(SHORT, GAME, [1, 2], tmp_path, keep_checkpoint=True, processes=1)
    runs = train(LONG, GAME, [1, 2, 3], tmp_path, processes=1)
    whole = train(LONG, GAME, [1, 2, 3], processes=1)
    assert all(same(run, expected) for run, expected in zip(runs, whole, strict=True))
    assert [len(run.provenance["resumed"]) for run in runs] == [1, 1, 0]


def test_going_on_may_be_interrupted(folder, tmp_path):
    (whole,) = train(LONG, GAME, [1])
    assert standing(Entry(LONG, "turn", 1), tmp_path).state == "missing"
    with pytest.raises(StopHere):
        train(LONG, GAME, [1], tmp_path, progress=after(3))
    assert not folder.exists() and len(read_lines(folder)) >= 2
    (run,) = train(LONG, GAME, [1], tmp_path)
    assert same(run, whole)


def test_an_interrupted_run_may_become_longer(tmp_path):
    with pytest.raises(StopHere):
        train(SHORT, GAME, [1], tmp_path, progress=after(3))
    (run,) = train(LONG, GAME, [1], tmp_path)
    assert same(run, *train(LONG, GAME, [1]))


def test_killed_between_any_two_moves_nothing_is_lost(folder, tmp_path, monkeypatch):
    """The checkpoint is copied before the finished run goes."""
    (short,) = train(SHORT, GAME, [1])

    class Killed(BaseException):
        """As if by SIGKILL: nothing tidies up."""

    def kill(*_):
        raise Killed

    moments = {
        "read_checkpoint": "ciacore.runtime.session.read_checkpoint",
        "copied": "ciacore.runtime.session.shutil.copyfileobj",
        "moved": "pathlib.Path.rename",
        "removed": "ciacore.runtime.session.shutil.rmtree",
    }
    for name, place in moments.items():
        results = tmp_path / name
        shutil.copytree(tmp_path / "turn", results / "turn")
        with monkeypatch.context() as patched:
            patched.setattr(place, kill)
            patched.setattr("ciacore.runtime.checkpoint.sweep", lambda *_: None)
            with pytest.raises(Killed):
                train(LONG, GAME, [1], results)
        # with either number of steps the call goes on from what is there
        again = tmp_path / f"{name}_again"
        shutil.copytree(results, again)
        assert same(*train(SHORT, GAME, [1], again), short), name
        (run,) = train(LONG, GAME, [1], results)
        assert same(run, *train(LONG, GAME, [1])), name
        assert len(run.provenance["resumed"]) == 1
        place = run_folder(results, "turn", "qmix_cia", 1).parent
        assert [path.name for path in place.iterdir()] == ["seed_1"], name


def test_without_a_checkpoint_the_cure_is_named(tmp_path):
    train(SHORT, GAME, [1], tmp_path)
    before = digests(tmp_path)
    refused(lambda: train(LONG, GAME, [1], tmp_path), "results", "keep_checkpoint=True")
    assert digests(tmp_path) == before


@pytest.mark.parametrize(
    "changes", [{"env_steps": 20}, {"env_steps": 90, "gamma": 0.5}]
)
def test_anything_but_more_steps_is_refused(changes, folder, tmp_path):
    """By the fields that differ."""
    before = digests(tmp_path)
    config = SHORT.but(**changes)
    told = []
    for name, value in changes.items():
        told.append(f"{name} {getattr(SHORT, name)!r}, not {value!r}")
    told.append("It went further" if len(changes) == 1 else "Choose another folder")
    refused(
        lambda: train(config, GAME, [1], tmp_path), "results", "another Config", *told
    )
    assert digests(tmp_path) == before


def test_what_went_further_never_becomes_shorter(folder, tmp_path):
    with pytest.raises(StopHere):
        train(LONG, GAME, [1], tmp_path, progress=after(3))
    refused(lambda: train(SHORT, GAME, [1], tmp_path), "checkpoint", "config")
    (run,) = train(LONG, GAME, [1], tmp_path)  # and nothing was lost
    assert same(run, *train(LONG, GAME, [1]))


def test_a_foreign_checkpoint_leaves_the_run_alone(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("ciacore.runtime.checkpoint.FORMAT", 99)
    refused(lambda: train(LONG, GAME, [1], tmp_path), "checkpoint", "format 99")
    assert same(load_run(folder), *train(SHORT, GAME, [1]))
    assert not work_folder(folder).exists()


# ------------------------------------------------------------------------ kept weights


def test_weights_are_kept_every_so_many_steps(tmp_path):
    """Those at 20, 40 and 60 steps are the final ones of runs that end there."""
    (run,) = train(SHORT.but(env_steps=60), GAME, [1], tmp_path, keep_every=20)
    folder = run_folder(tmp_path, "turn", "qmix_cia", 1)
    names = [f"weights_{steps}.safetensors" for steps in (20, 40, 60)]
    assert files(folder) == sorted([*FILES, *names])
    for steps in (20, 40, 60):
        kept = load_run(folder, weights=steps)
        # the last episode is the first to exceed `env_steps`
        (ended,) = train(SHORT.but(env_steps=steps - 1), GAME, [1])
        assert same(kept, ended, metrics=False)
        assert kept.metrics == run.metrics
    assert same(load_run(folder), run)
    assert run.provenance["kept"]["40"] == {"env_steps": 40}


def test_best_is_the_first_evaluation_with_the_highest_return(tmp_path):
    config = SHORT.but(env_steps=200, evaluation_interval=10, learning_rate=0.01)
    game = Turn(size=2, horizon=10)
    (run,) = train(config, game, [1], tmp_path, keep_best=True, keep_every=10)
    folder = run_folder(tmp_path, "turn", "qmix_cia", 1)
    means = [sum(each) / len(each) for each in run.metrics["episode_return"]]
    index = means.index(max(means))
    assert 0 < index < len(means) - 1 and means[index] > means[-1]
    steps = run.metrics["env_steps"][index]
    best = run.provenance["kept"]["best"]
    assert best == {"env_steps": steps, "mean_return": means[index]}
    at_that_time = load_run(folder, weights=steps)
    assert same(load_run(folder, weights="best"), at_that_time)
    assert not same(load_run(folder), at_that_time, metrics=False)


@pytest.mark.parametrize("iterations", [3, 7, 12])
def test_what_is_kept_survives_an_interruption(iterations, tmp_path):
    config = SHORT.but(env_steps=90, evaluation_interval=10)
    options = {"keep_best": True, "keep_every": 25, "keep_checkpoint": True}
    train(config, GAME, [1], tmp_path / "whole", **options)
    with pytest.raises(StopHere):
        train(
            config,
            GAME,
            [1],
            tmp_path / "stopped",
            progress=after(iterations),
            **options,
        )
    train(config, GAME, [1], tmp_path / "stopped", **options)
    found = digests(tmp_path / "stopped")
    whole = digests(tmp_path / "whole")
    checkpoint = "turn/qmix_cia/seed_1/checkpoint"  # tells when it was made
    assert found.pop(checkpoint) and whole.pop(checkpoint)
    assert found == whole and len(found) == 7


def test_keeping_changes_no_number(tmp_path):
    options = {"keep_best": True, "keep_every": 10, "keep_checkpoint": True}
    (run,) = train(SHORT, GAME, [1], tmp_path, **options)
    assert same(run, *train(SHORT, GAME, [1]))


def test_weights_that_were_not_kept_are_named(tmp_path):
    train(SHORT, GAME, [1], tmp_path, keep_every=20)
    folder = run_folder(tmp_path, "turn", "qmix_cia", 1)
    for asked in ("best", 21, "../config", "20.0"):
        refused(lambda a=asked: load_run(folder, a), "weights", "last, 20", "keep_best")
    assert load_run(folder, "20").weights


def test_a_seal_that_names_files_elsewhere_is_refused(tmp_path):
    train(SHORT, GAME, [1], tmp_path)
    folder = run_folder(tmp_path, "turn", "qmix_cia", 1)
    seal = json.loads((folder / "provenance.json").read_text())
    seal["sha256"]["../secret"] = "0" * 64
    (folder / "provenance.json").write_text(json.dumps(seal))
    refused(lambda: load_run(folder), "run", "not a run of ciacore")


@pytest.mark.parametrize(
    "options",
    [
        {"keep_every": 0},
        {"keep_every": 2.5},
        {"keep_every": True},
        {"keep_best": "yes"},
        {"keep_checkpoint": 1},
    ],
)
def test_options_that_cannot_be(options, tmp_path):
    refused(lambda: train(SHORT, GAME, [1], tmp_path, **options), *options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options", [{"keep_every": 10}, {"keep_best": True}, {"keep_checkpoint": True}]
)
def test_in_memory_nothing_can_be_kept(options):
    refused(lambda: train(SHORT, GAME, [1, 2], **options), "results", *options)


def test_a_kept_tensor_is_a_copy(tmp_path):
    """Later updates do not reach it."""
    (run,) = train(SHORT.but(env_steps=60), GAME, [1], tmp_path, keep_every=25)
    folder = run_folder(tmp_path, "turn", "qmix_cia", 1)
    early = load_run(folder, weights=25).weights
    assert any(not torch.equal(early[name], run.weights[name]) for name in early)
    with pytest.raises(InvalidInputError, match="best"):
        load_run(folder, weights="best")
