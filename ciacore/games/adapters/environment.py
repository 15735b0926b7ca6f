"""An environment of PettingZoo or Gymnasium as a game."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ciacore.games.adapters.makers import Maker
from ciacore.games.adapters.names import Name, format_name, parse
from ciacore.games.adapters.padded import Result, Seen
from ciacore.games.adapters.probe import check_seeded, examined
from ciacore.games.adapters.rewards import RULES
from ciacore.games.adapters.workers import Here, Workers
from ciacore.games.checks import Checked, check_n_games
from ciacore.types import Spec, Step, known_name, refuse

# arguments that change nothing about a game, of the adapter and of an environment
UNNAMED = ("processes",)
LOOKS = ("render_mode",)
# arguments of EnvironmentGame that may stand among those of an environment
SETTINGS = (
    "reward",
    "horizon",
    "limit_is_truncation",
    "state",
    "n_agents",
    "n_actions",
    "observation_size",
    "processes",
    "reuse",
    "exact",
)


class EnvironmentState(NamedTuple):
    """What is seen of N games; the games themselves live in their environments."""

    observations: Float[Tensor, "N K O"]
    states: Float[Tensor, "N S"]
    choices: Bool[Tensor, "N K A"]  # the available actions
    over: Bool[Tensor, "N"]
    t: Int[Tensor, "N"]  # steps played
    moment: int  # counts resets and steps: only the last state can be advanced


class EnvironmentGame(Checked):
    """A cooperative game made of somebody else's environment.

    Agents and actions:
        Those of the environment, which must be discrete. Unlike agents are padded: to
        the longest observation with zeros, to the most actions with a mask. An agent
        that leaves sees zeros and has action 0 alone, which does nothing. Where agents
        take turns, so do those who wait. Masks are `action_mask`, in the info or beside
        the observation.
    Observation:
        The environment's, flattened to float32; categories are one-hot.
    State:
        `state()` of the environment, else all observations joined.
    Rewards:
        By the rule `reward`.
    Episode end:
        When no agent is left: truncated if a time limit took one of the last agents,
        else terminated. At the horizon it is truncated in any case.
    Start:
        Every episode has a fresh environment and a seed of its own, drawn from the
        generator; so it does not depend on processes nor on episodes before.
    Differences:
        A state is good for one `advance`: environments cannot be wound back.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        name: str,
        reward: str = "shared",
        horizon: int | None = None,
        limit_is_truncation: bool = False,
        state: str | None = None,
        n_agents: int = 0,
        n_actions: int = 0,
        observation_size: int = 0,
        processes: int = 1,
        reuse: bool = False,
        exact: bool = True,
    ) -> None:
        """Makes one environment to find out what it is, and drops it.

        Args:
            make: makes an environment: a ParallelEnv, an AECEnv, or a gymnasium.Env
                with one action per agent.
            name: of the game, which runs are kept under.
            reward: the team's reward. "shared": all agents are paid the same, and the
                game is refused where they are not; "sum": their sum; "mean": their sum
                divided by the number of agents.
            horizon: steps after which an episode ends at the latest; by default what
                the environment says (`max_cycles`, `max_episode_steps`, `max_steps`).
            limit_is_truncation: True where the environment calls its time limit
                terminated: an end exactly at the horizon counts as truncated.
            state: "own": what the environment's `state()` returns; "joined": all
                observations; by default its own where it has one.
            n_agents: places for agents; needed where the environment does not say who
                may come.
            n_actions: the most actions of an agent; needed in the same case.
            observation_size: the longest observation; needed in the same case.
            processes: 1: everything in this process; more: that many worker processes
                share the games. The episodes are the same.
            reuse: True keeps an environment for its next episode, which is faster where
                making one is slow. Only right where `reset` forgets all that was.
            exact: False plays an environment whose episodes do not follow from their
                seeds; its runs cannot be repeated.

        Raises:
            InvalidInputError: an argument that cannot be used, or an environment that
                cannot be played.
        """
        known_name(reward, RULES, "reward")
        if state is not None:
            known_name(state, ("own", "joined"), "state")
        check_n_processes(processes, make)
        given = {
            "n_agents": n_agents,
            "n_actions": n_actions,
            "observation_size": observation_size,
        }
        settings = {
            "reward": reward,
            "limit_is_truncation": limit_is_truncation,
            "reuse": reuse,
        }
        self.rules = examined(make, given, horizon, state, settings)
        if exact:
            check_seeded(self.rules)
        self.name, self.processes = name, processes
        self.spec = Spec(
            n_agents=self.rules.n_agents,
            n_actions=self.rules.n_actions,
            observation_size=self.rules.observation_size,
            state_size=self.rules.state_size,
            unit_size=0,
            horizon=self.rules.horizon,
        )
        self.copies: Here | Workers | None = None
        self.moment = 0

    def __getstate__(self) -> dict[str, Any]:
        """Without the environments, which another process makes anew."""
        return {**self.__dict__, "copies": None}

    def reset(self, n_games: int, rng: torch.Generator) -> EnvironmentState:
        """N new episodes.

        Args:
            n_games: N, at least 1.
            rng: draws a seed for each.

        Returns:
            The games at t = 0, on the generator's device.

        Raises:
            InvalidInputError: n_games is not a whole number of at least 1.
        """
        check_n_games(n_games)
        drawn = torch.randint(2**31 - 1, (n_games,), generator=rng, device=rng.device)
        answers = self.ask("reset", dict(enumerate(drawn.tolist())))
        nobody = torch.zeros(n_games, dtype=torch.bool, device=rng.device)
        seen = [answers[index][0] for index in range(n_games)]
        t = torch.zeros(n_games, dtype=torch.int64, device=rng.device)
        return self.in_torch(seen, nobody, t)

    def advance(
        self,
        state: EnvironmentState,
        actions: Int[Tensor, "N K"],
        rng: torch.Generator,
    ) -> Step:
        """One joint action in every game that goes on; the others stay as they are.

        Args:
            state: N games, as the last `reset` or `advance` returned them.
            actions: the action of each agent, 0 to A - 1.
            rng: not used: an episode follows from its seed.

        Returns:
            The games one step later, the team rewards, the ends, and in `info` which
            games were `valid` (not over before).

        Raises:
            InvalidInputError: a state of an earlier moment, or an environment that
                breaks its promises.
        """
        self.check_moment(state)
        over = state.over.tolist()
        joint = actions.tolist()
        orders = {index: joint[index] for index, ended in enumerate(over) if not ended}
        answers = self.ask("step", orders) if orders else {}
        seen, results = [], []
        for index in range(len(over)):
            before = (seen_before(state, index), Result())
            view, result = answers.get(index, before)
            seen.append(view)
            results.append(result)
        device = state.over.device
        terminated = [result.terminated for result in results]
        truncated = [result.truncated for result in results]
        terminated = torch.tensor(terminated, device=device)
        truncated = torch.tensor(truncated, device=device)
        rewards = torch.tensor([result.reward for result in results], device=device)
        goes_on = ~state.over
        after = self.in_torch(
            seen, state.over | terminated | truncated, state.t + goes_on
        )
        return Step(after, rewards, terminated, truncated, {"valid": goes_on})

    def observe(self, state: EnvironmentState) -> Float[Tensor, "N K O"]:
        """What each agent sees."""
        return state.observations

    def global_state(self, state: EnvironmentState) -> Float[Tensor, "N S"]:
        """The environment's state, or all observations."""
        return state.states

    def available(self, state: EnvironmentState) -> Bool[Tensor, "N K A"]:
        """The actions that may be taken."""
        return state.choices

    def picture(self, state: EnvironmentState) -> np.ndarray | None:
        """How the environment draws the first of its games.

        Args:
            state: of the last `reset` or `advance`.

        Returns:
            [height, width, 3], or None where it was made without
            `render_mode="rgb_array"`.

        Raises:
            InvalidInputError: a state of an earlier moment, or an environment that
                cannot draw.
        """
        self.check_moment(state)
        return self.ask("picture", {0: None})[0]

    def close(self) -> None:
        """Lets go of all environments, and ends their processes."""
        if self.copies is not None:
            self.copies.close()
        self.copies = None

    def ask(self, method: str, orders: dict[int, Any]) -> dict[int, Any]:
        """Resets some environments, plays a step in them, or has them drawn.

        Args:
            method: reset, step or picture.
            orders: by game.

        Returns:
            What is seen and what happened, or the picture, by game.
        """
        if self.copies is None:
            if self.processes > 1:
                self.copies = Workers(self.rules, self.processes)
            else:
                self.copies = Here(self.rules)
        try:
            return self.copies.ask(method, orders)
        except BaseException:  # an answer may still be in a pipe
            self.close()
            raise

    def check_moment(self, state: EnvironmentState) -> None:
        """Refuses a state that the environments have left behind."""
        if state.moment != self.moment:
            cure = "Environments cannot be wound back: play on from the last state."
            expected = "the state of the last reset or advance"
            refuse("state", expected, "an earlier one", cure)

    def in_torch(
        self, seen: list[Seen], over: Bool[Tensor, "N"], t: Int[Tensor, "N"]
    ) -> EnvironmentState:
        """The next moment's state.

        Args:
            seen: of each game.
            over: which games have ended.
            t: steps played.
        """
        self.moment += 1
        observations, states, available = (
            torch.from_numpy(np.stack(part)).to(over.device)
            for part in zip(*seen, strict=True)
        )
        return EnvironmentState(observations, states, available, over, t, self.moment)


def seen_before(state: EnvironmentState, index: int) -> Seen:
    """What was seen of one of the games of a state.

    Args:
        state: of N games.
        index: of the game.
    """
    return Seen(
        state.observations[index].cpu().numpy(),
        state.states[index].cpu().numpy(),
        state.choices[index].cpu().numpy(),
    )


def check_n_processes(processes: int, make: Callable[[], Any]) -> None:
    """Refuses processes that could not make the environment.

    Args:
        processes: how many.
        make: makes an environment.
    """
    is_count = isinstance(processes, int) and not isinstance(processes, bool)
    if not is_count or processes < 1:
        cure = "Leave it out to play in this process."
        refuse("processes", "a whole number of at least 1", processes, cure)
    if processes == 1:
        return
    try:
        portable = b"__main__" not in pickle.dumps(make)
    except Exception:  # each object has its own way to say that it cannot be pickled
        portable = False
    if not portable:
        cure = "Put what makes the environment into a module."
        expected = "1, for an environment that another process cannot import"
        refuse("processes", expected, processes, cure)


def adapted(name: str, **arguments: Any) -> EnvironmentGame:
    """The game of a name such as `pettingzoo:mpe2.simple_spread_v3`.

    Args:
        name: `pettingzoo:<module>`, `pettingzoo:<module>:<function>`,
            `gymnasium:<package>:<id>`, or the name of a run.
        arguments: those of `EnvironmentGame` (but `make` and `name`), and those of the
            environment.

    Raises:
        InvalidInputError: no such environment, or one that cannot be played.
    """
    found = named(name, **arguments)
    settings = {key: found.arguments[key] for key in SETTINGS if key in found.arguments}
    own = {key: found.arguments[key] for key in found.arguments if key not in SETTINGS}
    settings |= {key: arguments[key] for key in UNNAMED if key in arguments}
    own |= {key: arguments[key] for key in LOOKS if key in arguments}
    make = Maker(found.kind, found.place, own)
    return EnvironmentGame(make, format_name(found), **settings)


def named(name: str, **arguments: Any) -> Name:
    """What the game of a name is made from.

    Args:
        name: as for `adapted`.
        arguments: as for `adapted`; those that change nothing are left out.
    """
    found = parse(name)
    left_out = (*UNNAMED, *LOOKS)
    kept = {key: value for key, value in arguments.items() if key not in left_out}
    return found._replace(arguments={**found.arguments, **kept})
