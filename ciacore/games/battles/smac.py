"""The six battles on StarCraft II: SMAC's own environment (Samvelyan et al. 2019), a process for each game.

Needs SMAC from its repository (the `smac` of PyPI is another program) and StarCraft II
4.10; env/starcraft2/README.md tells how to get both. No number of the book was made
with it.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ciacore.games.battles.starcraft import SIZES, Sizes, check_installation, starcraft
from ciacore.games.checks import Checked, check_n_games
from ciacore.types import EpisodeLost, InvalidInputError, Spec, Step, refuse

ATTEMPTS = 5  # crashes in a row before games are given up
# no view; no reward, not terminated, not truncated, not won
NOTHING = (None, (0.0, False, False, False))


class SmacState(NamedTuple):
    """What is seen of N games; the games themselves live in their processes."""

    observations: Float[Tensor, "N K O"]
    states: Float[Tensor, "N S"]
    available: Bool[Tensor, "N K A"]
    over: Bool[Tensor, "N"]
    t: Int[Tensor, "N"]  # steps played


class Smac(Checked):
    """A battle of SMAC on StarCraft II.

    Story, actions, observation, state, rewards and limits are those of
    `ciacore.games.battles.smax.Smax`, whose face is copied from here. A state is good
    for one `advance`: games cannot be wound back.

    Differences:
        A game whose process crashes is started again and its episode is lost
        (`EpisodeLost`; `play` plays another). StarCraft2Env would report a crash as a
        lost battle, and after a crash in the first episode count the foes' health twice
        in the scale of all later rewards; both are noticed here.
    """

    def __init__(
        self,
        scenario: str,
        games: int = 8,
        stagger: float = 2.0,
        replays: bool = False,
        environment: Callable[[str], Any] | None = None,
    ) -> None:
        """
        Args:
            scenario: one of the six.
            games: the most games at once, each a StarCraft II of 1 to 2 GB.
            stagger: seconds between the starts of two games; many at once time out.
            replays: whether each game saves a replay of its episodes when it is closed.
            environment: makes the environment of a scenario; StarCraft2Env where it is
                not given.

        Raises:
            InvalidInputError: an unknown scenario, no SMAC or another package of that
                name, no StarCraft II 4.10.
        """
        if scenario not in SIZES:
            refuse(
                "scenario",
                f"one of {', '.join(SIZES)}",
                scenario,
                "These are the paper's six.",
            )
        if environment is None:
            check_installation()
        sizes = SIZES[scenario]
        self.scenario, self.name, self.sizes = scenario, f"smac_{scenario}", sizes
        self.stagger, self.replays, self.environment = (
            stagger,
            replays,
            environment or starcraft,
        )
        told = (
            sizes.n_agents,
            sizes.n_actions,
            sizes.observation,
            sizes.state,
            sizes.unit,
            sizes.limit,
        )
        self.spec = Spec(*told, winnable=True, at_once=games)
        self.workers: list[tuple[Any, Connection]] = []
        self.crashes = 0  # in a row

    def __getstate__(self) -> dict[str, Any]:
        """Without the games, which another process starts anew."""
        return {**self.__dict__, "workers": []}

    def reset(self, n_games: int, rng: torch.Generator) -> SmacState:
        """N new episodes; games that do not run yet are started, one after the other.

        Raises:
            InvalidInputError: more games than this machine was said to hold.
        """
        check_n_games(n_games)
        if n_games > self.spec.at_once:
            refuse(
                "n_games",
                f"at most {self.spec.at_once}",
                n_games,
                f"Use Smac({self.scenario!r}, games={n_games}).",
            )
        while len(self.workers) < n_games:
            time.sleep(self.stagger if self.workers else 0)
            self.workers.append(self.start())
        views, _ = self.ask([("reset", None)] * n_games)
        return seen(
            views,
            torch.zeros(n_games, dtype=torch.bool),
            torch.zeros(n_games, dtype=torch.int64),
        )

    def advance(
        self, state: SmacState, actions: Int[Tensor, "N K"], rng: torch.Generator
    ) -> Step:
        """One joint action in every game that goes on.

        Raises:
            EpisodeLost: a game crashed; it runs again, and all N episodes have to be
                played anew.
        """
        over = state.over.tolist()
        orders = [
            None if done else ("step", row)
            for row, done in zip(actions.tolist(), over, strict=True)
        ]
        views, facts = self.ask(orders)
        for index, done in enumerate(over):
            if done:  # as it was left
                views[index] = tuple(field[index].numpy() for field in state[:3])
        told = [torch.tensor(column) for column in zip(*facts, strict=True)]
        rewards, terminated, truncated, won = told
        after = seen(views, state.over | terminated | truncated, state.t + ~state.over)
        return Step(
            after,
            rewards.float(),
            terminated,
            truncated,
            {"valid": ~state.over, "won": won},
        )

    def observe(self, state: SmacState) -> Float[Tensor, "N K O"]:
        """What each agent sees."""
        return state.observations

    def global_state(self, state: SmacState) -> Float[Tensor, "N S"]:
        """All units and the last actions."""
        return state.states

    def available(self, state: SmacState) -> Bool[Tensor, "N K A"]:
        """StarCraft2Env's available actions."""
        return state.available

    def close(self) -> None:
        """Ends all games; where wanted, each saves a replay first."""
        for process, pipe in self.workers:
            with suppress(OSError):
                pipe.send(("close", None))
            process.join(30)
            process.kill()
        self.workers.clear()

    def start(self) -> tuple[Any, Connection]:
        """A process with a game of its own."""
        # StarCraft II and CUDA do not survive a fork
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        told = (theirs, self.environment, self.scenario, self.sizes, self.replays)
        process = spawn.Process(target=serve, args=told, daemon=True)
        process.start()
        theirs.close()
        return process, ours

    def ask(self, orders: list[Any]) -> tuple[list[Any], list[Any]]:
        """The answers of the games to their orders; None asks nothing and is answered by nothing happening."""
        for (_, pipe), order in zip(self.workers, orders, strict=False):
            # of a process that is gone: it will not answer either
            with suppress(OSError):
                if order is not None:
                    pipe.send(order)
        answers = [
            NOTHING if order is None else self.answer(index)
            for index, order in enumerate(orders)
        ]
        for answer in answers:
            if isinstance(answer, InvalidInputError):
                raise answer
        reasons = [answer for answer in answers if isinstance(answer, str)]
        self.crashes = self.crashes + 1 if reasons else 0
        if self.crashes == ATTEMPTS:
            raise RuntimeError(
                f"{self.name}: expected games that run, got {ATTEMPTS} crashes in a row: {reasons[0]}"
            )
        if reasons:
            raise EpisodeLost(f"{self.name}: {'; '.join(reasons)}")
        views, facts = zip(*answers, strict=True)
        return list(views), list(facts)

    def answer(self, index: int) -> Any:
        """What a game answers; one whose process is gone is started anew."""
        process, pipe = self.workers[index]
        try:
            return pipe.recv()
        except (EOFError, OSError):
            process.kill()
            self.workers[index] = self.start()
            return "its process ended"


def seen(views: list[Any], over: Bool[Tensor, "N"], t: Int[Tensor, "N"]) -> SmacState:
    """The views of all games as tensors."""
    observations, states, available = (
        torch.from_numpy(np.stack(parts)) for parts in zip(*views, strict=True)
    )
    return SmacState(observations, states, available, over, t)


def serve(
    pipe: Connection,
    environment: Callable[[str], Any],
    scenario: str,
    sizes: Sizes,
    replays: bool,
) -> None:
    """A game's process: answers every order with (view, facts), or with why the episode is lost."""
    env = None
    while True:
        try:
            order, actions = pipe.recv()
        except EOFError:
            order = "close"
        if order == "close":
            if env is not None:
                if replays:
                    env.save_replay()
                env.close()
            return
        try:
            if env is None:
                env = environment(scenario)
            facts = (
                reset(env, scenario, sizes)
                if order == "reset"
                else step(env, actions, sizes)
            )
            answer: Any = view(env), facts
        except InvalidInputError as error:
            answer = error
        except (
            Exception
        ) as error:  # whatever StarCraft II, its protocol or its socket may raise
            answer = f"{type(error).__name__}: {error}"
            with suppress(Exception):
                env.close()
            env = None
        pipe.send(answer)


def view(env: Any) -> tuple[np.ndarray, ...]:
    """Observations, state and available actions of a game."""
    available = np.array(env.get_avail_actions(), bool)
    return (
        np.array(env.get_obs(), np.float32),
        np.array(env.get_state(), np.float32),
        available,
    )


def reset(env: Any, scenario: str, sizes: Sizes) -> tuple[float, bool, bool, bool]:
    """A new episode of a game that is what we take it for.

    Raises:
        RuntimeError: the foes' health was counted twice, as happens after a crash in
            the first episode.
        InvalidInputError: another map.
    """
    env.reset()
    info = env.get_env_info()
    unit = 4 + env.shield_bits_ally + env.unit_type_bits
    found = (
        info["n_agents"],
        info["n_actions"],
        info["obs_shape"],
        info["state_shape"],
        unit,
        info["episode_limit"],
    )
    if found != sizes[:-1]:
        refuse(
            "scenario",
            f"{scenario} of the sizes {sizes[:-1]}",
            found,
            "Check the maps and the version of SMAC.",
        )
    if env.max_reward != sizes.max_reward:
        raise RuntimeError(
            f"rewards are scaled by {env.max_reward} instead of {sizes.max_reward}"
        )
    return 0.0, False, False, False


def step(env: Any, actions: list[int], sizes: Sizes) -> tuple[float, bool, bool, bool]:
    """Reward, terminated, truncated, won.

    Raises:
        RuntimeError: the game crashed; StarCraft2Env hides it behind an end without a
            result.
    """
    reward, ended, info = env.step(actions)
    if ended and "battle_won" not in info:
        raise RuntimeError("StarCraft II crashed")
    won, wiped_out = (
        bool(info.get("battle_won")),
        info.get("dead_allies", 0) == sizes.n_agents,
    )
    truncated = (
        ended and not won and not wiped_out and env._episode_steps >= sizes.limit
    )
    return float(reward), bool(ended and not truncated), bool(truncated), won
