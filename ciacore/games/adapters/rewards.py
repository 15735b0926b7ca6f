"""One reward for the team, from one for each agent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ciacore.types import refuse

RULES = ("shared", "sum", "mean")


def team_reward(rewards: Mapping[Any, Any], rule: str, n_agents: int) -> float:
    """The team's reward of one step.

    Args:
        rewards: of the agents that acted, by name.
        rule: "shared": all are paid the same, which is the team's reward; "sum": their
            sum; "mean": their sum divided by the number of agents, those that have left
            among them.
        n_agents: K.

    Raises:
        InvalidInputError: a reward that is no finite number, or rewards that differ
            where they are said to be shared.
    """
    found = {agent: float(reward) for agent, reward in rewards.items()}
    if not all(map(math.isfinite, found.values())):
        cure = "Look at how the environment computes them."
        refuse("rewards", "finite numbers", found, cure)
    if not found:
        return 0.0
    if rule == "sum":
        return math.fsum(found.values())
    if rule == "mean":
        return math.fsum(found.values()) / n_agents
    first = next(iter(found.values()))
    alike = (
        math.isclose(first, value, rel_tol=1e-6, abs_tol=1e-9)
        for value in found.values()
    )
    if not all(alike):
        cure = 'Set reward="sum" or reward="mean".'
        refuse("reward", "the same reward for every agent", found, cure)
    return first
