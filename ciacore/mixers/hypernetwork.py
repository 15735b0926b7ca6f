"""The network that writes a mixer's weights from the state (Ha et al. 2017; Rashid et al. 2018)."""

from __future__ import annotations

from torch import nn


def hypernetwork(inputs: int, hidden: int, outputs: int) -> nn.Module:
    """Linear, ReLU, Linear; a single Linear where `hidden` is 0."""
    if hidden == 0:
        return nn.Linear(inputs, outputs)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
