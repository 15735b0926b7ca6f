"""Multi-layer perceptrons, for learning in torch and for playing in numpy."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from torch import nn

from ciacore.types import Array


def mlp(*sizes: int) -> nn.Sequential:
    """Linear layers from `sizes[0]` inputs to `sizes[-1]` outputs, with a ReLU between each two."""
    layers = [
        layer for pair in pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU())
    ]
    return nn.Sequential(*layers[:-1])


def player(network: nn.Sequential, numpy: bool) -> Callable[[Array], Array]:
    """A perceptron as a function of torch tensors, or of numpy arrays with the weights it has now."""
    if not numpy:
        return network
    weights = [
        (layer.weight.detach().numpy().T, layer.bias.detach().numpy())
        for layer in network[::2]
    ]

    def outputs(x: np.ndarray) -> np.ndarray:
        for index, (weight, bias) in enumerate(weights):
            x = (np.maximum(x, 0) if index else x) @ weight + bias
        return x

    return outputs
