"""Where episodes are played, and by which networks."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ciacore.learning.learner import Learner, Parts
from ciacore.types import Explorer, Spec


def place_of_play(spec: Spec, device: torch.device) -> torch.device:
    """Where episodes are played: where learning happens, unless they end early.

    Play of unknown length cannot be captured as a CUDA graph: a GPU would be asked at
    every step whether all is over, and each of a battle's steps is a thousand small
    launches. A core does them faster.

    Args:
        spec: of the game.
        device: where learning happens.
    """
    return torch.device("cpu") if spec.ends_early else device


class Player:
    """The agent and the explorer that play: the learner's own, or copies of them."""

    def __init__(self, learner: Learner, copies: Parts | None = None) -> None:
        """Takes the learner's own, where there are no others.

        Args:
            learner: whose networks learn.
            copies: other parts of the same method, which lie where episodes are played;
                what plays of them gets the learner's weights.
        """
        self.learner, self.copies = learner, copies

    def now(self) -> tuple[Any, Explorer]:
        """Agent and explorer with the weights that the learner has at this moment."""
        if self.copies is None:
            return self.learner.online["agent"], self.learner.explorer
        ours, others = self.learner, self.copies
        copy_weights(ours.online["agent"], others.agent)
        copy_weights(ours.auxiliaries, nn.ModuleDict(others.auxiliaries))
        return others.agent, others.explorer


@torch.no_grad()
def copy_weights(network: nn.Module, copy: nn.Module) -> None:
    """Copies parameters to another device, in one piece.

    Args:
        network: whose they are.
        copy: who gets them; a network of the same kind.
    """
    copied = list(copy.parameters())
    if not copied:
        return
    flat = torch.cat([one.flatten() for one in network.parameters()])
    pieces = flat.to(copied[0].device).split([one.numel() for one in copied])
    for one, piece in zip(copied, pieces, strict=True):
        one.copy_(piece.view_as(one))
