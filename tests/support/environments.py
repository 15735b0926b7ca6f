"""Small environments of PettingZoo and Gymnasium, each with a trait of its own."""

from __future__ import annotations

import os

import gymnasium
import numpy as np
from gymnasium import spaces
from pettingzoo import AECEnv, ParallelEnv

LONG, SHORT = "long", "short"  # agents


class Relay(ParallelEnv):
    """Two unlike agents; the short one leaves after two steps, the limit ends it all.

    Both are paid 1 for every action 0 that was taken (the short one's actions begin at
    5). Action 2 of the long one is forbidden at odd times.
    """

    metadata = {"name": "relay"}  # noqa: RUF012
    possible_agents = [LONG, SHORT]  # noqa: RUF012

    def __init__(self, max_cycles: int = 4, limit_as: str = "truncated") -> None:
        self.max_cycles, self.limit_as = max_cycles, limit_as

    def observation_space(self, agent):
        return spaces.Box(-np.inf, np.inf, (3 if agent == LONG else 2,), np.float64)

    def action_space(self, agent):
        return spaces.Discrete(3) if agent == LONG else spaces.Discrete(2, start=5)

    def reset(self, seed=None, options=None):
        self.rng = np.random.default_rng(seed)
        self.agents, self.t = list(self.possible_agents), 0
        return self.seen(), self.infos()

    def seen(self):
        found = {LONG: np.array([self.t, self.rng.random(), -1.0])}
        if SHORT in self.agents:
            found[SHORT] = np.array([self.t, 7.0])
        return found

    def infos(self):
        mask = np.array([1, 1, self.t % 2 == 0], np.int8)
        return {agent: {"action_mask": mask} for agent in self.agents if agent == LONG}

    def step(self, actions):
        assert set(actions) == set(self.agents)
        assert all(self.action_space(name).contains(u) for name, u in actions.items())
        self.t += 1
        paid = float((actions[LONG] == 0) + (actions.get(SHORT) == 5))
        seen, infos = self.seen(), self.infos()
        acted, limit = self.agents, self.t == self.max_cycles
        ends = {agent: agent == SHORT and self.t == 2 for agent in acted}
        limits = dict.fromkeys(acted, limit and self.limit_as == "truncated")
        if limit and self.limit_as == "terminated":
            ends = dict.fromkeys(acted, True)
        self.agents = [name for name in acted if not (ends[name] or limits[name])]
        return seen, dict.fromkeys(acted, paid), ends, limits, infos

    def state(self):
        return np.array([self.t, 2 * self.t])


class Sticky(ParallelEnv):
    """Begins where the episode before ended: its `reset` forgets nothing."""

    metadata = {"name": "sticky"}  # noqa: RUF012
    possible_agents = ["a", "b"]  # noqa: RUF012
    max_cycles = 3
    place = 0

    def observation_space(self, agent):
        return spaces.Discrete(20)

    def action_space(self, agent):
        return spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        self.agents, self.t = list(self.possible_agents), 0
        return dict.fromkeys(self.agents, self.place), {}

    def step(self, actions):
        self.t += 1
        self.place += 1
        acted, limit = self.agents, self.t == self.max_cycles
        self.agents = [] if limit else acted
        never, limits = dict.fromkeys(acted, False), dict.fromkeys(acted, limit)
        seen = dict.fromkeys(acted, self.place)
        return seen, dict.fromkeys(acted, 1.0), never, limits, {}


class Unseeded(Sticky):
    """Sees random numbers that no seed fixes."""

    def reset(self, seed=None, options=None):
        self.place = int(np.random.default_rng().integers(10))
        return super().reset()


class Failing(Sticky):
    """Raises, or ends its process, in its second step."""

    def __init__(self, ends: bool = False) -> None:
        self.ends = ends

    def step(self, actions):
        if self.t == 1 and "CIACORE_TEST_FAIL" in os.environ:
            if self.ends:
                os._exit(3)
            raise KeyError("wheel")
        return super().step(actions)


class Changing(Sticky):
    """Whatever a test wants to be otherwise, by the name of a method."""

    def __init__(self, **changes) -> None:
        for name, value in changes.items():
            setattr(self, name, value)


class Counting(AECEnv):
    """Two agents add 1 or 2 in turn; at 5 or more both are paid 1 and it ends."""

    metadata = {"name": "counting"}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.possible_agents = ["even", "odd"]
        self.render_mode = None

    def observation_space(self, agent):
        return spaces.Dict(
            {
                "observation": spaces.Box(0, 9, (1,), np.float32),
                "action_mask": spaces.MultiBinary(3),
            }
        )

    def action_space(self, agent):
        return spaces.Discrete(3)

    def observe(self, agent):
        mask = np.array([0, 1, 1], np.int8) * (agent == self.agent_selection)
        return {"observation": np.array([self.sum], np.float32), "action_mask": mask}

    def reset(self, seed=None, options=None):
        self.agents, self.sum = list(self.possible_agents), 0
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos = {agent: {} for agent in self.agents}
        self.agent_selection = "even"

    def step(self, action):
        if self.terminations[self.agent_selection]:
            self._was_dead_step(action)
            return
        assert action in (1, 2)
        self.sum += action
        over = self.sum >= 5
        self.rewards = dict.fromkeys(self.agents, float(over))
        self.terminations = dict.fromkeys(self.agents, over)
        self.agent_selection = "odd" if self.agent_selection == "even" else "even"


class Pair(gymnasium.Env):
    """Two agents are paid their own action; at its limit it says terminated."""

    def __init__(self, listed: bool = False, masks: bool = False) -> None:
        kind = list if listed else spaces.Tuple
        self.action_space = kind([spaces.Discrete(2), spaces.Discrete(4)])
        self.observation_space = kind([spaces.Box(0, 1, (2, 2)), spaces.Discrete(3)])
        self.masks = masks

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.seen(), self.info()

    def seen(self):
        return np.full((2, 2), self.t / 10), self.t % 3

    def info(self):
        return {"action_mask": ([1, 1], [0, 1, 1, 1])} if self.masks else {}

    def step(self, actions):
        self.t += 1
        return self.seen(), list(map(float, actions)), self.t == 6, False, self.info()


class Follow(ParallelEnv):
    """Two agents see a sign, 0 or 1, and are paid 1 if both name it.

    The best return in 8 steps is 8; chance gives 2.
    """

    metadata = {"name": "follow"}  # noqa: RUF012
    possible_agents = ["leader", "follower"]  # noqa: RUF012
    max_cycles = 8

    def observation_space(self, agent):
        return spaces.Discrete(2)

    def action_space(self, agent):
        return spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        self.rng = np.random.default_rng(seed)
        self.agents, self.t = list(self.possible_agents), 0
        self.sign = int(self.rng.integers(2))
        return dict.fromkeys(self.agents, self.sign), {}

    def step(self, actions):
        self.t += 1
        paid = float(all(action == self.sign for action in actions.values()))
        self.sign = int(self.rng.integers(2))
        acted, limit = self.agents, self.t == self.max_cycles
        self.agents = [] if limit else acted
        never, limits = dict.fromkeys(acted, False), dict.fromkeys(acted, limit)
        seen = dict.fromkeys(acted, self.sign)
        return seen, dict.fromkeys(acted, paid), never, limits, {}


class FollowJointly(gymnasium.Env):
    """`Follow` as Gymnasium has it: one action per agent, the limit as terminated."""

    max_episode_steps = 8

    def __init__(self) -> None:
        self.action_space = spaces.Tuple([spaces.Discrete(2)] * 2)
        self.observation_space = spaces.Tuple([spaces.Discrete(2)] * 2)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.sign = 0, int(self.np_random.integers(2))
        return (self.sign, self.sign), {}

    def step(self, actions):
        self.t += 1
        paid = float(all(action == self.sign for action in actions))
        self.sign = int(self.np_random.integers(2))
        over = self.t == self.max_episode_steps
        return (self.sign, self.sign), [paid, paid], over, False, {}


class Painted(Sticky):
    """Draws a square that is as dark as the time; `picture` says what it returns."""

    def __init__(self, render_mode: str | None = None, picture: str = "array") -> None:
        super().__init__()
        self.render_mode, self.picture = render_mode, picture

    def render(self):
        if self.picture == "nothing":
            return None
        if self.picture == "fails":
            raise OSError("no display")
        return np.full((4, 6, 3), 200 - self.t, np.uint8)


class Unseen(Sticky):
    """After a step, b lives on and is shown nothing."""

    def step(self, actions):
        seen, *rest = super().step(actions)
        return {"a": seen["a"]}, *rest


class Unpaid(Sticky):
    """After a step, b lives on and is no key of the rewards."""

    def step(self, actions):
        seen, rewards, *rest = super().step(actions)
        return seen, {"a": rewards["a"]}, *rest


class Uneven(Sticky):
    """Pays its agents differently."""

    def step(self, actions):
        seen, _, *others = super().step(actions)
        return seen, {"a": 1.0, "b": 0.0}, *others


class Growing(Sticky):
    """Shows more in its last step than it promised."""

    def observation_space(self, agent):
        return spaces.Box(0, 9, (20,))

    def reset(self, seed=None, options=None):
        self.later = seed != 1  # the seed that an adapter looks at first
        super().reset()
        return dict.fromkeys(self.agents, np.zeros(20)), {}

    def step(self, actions):
        _, *others = super().step(actions)
        seen = np.zeros(21 if self.later and self.t == 3 else 20)
        return dict.fromkeys(self.possible_agents, seen), *others


class Stuck(Sticky):
    """An agent that can do nothing at all."""

    def reset(self, seed=None, options=None):
        seen, _ = super().reset()
        return seen, {"a": {"action_mask": [0, 0]}, "b": {}}
