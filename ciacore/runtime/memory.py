"""How much memory a run asks for, from the sizes of its game."""

from __future__ import annotations

from ciacore.config import Config
from ciacore.learning.ragged_replay import SEGMENT
from ciacore.types import Spec

MIB = 2**20
# the process itself: torch, the networks and their optimizer; JAX with a battle's code
PROCESS = 1_000 * MIB


def episode_bytes(spec: Spec) -> int:
    """What one episode of the longest kind takes in the replay.

    Args:
        spec: of the game.
    """
    slots, steps = spec.horizon + 1, spec.horizon
    seen = spec.n_agents * spec.observation_size + spec.state_size
    choices = spec.n_agents * spec.n_actions  # one byte each: available or not
    action = 1 if spec.n_actions <= 256 else 8
    numbers = 3 * 4  # reward, discount and weight
    of_steps = steps * (spec.n_agents * action + numbers)
    return slots * (seen * spec.dtype.itemsize + choices) + of_steps


def run_bytes(spec: Spec, config: Config) -> int:
    """What a run needs at most, one seed with its checkpoints.

    The replay lies in memory once, as if all episodes were of the longest kind. A
    replay that is written whole into every checkpoint lies there once more meanwhile. A
    batch is read in single precision, by online and target networks.

    Args:
        spec: of the game.
        config: of the method: its replay and batch.
    """
    replay = config.buffer * episode_bytes(spec)
    inputs = spec.observation_size + spec.n_actions + spec.n_agents
    rows = config.batch * (spec.horizon + 1) * spec.n_agents
    # of every row: what the agents read, and what their layers keep for the gradient
    batch = rows * 4 * (inputs + 16 * config.hidden_size)
    written = SEGMENT * episode_bytes(spec) if spec.ends_early else replay
    return PROCESS + replay + written + batch


def run_megabytes(spec: Spec, config: Config) -> int:
    """`run_bytes` in MiB, rounded up to hundreds, as schedulers are asked for it.

    Args:
        spec: of the game.
        config: of the method.
    """
    return -(-run_bytes(spec, config) // (100 * MIB)) * 100
