"""An interrupted training goes on as if nothing had happened, bit for bit.

Forgetting any part of it would show.
"""

import random
import shutil
import signal
import time

import pytest
from support.faults import StopHere, after
from support.runs import LONGER, TURN, digests, files, same, start_training
from support.toys import CIA, Stroll, small

from ciacore import train
from ciacore.games import Turn
from ciacore.runtime.snapshot import facts_of, restore, tensors_of
from ciacore.training import Training
from ciacore.types import InvalidInputError

GAMES = {"torch": Stroll(), "numpy": Turn(horizon=5)}


INTERRUPTED = [".seed_1/checkpoint", ".seed_1/lock", ".seed_1/metrics.jsonl"]
COMPLETE = [
    "seed_1/config.json",
    "seed_1/metrics.json",
    "seed_1/provenance.json",
    "seed_1/weights.safetensors",
]


@pytest.mark.parametrize(
    "optimizer", ["rmsprop", pytest.param("adam", marks=pytest.mark.long)]
)
@pytest.mark.parametrize("game", GAMES)
def test_resumed_after_any_iteration_is_bit_equal(game, optimizer, tmp_path):
    config = small(**CIA, optimizer=optimizer, env_steps=45)
    game = GAMES[game]
    count = []
    (whole,) = train(config, game, [1], progress=lambda *_, **__: count.append(1))
    assert len(count) > 9 and whole.provenance["resumed"] == []
    for k in range(1, len(count) + 1):
        with pytest.raises(StopHere):
            train(config, game, [1], tmp_path / str(k), progress=after(k))
        place = tmp_path / str(k) / game.name / "qmix_cia"
        assert files(place) == INTERRUPTED
        (run,) = train(config, game, [1], tmp_path / str(k))
        assert same(run, whole), k
        assert files(place) == COMPLETE
        assert [path.name for path in place.iterdir()] == ["seed_1"]
        assert len(run.provenance["resumed"]) == 1
        assert run.provenance["updates"] == whole.provenance["updates"]
        assert run.provenance["resumed"][0]["env_steps"] > 0


@pytest.mark.parametrize("kind", [KeyboardInterrupt, BrokenPipeError, StopHere])
def test_resumed_twice_after_any_kind_of_interruption(kind, tmp_path):
    config, game = small(**CIA), GAMES["numpy"]
    (whole,) = train(config, game, [1])
    for k in (5, 3):
        with pytest.raises(kind):
            train(config, game, [1], tmp_path, progress=after(k, kind))
    (run,) = train(config, game, [1], tmp_path)
    assert same(run, whole)
    assert [entry["env_steps"] for entry in run.provenance["resumed"]] == [25, 40]
    assert (
        run.provenance["started"]
        <= run.provenance["resumed"][0]["at"]
        <= run.provenance["finished"]
    )


@pytest.mark.parametrize("at_once", [1, pytest.param(2, marks=pytest.mark.long)])
def test_several_seeds_are_resumed_or_read(at_once, tmp_path):
    """Interrupted twice: one seed complete and one begun, or two under way."""
    config, seeds = small(**CIA), [1, 2, 3]
    whole = [train(config, Turn(horizon=5), [seed])[0] for seed in seeds]
    for k in (14, 3):
        with pytest.raises(StopHere):
            train(
                config,
                Turn(horizon=5),
                seeds,
                tmp_path,
                progress=after(k),
                processes=at_once,
            )
    runs = train(config, Turn(horizon=5), seeds, tmp_path, processes=1)
    assert all(same(run, expected) for run, expected in zip(runs, whole, strict=True))
    assert any(run.provenance["resumed"] for run in runs)
    assert sorted(path.name for path in (tmp_path / "turn" / "qmix_cia").iterdir()) == [
        "seed_1",
        "seed_2",
        "seed_3",
    ]


def test_a_seed_that_is_completed_meanwhile_is_read(tmp_path):
    """Another process takes and completes the second seed during the first."""
    config, game, theirs = small(**CIA), GAMES["numpy"], []

    def progress(*_, **__):
        if not theirs:
            theirs.extend(train(config, game, [2], tmp_path))

    runs = train(config, game, [1, 2], tmp_path, progress=progress, processes=1)
    assert [run.seed for run in runs] == [1, 2] and same(runs[1], *theirs)


class Together:
    """What `cuda_graphs.SeedsInOneGraph` does, without a GPU."""

    def __init__(self, trainings, stacked) -> None:
        self.trainings = trainings
        self.seeds_stacked = {training.config: 0 for training in trainings}

    def iterate(self) -> None:
        for training in self.trainings:
            training.iterate()


def test_seeds_that_advance_together_need_not_be_equally_far(tmp_path, monkeypatch):
    """A kill between two checkpoints leaves them apart.

    The first is then complete before the other goes on.
    """
    config, game = small(**CIA), GAMES["numpy"]
    whole = [train(config, game, [seed])[0] for seed in (1, 2)]
    monkeypatch.setattr("ciacore.runtime.session.capturable", lambda *_: True)
    monkeypatch.setattr("ciacore.runtime.session.SeedsInOneGraph", Together)
    for seeds, k in (([2], 5), ([1, 2], 3), ([1, 2], 15)):
        with pytest.raises(StopHere):
            train(config, game, seeds, tmp_path, progress=after(k), processes=1)
    place = tmp_path / "turn" / "qmix_cia"
    assert sorted(path.name for path in place.iterdir()) == [".seed_2", "seed_1"]
    runs = train(config, game, [1, 2], tmp_path, processes=1)
    assert all(same(run, expected) for run, expected in zip(runs, whole, strict=True))


def test_a_complete_run_is_read_and_not_trained(tmp_path, monkeypatch):
    config = small(**CIA)
    (first,) = train(config, GAMES["numpy"], [1], tmp_path)
    began = lambda *_: pytest.fail("training began")  # noqa: E731
    monkeypatch.setattr("ciacore.runtime.session.Training", began)
    (again,) = train(config, GAMES["numpy"], [1], tmp_path)
    assert same(first, again)


# ------------------------------------------------------------------- the test has teeth

FORGOTTEN = {
    "nothing": None,
    "target network": "target.",
    "optimizer": "optimizer.",
    "replay": "replay.",
    "generator of play": "generators.play",
    "generator of samples": "generators.replay",
    "generator of evaluation": "generators.evaluation",
    "sums of losses": "losses.",
}


@pytest.fixture(scope="module", params=["torch", "numpy"])
def interrupted(request, tmp_path_factory):
    """After nine iterations with six updates.

    Three of them come after a copy of the target, some after an evaluation.
    """
    # so small that meals happen
    game = GAMES["torch"] if request.param == "torch" else Turn(size=2, horizon=12)
    config = small(
        **CIA,
        env_steps=20 * game.spec.horizon,
        evaluation_interval=3 * game.spec.horizon,
    )
    results = tmp_path_factory.mktemp(request.param)
    (whole,) = train(config, game, [1])
    with pytest.raises(StopHere):
        train(config, game, [1], results, progress=after(9))
    return config, game, results, whole


@pytest.mark.parametrize("what", FORGOTTEN)
def test_whatever_a_checkpoint_would_forget_shows(
    what, interrupted, tmp_path, monkeypatch
):
    """One part keeps its fresh value, and the resumed run is another."""
    config, game, results, whole = interrupted
    part = FORGOTTEN[what]
    shutil.copytree(results, tmp_path, dirs_exist_ok=True)

    def forgetful(training, facts, tensors, sealed):
        fresh = Training(training.config, training.game, training.seed, training.device)
        purpose = what.removeprefix("generator of ")
        if purpose in facts["numpy"]:
            states = {**facts["numpy"], purpose: facts_of(fresh)["numpy"][purpose]}
            facts = {**facts, "numpy": states}
        elif part is not None:
            assert any(name.startswith(part) for name in tensors)
            own = tensors_of(fresh)
            tensors = dict(tensors)
            for name in [*tensors, *own]:
                if name.startswith(part):
                    tensors.pop(name, None)
            for name, value in own.items():
                if name.startswith(part):
                    tensors[name] = value
        restore(training, facts, tensors, sealed)

    monkeypatch.setattr("ciacore.runtime.session.restore", forgetful)
    try:
        (run,) = train(config, game, [1], tmp_path)
    except InvalidInputError as error:  # nothing is left to sample from
        assert what == "replay" and "batch" in str(error)
        return
    assert run.provenance["resumed"] and same(run, whole) == (part is None)


# -------------------------------------------------------------------- signals and kills


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, str]:
    results = tmp_path_factory.mktemp("undisturbed")
    train(LONGER, TURN, [1], results)
    return digests(results)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_obeyed_after_a_checkpoint(number, tmp_path, undisturbed):
    process = start_training(tmp_path)
    for _ in range(20):
        process.stdout.readline()
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    # killed; or an exception
    assert process.returncode == {signal.SIGTERM: -15, signal.SIGINT: 1}[number], errors
    assert ("KeyboardInterrupt" in errors) == (number == signal.SIGINT)
    assert files(tmp_path / "turn" / "qmix_cia") == INTERRUPTED
    (run,) = train(LONGER, TURN, [1], tmp_path)
    (again,) = run.provenance["resumed"]
    assert digests(tmp_path) == undisturbed and again["env_steps"] >= 200


def test_killed_at_random_moments(tmp_path, undisturbed):
    """SIGKILL, with a checkpoint at every iteration; a part of the long test."""
    moments, reached = random.Random(1), []
    for _ in range(3):
        process = start_training(tmp_path, seconds=0)
        reached.append(
            [int(process.stdout.readline()) for _ in range(moments.randint(2, 25))]
        )
        time.sleep(moments.random() * 0.01)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    train(LONGER, TURN, [1], tmp_path)
    firsts = [steps[0] for steps in reached]
    # it got further every time
    assert firsts == sorted(set(firsts)) and firsts[0] == 10
    assert digests(tmp_path) == undisturbed
    assert files(tmp_path / "turn" / "qmix_cia") == COMPLETE
