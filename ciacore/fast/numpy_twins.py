"""Snapshots of networks that play in numpy.

For few rows, calls cost torch more than the arithmetic. A network that has a twin here
is registered by the file that defines it; one without plays in torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import nn

from ciacore.fast import switch
from ciacore.fast.ragged_gru import HALVES, gates


class Twin(NamedTuple):
    """How the networks of a class are copied for play in numpy."""

    copy: Callable[[Any], Any]
    parts: tuple[str, ...]  # attributes of the network that need twins of their own


TWINS: dict[type, Twin] = {}


def register(network: type, copy: Callable[[Any], Any], *parts: str) -> None:
    """Says how the networks of a class are copied for play in numpy.

    Args:
        network: the class; its subclasses are not meant, as they may compute otherwise.
        copy: makes the twin of a network, with the weights it has at that moment.
        parts: attributes of the network that need twins of their own.
    """
    TWINS[network] = Twin(copy, parts)


def has_twin(network: nn.Module) -> bool:
    """Whether a network can be copied for play in numpy."""
    if not switch.on() or type(network) not in TWINS:
        return False
    parts = TWINS[type(network)].parts
    return all(has_twin(getattr(network, part)) for part in parts)


def numpy_twin(network: nn.Module) -> Any:
    """The network as it is now, on numpy arrays: the same calls, the same results."""
    return TWINS[type(network)].copy(network)


def playing_like(agent: Any, network: nn.Sequential) -> Callable[[Any], Any]:
    """A network that plays beside an agent, in torch or in numpy as the agent does.

    Args:
        agent: what the policy plays: an agent, or the twin of one.
        network: a perceptron that an explorer asks while playing.
    """
    return network if isinstance(agent, nn.Module) else numpy_twin(network)


class NumpyRecurrentAgent:
    """The twin of a RecurrentAgent.

    One product gives what enters the gates n, r, z and m, from [x, h].
    """

    def __init__(self, agent: Any) -> None:
        """Copies the weights.

        Args:
            agent: a `ciacore.learning.agent.RecurrentAgent` whose head has a twin.
        """
        n_agents = agent.spec.n_agents
        self.spec, self.hidden_size = agent.spec, agent.hidden_size
        self.fc_out = numpy_twin(agent.fc_out)

        # The one-hot identity picks one row of the first layer: a bias of each agent.
        weight = agent.fc_in.weight.T.detach().numpy().copy()
        bias = agent.fc_in.bias.detach().numpy().copy()
        self.w_in, of_identity = weight[:-n_agents], weight[-n_agents:]
        self.b_in = bias + of_identity  # [K, H]

        w, b, u, c = (part.detach() for part in gates(agent.gru))
        from_x = F.pad(w.mT, (0, 0, 0, 0, 0, 1))  # n, r, z; m takes nothing from x
        from_h = F.pad(u.mT, (0, 0, 0, 0, 1, 0))  # r, z, m; n takes nothing from h
        self.w = (torch.cat([from_x, from_h], 1) * HALVES).numpy()
        self.b = (torch.cat([b, c[None]])[:, None] * HALVES).numpy()
        self.choices = np.eye(agent.spec.n_actions, dtype=np.float32)

    def step(
        self,
        observations: Float[np.ndarray, "N K O"],
        last_actions: Float[np.ndarray, "N K A"],
        hidden: Float[np.ndarray, "NK H"],
        context: Float[np.ndarray, "N Z"] | None = None,
    ) -> tuple[Float[np.ndarray, "N K A"], Float[np.ndarray, "NK H"]]:
        """As `RecurrentAgent.step`: action values and the next hidden state.

        Args:
            observations: [N, K, O] of N games.
            last_actions: [N, K, A] one-hot; zeros at the start.
            hidden: [N K, H] after the step before.
            context: [N, Z] the latent of the episode, where there is one.
        """
        inputs = np.concatenate([observations, last_actions], -1)
        x = np.maximum(inputs @ self.w_in + self.b_in, 0)
        x_and_h = np.concatenate([x.reshape(hidden.shape), hidden], 1)
        before = x_and_h @ self.w + self.b  # [4, NK, H]
        r, z = 0.5 + 0.5 * np.tanh(before[1:3])
        n = np.tanh(before[0] + r * before[3])
        hidden = n + z * (hidden - n)
        of_each = hidden.reshape(*last_actions.shape[:2], -1)
        return self.fc_out(of_each, context), hidden

    def initial(
        self, n_games: int
    ) -> tuple[Float[np.ndarray, "NK H"], Float[np.ndarray, "N K A"]]:
        """Hidden state and last actions at the start of N games: zeros."""
        n_agents, n_actions = self.spec.n_agents, self.spec.n_actions
        hidden = np.zeros((n_games * n_agents, self.hidden_size), np.float32)
        return hidden, np.zeros((n_games, n_agents, n_actions), np.float32)

    def one_hot(self, actions: Int[np.ndarray, "N K"]) -> Float[np.ndarray, "N K A"]:
        """The actions taken, as `step` reads them at the next step."""
        return self.choices.take(actions, 0)


def shared_head(head: nn.Linear) -> Callable[[np.ndarray, np.ndarray | None], Any]:
    """The twin of a SharedHead: action values [N, K, A] of hidden states [N, K, H]."""
    weight = head.weight.detach().numpy().T.copy()
    bias = head.bias.detach().numpy().copy()
    return lambda hidden, context: hidden @ weight + bias


def latent_head(head: Any) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The twin of MAVEN's LatentHead: action values of hidden states and latents."""
    weight = head.noise_head.weight.detach().numpy().T
    bias = head.noise_head.bias.detach().numpy()
    n_latents = len(weight) - len(head.identity)
    of_latent = weight[:n_latents].copy()  # [Z, A H]
    of_agent = weight[n_latents:] + bias  # [K, A H]

    def values(hidden: np.ndarray, context: np.ndarray) -> np.ndarray:
        w = (context @ of_latent)[:, None] + of_agent
        w = w.reshape(len(context), -1, *head.shape)  # [N, K, A, H]
        return (w @ hidden[..., None])[..., 0]

    return values


def perceptron(network: nn.Sequential) -> Callable[[np.ndarray], np.ndarray]:
    """The twin of `ciacore.networks.mlp`: linear layers, a ReLU between each two."""
    weights = [
        (layer.weight.detach().numpy().T, layer.bias.detach().numpy())
        for layer in network[::2]
    ]

    def outputs(x: np.ndarray) -> np.ndarray:
        for index, (weight, bias) in enumerate(weights):
            x = (np.maximum(x, 0) if index else x) @ weight + bias
        return x

    return outputs


register(nn.Sequential, perceptron)
