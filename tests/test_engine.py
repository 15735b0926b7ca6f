"""An iteration that a CUDA graph could capture, and seeds in lockstep."""

import math

import pytest
import torch
from bench import gpu
from bench.plain import row_by_row
from support.runs import same
from support.toys import CIA, Stroll, learner, random_episodes, small
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.testing import assert_close

from ciacore import METHODS, train
from ciacore.games import Turn
from ciacore.learning.learner import make_optimizer
from ciacore.runtime import cuda_graphs as engine
from ciacore.runtime.cuda_graphs import CapturedGraph, SeedsInOneGraph, capturable
from ciacore.training import Training

SIZES = {
    "batch": 4,
    "buffer": 8,
    "hidden_size": 8,
    "mixing_size": 4,
    "hypernetwork_size": 8,
    "evaluation_games": 3,
}
CPU = torch.device("cpu")


# ------------------------------------------------------------------------------ capture


def imaginary(training: Training, mode: FakeTensorMode) -> Training:
    """The same training on tensors that have shapes and devices, but no values."""
    ours = training.learner
    modules = [*ours.online.modules(), *ours.target.modules()]
    modules += ours.auxiliaries.modules()
    for module in modules:
        for name, value in module.named_parameters(recurse=False):
            fake = mode.from_tensor(value.data)
            parameter = nn.Parameter(fake, requires_grad=value.requires_grad)
            setattr(module, name, parameter)
        for name, value in module.named_buffers(recurse=False):
            setattr(module, name, mode.from_tensor(value))
    ours.parameters = list(ours.online.parameters())
    ours.optimizer = make_optimizer(ours.parameters, training.config)
    ours.env_steps = mode.from_tensor(ours.env_steps)
    for part in ours.auxiliaries.values():
        part.make_optimizers()
    training.epsilon = mode.from_tensor(torch.ones(()))
    training.returns = mode.from_tensor(training.returns)
    training.replay.inserted = mode.from_tensor(training.replay.inserted)
    training.replay.slots = mode.from_tensor(training.replay.slots)
    return training


@pytest.mark.parametrize("method", METHODS)
def test_an_iteration_asks_for_no_value(method):
    """What an engine captures runs on tensors without values, without `.item()`."""
    config = METHODS[method].but(**SIZES)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    training = Training(config, Turn(horizon=5), 0, CPU, in_numpy=False)
    training = imaginary(training, mode)
    with row_by_row(), mode:
        training.play_and_update(True)
        training.learner.copy_target()
        training.evaluate()
        with pytest.raises(DataDependentOutputException):  # the check can fail
            float(training.log.sums["loss"])
    assert set(training.log.sums) >= {"td_loss", "loss", "gradient_norm"}


def test_only_games_of_known_length_on_a_gpu_are_captured():
    gpu = torch.device("cuda")
    assert capturable(Turn(), gpu)
    assert not capturable(Turn(), CPU) and not capturable(Stroll(), gpu)


# ----------------------------------------------------------------------------- lockstep


def test_seeds_in_lockstep_learn_as_alone(replayed):
    config = small(**CIA, env_steps=200)
    alone, together = [], []
    for trainings in (alone, together):
        for seed in (1, 2, 3):
            trainings.append(Training(config, Turn(horizon=5), seed, CPU, False))
    for training in alone:
        while training.running():
            training.iterate()
    lockstep = SeedsInOneGraph(together)
    while together[0].running():
        lockstep.iterate()
    for one, other in zip(alone, together, strict=True):
        assert one.log.metrics == other.log.metrics
        assert one.clock == other.clock
        theirs = dict(other.learner.online.named_parameters())
        for name, value in one.learner.online.named_parameters():
            assert torch.equal(value, theirs[name]), name
    updates = together[0].clock.updates
    evaluations = len(together[0].log.metrics["env_steps"])
    assert len(replayed) > updates - engine.WARM_UP > 10 and evaluations > 5


def test_a_seed_that_fails_in_lockstep_leaves_the_others_alone(replayed):
    config = small(method="qmix", env_steps=200)
    fine = Training(config, Turn(horizon=5), 1, CPU, False)
    broken = Training(config, Turn(horizon=5), 2, CPU, False)
    spare = Training(config, Turn(horizon=5), 1, CPU, False)
    with torch.no_grad():
        broken.learner.online["mixer"].hyper_b1.bias.fill_(float("nan"))
    lockstep = SeedsInOneGraph([fine, broken])
    while fine.running():
        lockstep.iterate()
    while spare.running():
        spare.iterate()
    assert isinstance(broken.error, FloatingPointError)
    assert not broken.running()
    assert fine.error is None
    assert fine.log.metrics == spare.log.metrics


def test_what_make_gpu_measures(replayed, monkeypatch):
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3_000_000)
    config = METHODS["qmix_cia"].but(**SIZES)
    row = gpu.lockstep(config, 2, rounds=3, device=CPU)
    assert replayed == ["launch"] * 4 and row["seeds"] == 2 and row["peak_mb"] == 3.0
    assert gpu.on_a_core(config, 3)["seeds"] == 1
    assert gpu.row([2.0, 1.0, 30.0], 5) == {
        "seeds": 5,
        "ms": 2.0,
        "env_steps_per_s": 250_000.0,
    }


# ----------------------------------------------------------------------------- on a GPU


@pytest.mark.gpu
@pytest.mark.parametrize("method", METHODS)
def test_captured_updates_follow_plain_ones_on_the_same_batches(method, monkeypatch):
    """200 updates on the same batches: captured on CUDA, plain on the CPU.

    Both draw the same random numbers.
    """

    def drawn(*shape, generator=None, device="cpu"):
        if isinstance(shape[0], tuple):
            (shape,) = shape
        flat = torch.arange(math.prod(shape), device=device)
        return (1e4 * torch.sin(flat + 1.0)).frac().abs().view(shape)

    config = METHODS[method].but(**{**SIZES, "target_interval": 200})
    gpu = torch.device("cuda")
    plain, captured = learner(config), learner(config, device="cuda")
    batches = []
    for seed in range(200):
        latents = config.latent_size
        batches.append(random_episodes([8] * 4, seed=seed, latents=latents))
    monkeypatch.setattr(torch, "rand", drawn)
    shown = type(batches[0])(*(field.to(gpu) for field in batches[0]))
    graph = None
    for index, batch in enumerate(batches):
        for place, field in zip(shown, batch, strict=True):
            place.copy_(field)
        plain.update(batch)
        if index < engine.WARM_UP:
            captured.update(shown)
        else:
            graph = graph or CapturedGraph(lambda: captured.update(shown), [])
            graph.launch()
    theirs = dict(plain.online.named_parameters())
    for name, value in captured.online.named_parameters():
        assert_close(value.cpu(), theirs[name], rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
def test_seeds_on_a_gpu_do_not_depend_on_each_other():
    config = METHODS["qmix_cia"].but(env_steps=20_000)
    one, two = train(config, Turn(), [1, 2], device="cuda")
    (alone,) = train(config, Turn(), [1], device="cuda")
    assert one.metrics["env_steps"] == alone.metrics["env_steps"]
    first = [metrics["episode_return"][0] for metrics in (one.metrics, alone.metrics)]
    assert first[0] == first[1] and not same(one, two)
