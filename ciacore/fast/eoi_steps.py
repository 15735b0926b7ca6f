"""EOI's gradient steps on a CPU, with the gradients of both losses written out.

An update makes dozens of them, each on few rows. What the equations are is said by
`ciacore.baselines.eoi`, whose numbers are handed over; every bit is the same.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ciacore.fast.perceptrons import WrittenOut


class Numbers(NamedTuple):
    """The constants of EOI's equations."""

    rows: int  # per gradient step
    entropy: float  # weight of the classifier's regulariser
    small: float  # in the logarithms
    scale: float  # of the intrinsic reward
    gamma: float
    kept: float  # share of the target network that stays at a step
    renewed: float  # share of the values that is added to it


class Block(NamedTuple):
    """Transitions of R single agents, as the networks read them."""

    observations: Float[Tensor, "R O"]
    after: Float[Tensor, "R O"]
    inputs: Float[Tensor, "R OK"]  # [o, one-hot k]
    inputs_after: Float[Tensor, "R OK"]
    own: Tensor  # [R, 1] whose it is
    one_hot: Float[Tensor, "R K"]  # the same
    actions: Tensor  # [R, 1]
    going_on: Tensor  # [R] not ended


@torch.no_grad()
def losses_of_steps(
    eoi: Any, rows: Any, numbers: Numbers
) -> list[dict[str, Float[Tensor, ""]]]:
    """Gradient steps on consecutive blocks of rows; a smaller last one is left out.

    Args:
        eoi: a `ciacore.baselines.eoi.EOI`, whose networks are trained.
        rows: transitions, a `ciacore.baselines.eoi.Rows`.
        numbers: of the equations.

    Returns:
        The losses of every step, by name.
    """
    steps = WrittenOutSteps(eoi, numbers)
    return [steps.step(block) for block in blocks(eoi, rows, numbers.rows)]


def blocks(eoi: Any, rows: Any, size: int) -> list[Block]:
    """Consecutive blocks of rows; a smaller last one is left out.

    Args:
        eoi: a `ciacore.baselines.eoi.EOI`.
        rows: its transitions, a `ciacore.baselines.eoi.Rows`.
        size: rows of a block.
    """
    whole = Block(
        observations=rows.observations,
        after=rows.after,
        inputs=eoi.with_identity(rows.observations, rows.agents),
        inputs_after=eoi.with_identity(rows.after, rows.agents),
        own=rows.agents.unsqueeze(-1),
        one_hot=eoi.identity[rows.agents],
        actions=rows.actions.unsqueeze(-1),
        going_on=~rows.ended,
    )
    n_blocks = len(rows.agents) // size
    parts = (part.split(size)[:n_blocks] for part in whole)
    return [Block(*block) for block in zip(*parts, strict=True)]


class WrittenOutSteps:
    """The gradient steps of one update."""

    def __init__(self, eoi: Any, numbers: Numbers) -> None:
        """Makes the arrays.

        Args:
            eoi: a `ciacore.baselines.eoi.EOI`, whose networks are trained.
            numbers: of the equations.
        """
        self.numbers, rows = numbers, numbers.rows
        optimizers = eoi.optimizers
        self.classifier = WrittenOut(eoi.classifier, rows, optimizers["classifier"])
        self.values = WrittenOut(eoi.values, rows, optimizers["values"])
        self.target = WrittenOut(eoi.target, rows)
        self.of_values = torch.empty_like(self.values.layers[-1])
        # what the losses are multiplied by, as torch's differentiation rounds it
        one, n_classes = torch.ones(()), len(eoi.identity)
        self.of_cross_entropies = -one / (rows * n_classes)
        self.of_entropies = -one * numbers.entropy / (rows * n_classes)
        self.of_errors = one / self.of_values.shape[-1] / rows

    def step(self, block: Block) -> dict[str, Float[Tensor, ""]]:
        """One step of the classifier, then one of the values, then the target's.

        Args:
            block: what is learned from.

        Returns:
            Both losses, by name.
        """
        _, _, _, scale, gamma, kept, renewed = self.numbers
        classifier_loss = self.step_classifier(block)
        p = self.classifier(block.observations).softmax(-1)
        reward = p.gather(-1, block.own).squeeze(-1)
        best = self.target(block.inputs_after).amax(-1)
        targets = scale * reward + gamma * block.going_on * best
        value_loss = self.step_values(block, targets)
        copied, values = self.target.parameters, self.values.parameters
        for parameter, value in zip(copied, values, strict=True):
            parameter.mul_(kept).add_(value, alpha=renewed)
        return {"classifier_loss": classifier_loss, "value_loss": value_loss}

    def step_classifier(self, block: Block) -> Float[Tensor, ""]:
        """One step of the classifier.

        Args:
            block: what is learned from.

        Returns:
            Its loss.
        """
        numbers = self.numbers
        p = self.classifier(block.after).softmax(-1)
        not_zero = p + numbers.small
        log_p = not_zero.log()
        loss = -(block.one_hot * log_p).mean() - numbers.entropy * (p * log_p).mean()
        of_log_p = block.one_hot * self.of_cross_entropies + p * self.of_entropies
        of_p = log_p * self.of_entropies + of_log_p / not_zero
        softmax_backward = torch.ops.aten._softmax_backward_data
        self.classifier.descend(softmax_backward(of_p, p, -1, p.dtype))
        return loss

    def step_values(
        self, block: Block, targets: Float[Tensor, "R"]
    ) -> Float[Tensor, ""]:
        """One step of the intrinsic values.

        Args:
            block: what is learned from.
            targets: [R] for the actions taken.

        Returns:
            Their loss.
        """
        values = self.values(block.inputs)
        errors = values.gather(-1, block.actions) - targets.unsqueeze(-1)
        loss = (errors**2).mean() / values.shape[-1]
        self.of_values.zero_().scatter_(-1, block.actions, self.of_errors * 2 * errors)
        self.values.descend(self.of_values)
        return loss
