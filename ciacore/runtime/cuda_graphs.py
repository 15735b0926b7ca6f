"""Many seeds on one GPU: whole iterations as parallel branches of one CUDA graph.

Nothing else here knows of graphs. Every seed stays a `Training` of its own, made of
plain modules. What an iteration does on the device (play, insertion, sampling, update)
is recorded once per seed, each on a stream of its own, and launched as one graph; the
host only sets epsilon, counts, and reads returns and losses back once per evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ciacore.training import Training
from ciacore.types import Game

# Updates before the capture, so that optimizer states, gradients and library handles
# are there.
WARM_UP = 3


def capturable(game: Game, device: torch.device) -> bool:
    """Whether iterations can be captured.

    Args:
        game: its rules must be torch alone, and its length known beforehand.
        device: must be a CUDA device.
    """
    return device.type == "cuda" and not game.spec.ends_early


class SeedsInOneGraph:
    """Advances several trainings of one Config together.

    They count alike, since every episode is equally long.
    """

    def __init__(self, trainings: Sequence[Training]) -> None:
        self.trainings = list(trainings)
        self.streams = [torch.cuda.Stream() for _ in self.trainings]
        for training in self.trainings:
            training.epsilon = torch.ones((), device=training.device)
        self.graphs: dict[str, CapturedGraph] = {}

    def iterate(self) -> None:
        """One iteration of every seed, in the order of `Training.iterate`.

        The first ones are played one by one, the rest as graphs.
        """
        first = self.trainings[0]
        update = first.clock.update_due(first.config)
        for training in self.trainings:
            training.set_epsilon()
        if self.graphs or (update and first.clock.updates >= WARM_UP):
            self.launch("iteration", lambda training: training.play_and_update(True))
        else:
            self.on_streams(lambda training: training.play_and_update(update))
        for training in self.trainings:
            training.count()
            if training.clock.copy_due(training.config):
                training.copy_target()
        if first.clock.evaluation_due(first.config):
            if self.graphs:
                self.launch("evaluation", Training.evaluate)
            else:
                self.on_streams(Training.evaluate)
            for training in self.trainings:
                training.write_evaluation()

    def on_streams(self, work: Callable[[Training], None]) -> None:
        """Does the work of every seed, one branch per stream."""
        main = torch.cuda.current_stream()
        for training, stream in zip(self.trainings, self.streams, strict=True):
            stream.wait_stream(main)
            with torch.cuda.stream(stream):
                work(training)
        for stream in self.streams:
            main.wait_stream(stream)

    def launch(self, name: str, work: Callable[[Training], None]) -> None:
        """Does the work of every seed as one graph, captured the first time.

        Args:
            name: of the graph.
            work: what is captured, of one seed.
        """
        if name not in self.graphs:
            rngs = [
                rng
                for training in self.trainings
                for rng in training.rngs.values()
                if rng.device.type == "cuda"
            ]
            self.graphs[name] = CapturedGraph(lambda: self.on_streams(work), rngs)
        self.graphs[name].launch()


class CapturedGraph:
    """A function on the device, recorded once and launched as often as wanted."""

    def __init__(
        self, work: Callable[[], None], rngs: Sequence[torch.Generator]
    ) -> None:
        """Records the function; nothing is computed then.

        Args:
            work: what is recorded.
            rngs: the generators it draws from.
        """
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        for rng in rngs:
            self.graph.register_generator_state(rng)
        with torch.cuda.graph(self.graph):
            work()

    def launch(self) -> None:
        """Computes it."""
        self.graph.replay()
