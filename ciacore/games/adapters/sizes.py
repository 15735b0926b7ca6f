"""Spaces of Gymnasium as numbers: how long an observation is, how many actions."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from ciacore.types import refuse

SEEN, MASK = "observation", "action_mask"  # of an observation with a mask


def number_of_actions(agent: Any, space: Any) -> int:
    """How many actions an agent has.

    Args:
        agent: its name.
        space: of its actions.

    Raises:
        InvalidInputError: the actions are not discrete.
    """
    if not isinstance(space, spaces.Discrete):
        kind = "continuous" if isinstance(space, spaces.Box) else "nested"
        cure = "Only environments with one discrete action per agent can be played."
        got = f"the {kind} space {space} of agent {agent}"
        refuse("action_space", "a Discrete space", got, cure)
    return int(space.n)


def seen_space(space: Any) -> Any:
    """The space of what an agent sees, without the mask beside it."""
    if isinstance(space, spaces.Dict) and SEEN in space.spaces:
        return space[SEEN]
    return space


def observation_size(agent: Any, space: Any) -> int:
    """How many numbers an agent sees; categories count as one-hot.

    Args:
        agent: its name.
        space: of its observations.

    Raises:
        InvalidInputError: the space has no fixed length.
    """
    space = seen_space(space)
    if not isinstance(space, spaces.Space) or not space.is_np_flattenable:
        cure = "Only observations of a fixed length can be played."
        got = f"the space {space} of agent {agent}"
        refuse("observation_space", "a space of fixed length", got, cure)
    return spaces.flatdim(space)


def flat(agent: Any, space: Any, value: Any) -> np.ndarray:
    """What an agent sees, as float32 [size].

    Args:
        agent: its name.
        space: of its observations.
        value: what the environment returned for it.

    Raises:
        InvalidInputError: another length than the space has.
    """
    if isinstance(value, dict) and SEEN in value:
        value = value[SEEN]
    space = seen_space(space)
    if isinstance(space, spaces.Box):
        found = np.asarray(value, np.float32).ravel()
    else:
        found = np.asarray(spaces.flatten(space, value), np.float32)
    size = spaces.flatdim(space)
    if len(found) != size:
        cure = "Correct the environment's observation_space."
        refuse("observations", f"{size} numbers for agent {agent}", len(found), cure)
    return found


def mask_of(agent: Any, space: Any, value: Any, info: Any) -> np.ndarray:
    """The actions that an agent may take, bool [A]; all where nothing is said.

    Args:
        agent: its name.
        space: of its actions.
        value: what it sees, which may hold `action_mask`.
        info: of the agent, which may hold `action_mask`.

    Raises:
        InvalidInputError: a mask of another length.
    """
    found = info.get(MASK) if isinstance(info, dict) else None
    if found is None and isinstance(value, dict):
        found = value.get(MASK)
    if found is None:
        return np.ones(int(space.n), bool)
    mask = np.asarray(found).ravel() != 0
    if len(mask) != space.n:
        cure = "Correct the environment's action_mask."
        refuse(MASK, f"{space.n} entries for agent {agent}", len(mask), cure)
    return mask
