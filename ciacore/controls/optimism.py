"""Optimism at the start: agents that think well of every action."""

from __future__ import annotations

import torch

from ciacore.config import Config
from ciacore.learning.agent import SharedHead
from ciacore.types import Spec

HIGHER = 1.0  # utilities, at the start of training


def optimistic_head(spec: Spec, config: Config) -> SharedHead:
    """The agents' last layer, drawn as ever, with a bias that starts 1 higher.

    Args:
        spec: the sizes of the game.
        config: `hidden_size` is read here.
    """
    head = SharedHead(spec, config)
    with torch.no_grad():
        head.bias += HIGHER
    return head
