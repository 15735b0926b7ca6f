"""Several seeds on a CPU: a process each, the same results as alone, and failures that stay where they are."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jaxtyping
import pytest
import torch
from test_bad_input import refused
from test_experiment import same
from test_resume import CIA, names
from torch import nn
from toys import Stroll, small

from ciacore import MIXERS, processes, train
from ciacore.checkpoint import locked
from ciacore.games import MatrixGame, Turn
from ciacore.processes import cores, one_core, portable
from ciacore.store import read_run
from ciacore.types import InvalidInputError, Mixed

CONFIG, GAME = small(**CIA), Turn(horizon=5)


@pytest.fixture(autouse=True)
def as_users_run_it(monkeypatch):
    """Without the type checks that tests/conftest.py adds."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="module")
def alone():
    """The runs of three seeds, each by itself in this process."""
    return {seed: train(CONFIG, GAME, [seed])[0] for seed in (1, 2, 3)}


@pytest.mark.parametrize(("seeds", "at_once"), [([1, 2, 3], 2), ([3, 1, 2], 3), ([2, 3], 1)])
def test_every_seed_is_what_it_is_alone(seeds, at_once, alone, tmp_path):
    reports = []
    progress = lambda *args, **facts: reports.append((args, facts))  # noqa: E731
    runs = train(CONFIG, GAME, seeds, tmp_path, processes=at_once, progress=progress)
    assert [run.seed for run in runs] == seeds and all(same(run, alone[run.seed]) for run in runs)
    assert all(same(read_run(tmp_path / "turn" / "qmix_cia" / f"seed_{seed}"), alone[seed]) for seed in seeds)
    assert sorted(path.name for path in (tmp_path / "turn" / "qmix_cia").iterdir()) == [
        f"seed_{n}" for n in sorted(seeds)
    ]
    steps, totals = zip(*(args for args, _ in reports), strict=True)
    assert list(steps) == sorted(steps) and set(totals) == {len(seeds) * CONFIG.env_steps}
    assert steps[-1] >= totals[0] and set(reports[-1][1]) == {"epsilon", "return"}


def test_in_memory_nothing_is_left_on_disk(alone, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    runs = train(CONFIG, GAME, [1, 2], processes=2)
    assert all(same(run, alone[run.seed]) for run in runs) and not list(tmp_path.iterdir())


def test_a_seed_that_fails_does_not_stop_the_others(alone, tmp_path):
    """Seed 2 belongs to another process."""
    with (
        locked(tmp_path / "turn" / "qmix_cia" / "seed_2"),
        pytest.raises(InvalidInputError, match=f"seed_2 held by process {os.getpid()}"),
    ):
        train(CONFIG, GAME, [1, 2, 3], tmp_path, processes=2)
    for seed in (1, 3):
        assert same(read_run(tmp_path / "turn" / "qmix_cia" / f"seed_{seed}"), alone[seed])
    runs = train(CONFIG, GAME, [1, 2, 3], tmp_path, processes=2)  # and now the missing one
    assert all(same(run, alone[run.seed]) for run in runs)


@pytest.mark.parametrize("at_once", [1, 2])
def test_every_error_is_told(at_once, tmp_path):
    config = CONFIG.but(learning_rate=1e30, gradient_clip=1e30, env_steps=200)
    with pytest.raises(FloatingPointError, match="Lower learning_rate") as caught:
        train(config, GAME, [1, 2], tmp_path, processes=at_once)
    assert len(caught.value.__notes__) == 1 and "Another seed failed too" in caught.value.__notes__[0]
    assert names(tmp_path) == []


def test_a_worker_that_dies_is_named(tmp_path, monkeypatch):
    """As if the system had killed it for want of memory."""
    started = []

    class Dying(processes.Worker):
        def __init__(self, config, game, seed, results):
            super().__init__(config, game, seed, results)
            started.append(seed)
            if seed == 2:
                self.process.kill()

    monkeypatch.setattr(processes, "Worker", Dying)
    with pytest.raises(RuntimeError, match=r"seed 2: its process ended with exit code -9\. Train it again\."):
        train(CONFIG, GAME, [1, 2], tmp_path, processes=2)
    assert started == [1, 2] and names(tmp_path / "turn" / "qmix_cia" / "seed_1")


class Half(nn.Module):
    """Q_tot = half the sum: a mixer that only this test knows."""

    def __init__(self, spec, config) -> None:
        super().__init__()

    def forward(self, utilities, state) -> Mixed:
        return Mixed(utilities.chosen.sum(-1) / 2, utilities.chosen.new_zeros(()))


def test_a_mixer_of_ones_own_goes_along(monkeypatch):
    monkeypatch.setitem(MIXERS, "half", Half)
    config = small(method="half", mixer="half")
    assert portable(config, GAME)
    one, two = train(config, GAME, [1, 2], processes=2)
    assert same(one, *train(config, GAME, [1])) and not same(one, two)


def test_what_another_process_cannot_have_is_trained_here(monkeypatch):
    """A class of a notebook or script, or one inside a function."""

    class Local(Stroll):
        pass

    here = type("Here", (Stroll,), {"__module__": "__main__"})
    for game in (Local(), here()):
        assert not portable(CONFIG, game)
        runs = train(CONFIG, game, [1, 2], processes=2)
        assert all(same(run, *train(CONFIG, Stroll(), [run.seed])) for run in runs)
    assert portable(CONFIG, Turn()) and portable(CONFIG, MatrixGame([[1.0, 0.0], [0.0, 1.0]]))
    monkeypatch.setattr(Half, "__module__", "__main__")
    monkeypatch.setitem(MIXERS, "half", Half)
    assert not portable(small(mixer="half"), GAME)


PARENT = """
import sys
from ciacore import METHODS, train
from ciacore.games import Turn
sizes = {"batch": 4, "buffer": 16, "hidden_size": 8, "mixing_size": 4, "hypernetwork_size": 8, "evaluation_games": 3}
config = METHODS["qmix_cia"].but(env_steps=10_000_000, **sizes)
train(config, Turn(horizon=10), [1, 2], sys.argv[1], processes=2, progress=lambda steps, *_, **__: print(steps))
"""


def workers_of(results: Path) -> list[str]:
    """The processes that hold a run in this folder."""
    return [path.read_text() for path in results.rglob("lock") if path.read_text() and alive(int(path.read_text()))]


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().split()[2] != "Z"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_its_parent(number, tmp_path):
    command = [sys.executable, "-u", "-c", PARENT, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as parent:
        deadline = time.monotonic() + 60
        while len(workers_of(tmp_path)) < 2 or int(parent.stdout.readline()) < 100:
            assert time.monotonic() < deadline
        parent.send_signal(number)
        parent.communicate(timeout=60)
    while workers_of(tmp_path):
        assert time.monotonic() < deadline + 20
        time.sleep(0.1)
    place = tmp_path / "turn" / "qmix_cia"
    assert sorted(path.name for path in place.iterdir()) == [".seed_1", ".seed_2"]
    assert (place / ".seed_1" / "checkpoint").exists() and (place / ".seed_2" / "checkpoint").exists()


@pytest.mark.parametrize("number", [0, -1, True, 1.5, "2"])
def test_an_impossible_number_of_processes(number):
    refused(lambda: train(CONFIG, GAME, [1, 2], processes=number), "processes", "at least 1", repr(number))


def test_one_core_is_given_back():
    before = torch.get_num_threads()
    with one_core():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before and 1 <= cores() <= (os.cpu_count() or 1)
