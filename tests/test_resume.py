"""An interrupted training goes on as if nothing had happened, bit for bit; and forgetting any part of it would show."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_experiment import same
from toys import Stroll, small

from ciacore import train
from ciacore.games import Turn
from ciacore.store import read_run
from ciacore.training import Training

CIA = {"method": "qmix_cia", "mixer": "qmix", "terms": ("cia",), "cia_coefficient": 0.5}
GAMES = {"torch": Stroll(), "numpy": Turn(horizon=5)}


class StopHere(Exception):
    """The interruption."""


def after(iterations: int, kind: type[BaseException] = StopHere):
    """A progress callback that interrupts training after some iterations."""
    seen = []

    def progress(*_, **__):
        seen.append(1)
        if len(seen) == iterations:
            raise kind

    return progress


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


COMPLETE = [f"seed_1/{name}" for name in ("config.json", "metrics.json", "provenance.json", "weights.safetensors")]


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])
@pytest.mark.parametrize("game", GAMES)
def test_resumed_after_any_iteration_is_bit_equal(game, optimizer, tmp_path):
    config, game, count = small(**CIA, optimizer=optimizer), GAMES[game], []
    (whole,) = train(config, game, [1], progress=lambda *_, **__: count.append(1))
    assert len(count) > 12 and whole.provenance["resumed"] == []
    for k in range(1, len(count) + 1):
        with pytest.raises(StopHere):
            train(config, game, [1], tmp_path / str(k), progress=after(k))
        place = tmp_path / str(k) / game.name / "qmix_cia"
        assert names(place) == [".seed_1/checkpoint", ".seed_1/lock"]
        (run,) = train(config, game, [1], tmp_path / str(k))
        assert same(run, whole), k
        assert names(place) == COMPLETE and [path.name for path in place.iterdir()] == ["seed_1"]
        assert len(run.provenance["resumed"]) == 1 and run.provenance["updates"] == whole.provenance["updates"]
        assert run.provenance["resumed"][0]["env_steps"] > 0


@pytest.mark.parametrize("kind", [KeyboardInterrupt, BrokenPipeError, StopHere])
def test_resumed_twice_after_any_kind_of_interruption(kind, tmp_path):
    config, game = small(**CIA), GAMES["numpy"]
    (whole,) = train(config, game, [1])
    for k in (5, 3):
        with pytest.raises(kind):
            train(config, game, [1], tmp_path, progress=after(k, kind))
    (run,) = train(config, game, [1], tmp_path)
    assert same(run, whole) and [entry["env_steps"] for entry in run.provenance["resumed"]] == [25, 40]
    assert run.provenance["started"] <= run.provenance["resumed"][0]["at"] <= run.provenance["finished"]


def test_a_complete_run_is_read_and_not_trained(tmp_path, monkeypatch):
    config = small(**CIA)
    (first,) = train(config, GAMES["numpy"], [1], tmp_path)
    monkeypatch.setattr("ciacore.experiment.Training", lambda *_: pytest.fail("training began"))
    (again,) = train(config, GAMES["numpy"], [1], tmp_path)
    assert same(first, again)


# -------------------------------------------------------------------------------- the test has teeth

FORGOTTEN = {
    "target network": ("torch", "target."),
    "optimizer": ("torch", "optimizer."),
    "replay": ("torch", "replay."),
    "torch generator of play": ("torch", "generators.play"),
    "generator of samples": ("torch", "generators.replay"),
    "generator of evaluation": ("torch", "generators.evaluation"),
    "sums of losses": ("torch", "losses."),
    "numpy generator of play": ("numpy", "play"),
    "numpy generator of evaluation": ("numpy", "evaluation"),
}


@pytest.mark.parametrize("what", FORGOTTEN)
def test_whatever_a_checkpoint_would_forget_shows(what, tmp_path, monkeypatch):
    """After seven iterations (four updates, a target copy one update old): forget one part, and the run differs."""
    kind, part = FORGOTTEN[what]
    game = GAMES[kind] if kind == "torch" else Turn(size=2, horizon=12)  # small enough for a meal by chance
    config = small(**CIA, env_steps=20 * game.spec.horizon, evaluation_interval=2 * game.spec.horizon)
    (whole,) = train(config, game, [1])
    with pytest.raises(StopHere):
        train(config, game, [1], tmp_path, progress=after(9))
    restore = Training.restore

    def forgetful(self, facts, tensors):
        fresh = Training(self.config, self.game, self.seed, self.device)
        kept = {**tensors, **{name: value for name, value in fresh.tensors().items() if name.startswith(part)}}
        if part in ("optimizer.", "losses.", "replay."):  # the fresh one holds nothing yet
            kept = {name: value for name, value in kept.items() if not name.startswith(part) or "inserted" in name}
        if kind == "numpy":
            facts = {**facts, "numpy": {**facts["numpy"], part: fresh.facts()["numpy"][part]}}
        restore(self, facts, kept)

    monkeypatch.setattr(Training, "restore", forgetful)
    (run,) = train(config, game, [1], tmp_path)
    assert not same(run, whole)


# -------------------------------------------------------------------------------- signals and kills

SCRIPT = """
import signal, sys
from ciacore import METHODS, experiment, train
from ciacore.games import Turn
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have told its background jobs to ignore it
experiment.CHECKPOINT_SECONDS = float(sys.argv[2])
sizes = {"batch": 4, "buffer": 16, "hidden_size": 8, "mixing_size": 4, "hypernetwork_size": 8, "evaluation_games": 3}
config = METHODS["qmix_cia"].but(env_steps=int(sys.argv[3]), evaluation_interval=200, target_interval=5, **sizes)
train(config, Turn(horizon=10), [1], sys.argv[1], progress=lambda steps, *_, **__: print(steps, flush=True))
"""


def started(results: Path, seconds: float = 180, env_steps: int = 2_000) -> subprocess.Popen:
    """A process that trains; it prints a line per iteration."""
    command = [sys.executable, "-c", SCRIPT, str(results), str(seconds), str(env_steps)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finish(process: subprocess.Popen) -> None:
    """Waits for a process that must succeed."""
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


def digests(results: Path) -> dict[str, str]:
    """What a run is, without times."""
    files = [path for path in results.rglob("*") if path.name in ("metrics.json", "weights.safetensors", "config.json")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, str]:
    results = tmp_path_factory.mktemp("undisturbed")
    finish(started(results))
    return digests(results)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_obeyed_after_a_checkpoint(number, tmp_path, undisturbed):
    process = started(tmp_path)
    for _ in range(20):
        process.stdout.readline()
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == {signal.SIGTERM: -15, signal.SIGINT: 1}[number], errors  # killed; or an exception
    assert ("KeyboardInterrupt" in errors) == (number == signal.SIGINT)
    assert names(tmp_path / "turn" / "qmix_cia") == [".seed_1/checkpoint", ".seed_1/lock"]
    finish(started(tmp_path))
    assert digests(tmp_path) == undisturbed
    assert len(read_run(tmp_path / "turn" / "qmix_cia" / "seed_1").provenance["resumed"]) == 1


def test_killed_at_random_moments(tmp_path, undisturbed):
    """SIGKILL, which nobody can catch, with a checkpoint at every iteration; a few moments of the long test."""
    moments, kills = random.Random(1), 0
    while kills < 4:
        process = started(tmp_path, seconds=0)
        process.stdout.readline()
        time.sleep(moments.random() * 0.3)
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        assert process.returncode in (0, -signal.SIGKILL)
        if process.returncode == 0:
            break
    finish(started(tmp_path, seconds=0))
    assert kills >= 2 and digests(tmp_path) == undisturbed
    assert names(tmp_path / "turn" / "qmix_cia") == COMPLETE
