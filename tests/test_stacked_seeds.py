"""Seeds stacked by `torch.func.vmap` learn as separate ones do."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest
import torch
from support.captured import WITHIN
from support.golden import CLOSE_PARAMETERS
from support.toys import TINY, Stroll
from torch import Tensor
from torch.testing import assert_close

from ciacore import METHODS, train
from ciacore.config import Config
from ciacore.fast.stacked_layers import (
    StepOfEachSeed,
    in_pieces,
    stacked_in_pieces,
    stacked_layers,
)
from ciacore.games import Turn
from ciacore.runtime.cuda_graphs import SeedsInOneGraph
from ciacore.runtime.experiment import check_stacked
from ciacore.runtime.snapshot import facts_of, restore, tensors_of
from ciacore.runtime.stacked_seeds import (
    StackedSeeds,
    clip_each_seed,
    not_stackable,
    obstacle,
)
from ciacore.training import Training
from ciacore.types import Episodes, InvalidInputError

CPU = torch.device("cpu")
UPDATES = 50
APART = {"maven": ["latent_policy"], "eoi": ["eoi"], "scds": ["scds"]}
STACKED = [method for method in METHODS if method not in APART]
SHORT = ("qmix_cia",)  # the others are tried in `make test-long`


def config_of(method: str, **fields: object) -> Config:
    return METHODS[method].but(**TINY, **fields)


def made(config: Config, seeds: Sequence[int] = (1, 2, 3)) -> list[Training]:
    return [Training(config, Turn(horizon=5), seed, CPU, False) for seed in seeds]


def trained(lockstep: SeedsInOneGraph) -> list[Training]:
    """The trainings at their end."""
    while any(training.running() for training in lockstep.trainings):
        lockstep.iterate()
    return lockstep.trainings


def naming(name: str) -> Callable[[str], str]:
    """What a failed comparison says, with the name of the tensor."""
    return lambda text: f"{name}: {text}"


def assert_near(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    """Compares tensors within what two orders of summation differ by."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert_close(other[name], value, **WITHIN, msg=naming(name))


def assert_equal(one: Training, other: Training) -> None:
    """Compares all that the rest of training depends on, bit for bit."""
    assert one.log.metrics == other.log.metrics and one.clock == other.clock
    ours, theirs = tensors_of(one), tensors_of(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


# ----------------------------------------------------------- which methods are stacked


@pytest.mark.parametrize("method", METHODS)
def test_what_a_part_says_is_what_torch_can_do(method, replayed) -> None:
    """And a method that cannot be stacked has a branch of the graph for every seed."""
    config = config_of(method)
    assert not_stackable(config) == APART.get(method, [])
    trainings = made(config)
    found = obstacle(config, Turn(horizon=5))
    branches = SeedsInOneGraph(trainings).branches
    if method in APART:
        assert found == f"{APART[method][0]}, which learns beside the update"
        assert branches == trainings
        learning = trainings[0].learner.auxiliaries[APART[method][0]].learning_rates
        assert learning  # it has optimizers of its own
    else:
        assert found == "" and isinstance(branches[0], StackedSeeds)
        assert len(branches) == 1


@pytest.mark.parametrize(
    "fields", [{"credit_derivative": "exact"}, {"terms": ("cia_permuted",)}]
)
def test_what_vmap_cannot_compute_keeps_its_branches(fields, replayed) -> None:
    """It differentiates on its way, or draws from torch itself."""
    config = config_of("qmix_cia", **fields)
    assert obstacle(config, Turn(horizon=5))
    trainings = made(config)
    assert SeedsInOneGraph(trainings).branches == trainings


def test_a_game_that_vmap_cannot_play_keeps_its_branches(replayed) -> None:
    """It asks for a value: how many apples are eaten."""

    class Curious(Turn):
        def advance(self, state, actions, rng):
            step = super().advance(state, actions, rng)
            assert int(step.info["eaten"].sum()) >= 0
            return step

    assert "item" in obstacle(config_of("qmix"), Curious(horizon=5))
    config = config_of("qmix")
    trainings = [
        Training(config, Curious(horizon=5), seed, CPU, False) for seed in (1, 2)
    ]
    assert SeedsInOneGraph(trainings).branches == trainings


def test_a_single_seed_is_not_stacked_and_several_need_not_be(replayed) -> None:
    (alone,) = made(config_of("qmix"), (1,))
    assert SeedsInOneGraph([alone]).branches == [alone]
    trainings = made(config_of("qmix"))
    assert SeedsInOneGraph(trainings, stacked=False).branches == trainings


@pytest.mark.parametrize(
    ("config", "game", "device", "message"),
    [
        (METHODS["qmix"], Turn(), "cpu", "expected a GPU, as on a CPU every seed"),
        (METHODS["qmix"], Stroll(), "cuda", "all equally long, got 'stroll'"),
        (METHODS["eoi"], Turn(), "cuda", "got 'eoi, which learns beside the update"),
    ],
)
def test_what_cannot_be_stacked_is_refused_by_name(config, game, device, message):
    place = torch.device(device)
    check_stacked(None, config, game, place)
    check_stacked(False, config, game, place)
    with pytest.raises(InvalidInputError, match=f"stacked: .*{message}"):
        check_stacked(True, config, game, place)


def test_train_asks_before_it_computes(as_users_run_it) -> None:
    check_stacked(True, METHODS["qmix_cia"], Turn(horizon=5), torch.device("cuda"))
    with pytest.raises(InvalidInputError, match="stacked: expected a GPU"):
        train(METHODS["qmix"], Turn(), stacked=True)
    with pytest.raises(InvalidInputError, match="stacked: expected True, False or"):
        train(METHODS["qmix"], Turn(), stacked="yes")


# --------------------------------------------------------------- as separate ones learn


@pytest.mark.parametrize(
    "method",
    [
        method if method in SHORT else pytest.param(method, marks=pytest.mark.long)
        for method in STACKED
    ],
)
def test_fifty_updates_on_recorded_batches_are_those_of_separate_seeds(method) -> None:
    config = config_of(method)
    alone, together = made(config), made(config)
    recorded = []
    for training in alone:
        for _ in range(config.buffer):
            training.replay.insert(training.collect(training.rngs["play"]))
        rng = torch.Generator().manual_seed(training.seed)
        recorded.append([training.replay.sample(4, rng) for _ in range(UPDATES)])
    stacked = StackedSeeds(together)
    for batches in zip(*recorded, strict=True):
        losses = [
            training.learner.update(batch, training.rngs["learning"], False)
            for training, batch in zip(alone, batches, strict=True)
        ]
        fields = zip(*batches, strict=True)
        found = stacked.update(Episodes(*(torch.stack(field) for field in fields)))
        assert found.keys() == losses[0].keys()
    learned = []
    for one, other in zip(alone, together, strict=True):
        ours = dict(other.learner.online.state_dict())
        for name, value in one.learner.online.state_dict().items():
            assert_close(ours[name], value, **CLOSE_PARAMETERS, msg=naming(name))
        learned.append(torch.cat([value.flatten() for value in ours.values()]))
    assert not torch.equal(learned[0], learned[1])


@pytest.mark.parametrize(
    "optimizer", ["rmsprop", pytest.param("adam", marks=pytest.mark.long)]
)
def test_stacked_seeds_train_as_alone(optimizer, replayed) -> None:
    """Play, replays, random numbers, losses, target copies and evaluations, too."""
    intervals = {"target_interval": 9, "evaluation_interval": 40}
    config = config_of("qmix_cia", optimizer=optimizer, env_steps=150, **intervals)
    alone, together = made(config), made(config)
    for training in alone:
        while training.running():
            training.iterate()
    lockstep = SeedsInOneGraph(together)
    trained(lockstep)
    assert isinstance(lockstep.branches[0], StackedSeeds) and replayed
    for one, other in zip(alone, together, strict=True):
        assert_near(tensors_of(one), tensors_of(other))
        assert one.clock == other.clock and one.clock.copied_at > 0
        for name in ("env_steps", "epsilon", "episode_return"):
            assert one.log.metrics[name] == other.log.metrics[name]


def test_a_seed_does_not_depend_on_its_neighbours(replayed) -> None:
    """Nor where one of them breaks, be it the first."""
    config = config_of("qmix_cia", env_steps=100, evaluation_interval=20)
    fine, broken = made(config, (2, 1)), made(config, (3, 1))
    with torch.no_grad():
        broken[0].learner.online["mixer"].hyper_b1.bias.fill_(float("nan"))
    for trainings in (fine, broken):
        trained(SeedsInOneGraph(trainings))
    assert isinstance(broken[0].error, FloatingPointError)
    assert_equal(fine[1], broken[1])
    assert len(fine[1].log.metrics["env_steps"]) > 3


def test_the_first_of_many_branches_may_break(replayed) -> None:
    """The others are then evaluated when they are due, and not more often."""
    config = config_of("qmix", env_steps=100, evaluation_interval=20)
    (alone,), together = made(config, (1,)), made(config, (3, 1))
    with torch.no_grad():
        together[0].learner.online["mixer"].hyper_b1.bias.fill_(float("nan"))
    trained(SeedsInOneGraph(together, stacked=False))
    while alone.running():
        alone.iterate()
    assert_equal(alone, together[1])


@pytest.mark.parametrize(
    "k",
    [k if k == 8 else pytest.param(k, marks=pytest.mark.long) for k in range(1, 13)],
)
def test_stacked_seeds_are_resumed_as_if_nothing_had_happened(k, replayed) -> None:
    """After every iteration: before the first update, in the warm-up, and later."""
    config = config_of("qmix_cia", env_steps=60, optimizer="adam")
    whole, first, second = (made(config, (1, 2)) for _ in range(3))
    trained(SeedsInOneGraph(whole))
    lockstep = SeedsInOneGraph(first)
    for _ in range(k):
        lockstep.iterate()
    for one, other in zip(first, second, strict=True):
        held = {name: value.clone() for name, value in tensors_of(one).items()}
        restore(other, json.loads(json.dumps(facts_of(one))), held)
    trained(SeedsInOneGraph(second))
    for one, other in zip(whole, second, strict=True):
        assert_equal(one, other)


# ------------------------------------------------------------------------------- pieces


def test_what_only_vmap_may_ask_for_says_so() -> None:
    with pytest.raises(NotImplementedError, match=r"inside torch\.func\.vmap"):
        StepOfEachSeed.apply(*[torch.zeros(1, 1)] * 6)


def test_every_seed_has_a_norm_of_its_own() -> None:
    stacks = [torch.zeros(2, 3, requires_grad=True), torch.zeros(2, requires_grad=True)]
    stacks[0].grad = torch.tensor([[3.0, 0.0, 0.0], [0.3, 0.0, 0.0]])
    stacks[1].grad = torch.tensor([4.0, 0.4])
    norms = clip_each_seed([*stacks, torch.zeros(2)], 1.0)
    assert_close(norms, torch.tensor([5.0, 0.5]))
    assert_close(stacks[0].grad[:, 0], torch.tensor([0.6, 0.3]))
    assert_close(stacks[1].grad, torch.tensor([0.8, 0.4]))


def test_what_lies_in_one_piece_stays_so() -> None:
    """torch lays a recurrence's weights out for cuDNN; each seed keeps that layout."""
    memory = [torch.arange(10.0) + 10 * seed for seed in range(3)]
    laid_out = [(one[7:9], one[2:6].view(2, 2)) for one in memory]
    last, square = stacked_in_pieces(laid_out)
    assert torch.equal(square[1], laid_out[1][1]) and torch.equal(
        last[2], memory[2][7:9]
    )
    piece = in_pieces(last)[1]
    assert len(piece) == 7 and torch.equal(piece[:4], memory[1][2:6])
    assert torch.equal(piece[5:], memory[1][7:9])
    scattered = [(torch.ones(2), torch.zeros(2, 2)) for _ in range(2)]
    ones, zeros = stacked_in_pieces(scattered)
    assert in_pieces(zeros)[1].tolist() == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert ones.shape == (2, 2)


def test_biases_are_copied_for_all_steps_at_once() -> None:
    layer = torch.nn.Linear(3, 2)
    tensors = {
        name: torch.randn(4, *one.shape) for name, one in layer.named_parameters()
    }
    x = torch.randn(4, 5, 3)

    def of_one_seed(tensors: dict[str, Tensor], x: Tensor) -> Tensor:
        call = torch.func.functional_call
        return torch.stack([call(layer, tensors, (x * step,)) for step in range(6)])

    plain = torch.func.vmap(of_one_seed)(tensors, x)
    with torch.no_grad(), stacked_layers(steps=4):  # more are asked for than were made
        found = torch.func.vmap(of_one_seed)(tensors, x)
    assert_close(found, plain)
