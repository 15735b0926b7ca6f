"""What users of this field's libraries report, tried here: one test or more for each.

What a mixer, a game or the mathematics may do wrong has tests of its own.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import nbformat
import papermill
import pytest
import torch
import yaml
from ciabook.page.kernel import own_kernel
from ciabook.page.parameters import check_type
from ciabook.studies import lab, study
from ciabook.studies.recheck import recheck
from ciabook.studies.study import PLACES, STUDIES, find, place_of, survey
from support.faults import StopHere, after, refused
from support.toys import SMALL, Stroll, small

from ciacore import METHODS, train
from ciacore.config import Config
from ciacore.games import MatrixGame, Turn
from ciacore.learning.replay import Replay
from ciacore.learning.rollout import play
from ciacore.runtime import provenance, session
from ciacore.runtime.memory import episode_bytes, run_megabytes
from ciacore.runtime.provenance import legs_of
from ciacore.runtime.store import read_run, run_folder
from ciacore.training import Training
from ciacore.types import InvalidInputError

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"


def run(*command: str | Path, **options) -> subprocess.CompletedProcess:
    """A command and what it prints."""
    return subprocess.run(command, capture_output=True, text=True, **options)


# ---------------------------------------------- a shipped default and shipped runs


@pytest.mark.parametrize("name", STUDIES)
def test_no_study_finds_anothers_runs_in_its_place(name):
    """In a fresh clone nothing is damaged: every run there is of this very study."""
    states = {each.state for each in survey(STUDIES[name], place_of(name))}
    assert states <= {"done", "missing", "running"}


def test_what_only_tries_the_machinery_is_kept_from_published_runs():
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    for name in ("smoke", "minute"):
        assert place_of(name) == ROOT / "runs" / name
    assert "runs/" in ignored and set(PLACES) <= set(STUDIES)
    chapter = nbformat.read(NOTEBOOKS / "battles.ipynb", as_version=4)
    reads = next(
        cell.source
        for cell in chapter.cells
        if "parameters" in cell.metadata.get("tags", [])
    )
    place = place_of("battles_proof").relative_to(ROOT)
    assert f'"../{place}"' in reads  # the chapter reads what the study writes
    assert {each.state for each in survey(find("battles_proof"), ROOT / place)} == {
        "done"
    }


def test_the_command_without_a_folder_takes_the_studys_own(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(study, "ROOT", tmp_path)
    assert lab.main(["status", "smoke"]) == lab.MISSING
    for config in dict.fromkeys(entry.config for entry in find("smoke")):
        train(config, Turn(), [1, 2], tmp_path / "runs" / "smoke", processes=1)
    monkeypatch.setattr(lab, "schedule", lambda *_: pytest.fail("trained again"))
    assert lab.main(["run", "smoke"]) == 0
    assert "smoke: 4 done of 4" in capsys.readouterr().out


# ------------------------------------------------- a run and everywhere it was made


@pytest.fixture
def moved(tmp_path, monkeypatch):
    """A run that was begun here, went on on another machine, and came back."""
    here = provenance.provenance("cpu")
    there = {**here, "cpu": "another", "commit": "abc", "dirty": ["ciacore/cia.py"]}
    config = small(method="moved", evaluation_interval=10)
    for machine in (here, there):
        monkeypatch.setattr(session, "provenance", lambda device, it=machine: dict(it))
        with pytest.raises(StopHere):
            train(config, Stroll(), [1], tmp_path, progress=after(5))
    monkeypatch.setattr(session, "provenance", lambda device: dict(here))
    (run,) = train(config, Stroll(), [1], tmp_path)
    monkeypatch.setattr(session, "provenance", provenance.provenance)
    return run


def test_every_machine_of_a_run_is_recorded(moved):
    kept = legs_of(moved.provenance)
    here = provenance.cpu_model()
    assert [leg["cpu"] for leg in kept] == [here, "another", here]
    assert [leg["dirty"] for leg in kept][1] == ["ciacore/cia.py"]
    starts = [leg["env_steps"] for leg in kept]
    assert starts == sorted(starts) and starts[0] == 0 < starts[1]
    assert all("torch" in leg["versions"] and "threads" in leg for leg in kept)


def test_recheck_asks_about_the_machines_of_the_part_that_it_repeats(moved):
    """Exact before the first change of machine; a band for what another has made."""
    second = legs_of(moved.provenance)[1]["env_steps"]
    steps = moved.metrics["env_steps"]
    before = sum(step <= second for step in steps)
    assert 0 < before < len(steps)
    early = recheck(moved, [moved], Stroll(), before)
    assert early.differing == [] and early.exact and early.passed
    changed = [[value + 0.01 for value in each] for each in metric(moved)]
    shifted = moved._replace(metrics={**moved.metrics, "episode_return": changed})
    late = recheck(shifted, [shifted], Stroll(), before + 1)
    assert late.differing == ["cpu"] and not late.exact and late.passed
    assert not recheck(shifted, [shifted], Stroll(), before).passed


def metric(run) -> list:
    """The returns of a run."""
    return run.metrics["episode_return"]


def test_what_an_older_run_says_of_its_machines():
    """It names the last one; of those before, the commit is all that is known."""
    seal = {
        "commit": "one",
        "cpu": "last",
        "versions": {"torch": "2"},
        "started": "then",
        "resumed": [
            {"at": "t", "env_steps": 10, "commit": "two"},
            {"at": "t", "env_steps": 20, "commit": "three"},
        ],
    }
    first, second, third = legs_of(seal)
    assert (first, second) == (
        {"env_steps": 0, "commit": "one"},
        {"env_steps": 10, "commit": "two"},
    )
    assert (third["env_steps"], third["commit"], third["cpu"]) == (20, "three", "last")
    new = {"env_steps": 30, "commit": "four", "cpu": "new", "versions": {}}
    legs = legs_of({**seal, "resumed": [*seal["resumed"], new]})
    assert legs[:3] == [first, second, third] and legs[3] == new
    alone = legs_of({**seal, "resumed": []})
    assert [leg["cpu"] for leg in alone] == ["last"]


def test_the_plain_path_is_recorded(monkeypatch):
    """CIACORE_FAST=0 draws and rounds otherwise; older runs were all fast."""
    game = MatrixGame([[1.0, 2.0], [3.0, 4.0]])
    config = Config(**SMALL)
    monkeypatch.setenv("CIACORE_FAST", "0")
    (plain,) = train(config, game, [1])
    monkeypatch.delenv("CIACORE_FAST")
    assert recheck(plain, [plain], game, 1).differing == ["fast"]
    (fast,) = train(config, game, [1])
    del fast.provenance["fast"]
    assert recheck(fast, [fast], game, 1).differing == []


def test_only_this_repository_is_asked_for_the_commit(tmp_path, monkeypatch):
    """Not the one that an environment lies in, nor the one of a hook that runs."""
    ours = provenance.git("rev-parse", "HEAD")
    run("git", "init", "-q", tmp_path / "project", check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "project" / ".git"))
    assert provenance.git("rev-parse", "HEAD") == ours is not None
    monkeypatch.delenv("GIT_DIR")
    monkeypatch.setattr(provenance, "ROOT", tmp_path / "project" / "lib")
    (tmp_path / "project" / "lib").mkdir()
    assert provenance.git("rev-parse", "--show-toplevel") is None


# --------------------------------------------------- folders, homes, kernels, jobs


STUDY = """
from ciacore import METHODS
from ciacore.games import GAMES, MatrixGame

GAMES["matrix"] = lambda: MatrixGame([[8.0, -12.0], [-12.0, 0.0]])
print("not for the scheduler")
STUDY = [METHODS["vdn"].but(env_steps=20, batch=4, evaluation_games=2)]
GAME, SEEDS = "matrix", [3]
"""


def test_any_folder_any_kernel_and_no_home(tmp_path):
    """Blanks, quotes, a comment sign; a kernel python3 that does not start; no HOME."""
    folder = tmp_path / "it's my: study #1 $HOME"
    folder.mkdir()
    (folder / "mine.py").write_text(STUDY)
    spec = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    foreign = {"argv": ["/bin/false"], "display_name": "x", "language": "python"}
    spec.write_text(json.dumps(foreign))
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{NOTEBOOKS}",
        "JUPYTER_PATH": str(tmp_path / "jupyter"),
        "HOME": "/proc/none",
    }
    environment.pop("XDG_CACHE_HOME", None)
    command = [sys.executable, "-m", "ciabook.studies.lab", "run", "mine.py"]
    done = run(*command, "--jobs", "1", cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mine: 1 done of 1" in done.stdout
    place = folder / "runs" / "mine"
    kept = read_run(run_folder(place, "matrix", "vdn", 3))
    assert kept.game == "matrix" and kept.seed == 3
    again = run(*command, cwd=folder, env=environment)
    assert again.returncode == 0 and "matrix~vdn~3: done" not in again.stdout


def test_a_scheduler_that_fails_says_why(tmp_path, capsys):
    found = lab.main(
        [
            "run",
            "smoke",
            "--results",
            str(tmp_path),
            "--snakemake",
            "--no-such-option 'a b'",
        ]
    )
    told = capsys.readouterr().out
    assert found == lab.MISSING
    assert "Snakemake ended with exit code" in told and "no-such-option" in told


@pytest.mark.parametrize("jobs", ["0", "-1"])
def test_no_jobs_are_refused(jobs, tmp_path, capsys):
    assert lab.main(["run", "smoke", "--results", str(tmp_path), "--jobs", jobs]) == 2
    told = capsys.readouterr().err
    assert "jobs: expected a whole number of at least 1" in told and "JOBS=2" in told


def test_a_file_system_without_locks_is_named(tmp_path, capsys, monkeypatch):
    def unlockable(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(lab.fcntl, "flock", unlockable)
    assert lab.main(["run", "smoke", "--results", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "No locks available" in told and "another file system" in told


def test_results_below_a_file_are_refused(tmp_path, capsys):
    (tmp_path / "file").touch()
    results = str(tmp_path / "file" / "runs")
    assert lab.main(["run", "smoke", "--results", results]) == 2
    assert "results: expected a folder that can be written" in capsys.readouterr().err


def test_a_cache_that_cannot_be_written_lies_with_the_results(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert lab.environment_in(tmp_path) == dict(os.environ)
    elsewhere = str(tmp_path / "work" / "cache")
    for named in ("/proc/none/cache", "a/relative/one"):
        monkeypatch.setenv("XDG_CACHE_HOME", named)
        assert lab.environment_in(tmp_path / "work")["XDG_CACHE_HOME"] == elsewhere
    monkeypatch.setenv("XDG_CACHE_HOME", "")  # as if it were not set
    monkeypatch.setenv("HOME", "/proc/none")
    assert lab.environment_in(tmp_path / "work")["XDG_CACHE_HOME"] == elsewhere


def test_our_kernel_comes_first_and_leaves_nothing(monkeypatch):
    from jupyter_client.kernelspec import KernelSpecManager

    monkeypatch.setenv("JUPYTER_PATH", "/somewhere/else")
    before = dict(os.environ)
    with own_kernel() as name:
        place = Path(os.environ["JUPYTER_PATH"].split(os.pathsep)[0])
        spec = KernelSpecManager().get_kernel_spec(name)
        assert spec.argv[0] == sys.executable and Path(
            spec.resource_dir
        ).is_relative_to(place)
    assert dict(os.environ) == before and not place.exists()


def launch_cell() -> str:
    """What every notebook does first."""
    return next(
        cell.source
        for cell in nbformat.read(NOTEBOOKS / "train.ipynb", as_version=4).cells
        if "launch" in cell.metadata.get("tags", [])
    )


@pytest.mark.parametrize("inside", [True, False], ids=["in the book", "elsewhere"])
def test_the_kernel_of_another_environment_is_named(inside, tmp_path):
    """It has no library: nothing is fetched or installed, and the cure is a cure."""
    venv.create(tmp_path / "foreign")
    python = tmp_path / "foreign" / "bin" / "python"
    tree = tmp_path / "tree"
    shutil.copytree(NOTEBOOKS / "ciabook", tree / "notebooks" / "ciabook")
    where = tree / "notebooks" if inside else tmp_path
    environment = {"PATH": os.environ["PATH"]}
    done = run(python, "-c", launch_cell(), cwd=where, env=environment)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: kernel: expected") and str(python) in last
    assert "no ciacore" in last and "-m ipykernel install --sys-prefix" in last
    assert (str(tree) in last) == inside
    assert not (where / "cia-book").exists()
    packages = {"PYTHONPATH": sysconfig.get_paths()["purelib"], **environment}
    cure = [python, "-m", "ipykernel", "install", "--sys-prefix", "--name", "ciabook"]
    assert run(*cure, env=packages).returncode == 0
    spec = tmp_path / "foreign" / "share" / "jupyter" / "kernels" / "ciabook"
    assert json.loads((spec / "kernel.json").read_text())["argv"][0] == str(python)


# --------------------------------------------------------------------------- memory


@pytest.mark.parametrize("game", [Turn(horizon=7), Stroll()], ids=["turn", "stroll"])
def test_memory_is_counted_as_the_replay_takes_it(game):
    """Every field that an episode fills, but for the latent and the win."""
    training = Training(small(), game, 1, torch.device("cpu"), in_numpy=False)
    episodes = play(game, training.explore(), 3, torch.Generator(), 0.99)
    replay = Replay(3)
    replay.insert(episodes)
    fields = replay.ring._asdict()
    taken = sum(fields[name].nbytes for name in fields if name not in LEFT_OUT)
    assert taken == 3 * episode_bytes(game.spec)


LEFT_OUT = ("context", "won")


def test_memory_follows_the_study(capsys):
    """As the profile of SLURM is told: by game, and by the size of the replay."""
    spec, config = Turn().spec, METHODS["qmix"]
    assert run_megabytes(spec, config) < run_megabytes(
        spec._replace(observation_size=2_000), config
    )
    assert run_megabytes(spec, config.but(buffer=50_000)) > run_megabytes(spec, config)
    assert lab.main(["memory", "smoke"]) == 0
    told = capsys.readouterr().out
    assert f"turn~qmix      {run_megabytes(spec, config):6} MiB" in told
    profile = yaml.safe_load((ROOT / "env/slurm/profile/config.yaml").read_text())
    assert not [line for line in profile["default-resources"] if "mem" in line]
    assert "mem_mb=memory(seed)" in (ROOT / "Snakefile").read_text()


def test_what_cannot_be_trained_is_found_out_before_anything_is(
    tmp_path, monkeypatch, capsys
):
    """A name that nothing has, in the last of two methods."""
    config = METHODS["vdn"].but(method="odd", mixer="qmixx")
    entries = [find("smoke")[0], find("smoke")[0]._replace(config=config)]
    monkeypatch.setitem(STUDIES, "odd", entries)
    monkeypatch.setattr(lab.subprocess, "Popen", lambda *_, **__: pytest.fail("began"))
    assert lab.main(["run", "odd", "--results", str(tmp_path)]) == 2
    assert "Did you mean 'qmix'?" in capsys.readouterr().err


# ------------------------------------------------------------- line ends, platforms


def test_a_clone_with_windows_line_ends_works(tmp_path):
    """What git checks out has the ends that were committed, scripts and runs alike."""
    source = tmp_path / "source"
    run("git", "init", "-q", source, check=True)
    for name in (".gitattributes", "env/bootstrap.sh", "py"):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    committed = "book/results/turn/qmix/seed_1"
    shutil.copytree(ROOT / committed, source / committed)
    me = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    run("git", "-C", source, "add", "-A", check=True)
    run("git", *me, "-C", source, "commit", "-qm", "x", check=True)
    convert = ["-c", "core.autocrlf=true"]
    clone = tmp_path / "clone"
    run("git", *convert, "clone", "-q", source, clone, check=True)
    assert b"\r" not in (clone / "env" / "bootstrap.sh").read_bytes()
    assert read_run(clone / committed).seed == 1
    status = run("git", *convert, "-C", clone, "status", "--porcelain", check=True)
    assert status.stdout == ""


@pytest.mark.parametrize("package", ["ciacore", "ciabook.studies.lab"])
def test_windows_is_refused_in_one_sentence(package):
    program = f"import sys; sys.platform = 'win32'; import {package}"
    paths = {"PYTHONPATH": f"{ROOT}{os.pathsep}{NOTEBOOKS}"}
    done = run(sys.executable, "-c", program, env={**os.environ, **paths})
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ciacore: expected Linux or macOS, got Windows")
    assert "wsl --install" in last


# -------------------------------------------------------------- cures that are cures


def from_yaml(text: str) -> object:
    """What papermill's -y makes of a value."""
    return yaml.safe_load(f"value: {text}")["value"]


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize(
    ("field", "written"),
    [
        ("learning_rate", "1e-3"),
        ("learning_rate", "1e-05"),
        ("learning_rate", "1.0e3"),
        ("learning_rate", "'0.001'"),
        ("env_steps", "1e3"),
        ("env_steps", "1.0e+3"),
        ("env_steps", "'10000'"),
        ("double_q", "'false'"),
    ],
)
def test_what_the_message_says_to_write_is_taken(field, written):
    """As YAML, where it came from."""
    with pytest.raises(InvalidInputError) as caught:
        METHODS["qmix"].but(**{field: from_yaml(written)})
    advised = str(caught.value).split("Write ")[1].split(",")[0]
    meant = from_yaml(written)
    config = METHODS["qmix"].but(**{field: from_yaml(advised)})
    expected = str(meant).lower() == "true" if field == "double_q" else float(meant)
    assert getattr(config, field) == expected


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize(
    ("value", "not_advised"), [(float("nan"), "nan"), ("fast", "fast"), (None, "None")]
)
def test_what_is_no_number_gets_an_example(value, not_advised):
    with pytest.raises(InvalidInputError, match=r"Write e\.g\. 0\.02") as caught:
        METHODS["qmix"].but(learning_rate=value)
    assert not_advised not in str(caught.value).split("Write")[1]


@pytest.mark.parametrize(
    ("name", "kind", "value", "cure"),
    [
        ("env_steps", int, 1000.0, "Write 1000,"),
        ("results", str, 2024, "papermill -r results 2024"),
        ("results", str, True, "papermill -r results True"),
        ("seeds", list, 1, '-y "seeds: [1]"'),
        ("seeds", list, "[1, 2]", '-y "seeds: [1, 2]"'),
        ("overrides", dict, "x", '-y "overrides: {key: value}"'),
        ("flag", bool, 1, '-y "flag: true"'),
    ],
)
def test_a_parameter_of_the_wrong_type_gets_its_own_cure(name, kind, value, cure):
    refused(lambda: check_type(name, kind, value), name, kind.__name__, cure)


# ------------------------------------------------------------------------ own runs


def test_learning_curves_of_ones_own(tmp_path):
    """Another schedule than the published one is told, and stops nothing."""
    config = METHODS["qmix"].but(
        method="mine",
        env_steps=2_000,
        evaluation_interval=350,
        evaluation_games=4,
        batch=8,
        n_games=2,
    )
    train(config, Turn(), [1, 2], tmp_path, processes=1)
    with own_kernel() as kernel, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{NOTEBOOKS}")
        page = papermill.execute_notebook(
            str(NOTEBOOKS / "learning_curves.ipynb"),
            str(tmp_path / "page.ipynb"),
            {"results": str(tmp_path), "methods": ["mine"]},
            cwd=str(NOTEBOOKS),
            kernel_name=kernel,
            progress_bar=False,
        )
    printed = "".join(
        output.get("text", "")
        for cell in page.cells
        for output in cell.get("outputs", [])
    )
    assert "not as published: {'mine/seed_1': ['epsilon', 'updates'" in printed
