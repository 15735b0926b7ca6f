"""A real SLURM on one machine (env/slurm/one_machine.sh).

A study passes, a node dies, a time limit hits.
"""

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from ciabook.studies.study import find
from support.faults import start_lab, wait_until_gone
from support.runs import digests

from ciacore import train
from ciacore.games import Turn
from ciacore.runtime.store import read_run

pytestmark = [pytest.mark.slurm, pytest.mark.long]
ROOT = Path(__file__).resolve().parents[1]
MACHINE = ROOT / "env" / "slurm" / "one_machine.sh"
PROFILE = "--profile env/slurm/profile"


def machine(*arguments: str) -> None:
    subprocess.run([str(MACHINE), *arguments], check=True, timeout=120)


@pytest.fixture
def cluster():
    machine("start")
    yield
    machine("stop")


@pytest.fixture
def results():
    """A folder that both nodes see."""
    folder = Path("/tmp/ciacore-slurm-results")
    shutil.rmtree(folder, ignore_errors=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def undisturbed(study: str, folder: Path) -> dict[str, str]:
    """The digests of a study, trained in this process."""
    for config in dict.fromkeys(entry.config for entry in find(study)):
        train(
            config,
            Turn(),
            sorted({entry.seed for entry in find(study)}),
            folder,
            processes=1,
        )
    return digests(folder)


def running() -> list[str]:
    """Nodes that are at work."""
    asked = subprocess.run(
        ["squeue", "-h", "-t", "R", "-o", "%N"],
        capture_output=True,
        text=True,
        check=True,
    )
    return asked.stdout.split()


def test_a_study_passes_through_slurm(cluster, results, tmp_path):
    assert start_lab(results, "run", "smoke", "--snakemake", PROFILE).wait(300) == 0
    assert digests(results) == undisturbed("smoke", tmp_path)


def test_a_node_that_dies_changes_no_result(cluster, results, tmp_path):
    lab = start_lab(results, "run", "minute", "--snakemake", PROFILE)
    end = time.monotonic() + 120
    while set(running()) != {"n1", "n2"} and time.monotonic() < end:
        time.sleep(0.5)
    time.sleep(10)
    machine("kill", "n1")
    # longer than SlurmdTimeout: the node counts as dead, its run waits for another
    time.sleep(15)
    machine("revive", "n1")
    assert lab.wait(500) == 0
    wait_until_gone(results)
    assert digests(results) == undisturbed("minute", tmp_path)


def test_a_time_limit_is_gone_on_from(cluster, results, tmp_path):
    """SLURM ends a run after a minute; it keeps a checkpoint and goes on."""
    options = f"{PROFILE} --retries 4 --set-resources seed_1:runtime=1 seed_2:runtime=1"
    assert start_lab(results, "run", "minute", "--snakemake", options).wait(1_200) == 0
    runs = [read_run(path) for path in sorted(results.glob("turn/*/seed_*"))]
    assert all(run.provenance["resumed"] for run in runs)
    assert digests(results) == undisturbed("minute", tmp_path)
