"""Several methods in one CUDA graph learn as each does alone, and `train_methods`."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from functools import cache, partial

import pytest
import torch
from support.faults import StopHere, after
from support.runs import same
from support.toys import CIA, TINY, small

from ciacore import METHODS, train, train_methods, training
from ciacore.config import Config
from ciacore.games import Turn
from ciacore.learning.exploration import epsilon_at
from ciacore.runtime import cuda_graphs, experiment, session
from ciacore.runtime.cuda_graphs import WARM_UP, SeedsInOneGraph
from ciacore.runtime.snapshot import facts_of, restore, tensors_of
from ciacore.runtime.stacked_seeds import StackedSeeds, not_stackable, obstacle
from ciacore.training import SCHEDULE, Clock, Training, schedule_of
from ciacore.types import InvalidInputError

CPU = torch.device("cpu")
GAME = Turn(horizon=5)
CLOCK = {"env_steps": 40, "evaluation_interval": 20, "target_interval": 4}
# another value of each field
OTHER = {
    "env_steps": 45,
    "n_games": 2,
    "batch": 5,
    "target_interval": 5,
    "evaluation_interval": 25,
    "epsilon_start": 0.9,
    "epsilon_end": 0.04,
    "epsilon_steps": 49_999,
}


def config_of(name: str, /, **fields: object) -> Config:
    return METHODS[name].but(**{**TINY, **CLOCK, **fields})


def made(config: Config, seeds: Sequence[int]) -> list[Training]:
    return [Training(config, GAME, seed, CPU, False) for seed in seeds]


def trained(graph: SeedsInOneGraph) -> list[Training]:
    """The trainings at their end."""
    while any(each.running() for each in graph.trainings):
        graph.iterate()
    return graph.trainings


def assert_equal(one: Training, other: Training) -> None:
    """Compares all that the rest of training depends on, bit for bit."""
    assert one.log.metrics == other.log.metrics and one.clock == other.clock
    ours, theirs = tensors_of(one), tensors_of(other)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), f"{other.config.method}: {name}"


@cache
def found_once(config: Config) -> str:
    """What keeps seeds of a method from being stacked; it is tried once."""
    return obstacle(config, GAME)


@pytest.fixture(autouse=True)
def quickly(monkeypatch) -> None:
    """Asks once per method whether its seeds can be stacked."""
    monkeypatch.setattr(cuda_graphs, "obstacle", lambda config, _: found_once(config))


# ------------------------------------------------------------------------- count alike


class Noted(Config):
    """A Config that notes which of its fields are read."""

    read: set[str]

    def __getattribute__(self, name: str) -> object:
        if name in Config.__dataclass_fields__:
            Noted.read.add(name)
        return super().__getattribute__(name)


def noted(config: Config) -> Config:
    """The same Config, of which nothing is read yet."""
    Noted.read = set()
    found = Noted(**config.to_dict())
    Noted.read = set()
    return found


def of_the_clock(config: Config) -> None:
    """Asks a clock everything that it can be asked with a Config, and for epsilon."""
    for name, asked in inspect.getmembers(Clock, inspect.isfunction):
        parameters = inspect.signature(asked).parameters
        if "config" in parameters:
            more = {"env_steps": 5} if "env_steps" in parameters else {}
            for clock in (Clock(), Clock(5, 1, 0, 0, 0)):
                getattr(clock, name)(config, **more)
    epsilon_at(5, config)


class Idle:
    """A branch that computes nothing."""

    def __init__(self, of: Training) -> None:
        """Counts in the place of a training.

        Args:
            of: The training.
        """
        self.of = of

    def play_and_update(self, update: bool) -> None:
        """Plays nothing.

        Args:
            update: Not asked.
        """
        self.of.steps = GAME.spec.horizon

    def copy_target(self) -> None:
        """Notes it."""
        self.of.note_copy()

    def evaluate(self) -> None:
        """Plays nothing."""


def test_the_schedule_is_all_that_is_read(replayed, as_users_run_it) -> None:
    """By clock and epsilon, and by the host while a graph computes."""
    config = noted(config_of("qmix"))
    of_the_clock(config)
    assert Noted.read == set(SCHEDULE) == set(OTHER)
    (alone,) = made(config_of("qmix"), (1,))
    graph = SeedsInOneGraph([alone])
    graph.branches = [Idle(alone)]
    alone.config = noted(alone.config)
    trained(graph)
    assert len(alone.log.metrics["env_steps"]) > 2 and alone.clock.copied_at > 0
    assert Noted.read == set(SCHEDULE)


@pytest.mark.parametrize("field", SCHEDULE)
def test_what_counts_differently_is_refused(field, replayed) -> None:
    config = config_of("qmix")
    other = config_of("vdn", **{field: OTHER[field]})
    assert schedule_of(config) == schedule_of(config_of("vdn")) != schedule_of(other)
    with pytest.raises(InvalidInputError, match=r"trainings: .*of vdn"):
        SeedsInOneGraph([*made(config, (1,)), *made(other, (1,))])


def test_the_methods_of_the_paper_count_alike() -> None:
    """So that a GPU can hold Figure 7 in one graph."""
    assert len(METHODS) == 14
    assert len({schedule_of(config) for config in METHODS.values()}) == 1


def test_who_is_further_is_refused(replayed) -> None:
    first, second = made(config_of("qmix"), (1, 2))
    second.iterate()
    with pytest.raises(InvalidInputError, match="trainings"):
        SeedsInOneGraph([first, second])


# ------------------------------------------------------------------- as each does alone


def test_methods_in_one_graph_learn_as_each_alone(replayed) -> None:
    """Stacked seeds, seeds that cannot be stacked, and a single one."""
    seeds = {"vdn": (1, 2), "maven": (1, 2), "qmix_cia": (3,)}
    graph = SeedsInOneGraph(
        [each for name, of in seeds.items() for each in made(config_of(name), of)]
    )
    kinds = [type(branch) for branch in graph.branches]
    assert kinds == [StackedSeeds, Training, Training, Training]
    assert list(graph.seeds_stacked.values()) == [2, 0, 0]
    trained(graph)
    first = graph.trainings[0]
    # one launch for all of them: after the warm-ups, each play, iteration, evaluation
    evaluations = len(first.log.metrics["env_steps"])
    done = first.clock.episodes + evaluations
    assert len(replayed) == done - sum(WARM_UP.values())
    alone = trained(SeedsInOneGraph(made(config_of("vdn"), (1, 2))))
    for name in ("maven", "qmix_cia"):
        for one in made(config_of(name), seeds[name]):
            while one.running():
                one.iterate()
            alone.append(one)
    for one, other in zip(alone, graph.trainings, strict=True):
        assert_equal(one, other)


@pytest.mark.long
def test_all_methods_in_one_graph_learn_as_each_alone(replayed) -> None:
    configs = [config_of(name) for name in METHODS]
    members = [each for config in configs for each in made(config, (1, 2))]
    graph = SeedsInOneGraph(members)
    apart = sum(bool(not_stackable(config)) for config in configs)
    assert apart == 3 and len(graph.branches) == len(configs) + apart
    trained(graph)
    for config in configs:
        ours = [each for each in members if each.config == config]
        alone = trained(SeedsInOneGraph(made(config, (1, 2))))
        for one, other in zip(alone, ours, strict=True):
            assert_equal(one, other)


def test_a_method_that_fails_stops_no_other(replayed) -> None:
    """Be it the first, whose clock the others share."""
    broken = [*made(config_of("qmix"), (1, 2)), *made(config_of("vdn"), (1, 2))]
    with torch.no_grad():
        for each in broken[:2]:
            each.learner.online["mixer"].hyper_b1.bias.fill_(float("nan"))
    trained(SeedsInOneGraph(broken))
    assert all(isinstance(one.error, FloatingPointError) for one in broken[:2])
    alone = trained(SeedsInOneGraph(made(config_of("vdn"), (1, 2))))
    for one, other in zip(alone, broken[2:], strict=True):
        assert other.error is None
        assert_equal(one, other)


def test_a_group_is_resumed_as_if_nothing_had_happened(replayed) -> None:
    """After every iteration: before the first update, in the warm-up, and later."""

    def group() -> list[Training]:
        adam = config_of("qmix", optimizer="adam")
        return [*made(config_of("vdn"), (1, 2)), *made(adam, (1,))]

    whole, held = group(), []
    graph = SeedsInOneGraph(whole)
    while whole[0].running():
        graph.iterate()
        held.append(
            [(json.dumps(facts_of(one)), copied(tensors_of(one))) for one in whole]
        )
    assert len(held) > sum(WARM_UP.values()) and "iteration" in graph.graphs
    for checkpoints in held[:-1]:
        again = group()
        for one, (facts, tensors) in zip(again, checkpoints, strict=True):
            restore(one, json.loads(facts), copied(tensors))
        trained(SeedsInOneGraph(again))
        for one, other in zip(whole, again, strict=True):
            assert_equal(one, other)


def copied(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What a checkpoint would hold of tensors that go on changing."""
    return {name: value.clone() for name, value in tensors.items()}


# ----------------------------------------------------------------------- train_methods


@pytest.fixture
def graphs(replayed, monkeypatch) -> list[list[str]]:
    """Has `train_methods` do on a CPU what it does on a GPU.

    Returns:
        The methods of each graph that was made; a method as often as it has seeds.
    """
    made_of: list[list[str]] = []

    class Watched(SeedsInOneGraph):
        def __init__(self, trainings, stacked) -> None:
            super().__init__(trainings, stacked)
            made_of.append([each.config.method for each in trainings])

    def as_on_a_gpu(tasks, game, progress, processes, options):
        return session.train_here(tasks, game, CPU, progress, options)

    monkeypatch.setattr(experiment, "train_on_cpu", as_on_a_gpu)
    monkeypatch.setattr(session, "capturable", lambda *_: True)
    monkeypatch.setattr(session, "SeedsInOneGraph", Watched)
    monkeypatch.setattr(session, "Training", partial(Training, in_numpy=False))
    return made_of


def test_what_counts_alike_is_one_graph(graphs, tmp_path) -> None:
    """Complete runs are read; methods may have seeds of their own."""
    vdn, qmix, gre = (config_of(name) for name in ("vdn", "qmix", "gre"))
    longer = config_of("qmix_cia", env_steps=45)
    (there,) = train_methods([gre], GAME, [2], tmp_path)["gre"]
    reports: list[tuple[int, int]] = []
    found = train_methods(
        [vdn, qmix, gre, longer],
        GAME,
        {"vdn": [1, 2], "qmix": [1], "gre": [2, 1], "qmix_cia": [3]},
        tmp_path,
        progress=lambda *counts, **facts: reports.append(counts),
    )
    assert graphs == [["gre"], ["vdn", "vdn", "qmix", "gre"], ["qmix_cia"]]
    assert list(found) == ["vdn", "qmix", "gre", "qmix_cia"]
    assert [[run.seed for run in runs] for runs in found.values()] == [
        [1, 2],
        [1],
        [2, 1],
        [3],
    ]
    assert same(found["gre"][0], there)
    for runs in found.values():
        for run in runs:
            told = 2 if run.config == vdn else 0
            assert run.provenance["seeds_stacked"] == told
    assert {total for _, total in reports} == {4 * 40 + 45}
    assert reports[-1][0] == 4 * 40 + 50  # the last episode goes beyond
    (alone,) = train_methods([qmix], GAME, [1])["qmix"]
    assert same(found["qmix"][0], alone)


def test_methods_interrupted_at_different_moments_are_resumed(graphs, tmp_path) -> None:
    """Each goes on with what is equally far."""
    vdn, qmix, gre = (config_of(name) for name in ("vdn", "qmix", "gre"))
    whole = train_methods([vdn, qmix, gre], GAME, [1, 2])
    for configs, k in (([gre], 3), ([vdn, qmix], 7)):
        with pytest.raises(StopHere):
            train_methods(configs, GAME, [1, 2], tmp_path, progress=after(k))
    graphs.clear()
    found = train_methods([vdn, qmix, gre], GAME, [1, 2], tmp_path)
    assert graphs == [["vdn", "vdn", "qmix", "qmix"], ["gre", "gre"]]
    for method, runs in found.items():
        for run, expected in zip(runs, whole[method], strict=True):
            assert same(run, expected) and run.provenance["resumed"]


def test_a_failure_leaves_the_runs_of_the_others(graphs, tmp_path) -> None:
    bad = config_of("qmix", method="bad", learning_rate=1e30, gradient_clip=1e30)
    vdn = config_of("vdn")
    with pytest.raises(FloatingPointError, match="Lower learning_rate") as caught:
        train_methods([bad, vdn], GAME, [1, 2], tmp_path)
    assert graphs == [["bad", "bad", "vdn", "vdn"]]
    *others, last = caught.value.__notes__
    assert len(others) == 1 and last == "It was seed 1 of bad."
    found = [str(path.relative_to(tmp_path)) for path in tmp_path.glob("turn/*/seed_*")]
    assert sorted(found) == ["turn/vdn/seed_1", "turn/vdn/seed_2"]
    graphs.clear()
    again = train_methods([vdn], GAME, [1, 2], tmp_path)
    assert graphs == [] and [run.seed for run in again["vdn"]] == [1, 2]


def test_on_a_cpu_it_is_one_train_after_the_other(monkeypatch, tmp_path) -> None:
    """Also behind a method that fails."""
    fine, vdn = small(**CIA), small(method="vdn", mixer="vdn")
    bad = fine.but(method="bad", learning_rate=1e30, gradient_clip=1e30)
    began: list[tuple[str, int]] = []

    def noted(config: Config, game: object, seed: int, *more: object) -> Training:
        began.append((config.method, seed))
        return training.Training(config, game, seed, *more)

    monkeypatch.setattr(session, "Training", noted)
    more = {"results": tmp_path, "processes": 1}
    with pytest.raises(FloatingPointError):
        train_methods([bad, fine, vdn], GAME, [1, 2], **more)
    assert began == [
        (name, seed) for name in ("bad", "qmix_cia", "vdn") for seed in (1, 2)
    ]
    began.clear()
    found = train_methods([vdn, fine], GAME, [2, 1], **more)
    assert began == []
    for config in (vdn, fine):
        alone = train(config, GAME, [2, 1], processes=1)
        ours = found[config.method]
        assert all(same(*pair) for pair in zip(ours, alone, strict=True))


@pytest.mark.parametrize(
    ("configs", "seeds", "message"),
    [
        ([], [1], "configs: expected a list of Configs"),
        (METHODS["qmix"], [1], "configs: expected a list of Configs"),
        (["qmix"], [1], "configs: expected Configs, got 'qmix'"),
        ([METHODS["vdn"], METHODS["vdn"].but(batch=4)], [1], "configs: expected diff"),
        ([METHODS["vdn"]], {"qmix": [1]}, "seeds: expected those of vdn, got"),
        ([METHODS["vdn"]], {"vdn": []}, "seeds: expected a list of whole numbers"),
        ([METHODS["vdn"]], [1, 1], "seeds: expected different numbers"),
    ],
)
def test_what_cannot_be_trained_is_refused(configs, seeds, message, as_users_run_it):
    with pytest.raises(InvalidInputError, match=message):
        train_methods(configs, GAME, seeds)
