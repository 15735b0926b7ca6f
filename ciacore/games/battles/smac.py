"""The six battles on StarCraft II, through SMAC (Samvelyan et al. 2019).

Each game is a process with SMAC's own environment. Needs SMAC from its repository (the
`smac` of PyPI is another program) and StarCraft II 4.10; env/starcraft2/README.md says
how to get both. No number of the book was made with it.
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


class SmacState(NamedTuple):
    """What is seen of N games; the games themselves live in their processes."""

    observations: Float[Tensor, "N K O"]
    states: Float[Tensor, "N S"]
    available: Bool[Tensor, "N K A"]
    over: Bool[Tensor, "N"]
    t: Int[Tensor, "N"]  # steps played


class View(NamedTuple):
    """What is seen of one game."""

    observations: np.ndarray  # float32 [K, O]
    state: np.ndarray  # float32 [S]
    available: np.ndarray  # bool [K, A]


class Result(NamedTuple):
    """What one step of a game returns; after a reset nothing has happened."""

    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    won: bool = False


# The messages between the games' processes and this one. An order is answered by an
# Answer, by Lost, or by the InvalidInputError that is to be raised here.


class Order(NamedTuple):
    """A message to a game."""

    name: str  # reset, step or close
    actions: list[int] | None = None  # of a step, one per agent


class Answer(NamedTuple):
    """A message from a game that goes on."""

    view: View
    result: Result


class Lost(NamedTuple):
    """A message from a game that crashed."""

    reason: str


class Worker(NamedTuple):
    """A game's process and the pipe to it."""

    process: Any
    pipe: Connection


class Smac(Checked):
    """A battle of SMAC on StarCraft II.

    Story, actions, observation, state, rewards and limits are those of
    `ciacore.games.battles.smax.Smax`, which imitates this game. A state is good for one
    `advance`: games cannot be wound back.

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
        """Checks what is needed; no game is started yet.

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
        self.scenario = scenario
        self.name = f"smac_{scenario}"
        self.sizes = SIZES[scenario]
        self.stagger = stagger
        self.replays = replays
        self.environment = environment or starcraft
        self.spec = Spec(
            n_agents=self.sizes.n_agents,
            n_actions=self.sizes.n_actions,
            observation_size=self.sizes.observation,
            state_size=self.sizes.state,
            unit_size=self.sizes.unit,
            horizon=self.sizes.limit,
            winnable=True,
            at_once=games,
        )
        self.workers: list[Worker] = []
        self.crashes = 0  # in a row
        # what is seen of games whose reset succeeded while another's crashed
        self.fresh: dict[int, Answer] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without the games, which another process starts anew."""
        return {**self.__dict__, "workers": [], "fresh": {}}

    def reset(self, n_games: int, rng: torch.Generator) -> SmacState:
        """N new episodes; games that do not run yet are started, one after the other.

        Args:
            n_games: N, at least 1.
            rng: not used; StarCraft II draws its own random numbers.

        Returns:
            The games at t = 0.

        Raises:
            InvalidInputError: more games than this machine was said to hold.
            EpisodeLost: a game crashed; it runs again.
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
            if self.workers:
                time.sleep(self.stagger)
            self.workers.append(self.start())
        # No game is reset twice without a step: StarCraft2Env would start another one.
        orders: list[Order | None] = [Order("reset")] * n_games
        for index in self.fresh:
            if index < n_games:
                orders[index] = None
        answers = self.ask(orders)
        for index, answer in enumerate(answers):
            if answer is None:
                answers[index] = self.fresh.pop(index)
        nobody = torch.zeros(n_games, dtype=torch.bool)
        t = torch.zeros(n_games, dtype=torch.int64)
        return in_torch([answer.view for answer in answers], over=nobody, t=t)

    def advance(
        self, state: SmacState, actions: Int[Tensor, "N K"], rng: torch.Generator
    ) -> Step:
        """One joint action in every game that goes on; the others stay as they are.

        Args:
            state: N games, as the last `reset` or `advance` returned them.
            actions: the action of each agent, 0 to A - 1.
            rng: not used; StarCraft II draws its own random numbers.

        Returns:
            The games one step later, the team rewards, the ends, and in `info` which
            games were `valid` (not over before) and which are `won` by this step.

        Raises:
            EpisodeLost: a game crashed; it runs again, and all N episodes have to be
                played anew.
        """
        orders: list[Order | None] = []
        for is_over, joint_action in zip(
            state.over.tolist(), actions.tolist(), strict=True
        ):
            orders.append(None if is_over else Order("step", joint_action))
        answers = self.ask(orders)
        for index, answer in enumerate(answers):
            if answer is None:
                answers[index] = Answer(view_of(state, index), Result())
        results = [answer.result for answer in answers]
        terminated = torch.tensor([result.terminated for result in results])
        truncated = torch.tensor([result.truncated for result in results])
        goes_on = ~state.over
        after = in_torch(
            [answer.view for answer in answers],
            over=state.over | terminated | truncated,
            t=state.t + goes_on,
        )
        return Step(
            state=after,
            rewards=torch.tensor([result.reward for result in results]).float(),
            terminated=terminated,
            truncated=truncated,
            info={
                "valid": goes_on,
                "won": torch.tensor([result.won for result in results]),
            },
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
        self.fresh.clear()
        for process, pipe in self.workers:
            with suppress(OSError):
                pipe.send(Order("close"))
            process.join(30)
            process.kill()
        self.workers.clear()

    def start(self) -> Worker:
        """A process with a game of its own."""
        # StarCraft II and CUDA do not survive a fork
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        arguments = (theirs, self.environment, self.scenario, self.sizes, self.replays)
        process = spawn.Process(target=serve, args=arguments, daemon=True)
        process.start()
        theirs.close()
        return Worker(process, ours)

    def ask(self, orders: list[Order | None]) -> list[Answer | None]:
        """Sends each game its order and waits for all answers.

        Args:
            orders: one for each of the first games; None leaves a game alone.

        Returns:
            The answer of each game, None where nothing was asked.

        Raises:
            InvalidInputError: a game is not what it was taken for.
            EpisodeLost: a game crashed; it runs again.
            RuntimeError: games crashed so often in a row that they are given up.
        """
        for index, order in enumerate(orders):
            # of a process that is gone: it will not answer either
            with suppress(OSError):
                if order is not None:
                    self.workers[index].pipe.send(order)
        answers: list[Any] = []
        for index, order in enumerate(orders):
            answers.append(None if order is None else self.answer(index))
        for answer in answers:
            if isinstance(answer, InvalidInputError):
                raise answer
        reasons = [answer.reason for answer in answers if isinstance(answer, Lost)]
        self.crashes = self.crashes + 1 if reasons else 0
        if self.crashes == ATTEMPTS:
            raise RuntimeError(
                f"{self.name}: expected games that run, "
                f"got {ATTEMPTS} crashes in a row: {reasons[0]}"
            )
        for index, order in enumerate(orders):
            if order is not None:
                self.fresh.pop(index, None)
                is_ready = isinstance(answers[index], Answer)
                if reasons and order.name == "reset" and is_ready:
                    self.fresh[index] = answers[index]
        if reasons:
            raise EpisodeLost(f"{self.name}: {'; '.join(reasons)}")
        return answers

    def answer(self, index: int) -> Answer | Lost | InvalidInputError:
        """What a game answers; one whose process is gone is started anew."""
        process, pipe = self.workers[index]
        try:
            return pipe.recv()
        except (EOFError, OSError):
            process.kill()
            self.workers[index] = self.start()
            return Lost("its process ended")


def view_of(state: SmacState, index: int) -> View:
    """What was seen of one of the games of a state.

    Args:
        state: of N games.
        index: of the game.
    """
    return View(
        observations=state.observations[index].numpy(),
        state=state.states[index].numpy(),
        available=state.available[index].numpy(),
    )


def in_torch(
    views: list[View], over: Bool[Tensor, "N"], t: Int[Tensor, "N"]
) -> SmacState:
    """The views of all games as tensors.

    Args:
        views: what is seen of each game.
        over: which games have ended.
        t: steps played.

    Returns:
        The state of N games.
    """
    observations = np.stack([view.observations for view in views])
    states = np.stack([view.state for view in views])
    available = np.stack([view.available for view in views])
    return SmacState(
        observations=torch.from_numpy(observations),
        states=torch.from_numpy(states),
        available=torch.from_numpy(available),
        over=over,
        t=t,
    )


# --------------------------------------------------------------------------------------
# in a game's process


def serve(
    pipe: Connection,
    environment: Callable[[str], Any],
    scenario: str,
    sizes: Sizes,
    replays: bool,
) -> None:
    """A game's process: answers every order until it is closed.

    A game that crashed is made anew at the next order.

    Args:
        pipe: brings orders and takes answers.
        environment: makes the environment of a scenario.
        scenario: its name.
        sizes: what the environment is taken for.
        replays: whether a replay is saved at the end.
    """
    env = None
    while True:
        order = receive(pipe)
        if order.name == "close":
            if env is not None:
                close(env, replays)
            return
        try:
            if env is None:
                env = environment(scenario)
            if order.name == "reset":
                result = reset(env, scenario, sizes)
            else:
                result = step(env, order.actions, sizes)
            answer: Any = Answer(view(env), result)
        except InvalidInputError as error:
            answer = error
        # whatever StarCraft II, its protocol or its socket may raise
        except Exception as error:
            answer = Lost(f"{type(error).__name__}: {error}")
            with suppress(Exception):
                env.close()
            env = None
        pipe.send(answer)


def receive(pipe: Connection) -> Order:
    """The next order; where nobody is left to give one, to close."""
    try:
        return pipe.recv()
    except EOFError:
        return Order("close")


def close(env: Any, replays: bool) -> None:
    """Ends a game.

    Args:
        env: the game.
        replays: whether it saves a replay first.
    """
    if replays:
        env.save_replay()
    env.close()


def view(env: Any) -> View:
    """What is seen of a game."""
    return View(
        available=np.array(env.get_avail_actions(), bool),
        observations=np.array(env.get_obs(), np.float32),
        state=np.array(env.get_state(), np.float32),
    )


def reset(env: Any, scenario: str, sizes: Sizes) -> Result:
    """A new episode of a game that is what it is taken for.

    Args:
        env: StarCraft2Env.
        scenario: its name.
        sizes: what it is taken for.

    Returns:
        That nothing has happened yet.

    Raises:
        RuntimeError: the foes' health was counted twice, as happens after a crash in
            the first episode.
        InvalidInputError: another map.
    """
    env.reset()
    found = sizes_of(env)
    if found._replace(max_reward=sizes.max_reward) != sizes:
        refuse(
            "scenario",
            f"{scenario} of the sizes {sizes}",
            found,
            "Check the maps and the version of SMAC.",
        )
    if found.max_reward != sizes.max_reward:
        raise RuntimeError(
            f"rewards are scaled by {found.max_reward} instead of {sizes.max_reward}"
        )
    return Result()


def sizes_of(env: Any) -> Sizes:
    """The sizes of a game that runs."""
    info = env.get_env_info()
    return Sizes(
        n_agents=info["n_agents"],
        n_actions=info["n_actions"],
        observation=info["obs_shape"],
        state=info["state_shape"],
        unit=4 + env.shield_bits_ally + env.unit_type_bits,
        limit=info["episode_limit"],
        max_reward=env.max_reward,
    )


def step(env: Any, actions: list[int], sizes: Sizes) -> Result:
    """One step of a game.

    Args:
        env: StarCraft2Env.
        actions: one per agent.
        sizes: those of the scenario; the limit and the number of agents are used.

    Returns:
        The reward, how the game ended if it did, and whether it is won. The time limit
        truncates; only the rules terminate.

    Raises:
        RuntimeError: the game crashed; StarCraft2Env hides it behind an end without a
            result.
    """
    reward, ended, info = env.step(actions)
    if ended and "battle_won" not in info:
        raise RuntimeError("StarCraft II crashed")
    won = bool(info.get("battle_won"))
    wiped_out = info.get("dead_allies", 0) == sizes.n_agents
    ended_by_the_rules = won or wiped_out
    at_the_limit = env._episode_steps >= sizes.limit
    truncated = bool(ended and at_the_limit and not ended_by_the_rules)
    terminated = bool(ended and not truncated)
    return Result(float(reward), terminated, truncated, won)
