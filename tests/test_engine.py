"""What a CUDA graph may capture, seeds in lockstep, and updates on a GPU."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from bench import gpu
from bench.plain import row_by_row
from support import captured
from support.runs import same
from support.toys import CIA, TINY, Stroll, small

from ciacore import METHODS, train
from ciacore.games import Turn
from ciacore.learning.learner import without_tf32
from ciacore.runtime import cuda_graphs
from ciacore.runtime.cuda_graphs import WARM_UP, SeedsInOneGraph, capturable
from ciacore.runtime.provenance import provenance
from ciacore.runtime.snapshot import facts_of, restore, tensors_of
from ciacore.training import Training

CPU = torch.device("cpu")


# ------------------------------------------------------------------------------ capture


def test_only_games_of_known_length_on_a_gpu_are_captured():
    gpu = torch.device("cuda")
    assert capturable(Turn(), gpu)
    assert not capturable(Turn(), CPU) and not capturable(Stroll(), gpu)


@pytest.mark.parametrize(("version", "told"), [("2.13.0+cu130", 2), ("2.14.0", 0)])
def test_a_graph_is_told_its_generators_where_torch_asks_for_them(
    version, told, monkeypatch
):
    """And other threads may use CUDA while it is captured."""
    registered, settings = [], {}

    class Graph:
        def register_generator_state(self, rng):
            registered.append(rng)

    def graph(graph, **options):
        settings.update(options)
        return nullcontext()

    cuda = SimpleNamespace(
        synchronize=lambda: None, CUDAGraph=Graph, graph=graph, Stream=object
    )
    stand_in = {**vars(torch), "cuda": cuda, "__version__": version}
    monkeypatch.setattr(cuda_graphs, "torch", SimpleNamespace(**stand_in))
    rngs, worked = [torch.Generator(), torch.Generator()], []
    cuda_graphs.CapturedGraph(lambda: worked.append(True), rngs)
    assert worked == [True] and registered == rngs[:told]
    assert settings.pop("stream") is not None  # not that of another GPU
    assert settings == {"capture_error_mode": "thread_local"}


def test_work_reaches_a_gpu_through_as_many_channels_as_there_are():
    """CUDA reads it when it starts; importing the library comes before."""
    show = "import os, ciacore; print(os.environ['CUDA_DEVICE_MAX_CONNECTIONS'])"
    for given, found in (({}, "32"), ({"CUDA_DEVICE_MAX_CONNECTIONS": "8"}, "8")):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        environment.pop("CUDA_DEVICE_MAX_CONNECTIONS", None)
        command = [sys.executable, "-c", show]
        said = subprocess.check_output(command, env=environment | given, text=True)
        assert said.strip() == found


def test_a_gpu_computes_recurrences_in_float32_and_provenance_says_so(monkeypatch):
    """Else cuDNN rounds to 10 bits while an agent that plays does not."""
    monkeypatch.setattr(torch.backends.cudnn.rnn, "fp32_precision", "tf32")
    assert provenance("cuda")["recurrences"] == "tf32"
    without_tf32()
    assert provenance("cuda")["recurrences"] == "ieee"
    assert provenance("cpu")["recurrences"] is None


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
    lockstep = SeedsInOneGraph(together, stacked=False)
    assert [stream.device for stream in lockstep.streams] == [CPU] * 3
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
    # every iteration but those of the warm-ups, and every evaluation but the first
    played = config.batch - 1 - WARM_UP["play"]
    learned = updates - WARM_UP["iteration"]
    evaluated = evaluations - WARM_UP["evaluation"]
    assert len(replayed) == played + learned + evaluated
    assert learned > 10 and evaluated > 5


def test_a_seed_that_fails_in_lockstep_leaves_the_others_alone(replayed):
    config = small(method="qmix", env_steps=200)
    fine = Training(config, Turn(horizon=5), 1, CPU, False)
    broken = Training(config, Turn(horizon=5), 2, CPU, False)
    spare = Training(config, Turn(horizon=5), 1, CPU, False)
    with torch.no_grad():
        broken.learner.online["mixer"].hyper_b1.bias.fill_(float("nan"))
    lockstep = SeedsInOneGraph([fine, broken], stacked=False)
    while fine.running():
        lockstep.iterate()
    while spare.running():
        spare.iterate()
    assert isinstance(broken.error, FloatingPointError)
    assert not broken.running()
    assert fine.error is None
    assert fine.log.metrics == spare.log.metrics


@pytest.mark.parametrize("k", range(1, 13))
def test_a_resumed_run_is_captured_after_a_warm_up_of_its_own(k, replayed):
    """From every iteration on: as if nothing had happened, and never captured cold."""
    config = small(**CIA, env_steps=60)
    whole, first, second = (
        Training(config, Turn(horizon=5), 1, CPU, False) for _ in range(3)
    )
    lockstep = SeedsInOneGraph([whole])
    while whole.running():
        lockstep.iterate()
    lockstep = SeedsInOneGraph([first])
    for _ in range(k):
        lockstep.iterate()
    held = {name: value.clone() for name, value in tensors_of(first).items()}
    restore(second, json.loads(json.dumps(facts_of(first))), held)
    lockstep, before = SeedsInOneGraph([second]), second.clock.updates
    while second.running():
        captured_before = set(lockstep.graphs)
        lockstep.iterate()
        if "iteration" in set(lockstep.graphs) - captured_before:
            updates = second.clock.updates - before
            assert updates == WARM_UP["iteration"] + 1
        if second.clock.updates - before <= WARM_UP["iteration"]:
            assert "iteration" not in lockstep.graphs
    assert second.log.metrics == whole.log.metrics and second.clock == whole.clock
    ours, theirs = tensors_of(second), tensors_of(whole)
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_what_make_gpu_measures(replayed, monkeypatch):
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3_000_000)
    config = METHODS["qmix_cia"].but(**TINY)
    row = gpu.lockstep(config, 2, rounds=3, device=CPU)
    # two iterations of play alone, the first captured one, and those that are timed
    assert replayed == ["launch"] * 6 and row["seeds"] == 2 and row["peak_mb"] == 3.0
    assert gpu.on_a_core(config, 3)["seeds"] == 1
    assert gpu.row([2.0, 1.0, 30.0], 5) == {
        "seeds": 5,
        "ms": 2.0,
        "env_steps_per_s": 250_000.0,
    }


# ----------------------------------------------------------------------------- on a GPU


@pytest.mark.parametrize("method", METHODS)
def test_twenty_updates_do_not_depend_on_the_arithmetic(method, monkeypatch):
    """What a GPU is held to holds for two orders of summation on a CPU."""

    def row_by_row_from_now(update):
        def launch():
            with row_by_row():
                update()

        return launch

    monkeypatch.setattr(torch, "rand", captured.drawn)
    losses = captured.compare(method, CPU, row_by_row_from_now)
    for part in {"eoi", "scds"} & set(METHODS[method].auxiliaries):  # they learn, too
        assert any(name.startswith(part) for name in losses)


def test_a_difference_between_devices_is_seen(monkeypatch):
    plain, other = captured.learner_of("qmix"), captured.learner_of("qmix")
    captured.assert_alike("qmix", plain, other)
    with torch.no_grad():
        next(other.online.parameters())[0] += 3e-3
    with pytest.raises(AssertionError, match="fc_in"):
        captured.assert_alike("qmix", plain, other)
    captured.assert_alike("cw_qmix", plain, other)


@pytest.mark.gpu
@pytest.mark.parametrize("method", METHODS)
def test_captured_updates_follow_plain_ones_on_the_same_batches(method):
    """Twenty updates: captured on CUDA, plain on the CPU, in a process of their own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "error", "-m", "support.captured", method]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
def test_seeds_on_a_gpu_do_not_depend_on_each_other():
    config = METHODS["qmix_cia"].but(env_steps=20_000)
    one, two = train(config, Turn(), [1, 2], device="cuda")
    (alone,) = train(config, Turn(), [1], device="cuda")
    assert one.metrics["env_steps"] == alone.metrics["env_steps"]
    first = [metrics["episode_return"][0] for metrics in (one.metrics, alone.metrics)]
    assert first[0] == first[1] and not same(one, two)
