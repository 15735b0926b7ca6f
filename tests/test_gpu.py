"""`make gpu` and what it takes along, with a stand-in for Python, without a GPU."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from support.runs import assert_faithful, dry_run

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "env"), str(ROOT / "env" / "gpu")]

import first_minutes  # noqa: E402
import pack  # noqa: E402

WHO = ("-c", "user.name=a", "-c", "user.email=a@b.c")


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *WHO, *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A work tree with the script, one module, and a stand-in for Python.

    The stand-in notes its calls and fails in one.
    """
    tree = tmp_path / "tree"
    (tree / "env").mkdir(parents=True)
    shutil.copy(ROOT / "env" / "gpu.sh", tree / "env")
    (tree / "module.py").write_text("x = 1\n")
    python = tree / "python"
    python.write_text(
        '#!/bin/sh\necho "$*" >>calls\ncase "$*" in *bench.gpu*) exit 3 ;; esac\n'
    )
    python.chmod(0o755)
    return tree


def measured(tree: Path, **environment: str) -> tuple[int, list[str]]:
    """The exit code of the script, and how it called Python."""
    env = {"PATH": "/usr/bin:/bin", "PY": "./python", **environment}
    done = subprocess.run(
        ["sh", "env/gpu.sh"], cwd=tree, env=env, capture_output=True, text=True
    )
    return done.returncode, (tree / "calls").read_text().splitlines()


def test_a_stage_that_fails_stops_no_other(tree: Path) -> None:
    code, calls = measured(tree, METHODS="qmix vdn")
    assert code == 1
    assert calls == [
        "env/gpu/first_minutes.py --ask",
        "env/gpu/first_minutes.py",
        "tests/reports/write.py --report test-gpu.txt -m gpu",
        "-m bench.gpu --methods qmix vdn",
        "book/build.py --execute-only --device cuda",
        "-m ciabook.page.notebook_times",
    ]
    for call in calls:
        program = call.split()[0]
        assert program == "-m" or (ROOT / program).is_file()


def test_without_a_gpu_nothing_begins_and_one_sentence_says_so(tree: Path) -> None:
    """CUDA_VISIBLE_DEVICES hides those that this machine may have."""
    script = ROOT / "env" / "gpu" / "first_minutes.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, script, "--ask"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("gpu: This machine has no NVIDIA GPU")
    assert done.stderr.count("\n") == 1
    (tree / "python").write_text('#!/bin/sh\necho "$*" >>calls\nexit 2\n')
    assert measured(tree) == (2, ["env/gpu/first_minutes.py --ask"])


@pytest.mark.long
def test_the_first_minutes_come_to_their_end_without_a_gpu(tmp_path: Path) -> None:
    """A dry run of each kind of part; `test_long.py` runs them all."""
    all_methods = "all methods, 5 seeds"
    names = ["graphs", "qmix_cia", "eoi", "qmix_cia, 5 seeds", all_methods, "battle"]
    found = dry_run(tmp_path / "found.json", "--only", *names)
    assert set(found["parts"]) == set(names) and found["stand_in"]
    for name in ("qmix_cia", "eoi", "qmix_cia, 5 seeds"):
        assert_faithful(found["parts"][name])
    assert found["parts"]["eoi"]["beside"]
    assert found["parts"]["qmix_cia, 5 seeds"]["seeds_stacked"] == 5
    together = found["parts"][all_methods]
    assert together["branches"] == 1 + 5 and together["env_steps_per_s"] > 0
    of_each = [each["ms"] for each in together["alone"].values()]
    assert len(of_each) == 2 and together["ms_one_after_the_other"] == sum(of_each)
    assert set(found["parts"]["graphs"]["branches"]) >= {"1", "64"}
    assert [row["device"] for row in found["parts"]["battle"]["rows"]]
    assert found["provenance"]["commit"] and found["provenance"]["warm_up"]


def test_a_part_that_fails_or_hangs_stops_no_other(monkeypatch) -> None:
    missing = first_minutes.Part("missing", ("method.py", "nobody", "1"), 60)
    hangs = first_minutes.Part("hangs", ("method.py", "qmix", "1"), 0)
    found = first_minutes.run_all([missing, hangs], stand_in=True)
    assert "invalid choice" in found["missing"]["error"][-1]
    assert found["hangs"]["error"] == ["not done after 0 s"]


def test_a_machine_without_network_knows_the_commit(tree: Path, tmp_path: Path) -> None:
    """The packed repository names the commit and what differs, and holds no file."""
    git(tree, "init", "--quiet")
    git(tree, "add", ".")
    git(tree, "commit", "--quiet", "-m", "first")
    commit, there = git(tree, "rev-parse", "HEAD"), tmp_path / "there"
    pack.pack_commit(tree, tmp_path / "packed")
    shutil.copytree(tree, there, ignore=shutil.ignore_patterns(".git"))
    shutil.move(tmp_path / "packed", there / ".gpu" / "git")
    kinds = git(
        there / ".gpu" / "git",
        "cat-file",
        "--batch-check=%(objecttype)",
        "--batch-all-objects",
    )
    (there / "module.py").write_text("x = 2\n")
    _, calls = measured(there)
    assert calls[0].startswith("-m pip install") and len(calls) == 7
    assert git(there, "rev-parse", "HEAD") == commit
    assert set(kinds.split()) == {
        "commit",
        "tree",
    }
    assert (
        git(there, "status", "--porcelain", "--", "module.py", "env") == "M module.py"
    )


def test_what_is_carried_leaves_published_runs_behind(
    tree: Path, tmp_path: Path
) -> None:
    run = tree / "book" / "results" / "turn" / "qmix" / "seed_1"
    run.mkdir(parents=True)
    for path in (run / "weights", run.parent / "rule.json", tree / "seed_2"):
        path.write_text("x")
    git(tree, "init", "--quiet")
    git(tree, "add", ".")
    (tree / "untracked").write_text("x")
    packed, archive = tmp_path / "packed", tmp_path / "gpu.tar"
    packed.mkdir()
    (packed / "wheel").write_text("x")
    assert pack.pack_tree(tree, packed, archive) == archive.stat().st_size
    with tarfile.open(archive) as held:
        files = {member.name for member in held if member.isfile()}
    kept = {"book/results/turn/qmix/rule.json", "seed_2", "module.py", "python"}
    assert files == kept | {"env/gpu.sh", ".gpu/wheel"}


def test_what_is_carried_has_a_limit(tree: Path, tmp_path: Path, monkeypatch) -> None:
    git(tree, "init", "--quiet")
    git(tree, "add", ".")
    monkeypatch.setattr(pack, "MOST", 100)
    with pytest.raises(SystemExit, match="at most 0 MiB"):
        pack.pack_tree(tree, tmp_path, archive := tree / "gpu.tar")
    assert not archive.exists()


def test_this_tree_leaves_room_for_the_wheels() -> None:
    """About 18 MB of them are packed with it."""
    size = sum((ROOT / path).stat().st_size for path in pack.carried(ROOT))
    assert size < pack.MOST - 25 * 2**20


def test_what_is_packed_needs_nothing_that_is_left_behind() -> None:
    pinned = pack.pins()
    has = {"torch", "numpy", "jax", "pandas", "scipy"}
    packed = {Requirement(line).name for line in pack.lacking(has, pinned, "3.12")}
    assert {"papermill", "ipykernel", "jaxmarl", "aiohttp"} <= packed <= set(pinned)
    assert not packed & (has | {"jupyter-book", "sphinx", "ruff"})
    assert "aiohttp" not in {
        Requirement(line).name
        for line in pack.lacking(has | {"aiohttp"}, pinned, "3.12")
    }
