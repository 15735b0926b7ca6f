"""Many seeds on one GPU: whole iterations as parallel branches of one CUDA graph. Nothing else here knows of graphs.

Every seed stays a `Training` of its own, made of plain modules. What an iteration does
on the device (play, insertion, sampling, update) is recorded once per seed, each on a
stream of its own, and replayed as one graph; the host only sets epsilon, counts, and
reads returns and losses back once per evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ciacore.training import Training
from ciacore.types import Game

# updates before the capture, so that optimizer states, gradients and library handles
# exist
WARM_UP = 3


def capturable(game: Game, device: torch.device) -> bool:
    """Whether iterations can be captured: the game runs in torch alone, and its length is known beforehand."""
    return device.type == "cuda" and not game.spec.ends_early


class Lockstep:
    """Advances several trainings of one Config together; they count alike, since every episode is equally long."""

    def __init__(self, trainings: Sequence[Training]) -> None:
        self.trainings = list(trainings)
        self.streams = [torch.cuda.Stream() for _ in self.trainings]
        for training in self.trainings:
            training.epsilon = torch.ones((), device=training.device)
        self.graphs: dict[str, Replayed] = {}

    def iterate(self) -> None:
        """One iteration of every seed; the first ones one by one, the rest as graphs."""
        first = self.trainings[0]
        learn = first.clock.update_due(first.config)
        for training in self.trainings:
            training.begin()
        if self.graphs or (learn and first.clock.updates >= WARM_UP):
            self.replay("iteration", lambda training: training.act_and_learn(True))
        else:
            self.each(lambda training: training.act_and_learn(learn))
        if all([training.finish() for training in self.trainings]):
            if self.graphs:
                self.replay("evaluation", Training.evaluate)
            else:
                self.each(Training.evaluate)
            for training in self.trainings:
                training.record()

    def each(self, work: Callable[[Training], None]) -> None:
        """The work of every seed, one branch per stream."""
        main = torch.cuda.current_stream()
        for training, stream in zip(self.trainings, self.streams, strict=True):
            stream.wait_stream(main)
            with torch.cuda.stream(stream):
                work(training)
        for stream in self.streams:
            main.wait_stream(stream)

    def replay(self, name: str, work: Callable[[Training], None]) -> None:
        """The work of every seed as one graph, captured the first time."""
        if name not in self.graphs:
            rngs = [
                rng
                for training in self.trainings
                for rng in training.rngs.values()
                if rng.device.type == "cuda"
            ]
            self.graphs[name] = Replayed(lambda: self.each(work), rngs)
        self.graphs[name].replay()


class Replayed:
    """A function on the device, recorded once (nothing is computed then) and replayed as often as wanted."""

    def __init__(
        self, work: Callable[[], None], rngs: Sequence[torch.Generator]
    ) -> None:
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        for rng in rngs:
            self.graph.register_generator_state(rng)
        with torch.cuda.graph(self.graph):
            work()

    def replay(self) -> None:
        """Runs it."""
        self.graph.replay()
