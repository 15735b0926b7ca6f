"""A Gymnasium environment with one action per agent, seen as a parallel one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gymnasium import spaces

from ciacore.types import refuse


class Joint:
    """The face of PettingZoo's parallel environments; agents are numbers from 0.

    The environment's spaces are a Tuple or a list with an entry per agent, and so are
    observations and actions. Rewards, ends and masks (`info["action_mask"]`) may be one
    for all or a list.
    """

    def __init__(self, env: Any) -> None:
        """Looks at the spaces.

        Args:
            env: of Gymnasium.

        Raises:
            InvalidInputError: the spaces are not one per agent.
        """
        self.env = env
        self.acting = each(env, "action_space")
        self.seeing = each(env, "observation_space")
        if len(self.acting) != len(self.seeing):
            cure = "Correct the environment's spaces."
            expected = f"{len(self.acting)} spaces, one per agent"
            refuse("observation_space", expected, len(self.seeing), cure)
        self.possible_agents = list(range(len(self.acting)))
        self.agents: list[int] = []
        if callable(getattr(env.unwrapped, "state", None)):
            self.state = env.unwrapped.state

    @property
    def unwrapped(self) -> Any:
        """The environment itself."""
        return self.env.unwrapped

    @property
    def spec(self) -> Any:
        """What Gymnasium knows of it."""
        return self.env.spec

    def action_space(self, agent: int) -> Any:
        """Of one agent."""
        return self.acting[agent]

    def observation_space(self, agent: int) -> Any:
        """Of one agent."""
        return self.seeing[agent]

    def reset(self, seed: int | None = None) -> tuple[dict, dict]:
        """A fresh episode.

        Args:
            seed: of its randomness.

        Returns:
            Observations and infos, by agent.
        """
        seen, info = self.env.reset(seed=seed)
        self.agents = list(self.possible_agents)
        return self.by_agent("observations", seen), self.infos(info)

    def step(self, actions: dict[int, int]) -> tuple[dict, dict, dict, dict, dict]:
        """One joint action; who has left does action 0.

        Args:
            actions: by agent.

        Returns:
            Observations, rewards, terminations, truncations and infos, by agent.
        """
        joint = [
            actions.get(agent, int(getattr(self.acting[agent], "start", 0)))
            for agent in self.possible_agents
        ]
        seen, rewards, terminated, truncated, info = self.env.step(joint)
        acted = self.agents
        ends = self.by_agent("terminated", terminated)
        limits = self.by_agent("truncated", truncated)
        self.agents = [agent for agent in acted if not (ends[agent] or limits[agent])]
        paid = self.by_agent("rewards", rewards)
        return (
            self.by_agent("observations", seen),
            {agent: paid[agent] for agent in acted},
            {agent: bool(ends[agent]) for agent in acted},
            {agent: bool(limits[agent]) for agent in acted},
            self.infos(info),
        )

    def by_agent(self, name: str, values: Any) -> dict[int, Any]:
        """One value per agent.

        Args:
            name: what an error calls them.
            values: a sequence with one for each, or one for all.

        Raises:
            InvalidInputError: a sequence of another length.
        """
        if not isinstance(values, Sequence) and getattr(values, "ndim", 0) == 0:
            return dict.fromkeys(self.possible_agents, values)
        if len(values) != len(self.possible_agents):
            cure = "Correct the environment."
            expected = f"{len(self.possible_agents)} values, one per agent"
            refuse(name, expected, len(values), cure)
        return dict(zip(self.possible_agents, values, strict=True))

    def infos(self, info: Any) -> dict[int, dict]:
        """The mask of each agent, where the environment has one."""
        found = info.get("action_mask") if isinstance(info, dict) else None
        if found is None:
            return {agent: {} for agent in self.possible_agents}
        masks = self.by_agent("action_mask", found)
        return {agent: {"action_mask": mask} for agent, mask in masks.items()}


def each(env: Any, name: str) -> list[Any]:
    """The spaces of all agents.

    Args:
        env: of Gymnasium.
        name: action_space or observation_space.

    Raises:
        InvalidInputError: it is not one per agent.
    """
    space = getattr(env, name)
    if isinstance(space, spaces.Tuple):
        return list(space.spaces)
    if isinstance(space, list | tuple):
        return list(space)
    cure = "Only environments with one action per agent can be played."
    refuse(name, "a Tuple with a space per agent", str(space), cure)
