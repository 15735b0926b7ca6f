"""The words every file shares: the records that pass between games, agents and mixers.

Axes always come in the order B (batch of episodes) or N (parallel games), T (time),
K (agents), then features; there is no trailing axis of length one.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, NoReturn, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Array = Tensor | np.ndarray


class Dice:
    """A generator that is neither torch's nor numpy's, and gives tensors."""

    device: torch.device

    def integers(self, high: int, shape: tuple[int, ...]) -> Tensor:
        """As the function of this name in `ciacore.fast.arrays`.

        Args:
            high: one more than the largest.
            shape: of what is drawn.
        """
        raise NotImplementedError

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """As the function of this name in `ciacore.fast.arrays`.

        Args:
            shape: of what is drawn.
        """
        raise NotImplementedError

    def noise_of_explorers(
        self, shape: tuple[int, ...], epsilon: float | Tensor
    ) -> tuple[Tensor, Tensor]:
        """As the function of this name in `ciacore.fast.arrays`.

        Args:
            shape: of the noise; its last axis has one number per action.
            epsilon: the chance to explore.
        """
        *rows, n_actions = shape
        drawn = self.uniform((*rows, n_actions + 1))
        return drawn[..., :-1], drawn[..., -1:] < epsilon


Generator = torch.Generator | np.random.Generator | Dice


# errors


class InvalidInputError(ValueError):
    """An argument that cannot be used.

    The message says which, what was expected, what came, and the cure.
    """


class EpisodeLost(RuntimeError):
    """A game's process crashed in the middle of an episode.

    The game runs again, and another episode can be played.
    """


def refuse(argument: str, expected: str, got: object, cure: str) -> NoReturn:
    """Raises InvalidInputError with the four parts every message of this library has.

    Args:
        argument: the name of what cannot be used.
        expected: what can.
        got: what came; it is shown by its repr.
        cure: a sentence that says what to do.

    Raises:
        InvalidInputError: always.
    """
    raise InvalidInputError(f"{argument}: expected {expected}, got {got!r}. {cure}")


def known_name(name: object, names: Iterable[str], argument: str) -> str:
    """Returns `name` if it is one of `names`.

    Args:
        name: what was asked for.
        names: what there is.
        argument: what the error calls it.

    Raises:
        InvalidInputError: it is not; the error lists the names and suggests the
            nearest.
    """
    names = list(names)
    if name not in names:
        near = difflib.get_close_matches(str(name), names, n=1)
        cure = f"Did you mean {near[0]!r}?" if near else "Choose one of these."
        refuse(argument, "one of " + ", ".join(names), name, cure)
    return str(name)


# games


class Spec(NamedTuple):
    """The sizes of a game, and what a learner may rely on."""

    n_agents: int  # K
    n_actions: int  # A, the same for every agent
    observation_size: int  # O
    state_size: int  # S
    # leading features per agent in the state, which Qatten reads; 0: the state has none
    unit_size: int
    horizon: int  # longest episode, in steps (the paper's N)
    # the smallest type that stores observations and states without loss
    dtype: torch.dtype = torch.float32
    ends_early: bool = True  # False: every episode takes exactly `horizon` steps
    # True: `Step.info` has an entry `won`, and evaluations keep it
    winnable: bool = False
    at_once: int = 0  # the most games side by side; 0: as many as wanted
    # True: the rules also run in numpy, given a numpy generator; a state is then a
    # named tuple of arrays [N, ...]
    in_numpy: bool = False


class Step(NamedTuple):
    """What one step of N games returns."""

    state: Any  # opaque to everything but the game
    rewards: Float[Array, "N"]
    terminated: Bool[Array, "N"]  # the rules ended the episode
    truncated: Bool[Array, "N"]  # the time limit ended it
    # [N] each: `valid` always, `won` where a game can be won
    info: dict[str, Array]


@runtime_checkable
class Game(Protocol):
    """Rules on N games at once.

    A game holds no state: what `reset` returns is passed back to every other method.
    """

    name: str
    spec: Spec

    def reset(self, n_games: int, rng: Generator) -> Any:
        """The state of N fresh games."""

    def advance(self, state: Any, actions: Int[Array, "N K"], rng: Generator) -> Step:
        """Plays one joint action in every game; actions are known to be valid."""

    def observe(self, state: Any) -> Float[Array, "N K O"]:
        """What every agent sees."""

    def global_state(self, state: Any) -> Float[Array, "N S"]:
        """What a mixer sees."""

    def available(self, state: Any) -> Bool[Array, "N K A"]:
        """The actions that may be taken."""


# episodes


class Episodes(NamedTuple):
    """B whole episodes on fixed-size axes.

    Slot t holds what is seen before step t, and slot T what is seen after the last one.
    """

    observations: Tensor  # [B, T+1, K, O], stored in Spec.dtype
    states: Tensor  # [B, T+1, S], stored in Spec.dtype
    actions: Int[Tensor, "B T K"]  # 0 in padding
    available: Bool[Tensor, "B T+1 K A"]  # all False in padding
    rewards: Float[Tensor, "B T"]  # 0 in padding
    discounts: Float[Tensor, "B T"]  # gamma, or 0 where the episode ended
    weights: Float[Tensor, "B T"]  # 1 for a real transition, 0 for padding
    # the latent that the agents were given in this episode; Z = 0 for most methods
    context: Float[Tensor, "B Z"]
    won: Bool[Tensor, "B"]  # False where a game cannot be won


SLOT_FIELDS = ("observations", "states", "available")  # of Episodes, T+1 long
STEP_FIELDS = ("actions", "rewards", "discounts", "weights")  # T long


class Batch(NamedTuple):
    """Episodes to learn from, as online and target networks read them.

    `*slots` stands for the axes B and T+1, or for one axis of all real slots, where
    padding is left out (`ciacore.fast.steps`).
    """

    episodes: Episodes
    steps: Any  # AllSteps or RealSteps: which steps are computed
    inputs: Any  # of the agents, as `Agent.inputs` makes them
    states: Float[Tensor, "*slots SZ"]  # of the mixers: state and context
    available: Bool[Tensor, "*slots K A"]


# mixers


class Utilities:
    """What the agents hand to a mixer.

    Most mixers read `chosen` alone. So `greedy` and `actions` may be given as functions
    without arguments; these are called whenever a mixer reads them.
    """

    def __init__(
        self,
        chosen: Float[Tensor, "... K"],
        greedy: Float[Tensor, "... K"] | Callable[[], Tensor],
        actions: Float[Tensor, "... K A"] | Callable[[], Tensor],
    ) -> None:
        """Keeps what is given.

        Args:
            chosen: Q_k(tau_k, u_k), the utility of the action taken.
            greedy: max_u Q_k(tau_k, u) over the available actions.
            actions: the actions taken, one-hot.
        """
        self.chosen = chosen
        self._greedy, self._actions = greedy, actions

    @property
    def greedy(self) -> Float[Tensor, "... K"]:
        """max_u Q_k(tau_k, u) over the available actions, [..., K]."""
        return self._greedy() if callable(self._greedy) else self._greedy

    @property
    def actions(self) -> Float[Tensor, "... K A"]:
        """The actions taken, one-hot, [..., K, A]."""
        return self._actions() if callable(self._actions) else self._actions

    def with_chosen(self, chosen: Float[Tensor, "... K"]) -> Utilities:
        """The same actions with other utilities.

        Args:
            chosen: [..., K].
        """
        return Utilities(chosen, self._greedy, self._actions)


class Mixed(NamedTuple):
    """What a mixer returns."""

    q_tot: Float[Tensor, "..."]
    # a regulariser of the mixer's own, per step; a single 0 for most
    penalty: Float[Tensor, "..."]


Mixer = Callable[[Utilities, Tensor], Mixed]  # (utilities, state)


@runtime_checkable
class Mixing(Protocol):
    """A mixer at given states."""

    def __call__(self, utilities: Utilities) -> Mixed:
        """Q_tot of the utilities."""

    def constant_credits(self) -> Float[Tensor, "... K"] | None:
        """The credits, where Q_tot is linear in the utilities; None where it is not."""
        return None


class PaddedSteps(NamedTuple):
    """What the online networks say of steps after an episode's end, as published.

    Only where padding is left out, and a loss looks at it all the same.
    """

    utilities: Utilities  # of the actions recorded there, [P, K]
    mixing: Mixing  # the online mixer at what stands in padding
    penalty: Float[Tensor, "..."]
    weights: Float[Tensor, "P"]  # 0
    # [P, ...] -> [B, T, ...], in their places, with zeros elsewhere
    by_episode: Callable[[Tensor], Tensor]


class Forward(NamedTuple):
    """One online pass over a batch, with everything a loss may want to look at.

    `...` stands for the axes B and T of all steps; or for one axis of the real steps,
    where padding is left out. `steps` leads from one to the other:
    `steps.by_episode(x)` is [B, T, ...] of what was computed of the steps,
    `steps.before(x)` the slot before each step, `steps.of_slots(field)` the slots of a
    field of the episodes.
    """

    episodes: Episodes
    steps: Any  # AllSteps or RealSteps, of ciacore.fast.steps
    action_values: Float[Tensor, "*slots K A"]  # Q_k(tau_k, .) of the online agents
    hidden: Float[Tensor, "*slots K H"]  # their recurrent states, after each slot
    available: Bool[Tensor, "*slots K A"]
    # the actions that the target's values are taken at
    greedy: Int[Tensor, "*slots K"]
    utilities: Utilities  # of the actions taken, before each step
    states: Float[Tensor, "... SZ"]  # what the mixer reads: state and context
    mixing: Mixing  # the online mixer at these states: q_tot = mixing(utilities).q_tot
    q_tot: Float[Tensor, "..."]
    penalty: Float[Tensor, "..."]
    # the target networks' joint value of the greedy actions, without gradient
    greedy_values: Float[Tensor, "*slots"]
    targets: Float[Tensor, "..."]  # y, without gradient
    weights: Float[Tensor, "..."]
    padding: tuple[PaddedSteps, ...] = ()  # what was left out, where a loss looks at it
    mixer: Any = None  # the online mixer: a module
    env_steps: Float[Tensor, ""] | float = 0.0  # of training so far
    rng: Generator | None = None  # for what is random in a loss

    def every_step(self, quantity: Callable[[Any], Tensor]) -> Float[Tensor, "B T ..."]:
        """A quantity of every step of the batch, after an episode's end too.

        Args:
            quantity: of a `Forward` or of `PaddedSteps`: [..., features].
        """
        found = self.steps.by_episode(quantity(self))
        for padded in self.padding:
            found = found + padded.by_episode(quantity(padded))
        return found


# the parts of a method: each slot of Config names one


@runtime_checkable
class Player(Protocol):
    """What a policy plays: an agent, or a copy of one that computes in numpy."""

    def initial(self, n_games: int) -> tuple[Any, Float[Array, "N K A"]]:
        """Hidden state and last actions at the start of N games."""

    def step(
        self,
        observations: Float[Array, "N K O"],
        last_actions: Float[Array, "N K A"],
        hidden: Any,
        context: Float[Array, "N Z"] | None = None,
    ) -> tuple[Float[Array, "N K A"], Any]:
        """Action values and the next hidden state."""

    def one_hot(self, actions: Int[Array, "N K"]) -> Float[Array, "N K A"]:
        """The actions taken, as `step` reads them at the next step."""


@runtime_checkable
class Agent(Protocol):
    """The network of the utilities, one for all agents: Q_k(tau_k, .). A module.

    While playing it is a `Player`, too; this is what learning asks of it.
    """

    def inputs(self, episodes: Episodes, steps: Any = None) -> Any:
        """What the network reads along episodes, made once for online and target."""

    def unroll(
        self, episodes: Episodes, inputs: Any = None
    ) -> tuple[Float[Tensor, "*slots K A"], Float[Tensor, "*slots K H"]]:
        """Action values and hidden states along whole episodes, T+1 slots."""

    def without_input(
        self,
        hidden: Float[Tensor, "E K H"],
        actions: Int[Tensor, "E K"],
        counts: list[int],
    ) -> tuple[Float[Tensor, "U K A"], Int[Tensor, "P"]]:
        """Action values of agents that go on though nothing is there to be seen."""


@runtime_checkable
class Policy(Protocol):
    """Chooses actions from observations and a memory of its own.

    If the memory at the start has a `context` [N, Z], a latent that the agents are
    given, it is kept with the episodes.
    """

    def start(self, observations: Array, states: Array, rng: Generator) -> Any:
        """The memory at the start of N games."""

    def act(
        self, observations: Array, available: Array, memory: Any, rng: Generator
    ) -> tuple[Array, Any]:
        """One action per agent [N, K], and the memory for the next step."""


@runtime_checkable
class Explorer(Protocol):
    """How a method plays, made from (spec, config, auxiliaries)."""

    context_size: int  # Z, of the latent that it gives to the agents; 0 for most

    def learning(self, agent: Player, epsilon: float | Tensor) -> Policy:
        """The policy that collects episodes to learn from."""

    def evaluating(self, agent: Player) -> Policy:
        """The policy that is evaluated."""


@runtime_checkable
class Objective(Protocol):
    """What is regressed on which target. A module made from (spec, config)."""

    def greedy_values(
        self, agent: Agent, mixer: Mixer, batch: Batch, greedy: Int[Tensor, "*slots K"]
    ) -> Float[Tensor, "*slots"]:
        """The joint value of the greedy actions; asked of the target networks."""

    def __call__(self, record: Forward) -> dict[str, Float[Tensor, ""]]:
        """The losses of an online pass, by name; their sum is minimised."""


@runtime_checkable
class Term(Protocol):
    """A loss added to the objective's. A module made from (spec, config)."""

    # its weight: a number, or a function of the env steps of training so far
    coefficient: float | Callable[[Tensor], Tensor]
    needs_closed_form: bool  # True: works only with a mixer that has `credits`
    # True (if there is such an attribute): looks at steps after an episode's end, too
    # looks_at_padding: bool = False

    def __call__(self, record: Forward) -> Float[Tensor, ""]:
        """The loss of one update."""
