"""The network that writes a mixer's weights from the state.

(Ha et al. 2017; Rashid et al. 2018.)
"""

from __future__ import annotations

from torch import nn

from ciacore.networks import mlp


def hypernetwork(inputs: int, hidden: int, outputs: int) -> nn.Module:
    """Linear, ReLU, Linear; a single Linear where `hidden` is 0.

    Args:
        inputs: numbers in the state.
        hidden: width of the hidden layer.
        outputs: weights to write.
    """
    return mlp(inputs, hidden, outputs) if hidden else nn.Linear(inputs, outputs)
