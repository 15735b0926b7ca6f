"""What one update of QMIX has to compute and to move, counted from the sizes: a floor for every implementation."""

from __future__ import annotations

from typing import NamedTuple

from ciacore.config import Config
from ciacore.types import Spec


class Work(NamedTuple):
    """Floating-point operations in matrix products, and bytes of float32 that must be read or written at least once."""

    flops: int
    bytes: int


def agent_row(spec: Spec, config: Config) -> int:
    """Multiplications of the agent network for one agent at one step: fc_in, six gate products of the GRU, fc_out."""
    inputs, H = spec.observation_size + spec.n_actions + spec.n_agents, config.hidden_size
    return inputs * H + 6 * H * H + H * spec.n_actions


def mixer_row(spec: Spec, config: Config) -> int:
    """Multiplications of QMIX for one joint step: four hypernetworks and two mixing layers."""
    S, K, E, H = spec.state_size, spec.n_agents, config.mixing_size, config.hypernetwork_size
    return (S * H + H * K * E) + S * E + (S * H + H * E) + (S * E + E) + K * E + E


def update(spec: Spec, config: Config) -> Work:
    """One update: an online and a target pass, and a backward pass, which costs two passes.

    The backward pass needs no gradient with respect to observations and states, so it saves one product each there.
    A multiplication with its addition counts as two operations.
    """
    S, H, HH, E = spec.state_size, config.hidden_size, config.hypernetwork_size, config.mixing_size
    agent_rows = config.batch * (spec.horizon + 1) * spec.n_agents
    mixer_rows = config.batch * spec.horizon
    inputs = spec.observation_size + spec.n_actions + spec.n_agents
    saved = agent_rows * inputs * H + mixer_rows * (2 * S * HH + 2 * S * E)
    products = 4 * (agent_rows * agent_row(spec, config) + mixer_rows * mixer_row(spec, config)) - saved
    states = agent_rows * (inputs + 5 * H)  # inputs, and what backward needs of the GRU: r, z, n, m, h
    return Work(2 * products, 4 * (2 * states + mixer_rows * 2 * S))
