"""Several seeds on a CPU: a process each, as alone, and failures apart."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch
from support.faults import refused, workers_of
from support.runs import files, same
from support.toys import CIA, Stroll, small
from torch import nn

from ciacore import MIXERS, train
from ciacore.games import MatrixGame, Turn
from ciacore.runtime import processes
from ciacore.runtime.checkpoint import locked
from ciacore.runtime.one_core import cores, one_core
from ciacore.runtime.processes import picklable
from ciacore.runtime.store import read_run
from ciacore.types import InvalidInputError, Mixed

pytestmark = pytest.mark.usefixtures("as_users_run_it")

CONFIG, GAME = small(**CIA), Turn(horizon=5)
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture(scope="module")
def alone():
    """The runs of three seeds, each by itself in this process."""
    return {seed: train(CONFIG, GAME, [seed])[0] for seed in (1, 2, 3)}


@pytest.mark.parametrize(
    ("seeds", "at_once"),
    [([3, 1, 2], 3), pytest.param([2, 3, 1], 1, marks=pytest.mark.long)],
)
def test_every_seed_is_what_it_is_alone(seeds, at_once, alone, tmp_path):
    steps, totals, reported = [], [], []

    def progress(env_steps, total, **facts):
        steps.append(env_steps)
        totals.append(total)
        reported.append(facts)

    told = {"processes": at_once, "progress": progress}
    runs = train(CONFIG, Turn(horizon=5), seeds, tmp_path, **told)
    assert [run.seed for run in runs] == seeds
    assert all(same(run, alone[run.seed]) for run in runs)
    place = tmp_path / "turn" / "qmix_cia"
    for seed in seeds:
        assert same(read_run(place / f"seed_{seed}"), alone[seed])
    names = sorted(path.name for path in place.iterdir())
    assert names == ["seed_1", "seed_2", "seed_3"]
    assert steps == sorted(steps)
    assert set(totals) == {len(seeds) * CONFIG.env_steps}
    assert steps[-1] > totals[0]
    assert set(reported[-1]) == {"epsilon", "return"}


def test_in_memory_nothing_is_left_on_disk(alone, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    runs = train(CONFIG, Turn(horizon=5), [2, 1], processes=2)
    assert [run.seed for run in runs] == [2, 1]
    assert all(same(run, alone[run.seed]) for run in runs)
    assert not list(tmp_path.iterdir())


def test_a_seed_that_fails_does_not_stop_the_others(alone, tmp_path):
    """Seed 2 belongs to another process."""
    with (
        locked(tmp_path / "turn" / "qmix_cia" / "seed_2"),
        pytest.raises(InvalidInputError, match=f"seed_2 held by process {os.getpid()}"),
    ):
        train(CONFIG, Turn(horizon=5), [1, 2, 3], tmp_path, processes=2)
    place = tmp_path / "turn" / "qmix_cia"
    assert same(read_run(place / "seed_1"), alone[1])
    assert same(read_run(place / "seed_3"), alone[3])
    # and now the missing one
    runs = train(CONFIG, Turn(horizon=5), [1, 2, 3], tmp_path, processes=2)
    assert all(same(run, alone[run.seed]) for run in runs)


@pytest.mark.parametrize("at_once", [1, 2])
def test_every_error_is_told(at_once, tmp_path):
    config = CONFIG.but(learning_rate=1e30, gradient_clip=1e30, env_steps=200)
    with pytest.raises(FloatingPointError, match="Lower learning_rate") as caught:
        train(config, Turn(horizon=5), [1, 2], tmp_path, processes=at_once)
    assert len(caught.value.__notes__) == 1
    assert "Another seed failed too" in caught.value.__notes__[0]
    assert files(tmp_path) == []


class Broken(Stroll):
    """A game with a mistake."""

    def available(self, state):
        raise KeyError("apples")


def test_a_mistake_of_a_game_comes_with_its_seed_and_place(tmp_path):
    with pytest.raises(RuntimeError) as caught:
        train(CONFIG, Broken(), [1, 2], tmp_path, processes=2)
    place, other = caught.value.__notes__
    assert str(caught.value) == "seed 1: KeyError: 'apples'"
    assert "in available" in place
    assert other == "Another seed failed too: seed 2: KeyError: 'apples'"
    assert files(tmp_path) == []


def test_a_process_that_cannot_even_start_is_named(tmp_path, monkeypatch):
    """Nothing is left open, though what it was to be told did not fit into its pipe."""
    monkeypatch.setattr(sys, "executable", "false")
    game = Turn(horizon=5)
    game.story = "long" * 100_000
    message = "seed 1: its process ended with exit code 1"
    with pytest.raises(RuntimeError, match=message) as caught:
        train(CONFIG, game, [1, 2], tmp_path, processes=2)
    assert "seed 2: its process ended" in caught.value.__notes__[0]
    del caught
    gc.collect()  # an open pipe would warn now


def test_files_in_the_working_directory_are_no_modules(tmp_path, monkeypatch):
    """A worker imports what this process would."""
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.chdir(tmp_path)
    worker = processes.Worker(CONFIG, Turn(horizon=5), 1, tmp_path / "seed_1")
    while not worker.ended:
        worker.read()
    worker.process.stdout.close()
    assert worker.error is None
    assert read_run(tmp_path / "seed_1").seed == 1


def test_a_worker_that_dies_is_named(tmp_path, monkeypatch):
    """As if the system had killed it for want of memory."""
    started = []

    class Dying(processes.Worker):
        def __init__(self, config, game, seed, folder, options):
            super().__init__(config, game, seed, folder, options)
            started.append(seed)
            if seed == 2:
                self.process.kill()

    monkeypatch.setattr(processes, "Worker", Dying)
    message = r"seed 2: its process ended with exit code -9\. Train it again\."
    with pytest.raises(RuntimeError, match=message):
        train(CONFIG, Turn(horizon=5), [1, 2], tmp_path, processes=2)
    assert started == [1, 2] and files(tmp_path / "turn" / "qmix_cia" / "seed_1")


class Half(nn.Module):
    """Q_tot = half the sum: a mixer that only this test knows."""

    def __init__(self, spec, config) -> None:
        super().__init__()

    def forward(self, utilities, state) -> Mixed:
        return Mixed(utilities.chosen.sum(-1) / 2, utilities.chosen.new_zeros(()))


def test_a_mixer_of_ones_own_goes_along(monkeypatch):
    monkeypatch.setitem(MIXERS, "half", Half)
    config = small(method="half", mixer="half")
    assert picklable(config, GAME)
    one, two = train(config, Turn(horizon=5), [1, 2], processes=2)
    assert same(one, *train(config, GAME, [1])) and not same(one, two)


def test_what_another_process_cannot_have_is_trained_here(monkeypatch):
    """A class of a notebook or script, or one inside a function."""

    class Local(Stroll):
        pass

    here = type("Here", (Stroll,), {"__module__": "__main__"})
    for game in (Local(), here()):
        assert not picklable(CONFIG, game)
        runs = train(CONFIG, game, [1, 2], processes=2)
        assert all(same(run, *train(CONFIG, Stroll(), [run.seed])) for run in runs)
    holder = Stroll()
    holder.helper = type("Helper", (), {"__module__": "__main__"})
    monkeypatch.setattr(sys.modules["__main__"], "Helper", holder.helper, raising=False)
    # a game of a module that holds a thing of a notebook
    assert not picklable(CONFIG, holder)
    holder.helper = threading.Lock()
    assert not picklable(CONFIG, holder)
    assert picklable(CONFIG, Turn())
    assert picklable(CONFIG, MatrixGame([[1.0, 0.0], [0.0, 1.0]]))
    monkeypatch.setattr(Half, "__module__", "__main__")
    monkeypatch.setitem(MIXERS, "half", Half)
    assert not picklable(small(mixer="half"), GAME)


PARENT = """
import signal
import sys
from ciacore import train
from ciacore.runtime import processes
from support.runs import LONGER, TURN

class Telling(processes.Worker):
    def read(self):
        messages = super().read()
        print("\\n".join([str(self.seed)] * len(messages)))
        return messages

processes.Worker = Telling
# a shell may have told its background jobs to ignore it
signal.signal(signal.SIGINT, signal.default_int_handler)
train(LONGER.but(env_steps=10_000_000), TURN, [1, 2], sys.argv[1], processes=2)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_parent(number, tmp_path):
    command = [sys.executable, "-u", "-c", PARENT, str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=ENVIRONMENT, **pipes) as parent:
        heard = set()
        while not {"1", "2"} <= heard:
            heard.add(parent.stdout.readline().strip())
        assert len(workers_of(tmp_path)) == 2
        parent.send_signal(number)
        parent.communicate(timeout=60)
    deadline = time.monotonic() + 20
    while workers_of(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    place = tmp_path / "turn" / "qmix_cia"
    assert sorted(path.name for path in place.iterdir()) == [".seed_1", ".seed_2"]
    assert (place / ".seed_1" / "checkpoint").exists()
    assert (place / ".seed_2" / "checkpoint").exists()


@pytest.mark.parametrize("number", [0, -1, True, 1.5, "2"])
def test_an_impossible_number_of_processes(number):
    refused(
        lambda: train(CONFIG, GAME, [1, 2], processes=number),
        "processes",
        "at least 1",
        repr(number),
    )


def test_one_core_is_given_back():
    torch.set_num_threads(2)
    before = torch.get_num_threads()
    with one_core():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before and 1 <= cores() <= (os.cpu_count() or 1)
