"""Trains on an imaginary GPU and reports what a real one would have objected to.

    python -m support.imaginary_gpu.checks GUARD iterations VARIANTS...
    python -m support.imaginary_gpu.checks GUARD graphs VARIANTS...
    python -m support.imaginary_gpu.checks GUARD updates METHODS...
    python -m support.imaginary_gpu.checks GUARD walks METHODS...
    python -m support.imaginary_gpu.checks GUARD faults

A variant is `METHOD:HORIZON`, or with fields of its Config `METHOD:HORIZON:JSON`.
`METHOD*SEEDS` in the place of the method stands for stacked seeds, and of a graph's
methods several are joined by a plus: `METHOD*SEEDS+METHOD*SEEDS`.
Nothing is computed, but every operation checks shapes and devices, forwards and
backwards, and one that asks for a value fails. Each line of the report is JSON.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from support.imaginary_gpu import torch_folder

if __name__ == "__main__":  # before torch, which asks for its devices only once
    for name in ("libc10.so", "libtorch_cpu.so"):
        ctypes.CDLL(str(torch_folder() / "lib" / name), ctypes.RTLD_GLOBAL)
    ctypes.CDLL(sys.argv[1], ctypes.RTLD_GLOBAL)

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ciacore import METHODS, training
from ciacore.games import Turn
from ciacore.learning.learner import Parts
from ciacore.runtime import cuda_graphs
from ciacore.runtime.stacked_seeds import StackedSeeds, not_stackable
from ciacore.training import Training
from ciacore.types import Episodes
from support import captured
from support.no_cuda import torch_without_cuda
from support.toys import Stroll

GPU = torch.device("cuda", 0)
PURPOSES = ("play", "replay", "evaluation", "learning")

# ------------------------------------------------- what CUDA has and this torch has not


class Dice(torch.Generator):
    """Random numbers that lie on the GPU."""

    device = GPU


def with_dice_on_the_gpu() -> None:
    """Has trainings draw there."""
    on_a_cpu = training.generators
    rand, randint = torch.rand, torch.randint

    def generators(
        seed: int, device: torch.device, place: torch.device
    ) -> dict[str, torch.Generator]:
        found, there = on_a_cpu(seed, torch.device("cpu")), {"learning": device}
        for purpose in PURPOSES:
            if there.get(purpose, place).type == "cuda":
                found[purpose] = Dice()
        return found

    def without_generator(draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def drawn(*shape: Any, generator: Any = None, **options: Any) -> Tensor:
            if not isinstance(generator, Dice):
                options["generator"] = generator
            return draw(*shape, **options)

        return drawn

    training.generators = generators
    torch.rand, torch.randint = without_generator(rand), without_generator(randint)


def parts_to(parts: Parts, device: torch.device) -> Parts:
    """Moves all networks, as `Parts.to` does; torch cannot swap imaginary parameters.

    Args:
        parts: Of a method.
        device: Where they are moved to.
    """
    for module in parts.networks().modules():
        for held in (module._parameters, module._buffers):
            for name, value in held.items():
                if value is None:
                    continue
                moved = torch.empty(value.shape, dtype=value.dtype, device=device)
                if isinstance(value, nn.Parameter):
                    moved = nn.Parameter(moved, value.requires_grad)
                held[name] = moved
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters()
    return parts


def flatten_parameters(module: nn.RNNBase) -> None:
    """Remembers which weights lie side by side."""
    module.__dict__["side_by_side"] = [id(each) for each in module.parameters()]


def along_time(gru: nn.GRU, x: Tensor, start: None = None) -> tuple[Tensor, Tensor]:
    """What cuDNN does of a GRU; it warns where the weights lie apart.

    Args:
        gru: One layer.
        x: What it reads, [T, R, I].
        start: None: zeros.
    """
    weights = list(gru.parameters())
    if gru.__dict__.get("side_by_side") != [id(each) for each in weights]:
        raise UserWarning("the weights of a recurrence are not in one piece")
    if torch.backends.cudnn.rnn.fp32_precision != "ieee":
        raise UserWarning("a recurrence is computed in TF32")
    size = gru.hidden_size
    start = x.new_zeros(1, x.shape[1], size)
    GRU = 3  # cuDNN's number of it
    found = torch.ops.aten._cudnn_rnn(
        *(x, weights, 4, x.new_empty(1), start, None, GRU, size, 0, 1),
        *(False, 0.0, gru.training, False, [], None),
    )
    return found[0], found[1]


cell_on_cpu = torch.gru_cell


def cell(x: Tensor, h: Tensor, w: Tensor, u: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """A step of a GRU: on the GPU two products, and one launch for all the rest.

    Args:
        x: What it reads.
        h: The state before.
        w: Weights of x.
        u: Weights of h.
        b: Biases of x.
        c: Biases of h.
    """
    if not x.is_cuda:
        return cell_on_cpu(x, h, w, u, b, c)
    from_x, from_h = torch.mm(x, w.t()), torch.mm(h, u.t())
    return torch.ops.aten._thnn_fused_gru_cell(from_x, from_h, h, b, c)[0]


def with_cudnn() -> torch.library.Library:
    """Has recurrences run as they would on CUDA.

    Returns:
        What must be held as long as it is to hold.
    """

    def shapes_of_cell(
        from_x: Tensor, from_h: Tensor, h: Tensor, *biases: Tensor
    ) -> tuple[Tensor, Tensor]:
        return torch.empty_like(h), h.new_empty(h.shape[0], 5 * h.shape[1])

    def shapes_of_backward(
        x: Tensor, weights: list[Tensor], stride: int, piece: Tensor, h: Tensor, *_: Any
    ) -> tuple[Tensor, Tensor, None, list[Tensor]]:
        gradients = [torch.empty_like(weight) for weight in weights]
        return torch.empty_like(x), torch.empty_like(h), None, gradients

    library = torch.library.Library("aten", "IMPL", "Meta")
    library.impl("_thnn_fused_gru_cell", shapes_of_cell)
    library.impl("_cudnn_rnn_backward", shapes_of_backward)
    nn.RNNBase.flatten_parameters = flatten_parameters
    nn.GRU.forward = along_time
    torch.gru_cell = cell
    return library


class Imaginary(FakeTensorMode):
    """Tensors without values; copies of networks are of the same mode."""

    def __deepcopy__(self, memo: dict) -> Imaginary:
        """The mode itself.

        Args:
            memo: Not asked.
        """
        return self


# ------------------------------------------------------------------ what is reported

# operations that launch nothing, besides views
FREE = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
FREE |= {"_unsafe_view", "lift_fresh", "set_", "resize_", "is_same_size", "device"}
FREE |= {"_record_function_enter_new", "_record_function_exit"}
# and those that launch more than one kernel, about
SEVERAL = {"_cudnn_rnn": 4, "_cudnn_rnn_backward": 6, "topk": 3, "sort": 2}
SEVERAL |= {"baddbmm": 2}  # it copies what is added first


def tensors_of(*arguments: Any) -> list[Tensor]:
    """All tensors among what an operation is given.

    Args:
        arguments: Of the operation.
    """
    return [each for each in tree_leaves(arguments) if isinstance(each, Tensor)]


def works(ours: Training | StackedSeeds) -> dict[str, Callable[[], Any]]:
    """What is reported on, by name.

    Args:
        ours: Who does it.
    """
    return {
        "play": lambda: ours.play_and_update(False),
        "iteration": lambda: ours.play_and_update(True),
        "target": ours.copy_target,
        "evaluation": ours.evaluate,
    }


class Watch(TorchDispatchMode):
    """Counts launches, and operations that read what lies on the host."""

    def __init__(self, stacked: bool = False) -> None:
        """Nothing is counted yet.

        Args:
            stacked: Whether `vmap` computes; it hands over a plain number as a tensor
                on the CPU, which becomes a part of the launch unless it is copied.
        """
        super().__init__()
        self.stacked = stacked
        self.launches: Counter[str] = Counter()
        self.from_host: Counter[str] = Counter()

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Counts one.

        Args:
            operation: Of torch.
            types: Not asked.
            args: Its arguments.
            kwargs: Those with names.
        """
        name = operation._schema.name.split("::")[1]
        if not operation.is_view and name not in FREE:
            self.launches[name] += SEVERAL.get(name, 1)
        for tensor in tensors_of(args, kwargs):
            if tensor.device.type == "cpu":
                number = tensor.dim() == 0 and name not in ("copy_", "_to_copy")
                self.from_host[name] += not (self.stacked and number)
        return operation(*args, **(kwargs or {}))


def iteration(
    method: str, seeds: int, horizon: int, fields: dict[str, Any]
) -> dict[str, Any]:
    """A training, or stacked ones, in the second iteration, which is what is captured.

    Args:
        method: Its name.
        seeds: How many; one is not stacked.
        horizon: Steps of an episode.
        fields: That its Config changes.

    Returns:
        The launches of play, of the whole iteration, of copying the target and of an
        evaluation, what read from the host, and where the losses lie.
    """
    config = METHODS[method].but(**fields)
    with Imaginary():
        trainings = [
            Training(config, Turn(horizon=horizon), seed, GPU) for seed in range(seeds)
        ]
        for each in trainings:
            each.epsilon = torch.ones((), device=GPU)
        ours = trainings[0] if seeds == 1 else StackedSeeds(trainings)
        for work in (ours.play_and_update, lambda _: ours.evaluate()):
            work(True)  # as the warm-up does
        watches = {}
        for name, work in works(ours).items():
            with Watch(stacked=seeds > 1) as watches[name]:
                work()
    from_host = +sum((watch.from_host for watch in watches.values()), Counter())
    sums = [value for each in trainings for value in each.log.sums.values()]
    return {
        "launches": {name: each.launches.total() for name, each in watches.items()},
        "operations": dict(watches["iteration"].launches),
        "from_host": dict(from_host),
        "devices": sorted({str(value.device) for value in sums}),
        "losses": sorted(trainings[-1].log.sums),
    }


class Counted:
    """In the place of a graph: what was captured, counted."""

    def __init__(self, work: Callable[[], None], rngs: list[torch.Generator]) -> None:
        """Counts.

        Args:
            work: What is captured.
            rngs: Not asked.
        """
        with Watch(stacked=True) as self.watch:
            work()

    def launch(self) -> None:
        """Counts nothing more."""


def graph(
    wanted: dict[str, int], horizon: int, fields: dict[str, Any]
) -> dict[str, Any]:
    """Trainings of several methods, captured as one graph.

    Args:
        wanted: The methods, with the number of their seeds.
        horizon: Steps of an episode.
        fields: That their Configs change.

    Returns:
        The launches of each graph, those of its branches alone, and what read from the
        host.
    """
    cuda_graphs.torch, cuda_graphs.CapturedGraph = torch_without_cuda(), Counted
    cuda_graphs.WARM_UP = dict.fromkeys(cuda_graphs.WARM_UP, 1)
    # what is tried on a CPU has values, which this GPU has not
    cuda_graphs.obstacle = lambda config, _: ", ".join(not_stackable(config))
    game = Turn(horizon=horizon)
    with Imaginary():
        together = cuda_graphs.SeedsInOneGraph(
            [
                Training(METHODS[method].but(**fields), game, seed, GPU)
                for method, seeds in wanted.items()
                for seed in range(seeds)
            ]
        )
        alone = {}
        for name, work in {
            "iteration": cuda_graphs.play_and_learn,
            "play": cuda_graphs.play_only,
            "evaluation": cuda_graphs.evaluate,
        }.items():
            for _ in ("warm-up", "capture"):
                together.do(name, work)
            alone[name] = []
            for branch in together.branches:
                with Watch(stacked=True) as watch:
                    work(branch)
                alone[name].append(watch.launches.total())
    watches = {name: each.watch for name, each in together.graphs.items()}
    from_host = +sum((watch.from_host for watch in watches.values()), Counter())
    return {
        "branches": alone,
        "launches": {name: each.launches.total() for name, each in watches.items()},
        "from_host": dict(from_host),
    }


class BesideTheCPU(Imaginary):
    """The imaginary GPU beside a real CPU; notes what is carried between them.

    What lies on the CPU has values. What is carried there is zeros.
    """

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.carried: Counter[str] = Counter()

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Computes an operation where its tensors lie.

        Args:
            operation: Of torch.
            types: Not asked.
            args: Its arguments.
            kwargs: Those with names.
        """
        kwargs = kwargs or {}
        tensors = tensors_of(args, kwargs)
        there = [each for each in tensors if each.device.type == "cuda"]
        wanted = kwargs.get("device")
        if there and wanted is not None and wanted.type == "cpu":
            self.carried["to the CPU"] += 1
            return torch.zeros(there[0].shape, dtype=kwargs.get("dtype"))
        if there or (wanted is not None and wanted.type == "cuda"):
            self.carried["to the GPU"] += len(tensors) - len(there)
            if tensors and not there:  # a copy: on the GPU there are no values
                operation, (copied,) = torch.ops.aten.empty.memory_format, tensors
                kwargs = {"dtype": kwargs["dtype"] or copied.dtype, "device": wanted}
                args = (list(copied.shape),)
            return super().__torch_dispatch__(operation, types, args, kwargs)
        return operation(*args, **kwargs)


def walk(method: str) -> dict[str, Any]:
    """A training on a game that ends early, in an iteration with an update.

    Args:
        method: Its name.

    Returns:
        Where the game's states and the losses lie, and what an iteration with and
        without an update, a copy of the target and an evaluation carry between the GPU
        and the CPU.
    """
    game, places = Stroll(), set()
    advance = game.advance

    def noted(state: Any, *arguments: Any) -> Any:
        places.update(str(each.device) for each in tree_leaves(state))
        return advance(state, *arguments)

    game.advance = noted
    config = METHODS[method].but(batch=4, buffer=8, hidden_size=8, evaluation_games=3)
    with BesideTheCPU() as both:
        ours = Training(config, game, 0, GPU)
        for _ in range(config.batch):
            ours.play_and_update(False)
        found = {}
        for name, work in works(ours).items():
            both.carried.clear()
            work()
            found[name] = dict(both.carried)
    return {
        "states": sorted(places),
        "carried": found,
        "losses": sorted({str(each.device) for each in ours.log.sums.values()}),
    }


def update(method: str) -> dict[str, Any]:
    """An update as the test on a GPU captures it.

    Args:
        method: Its name.

    Returns:
        The names of its losses.
    """
    batch = captured.batches_of(method)[0]
    with Imaginary():
        ours = captured.learner_of(method, GPU)
        shown = [torch.empty(e.shape, dtype=e.dtype, device=GPU) for e in batch]
        return {"losses": sorted(ours.update(Episodes(*shown)))}


def message_of(work: Callable[[], Any]) -> str | None:
    """What work fails with; None where it does not."""
    try:
        with Imaginary():
            work()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


@contextmanager
def reported(**facts: Any) -> Iterator[dict[str, Any]]:
    """Prints a line: what is given, what the block adds, and how it failed."""
    found: dict[str, Any] = {**facts, "error": None}
    try:
        yield found
    except Exception as error:
        found["error"] = f"{type(error).__name__}: {error}"
    print(json.dumps(found), flush=True)


def faults() -> dict[str, str | None]:
    """What this GPU says of things that must not happen."""

    def on_gpu() -> Tensor:
        return torch.ones(3, device=GPU)

    def scattered() -> None:
        gru = nn.GRU(2, 2, device=GPU)
        flatten_parameters(gru)
        torch.backends.cudnn.rnn.fp32_precision = "ieee"
        gru(torch.zeros(3, 1, 2, device=GPU))  # fine so far
        gru.bias_hh_l0 = nn.Parameter(torch.zeros(6, device=GPU))
        gru(torch.zeros(3, 1, 2, device=GPU))

    def rounded() -> None:
        gru = nn.GRU(2, 2, device=GPU)
        flatten_parameters(gru)
        torch.backends.cudnn.rnn.fp32_precision = "tf32"
        gru(torch.zeros(3, 1, 2, device=GPU))

    def backwards() -> None:
        weight = nn.Parameter(on_gpu())
        (weight * 2).sum().backward()
        assert weight.grad.device == GPU

    return {
        "fine": message_of(backwards),
        "mixed devices": message_of(lambda: on_gpu() + torch.ones(3)),
        "a value": message_of(lambda: float(on_gpu().sum())),
        "a mask": message_of(lambda: on_gpu()[on_gpu() > 0]),
        "scattered weights": message_of(scattered),
        "TF32": message_of(rounded),
    }


def main() -> None:
    """Prints the report."""
    held = with_cudnn()
    with_dice_on_the_gpu()
    Parts.to = parts_to
    if sys.argv[2] == "faults":
        print(json.dumps(faults()))
    for method in sys.argv[3:] if sys.argv[2] in ("updates", "walks") else ():
        with reported(method=method) as found:
            found |= {"updates": update, "walks": walk}[sys.argv[2]](method)
    for variant in sys.argv[3:] if sys.argv[2] in ("iterations", "graphs") else ():
        names, horizon, *fields = variant.split(":", 2)
        wanted = {}
        for name in names.split("+"):
            method, _, seeds = name.partition("*")
            wanted[method] = int(seeds or 1)
        more = (int(horizon), json.loads("".join(fields) or "{}"))
        with reported(variant=variant) as found:
            if sys.argv[2] == "graphs":
                found |= graph(wanted, *more)
            else:
                found |= iteration(method, wanted[method], *more)
    del held


if __name__ == "__main__":
    main()
