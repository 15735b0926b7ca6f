"""What one update of QMIX has to compute and to move, counted from the sizes: a floor for every implementation."""

from __future__ import annotations

from typing import NamedTuple

from ciacore.config import Config
from ciacore.types import Spec


class Work(NamedTuple):
    """Floating-point operations in matrix products, and bytes of float32 that must be read or written at least once."""

    flops: int
    bytes: int


def input_row(spec: Spec, config: Config) -> int:
    """Multiplications of the agent network for one input: fc_in and three gate products of the GRU."""
    inputs, H = (
        spec.observation_size + spec.n_actions + spec.n_agents,
        config.hidden_size,
    )
    return inputs * H + 3 * H * H


def hidden_row(spec: Spec, config: Config) -> int:
    """Multiplications of the agent network for one hidden state: three gate products of the GRU, fc_out."""
    return 3 * config.hidden_size**2 + config.hidden_size * spec.n_actions


def state_row(spec: Spec, config: Config) -> int:
    """Multiplications of QMIX's four hypernetworks for one state."""
    S, K, E, H = (
        spec.state_size,
        spec.n_agents,
        config.mixing_size,
        config.hypernetwork_size,
    )
    return (S * H + H * K * E) + S * E + (S * H + H * E) + (S * E + E)


def update(
    spec: Spec, config: Config, inputs: int | None = None, states: int | None = None
) -> Work:
    """One update: an online and a target pass, and a backward pass, which costs two passes.

    The backward pass needs no gradient with respect to observations and states, so it
    saves one product each there. A multiplication with its addition counts as two
    operations.

    Args:
        inputs: how many agent inputs of the batch are different, where each is looked
            at once; by default every row is.
        states: the same of the states.
    """
    S, H, HH, E = (
        spec.state_size,
        config.hidden_size,
        config.hypernetwork_size,
        config.mixing_size,
    )
    agent_rows = config.batch * (spec.horizon + 1) * spec.n_agents
    mixer_rows = config.batch * spec.horizon
    looked, written = inputs or agent_rows, states or mixer_rows
    size = spec.observation_size + spec.n_actions + spec.n_agents
    saved = looked * size * H + written * (2 * S * HH + 2 * S * E)
    agents = looked * input_row(spec, config) + agent_rows * hidden_row(spec, config)
    mixing = written * state_row(spec, config) + mixer_rows * (spec.n_agents * E + E)
    # inputs, and what backward needs of the GRU: r, z, n, m, h
    kept = agent_rows * (size + 5 * H)
    return Work(
        2 * (4 * (agents + mixing) - saved), 4 * (2 * kept + mixer_rows * 2 * S)
    )
