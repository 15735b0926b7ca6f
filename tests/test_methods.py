"""What holds for every method: its parts, resuming, and seeds that are alone."""

import ast
from pathlib import Path

import pytest
import torch
from support.faults import StopHere, after
from support.runs import same
from support.toys import SMALL, Stroll

from ciacore import METHODS, train
from ciacore.config import Config
from ciacore.games import Turn
from ciacore.methods import SLOTS, assemble, named_parts
from ciacore.runtime.cuda_graphs import SeedsInOneGraph
from ciacore.runtime.snapshot import tensors_of
from ciacore.training import Training
from ciacore.types import InvalidInputError

LIBRARY = Path(__file__).resolve().parents[1] / "ciacore"
FOURTEEN = {
    "vdn",
    "qmix",
    "qplex",
    "qtran",
    "ow_qmix",
    "cw_qmix",
    "maven",
    "eoi",
    "gre",
    "scds",
    "qmix_rs",
    "qmix_cc",
    "qmix_cia",
    "qplex_cia",
}
# so that exploration shows in a few episodes
TINY = {**SMALL, "eoi_episodes": 1.0, "eoi_steps": 0.5}
GAMES = {"numpy": Turn(horizon=5), "torch": Stroll()}


def test_there_are_fourteen():
    assert set(METHODS) == FOURTEEN
    assert all(name == config.method for name, config in METHODS.items())


def test_no_method_is_tested_for_by_its_name():
    """Names of methods and parts appear only where they are registered."""
    words = set(METHODS)
    for known in SLOTS.values():
        words |= set(known)
    words -= {"central", "latent", "recurrent"}  # words of another use, too
    composing = [LIBRARY / "training.py"]
    for folder in ("learning", "runtime"):
        composing += (LIBRARY / folder).rglob("*.py")
    for file in composing:
        tree = list(ast.walk(ast.parse(file.read_text())))
        prose = {node.value for node in tree if isinstance(node, ast.Expr)}
        strings = {
            node.value
            for node in tree
            if isinstance(node, ast.Constant) and node not in prose
        }
        assert not words & strings, file


@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_its_parts(method):
    parts = assemble(Turn().spec, METHODS[method])
    found = {(slot, name) for slot, name, _ in named_parts(METHODS[method])}
    assert {("agent", METHODS[method].agent), ("mixer", METHODS[method].mixer)} <= found
    assert set(parts.terms) == set(METHODS[method].terms)
    assert set(parts.auxiliaries) == set(METHODS[method].auxiliaries)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_goes_on_as_if_nothing_had_happened(method, game, tmp_path):
    config, game = METHODS[method].but(**TINY), GAMES[game]
    (whole,) = train(config, game, [1])
    for k in (7, 5):  # interrupted twice, after and before a target copy
        with pytest.raises(StopHere):
            train(config, game, [1], tmp_path, progress=after(k))
    (run,) = train(config, game, [1], tmp_path)
    assert same(run, whole) and len(run.provenance["resumed"]) == 2
    assert run.provenance["updates"] >= 5
    losses = run.metrics["losses"][-1]
    assert set(losses) >= {"loss", "gradient_norm"}
    assert all(torch.isfinite(torch.tensor(list(losses.values()))))


@pytest.mark.parametrize("method", METHODS)
def test_seeds_of_every_method_advance_together_as_alone(method, replayed):
    config = METHODS[method].but(**TINY)
    cpu = torch.device("cpu")
    alone, together = [], []
    for trainings in (alone, together):
        for seed in (1, 2):
            trainings.append(Training(config, Turn(horizon=5), seed, cpu, False))
    for training in alone:
        while training.running():
            training.iterate()
    lockstep = SeedsInOneGraph(together, stacked=False)
    while together[0].running():
        lockstep.iterate()
    for one, other in zip(alone, together, strict=True):
        assert one.log.metrics == other.log.metrics
        mine, theirs = tensors_of(one), tensors_of(other)
        assert list(mine) == list(theirs)
        for name, value in mine.items():
            assert torch.equal(value, theirs[name]), name
    assert len(replayed) > 0


LONG = pytest.mark.long


@pytest.mark.parametrize(
    "method",
    ["maven", pytest.param("scds", marks=LONG), pytest.param("cw_qmix", marks=LONG)],
)
def test_seeds_of_every_kind_of_part_go_to_processes(method, tmp_path):
    config, game = METHODS[method].but(**TINY), Turn(horizon=5)
    both = train(config, game, [1, 2], tmp_path, processes=2)
    assert all(same(run, train(config, game, [run.seed])[0]) for run in both)
    assert not same(*both)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_explores_and_learns_from_its_seed_alone(method):
    """The same seed twice is bit-equal, and training moved all but copies."""
    config, game = METHODS[method].but(**TINY), Stroll()
    (one,) = train(config, game, [3])
    (two,) = train(config, game, [3])
    assert same(one, two)
    (start,) = train(config.but(env_steps=1), game, [3])
    for name, value in one.weights.items():
        # EOI needs 256 rows for a step
        if not name.startswith("auxiliaries.eoi"):
            assert not torch.equal(value, start.weights[name]), name


UNFIT = {
    "latents": ({"agent": "latent"}, "latent_size: expected at least 1.*got 0"),
    "Qatten": (
        {"mixer": "qplex", "qplex_weights": "qatten"},
        r"qplex_weights: expected dmaq.*Turn\(units=True\)",
    ),
    "ratio": (
        {"mixer": "vdn", "terms": ("credit_ratio",)},
        "terms: expected terms without credit_ratio",
    ),
    "closed form": (
        {"mixer": "qplex", "terms": ("cia",), "credit_derivative": "published"},
        "no closed form",
    ),
    "shuffle": (
        {"auxiliaries": ("shuffle",)},
        "mixer: expected one that can be shuffled",
    ),
    "explorer": (
        {"explorer": "intrinsic"},
        'explorer: expected auxiliaries with "eoi"',
    ),
    "explorer of latents": ({"explorer": "latent"}, "latent_size"),
    "latents without explorer": (
        {"latent_size": 4},
        "explorer: expected one that draws a latent of size 4",
    ),
    "unknown backbone": (
        {"backbone": "tdd"},
        "backbone: expected one of td, qtran, weighted.*Did you mean 'td'",
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_parts_that_do_not_go_together_are_refused_before_training(case, tmp_path):
    fields, message = UNFIT[case]
    with pytest.raises(InvalidInputError, match=message):
        train(Config(**fields), Turn(horizon=5), [1], tmp_path)
    assert not list(tmp_path.iterdir())
