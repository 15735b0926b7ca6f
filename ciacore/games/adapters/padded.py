"""One environment as a game sees it: slots for agents, padded arrays, one reward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ciacore.games.adapters.makers import parallel, takes_turns
from ciacore.games.adapters.rewards import team_reward
from ciacore.games.adapters.sizes import (
    flat,
    mask_of,
    number_of_actions,
)
from ciacore.types import refuse


class Rules(NamedTuple):
    """What a game says of its environments."""

    make: Callable[[], Any]  # makes one
    n_agents: int  # K
    n_actions: int  # A, of the agent with the most
    observation_size: int  # O, of the agent that sees the most
    state_size: int  # S
    horizon: int
    reward: str  # "shared", "sum" or "mean"
    state: str  # "own" or "joined"
    limit_is_truncation: bool
    reuse: bool


class Seen(NamedTuple):
    """What is seen of one environment."""

    observations: np.ndarray  # float32 [K, O], zeros for who has left
    state: np.ndarray  # float32 [S]
    available: np.ndarray  # bool [K, A]; action 0 alone for who has left


class Result(NamedTuple):
    """What one step returns; after a reset nothing has happened."""

    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False


class Padded:
    """Plays episodes of an environment, one after the other.

    Every episode has an environment of its own, so that it follows from its seed
    alone: the `reset` of many keeps something of the episode before.
    """

    def __init__(self, rules: Rules) -> None:
        """Nothing is made yet.

        Args:
            rules: of the game.
        """
        self.rules = rules
        self.env: Any = None
        self.slots: dict[Any, int] = {}  # agent -> its place among the K
        self.living: list[Any] = []
        self.t = 0

    def reset(self, seed: int) -> tuple[Seen, Result]:
        """A fresh episode.

        Args:
            seed: of its randomness.

        Returns:
            What is seen, and that nothing has happened.
        """
        if self.env is None or not self.rules.reuse:
            self.env = parallel(self.rules.make())
        seen, infos = self.env.reset(seed=seed)
        named = getattr(self.env, "possible_agents", None) or self.env.agents
        self.slots = {agent: slot for slot, agent in enumerate(named)}
        self.living = list(self.env.agents)
        self.t = 0
        return self.look(seen, infos, self.living), Result()

    def step(self, actions: list[int]) -> tuple[Seen, Result]:
        """One joint action; what agents do that have left is ignored.

        Args:
            actions: one for each of the K slots.

        Returns:
            What is seen, and what happened.
        """
        rules = self.rules
        joint = {}
        for agent in self.living:
            start = int(getattr(self.env.action_space(agent), "start", 0))
            joint[agent] = actions[self.slots[agent]] + start
        acted = self.acting()
        if acted != self.living:
            joint |= dict.fromkeys(set(self.living) - set(acted))
        seen, rewards, ends, limits, infos = self.env.step(joint)
        self.t += 1
        before = self.living
        gone = [agent for agent in self.living if ends.get(agent) or limits.get(agent)]
        ended_by_the_rules = all(ends.get(agent) for agent in gone)
        self.living = [
            agent
            for agent in getattr(self.env, "agents", self.living)
            if not (ends.get(agent) or limits.get(agent))
        ]
        for agent in self.living:
            if agent in before and agent not in rewards:
                cure = "Pay who is paid nothing 0."
                got = f"none for agent {agent}"
                refuse("rewards", "one for every agent that plays on", got, cure)
        over = not self.living
        at_limit = self.t >= rules.horizon
        terminated = over and ended_by_the_rules
        if at_limit and rules.limit_is_truncation:
            terminated = False
        truncated = (over or at_limit) and not terminated
        # Who was stopped by the limit could have gone on; the last slot shows how.
        shown = self.living
        if truncated:
            shown = [agent for agent in seen if not ends.get(agent)]
            if rules.limit_is_truncation:
                shown = list(seen)
        return (
            self.look(seen, infos, shown),
            Result(
                team_reward(rewards, rules.reward, rules.n_agents),
                terminated,
                truncated,
            ),
        )

    def picture(self, order: None = None) -> np.ndarray | None:
        """How the environment draws itself now; None where it was not made to.

        Args:
            order: not used; a reset and a step have one.

        Raises:
            InvalidInputError: it cannot draw here, or draws something else.
        """
        inner = getattr(self.env, "unwrapped", self.env)
        if getattr(inner, "render_mode", None) != "rgb_array":
            return None
        cure = "Leave render_mode out to see what the agents see."
        expected = "an environment that draws an array [height, width, 3]"
        try:
            drawn = np.asarray(inner.render())
        except Exception as error:  # each library for drawing has its own
            got = f"{type(error).__name__}: {error}"
            refuse("render_mode", expected, got, cure)
        if drawn.ndim != 3 or drawn.shape[-1] not in (3, 4):
            refuse("render_mode", expected, list(drawn.shape), cure)
        return drawn

    def acting(self) -> list[Any]:
        """The living agents whose actions count now: all, or the one whose turn it is.

        Where a turn's agent has just left, nobody's do.
        """
        if not takes_turns(self.env):
            return self.living
        selected = getattr(self.env.aec_env, "agent_selection", None)
        return [agent for agent in self.living if agent == selected]

    def look(self, seen: dict, infos: dict, shown: list[Any]) -> Seen:
        """What is seen, padded.

        Args:
            seen: what each agent sees.
            infos: of each agent.
            shown: the agents that have a choice.

        Raises:
            InvalidInputError: something that the sizes do not hold, a living agent
                without an observation or an available action, numbers that are not
                finite.
        """
        rules = self.rules
        observations = np.zeros((rules.n_agents, rules.observation_size), np.float32)
        available = np.zeros((rules.n_agents, rules.n_actions), bool)
        acting = self.acting()
        for agent in self.living:
            if agent not in seen:
                cure = "Show every agent in env.agents something."
                got = f"none for agent {agent}"
                refuse("observations", "one for every living agent", got, cure)
        for agent, value in seen.items():
            slot = self.slot_of(agent)
            numbers = flat(agent, self.env.observation_space(agent), value)
            fits("observation_size", agent, len(numbers), rules.observation_size)
            observations[slot, : len(numbers)] = numbers
            if agent not in shown or (self.living and agent not in acting):
                continue
            space = self.env.action_space(agent)
            fits("n_actions", agent, number_of_actions(agent, space), rules.n_actions)
            mask = mask_of(agent, space, value, infos.get(agent))
            if self.living and not mask.any():
                cure = "Give an agent that can do nothing an action that does nothing."
                got = f"none for agent {agent}"
                refuse("action_mask", "an action for every agent", got, cure)
            available[slot, : len(mask)] = mask
        available[:, 0] |= ~available.any(-1)
        if rules.state == "own":
            state = np.asarray(self.env.state(), np.float32).ravel()
        else:
            state = observations.ravel()
        if len(state) != rules.state_size:
            cure = 'Use state="joined", or correct the environment.'
            refuse("states", f"{rules.state_size} numbers", len(state), cure)
        for name, found in (("observations", observations), ("states", state)):
            if not np.isfinite(found).all():
                cure = "Look at how the environment computes them."
                refuse(name, "finite numbers", found.tolist(), cure)
        return Seen(observations, state.copy(), available)

    def slot_of(self, agent: Any) -> int:
        """The place of an agent; a new one takes the next that is free."""
        slot = self.slots.setdefault(agent, len(self.slots))
        if slot >= self.rules.n_agents:
            cure = f"Set n_agents={slot + 1} or more."
            refuse("n_agents", f"at most {self.rules.n_agents} agents", agent, cure)
        return slot


def fits(name: str, agent: Any, found: int, held: int) -> None:
    """Refuses what is longer than there is room for.

    Args:
        name: of the size.
        agent: whose it is.
        found: how long it is.
        held: how long it may be.
    """
    if found > held:
        cure = f"Set {name}={found} or more."
        refuse(name, f"at most {held} for agent {agent}", found, cure)
