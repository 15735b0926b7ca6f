"""What one update of QMIX must compute and move, counted from the sizes.

It is a floor for every implementation.
"""

from __future__ import annotations

from typing import NamedTuple

from ciacore.config import Config
from ciacore.types import Spec


class Work(NamedTuple):
    """Arithmetic and traffic."""

    flops: int  # floating-point operations in matrix products
    bytes: int  # of float32 that must be read or written at least once


def input_size(spec: Spec) -> int:
    """The length of what an agent is shown."""
    return spec.observation_size + spec.n_actions + spec.n_agents


def input_row(spec: Spec, config: Config) -> int:
    """Multiplications of the agent network for one input.

    These are fc_in and three gate products of the GRU.

    Args:
        spec: The sizes of the game.
        config: The sizes of the networks.
    """
    H = config.hidden_size
    return input_size(spec) * H + 3 * H * H


def hidden_row(spec: Spec, config: Config) -> int:
    """Multiplications of the agent network for one hidden state.

    These are three gate products of the GRU, and fc_out.

    Args:
        spec: The sizes of the game.
        config: The sizes of the networks.
    """
    H = config.hidden_size
    return 3 * H * H + H * spec.n_actions


def state_row(spec: Spec, config: Config) -> int:
    """Multiplications of QMIX's four hypernetworks for one state.

    Args:
        spec: The sizes of the game.
        config: The sizes of the networks.
    """
    S = spec.state_size
    K = spec.n_agents
    E = config.mixing_size
    H = config.hypernetwork_size
    hyper_w1 = S * H + H * K * E
    hyper_b1 = S * E
    hyper_w2 = S * H + H * E
    value = S * E + E
    return hyper_w1 + hyper_b1 + hyper_w2 + value


def update(
    spec: Spec, config: Config, inputs: int | None = None, states: int | None = None
) -> Work:
    """One update: an online and a target pass, and a backward pass like two passes.

    The backward pass needs no gradient with respect to observations and states, so it
    saves one product each there. A multiplication with its addition counts as two
    operations.

    Args:
        spec: The sizes of the game.
        config: The sizes of the networks and of the batch.
        inputs: How many agent inputs of the batch are different, where each is looked
            at once; by default every row is.
        states: The same of the states.
    """
    S = spec.state_size
    E = config.mixing_size
    H = config.hypernetwork_size
    agent_rows = config.batch * (spec.horizon + 1) * spec.n_agents
    mixer_rows = config.batch * spec.horizon
    inputs = inputs or agent_rows
    states = states or mixer_rows

    agents = inputs * input_row(spec, config) + agent_rows * hidden_row(spec, config)
    mixing = states * state_row(spec, config) + mixer_rows * (spec.n_agents * E + E)
    saved = inputs * input_size(spec) * config.hidden_size
    saved += states * (2 * S * H + 2 * S * E)
    multiplications = 4 * (agents + mixing) - saved

    # inputs, and what backward needs of the GRU: r, z, n, m, h
    kept = agent_rows * (input_size(spec) + 5 * config.hidden_size)
    numbers = 2 * kept + mixer_rows * 2 * S
    return Work(flops=2 * multiplications, bytes=4 * numbers)
