"""Several seeds as one: their tensors stacked, their modules unchanged.

`torch.func.vmap` computes what a training computes of its own tensors for all seeds at
once, so that launches hardly grow with the number of seeds. Every seed stays a
`Training`: its weights, optimizer state, replay and sums of losses are views into the
stacks, and checkpoints, evaluations and target copies find them where they were.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from ciacore.config import Config
from ciacore.fast.draws import DiceOfSeeds
from ciacore.fast.stacked_layers import stacked_in_pieces, stacked_layers
from ciacore.learning.learner import Learner, make_optimizer
from ciacore.learning.replay import pack
from ciacore.methods import named_parts
from ciacore.training import Training
from ciacore.types import Episodes, Game

# The purposes of random numbers that an iteration or an evaluation draws for.
PURPOSES = ("play", "replay", "evaluation", "learning")

CPU = torch.device("cpu")

# Dice by purpose.
OwnDice = dict[str, DiceOfSeeds]


def not_stackable(config: Config) -> list[str]:
    """The parts of a method that say that its seeds cannot be stacked.

    Args:
        config: the method.

    Returns:
        Their names; most methods have none.
    """
    return [
        name
        for slot, name, part in named_parts(config)
        if slot == "auxiliaries" and not part.stackable
    ]


def obstacle(config: Config, game: Game) -> str:
    """Why several seeds of a method cannot be stacked; nothing where they can.

    They cannot where a part says so, nor where `vmap` has no way to compute the game or
    the losses: where one differentiates on its way (credits without a closed form), or
    draws from torch itself. That is tried, with two seeds on the CPU, an episode each.

    Args:
        config: the method.
        game: of known length.
    """
    apart = not_stackable(config)
    if apart:
        return f"{', '.join(apart)}, which learns beside the update"
    small = config.but(n_games=1, batch=1, buffer=1, evaluation_games=1)
    try:
        seeds = StackedSeeds(
            [Training(small, game, seed, CPU, False) for seed in (0, 1)]
        )
        seeds.play_and_update(True)
        seeds.evaluate()
    except Exception as error:  # whatever torch, the game or a part objects to
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return ""


class Networks(nn.Module):
    """All networks of a learner; what it "computes" is any work of theirs."""

    def __init__(self, learner: Learner) -> None:
        """Takes them as they are.

        Args:
            learner: whose they are.
        """
        super().__init__()
        self.online, self.target = learner.online, learner.target
        self.auxiliaries = learner.auxiliaries

    def forward(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """The work, done with whatever weights are in place.

        Args:
            work: a function.
            arguments: of it.
        """
        return work(*arguments)

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers by name."""
        return {**dict(self.named_parameters()), **dict(self.named_buffers())}

    def that_belong_together(self) -> list[list[str]]:
        """The names of all tensors; those of a recurrence are in one list."""
        names = {id(tensor): name for name, tensor in self.tensors().items()}
        recurrences = [
            [names.pop(id(weight)) for weight in module.parameters()]
            for module in self.modules()
            if isinstance(module, nn.RNNBase)
        ]
        return recurrences + [[name] for name in names.values()]


class StackedSeeds:
    """Trainings of one Config that are equally far, advanced as one."""

    def __init__(self, trainings: Sequence[Training]) -> None:
        """Stacks what they hold.

        Args:
            trainings: of a game of known length; nothing is an `obstacle`.
        """
        self.trainings, self.first = list(trainings), trainings[0]
        self.learners = [training.learner for training in trainings]
        self.learner, self.config = self.first.learner, self.first.config
        self.replays = [training.replay for training in trainings]
        self.seeds = torch.arange(len(self.trainings), device=self.first.device)
        self.networks = Networks(self.learner)
        self.stack_networks()
        self.stack_optimizers()
        if self.first.replay.ring is not None:
            self.stack_replays()
        self.sums: dict[str, Tensor] = {}
        for name in self.first.log.sums:
            self.stack_sums(name)
        self.returns = torch.stack([training.returns for training in trainings])
        self.won = torch.stack([training.won for training in trainings])
        for training, returns, won in zip(
            trainings, self.returns, self.won, strict=True
        ):
            training.returns, training.won = returns, won

    # what is stacked

    def stack_networks(self) -> None:
        """Stacks parameters and buffers; the seeds' become views."""
        held = [Networks(learner).tensors() for learner in self.learners]
        self.tensors: dict[str, Tensor] = {}
        for names in self.networks.that_belong_together():
            stacks = stacked_in_pieces([[one[name] for name in names] for one in held])
            for name, stack in zip(names, stacks, strict=True):
                for one, values in zip(held, stack, strict=True):
                    one[name].data = values
                self.tensors[name] = stack.requires_grad_(held[0][name].requires_grad)

    def stack_optimizers(self) -> None:
        """One optimizer over the stacks, with the state that the seeds' had."""
        names = [f"online.{name}" for name, _ in self.learner.online.named_parameters()]
        self.parameters = [self.tensors[name] for name in names]
        self.optimizer = make_optimizer(self.parameters, self.config)
        of_seeds = [
            [learner.optimizer.state.get(each) for each in learner.parameters]
            for learner in self.learners
        ]
        if not any(of_seeds[0]):
            return
        for stack, *states in zip(self.parameters, *of_seeds, strict=True):
            if states[0]:
                self.optimizer.state[stack] = {
                    key: torch.stack([state[key] for state in states])
                    if value.shape == stack.shape[1:]
                    else value  # counts steps, which the seeds do together
                    for key, value in states[0].items()
                }
        self.lend_optimizer_states()

    def lend_optimizer_states(self) -> None:
        """Has the seeds' optimizers hold views; what counts steps is shared."""
        for index, learner in enumerate(self.learners):
            pairs = zip(self.parameters, learner.parameters, strict=True)
            for stack, parameter in pairs:
                if stack in self.optimizer.state:
                    learner.optimizer.state[parameter] = {
                        key: value[index] if value.shape == stack.shape else value
                        for key, value in self.optimizer.state[stack].items()
                    }

    def stack_replays(self) -> None:
        """Stacks the rings; the seeds count insertions together."""
        rings = zip(*(replay.ring for replay in self.replays), strict=True)
        self.ring = Episodes(*(torch.stack(fields) for fields in rings))
        for index, replay in enumerate(self.replays):
            replay.ring = Episodes(*(field[index] for field in self.ring))
            replay.inserted = self.first.replay.inserted

    def stack_sums(self, name: str) -> None:
        """Stacks the sums of a loss.

        Args:
            name: of the loss.
        """
        logs = [training.log for training in self.trainings]
        self.sums[name] = torch.stack([log.sums[name] for log in logs])
        for log, value in zip(logs, self.sums[name], strict=True):
            log.sums[name] = value

    # what an iteration does

    def of_each_seed(
        self, work: Callable[..., Any], *stacks: Any, steps: int = 0
    ) -> Any:
        """What a work of one seed gives, for all seeds at once: [S, ...].

        Args:
            work: with the networks of the first training; it gets the dice of one seed
                and one seed's arguments.
            stacks: the arguments of all seeds, [S, ...].
            steps: of an episode, where the work is to play it.
        """
        rngs = {
            purpose: [training.rngs[purpose] for training in self.trainings]
            for purpose in PURPOSES
        }

        def of_one_seed(
            tensors: dict[str, Tensor], seed: Tensor, own: tuple[Any, ...]
        ) -> Any:
            dice = {purpose: DiceOfSeeds(rngs[purpose], seed) for purpose in PURPOSES}
            return functional_call(self.networks, tensors, (work, dice, *own))

        with stacked_layers(steps):
            return vmap(of_one_seed)(self.tensors, self.seeds, stacks)

    def play_and_update(self, update: bool) -> None:
        """As `Training.play_and_update`, of all seeds.

        Args:
            update: False while the replays hold less than a batch.
        """
        episodes = self.played(lambda dice: self.first.collect(dice["play"]))
        for training in self.trainings:
            training.steps = training.steps_in(episodes)
        self.insert(episodes)
        if update:
            for name, values in self.update(self.sample()).items():
                self.add_losses(name, values)

    def played(self, work: Callable[[OwnDice], Episodes]) -> Episodes:
        """Episodes that all seeds play side by side, [S, N, ...].

        Args:
            work: plays those of one seed.
        """
        with torch.no_grad():
            return self.of_each_seed(work, steps=self.first.game.spec.horizon)

    def insert(self, episodes: Episodes) -> None:
        """Adds the episodes that every seed played.

        Args:
            episodes: [S, N, ...].
        """
        if self.first.replay.ring is None:
            for index, replay in enumerate(self.replays):
                replay.insert(Episodes(*(field[index] for field in episodes)))
            self.stack_replays()
            return
        count = episodes.rewards.shape[1]
        places = self.first.replay.places(count)
        for kept, field in zip(self.ring, pack(episodes), strict=True):
            kept.index_copy_(1, places, field)
        self.first.replay.inserted += count

    def sample(self) -> Episodes:
        """A batch of every seed, [S, B, ...]."""

        def of_one_seed(dice: OwnDice, ring: Episodes) -> Episodes:
            replay = copy(self.first.replay)
            replay.ring = ring
            return replay.sample(self.config.batch, dice["replay"])

        return self.of_each_seed(of_one_seed, self.ring)

    def update(self, episodes: Episodes) -> dict[str, Tensor]:
        """One gradient step of every seed, with a clip of its own.

        Args:
            episodes: a batch of every seed, [S, B, ...].

        Returns:
            The losses and the gradient norms [S], by name.
        """

        def of_one_seed(dice: OwnDice, episodes: Episodes) -> dict[str, Tensor]:
            return self.learner.losses(episodes, dice["learning"], False)[1]

        losses = self.of_each_seed(of_one_seed, episodes)
        self.optimizer.zero_grad()
        losses["loss"].sum().backward()  # no seed's loss depends on another's weights
        norms = clip_each_seed(self.parameters, self.config.gradient_clip)
        self.optimizer.step()
        if not self.learner.optimizer.state:
            self.lend_optimizer_states()
        losses = {name: value.detach() for name, value in losses.items()}
        return {**losses, "gradient_norm": norms}

    def add_losses(self, name: str, values: Tensor) -> None:
        """Adds up a loss of one update.

        Args:
            name: of the loss.
            values: [S].
        """
        if name not in self.sums:
            for training in self.trainings:
                training.log.sums[name] = torch.zeros_like(values[0])
            self.stack_sums(name)
        self.sums[name] += values

    def copy_target(self) -> None:
        """As `Training.copy_target`, of all seeds."""
        with torch.no_grad():
            for name, stack in self.tensors.items():
                network, _, rest = name.partition(".")
                if network == "target":
                    stack.copy_(self.tensors[f"online.{rest}"])
        for training in self.trainings:
            training.note_copy()

    def evaluate(self) -> None:
        """As `Training.evaluate`, of all seeds."""
        first = self.first
        episodes = self.played(lambda dice: first.play_greedily(dice["evaluation"]))
        self.returns.copy_(episodes.rewards.sum(2))
        self.won.copy_(episodes.won)


def clip_each_seed(parameters: Sequence[Tensor], most: float) -> Tensor:
    """Bounds the joint L2 norm of every seed's gradients, as `clip_grad_norm_` does.

    Args:
        parameters: stacks [S, ...]; one that no loss depends on has no gradient.
        most: the bound.

    Returns:
        The norms before, [S].
    """
    gradients = [each.grad for each in parameters if each.grad is not None]
    rows = [each.reshape(len(each), -1) for each in gradients]
    norms = [torch.linalg.vector_norm(each, dim=1) for each in rows]
    norm = torch.linalg.vector_norm(torch.stack(norms), dim=0)
    share = (most / (norm + 1e-6)).clamp(max=1.0)
    for each in gradients:
        each.mul_(share.view(-1, *(1 for _ in each.shape[1:])))
    return norm
