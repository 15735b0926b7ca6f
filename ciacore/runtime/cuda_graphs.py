"""Many seeds on one GPU: whole iterations as parallel branches of one CUDA graph.

Nothing else here knows of graphs. Every seed stays a `Training` of its own, made of
plain modules. What an iteration does on the device (play, insertion, sampling, update)
is recorded once and launched as one graph, of several methods too where they count
alike (`ciacore.training.SCHEDULE`). All seeds of a method are one branch of it where
they can be stacked (`ciacore.runtime.stacked_seeds`), else each is one; every branch
has a stream of its own. The host only sets epsilon, counts, and reads returns and
losses back once per evaluation.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence

import torch

from ciacore.config import Config
from ciacore.learning.player import place_of_play
from ciacore.runtime.stacked_seeds import StackedSeeds, obstacle
from ciacore.training import Training, schedule_of
from ciacore.types import Game, refuse

# How often this process does the work of a graph one by one before it captures it, so
# that a game's tables, optimizer states and library handles are there. What a training
# did before it was resumed is no warm-up: its handles died with that process.
WARM_UP = {"play": 1, "iteration": 3, "evaluation": 1}

# Through so many channels CUDA hands work to a GPU, 8 by default; branches that share
# one wait for each other. Read when CUDA starts, which is later than this.
os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")

Branch = Training | StackedSeeds  # of a graph


def capturable(game: Game, device: torch.device) -> bool:
    """Whether iterations can be captured.

    Args:
        game: its rules must be torch alone, and its length known beforehand.
        device: must be a CUDA device.
    """
    return place_of_play(game.spec, device).type == "cuda"


class SeedsInOneGraph:
    """Advances several trainings together, of one method or of several.

    They count alike: their Configs agree in `SCHEDULE`, and every episode is equally
    long. What is counted is asked of the first one, for all of them.
    """

    def __init__(self, trainings: Sequence[Training], stacked: bool = True) -> None:
        """Nothing is captured yet.

        Args:
            trainings: at least one; all of one game, on one GPU, and equally far.
            stacked: whether the seeds of a method are stacked where they can be; else
                each has a branch of its own.

        Raises:
            InvalidInputError: they do not count alike.
        """
        self.trainings = list(trainings)
        check_alike(self.trainings)
        first = self.trainings[0]
        self.device = first.device
        first.epsilon = torch.ones((), device=self.device)
        for training in self.trainings:  # they count alike
            training.epsilon = first.epsilon
            training.learner.env_steps = first.learner.env_steps
        of_methods: dict[Config, list[Training]] = {}
        for training in self.trainings:
            of_methods.setdefault(training.config, []).append(training)
        self.branches: list[Branch] = []
        # how many seeds of a Config are stacked; 0 where each is a branch
        self.seeds_stacked: dict[Config, int] = {}
        for config, seeds in of_methods.items():
            several = len(seeds) > 1
            if stacked and several and not obstacle(config, first.game):
                self.branches.append(StackedSeeds(seeds))
                self.seeds_stacked[config] = len(seeds)
            else:
                self.branches += seeds
                self.seeds_stacked[config] = 0
        self.streams = [torch.cuda.Stream(self.device) for _ in self.branches]
        self.done: Counter[str] = Counter()  # how often one by one, in this process
        self.graphs: dict[str, CapturedGraph] = {}

    def iterate(self) -> None:
        """One iteration of every seed, in the order of `Training.iterate`."""
        first = self.trainings[0]
        update = first.clock.update_due(first.config)
        first.set_epsilon()
        if update:
            self.do("iteration", play_and_learn)
        else:
            self.do("play", play_only)
        for training in self.trainings:
            training.count()
        if first.clock.copy_due(first.config):
            for branch in self.branches:
                branch.copy_target()
        going_on = [each for each in self.trainings if each.error is None]
        if going_on and going_on[0].clock.evaluation_due(first.config):
            self.do("evaluation", evaluate)
            for training in going_on:
                training.write_evaluation()

    def do(self, name: str, work: Callable[[Branch], None]) -> None:
        """Does the work of every seed: a few times one by one, then as a graph.

        Args:
            name: of the work, one of `WARM_UP`.
            work: what is done, of one branch.
        """
        if self.done[name] < WARM_UP[name]:
            self.done[name] += 1
            with torch.cuda.device(self.device):
                self.on_streams(work)
        else:
            self.launch(name, work)

    def on_streams(self, work: Callable[[Branch], None]) -> None:
        """Does the work of every seed, one branch per stream."""
        main = torch.cuda.current_stream(self.device)
        for branch, stream in zip(self.branches, self.streams, strict=True):
            stream.wait_stream(main)
            with torch.cuda.stream(stream):
                work(branch)
        for stream in self.streams:
            main.wait_stream(stream)

    def launch(self, name: str, work: Callable[[Branch], None]) -> None:
        """Does the work of every seed as one graph, captured the first time.

        Args:
            name: of the graph.
            work: what is captured, of one branch.
        """
        with torch.cuda.device(self.device):
            if name not in self.graphs:
                rngs = [
                    rng
                    for training in self.trainings
                    for rng in training.rngs.values()
                    if rng.device.type == "cuda"
                ]
                self.graphs[name] = CapturedGraph(lambda: self.on_streams(work), rngs)
            self.graphs[name].launch()


def check_alike(trainings: Sequence[Training]) -> None:
    """Refuses trainings that a single clock cannot count.

    Args:
        trainings: at least one.

    Raises:
        InvalidInputError: their schedules differ, or how far they are.
    """
    first = trainings[0]
    for other in trainings[1:]:
        ours, theirs = schedule_of(first.config), schedule_of(other.config)
        if (theirs, other.clock) != (ours, first.clock):
            expected = f"{ours} at {first.clock}, as {first.config.method} has it"
            got = f"{theirs} at {other.clock} of {other.config.method}"
            refuse("trainings", expected, got, "Give each schedule a graph.")


def play_only(branch: Branch) -> None:
    """What an iteration does on the device while the replay holds less than a batch."""
    branch.play_and_update(False)


def play_and_learn(branch: Branch) -> None:
    """What every later iteration does on the device."""
    branch.play_and_update(True)


def evaluate(branch: Branch) -> None:
    """What an evaluation does on the device."""
    branch.evaluate()


class CapturedGraph:
    """A function on the device, recorded once and launched as often as wanted."""

    def __init__(
        self, work: Callable[[], None], rngs: Sequence[torch.Generator]
    ) -> None:
        """Records the function on the current GPU; nothing is computed then.

        Args:
            work: what is recorded.
            rngs: the generators it draws from.
        """
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        if registers_generators():
            for rng in rngs:
                self.graph.register_generator_state(rng)
        # A stream of its own: torch's for captures lies on the GPU that was first. And
        # what other threads ask CUDA for meanwhile (JAX has some) is no part of it.
        stream, mode = torch.cuda.Stream(), "thread_local"
        with torch.cuda.graph(self.graph, stream=stream, capture_error_mode=mode):
            work()

    def launch(self) -> None:
        """Computes it."""
        self.graph.replay()


def registers_generators() -> bool:
    """Whether a graph must be told which generators it draws from.

    From 2.14 on torch finds out by itself, and warns whoever tells it.
    """
    major, minor = torch.__version__.split(".")[:2]
    return (int(major), int(minor)) < (2, 14)
