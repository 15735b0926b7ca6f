"""Checkpoints that cannot be used are refused; a run belongs to one process."""

import os
import pickle
import shutil
import signal
import threading
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from support.faults import (
    Bomb,
    StopHere,
    after,
    empty,
    flip,
    foreign,
    full_disk,
    refused,
    truncate,
)
from support.runs import files, start_training
from support.toys import CIA, Stroll, small

from ciacore import train
from ciacore.games import Turn
from ciacore.runtime import checkpoint, session
from ciacore.runtime.checkpoint import (
    FORMAT,
    MAGIC,
    drop_pieces,
    locked,
    read_checkpoint,
    work_folder,
    write_checkpoint,
)
from ciacore.training import Training
from ciacore.types import InvalidInputError

pytestmark = pytest.mark.usefixtures("as_users_run_it")

CONFIG, GAME = small(**CIA), Turn(horizon=5)


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """Results with one interrupted run."""
    results = tmp_path_factory.mktemp("kept")
    with pytest.raises(StopHere):
        train(CONFIG, GAME, [1], results, progress=after(6))
    return results


@pytest.fixture
def work(kept, tmp_path) -> Path:
    """The work folder of a copy of that run."""
    shutil.copytree(kept, tmp_path / "results")
    return tmp_path / "results" / "turn" / "qmix_cia" / ".seed_1"


def refuses(work: Path, *parts: str, config=CONFIG, game=GAME, seed: int = 1) -> None:
    """Training refuses the checkpoint before its first iteration, and leaves it be."""
    results, before = work.parents[2], (work / "checkpoint").read_bytes()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Training, "iterate", lambda _: pytest.fail("training went on"))
        refused(lambda: train(config, game, [seed], results), "checkpoint", *parts)
    assert (work / "checkpoint").read_bytes() == before
    assert not (work.parent / f"seed_{seed}").exists()


def seal(work: Path, body: bytes) -> None:
    """What somebody does who forges a checkpoint."""
    digest = checkpoint.hashlib.sha256(body).hexdigest().encode()
    (work / "checkpoint").write_bytes(b"%s %d %s\n" % (MAGIC, FORMAT, digest) + body)


# ----------------------------------------------------------------------------- the file


def test_what_is_written_is_read_back(tmp_path):
    tensors = {
        "a": torch.randn(3, 2).T,
        "b": torch.arange(4, dtype=torch.uint8),
        "c": torch.tensor(7),
    }
    facts = {"number": 0.1, "long": 2**127, "nested": {"list": [1, None]}}
    write_checkpoint(tmp_path, facts, tensors, {})
    found, read, sealed = read_checkpoint(tmp_path)
    assert found == facts and read.keys() == tensors.keys() and sealed == {}
    assert all(
        torch.equal(read[name], value) and read[name].dtype == value.dtype
        for name, value in tensors.items()
    )
    assert files(tmp_path) == ["checkpoint"]


def test_no_checkpoint_is_none(tmp_path):
    assert read_checkpoint(tmp_path) is None


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    write_checkpoint(tmp_path, {"number": 1}, {}, {})
    with (
        monkeypatch.context() as patched,
        pytest.raises(OSError, match="No space left"),
    ):
        patched.setattr(checkpoint.os, "fsync", full_disk)
        write_checkpoint(tmp_path, {"number": 2}, {}, {})
    assert read_checkpoint(tmp_path) == ({"number": 1}, {}, {})


def test_what_never_changes_is_written_once(tmp_path):
    """Its files are read back, and go when the checkpoint needs them no longer."""
    pieces = {name: {"x": torch.full((3,), float(name))} for name in ("0", "250")}
    write_checkpoint(tmp_path, {}, {}, {"0": pieces["0"]})
    written = (tmp_path / "replay-0").stat()
    write_checkpoint(tmp_path, {}, {}, pieces)
    again = (tmp_path / "replay-0").stat()
    assert (written.st_ino, written.st_mtime_ns) == (again.st_ino, again.st_mtime_ns)
    _, _, read = read_checkpoint(tmp_path)
    assert {name: piece["x"].tolist() for name, piece in read.items()} == {
        "0": [0.0] * 3,
        "250": [250.0] * 3,
    }
    write_checkpoint(tmp_path, {}, {}, {"250": pieces["250"]})
    assert files(tmp_path) == ["checkpoint", "replay-250"]


def test_a_piece_that_no_checkpoint_names_is_written_anew(tmp_path):
    """A process was killed between the piece and its checkpoint."""
    first, other = {"x": torch.zeros(3)}, {"x": torch.ones(3)}
    write_checkpoint(tmp_path, {}, {}, {"0": first})
    checkpoint.write_sealed(tmp_path / "replay-250", {}, first)
    drop_pieces(tmp_path, read_checkpoint(tmp_path)[2])
    assert files(tmp_path) == ["checkpoint", "replay-0"]
    write_checkpoint(tmp_path, {}, {}, {"0": first, "250": other})
    assert torch.equal(read_checkpoint(tmp_path)[2]["250"]["x"], other["x"])


@pytest.mark.parametrize("damage", [truncate, flip, empty, foreign, Path.unlink])
def test_a_damaged_piece_is_named(damage, tmp_path):
    piece = {"x": torch.arange(99.0)}
    write_checkpoint(tmp_path, {"number": 1}, {}, {"0": piece})
    damage(tmp_path / "replay-0")
    with pytest.raises(InvalidInputError, match=r"replay-0.*Remove"):
        read_checkpoint(tmp_path)


def pickled(path: Path) -> None:
    """A file that is made when this is unpickled."""
    path.write_bytes(pickle.dumps(Bomb(path.with_name("exploded"))))


@pytest.mark.parametrize("damage", [truncate, flip, empty, foreign, pickled])
def test_a_damaged_checkpoint_is_named_and_never_parsed(damage, work, monkeypatch):
    damage(work / "checkpoint")
    monkeypatch.setattr(
        checkpoint, "parse_tensors", lambda _: pytest.fail("it was parsed")
    )
    refuses(work, str(work / "checkpoint"), "Remove")
    assert not (work / "exploded").exists()


@pytest.mark.parametrize(
    "place", [0, len(MAGIC), len(MAGIC) + 1, 40, 85, 86, 90, 5_000, -1]
)
def test_one_flipped_bit_is_enough(place, work, monkeypatch):
    """In the name, the format, the digest, its end, or the tensors and their header."""
    data = bytearray((work / "checkpoint").read_bytes())
    assert data.index(b"\n") == 85
    data[place] ^= 1
    (work / "checkpoint").write_bytes(data)
    monkeypatch.setattr(
        checkpoint, "parse_tensors", lambda _: pytest.fail("it was parsed")
    )
    refuses(work, str(work / "checkpoint"), "Remove")


def test_another_format_is_refused_before_its_seal(work):
    data = (
        (work / "checkpoint")
        .read_bytes()
        .replace(b"%s %d " % (MAGIC, FORMAT), b"%s 99 " % MAGIC, 1)
    )
    (work / "checkpoint").write_bytes(data)
    refuses(
        work, f"format {FORMAT}", "format 99", "the version of ciacore that wrote it"
    )


def test_a_sealed_pickle_is_never_executed(work, tmp_path):
    seal(work, pickle.dumps(Bomb(tmp_path / "exploded")))
    refuses(work, "safetensors", "foreign")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    "header",
    ["", "{", "[]", "{}", '{"__metadata__": 3}', '{"__metadata__": {"facts": "{"}}'],
)
def test_what_is_sealed_but_no_checkpoint(header, work):
    seal(work, len(header).to_bytes(8, "little") + header.encode())
    refuses(work, "safetensors", "foreign", "Remove")


def test_tensors_that_end_too_early_under_a_forged_seal(work):
    seal(work, (work / "checkpoint").read_bytes().partition(b"\n")[2][:-4])
    refuses(work, "safetensors", "foreign", "Remove")


# -------------------------------------------------------------------------- whose it is


def test_of_another_config(work):
    refuses(work, "config", "another method name", config=CONFIG.but(gamma=0.5))


def test_of_another_seed(work):
    shutil.copytree(work, work.with_name(".seed_2"))
    refuses(work.with_name(".seed_2"), "seed 2", "got 1", seed=2)


def test_of_another_game(work):
    place = work.parents[2] / "stroll" / "qmix_cia" / ".seed_1"
    shutil.copytree(work, place)
    refuses(place, "game stroll", "'turn'", game=Stroll())


@pytest.mark.parametrize("game", [Turn(horizon=6), Turn(size=4, horizon=5)])
def test_of_a_game_of_the_same_name_and_another_size(game, work):
    refuses(
        work, "spec", "horizon=5", f"horizon={game.spec.horizon}", "remove", game=game
    )


def test_of_another_kind_of_random_numbers(work):
    game = Turn(horizon=5)
    game.spec = game.spec._replace(in_numpy=False)
    refuses(work, "arrays torch on cpu", "'numpy on cpu'", game=game)


def test_the_refused_run_can_be_resumed_after_all(work):
    """Nothing was lost by refusing."""
    refuses(work, "config", config=CONFIG.but(gamma=0.5))
    (run,) = train(CONFIG, GAME, [1], work.parents[2])
    assert len(run.provenance["resumed"]) == 1


# ------------------------------------------------------------------ one process per run


def test_a_second_training_of_a_run_says_so(tmp_path):
    folder = tmp_path / "turn" / "qmix_cia" / "seed_1"
    with locked(folder):
        before = files(tmp_path)
        refused(
            lambda: train(CONFIG, GAME, [1], tmp_path),
            "results",
            "no other process",
            f"process {os.getpid()}",
            "Wait",
        )
        assert files(tmp_path) == before
    assert not work_folder(folder).exists()
    assert len(train(CONFIG, GAME, [1], tmp_path)) == 1


def test_another_process_holds_its_run_until_it_is_killed(tmp_path):
    folder = tmp_path / "turn" / "qmix_cia" / "seed_1"
    with start_training(tmp_path, seconds=0, env_steps=1_000_000) as process:
        for _ in range(5):
            process.stdout.readline()
        refused(
            lambda: train(CONFIG, GAME, [1], tmp_path),
            "results",
            f"held by process {process.pid}",
            "Wait",
        )
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with locked(folder) as work:  # the lock went with its process
        assert files(work) == ["checkpoint", "lock"]


def test_only_one_is_ever_inside(tmp_path):
    """Many come and go at once: others are refused, and nobody is hurt.

    Each makes and removes the folder.
    """
    inside, visits, failures = [], [], []

    def visit() -> None:
        while len(visits) < 100 and not failures:
            try:
                with locked(tmp_path / "seed_1") as work:
                    inside.append(1)
                    (work / "mine").write_bytes(b"")
                    visits.append(len(inside))
                    inside.pop()
            except InvalidInputError:
                pass
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=visit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and set(visits) == {1} and not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_swept_away(work):
    (work / ".checkpoint.part").write_bytes(b"half")
    (work / ".seed_1.abc").mkdir()
    (work / ".seed_1.abc" / "config.json").write_text("{")
    train(CONFIG, GAME, [1], work.parents[2])
    assert [path.name for path in work.parent.iterdir()] == ["seed_1"]


def test_a_work_folder_left_behind_by_a_complete_run_is_removed(work):
    kept = work.with_name("spare")
    shutil.copytree(work, kept)
    train(CONFIG, GAME, [1], work.parents[2])
    kept.rename(work)  # as if the process had died right before it removed this
    train(CONFIG, GAME, [1], work.parents[2])
    assert [path.name for path in work.parent.iterdir()] == ["seed_1"]


def test_a_complete_run_can_be_read_while_its_process_is_ending(work):
    train(CONFIG, GAME, [1], work.parents[2])
    with locked(work.with_name("seed_1")):
        assert len(train(CONFIG, GAME, [1], work.parents[2])) == 1


def test_a_failed_run_leaves_nothing_but_its_error(tmp_path):
    config = CONFIG.but(learning_rate=1e30, gradient_clip=1e30, env_steps=200)
    with pytest.raises(FloatingPointError, match="Lower learning_rate"):
        train(config, GAME, [1], tmp_path)
    assert files(tmp_path) == []


@pytest.mark.parametrize(("seconds", "pause"), [(20.0, 980.0), (0.5, 180.0)])
def test_checkpoints_take_a_fiftieth_of_the_time(
    seconds, pause, monkeypatch, as_users_run_it
):
    """On a GPU they take longer than what they interrupt: many seeds, large replays."""
    now, saved = [0.0], []

    class Saved:
        training = SimpleNamespace(running=lambda: now[0] < 10_000, error=None)

        def observe(self) -> None:
            """Nobody is told."""

        def save(self) -> None:
            saved.append(now[0])
            now[0] += seconds

    def iterate() -> None:
        now[0] += 1

    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(session, "time", clock)
    session.run_to_end([Saved()], iterate, lambda: None)
    gaps = [later - earlier - seconds for earlier, later in pairwise(saved)]
    assert len(gaps) > 5 and all(pause < gap <= pause + 1 for gap in gaps)
