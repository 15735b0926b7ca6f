"""The words every file shares: the records that pass between games, agents, mixers and losses.

Axes always come in the order B (batch of episodes) or N (parallel games), T (time), K
(agents), then features; there is no trailing axis of length one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Array = Tensor | np.ndarray
Generator = torch.Generator | np.random.Generator


class InvalidInputError(ValueError):
    """An argument that cannot be used; the message says which, what was expected, what came, and the cure."""


class EpisodeLost(RuntimeError):
    """A game's process crashed in the middle of an episode; the game runs again, and another episode can be played."""


def refuse(argument: str, expected: str, got: object, cure: str) -> NoReturn:
    """Raises InvalidInputError with the four parts every message of this library has."""
    raise InvalidInputError(f"{argument}: expected {expected}, got {got!r}. {cure}")


class Spec(NamedTuple):
    """The sizes of a game, and what a learner may rely on."""

    n_agents: int  # K
    n_actions: int  # A, the same for every agent
    observation_size: int  # O
    state_size: int  # S
    # leading features per agent in the state (Qatten reads them); 0: the state has no
    # such block
    unit_size: int
    horizon: int  # longest episode, in steps (the paper's N)
    # smallest type that stores observations and states without loss
    dtype: torch.dtype = torch.float32
    ends_early: bool = True  # False: every episode takes exactly `horizon` steps
    # True: `Step.info` tells what is `won`, and evaluations keep it
    winnable: bool = False
    at_once: int = 0  # the most games side by side; 0: as many as wanted
    # True: the rules also run in numpy, given a numpy generator; a state is a tuple of
    # arrays
    in_numpy: bool = False


class Step(NamedTuple):
    """What one step of N games returns."""

    state: Any  # opaque to everything but the game
    rewards: Float[Array, "N"]
    terminated: Bool[Array, "N"]  # the rules ended the episode
    truncated: Bool[Array, "N"]  # the time limit ended it
    info: dict[str, Array]  # [N] each: `valid` always, `won` where a game can be won


@runtime_checkable
class Game(Protocol):
    """Rules on N games at once. A game holds no state: what `reset` returns is passed back to every other method."""

    name: str
    spec: Spec

    def reset(self, n_games: int, rng: Generator) -> Any: ...

    def advance(self, state: Any, actions: Int[Array, "N K"], rng: Generator) -> Step:
        """One joint action in every game; actions are known to be valid."""

    def observe(self, state: Any) -> Float[Array, "N K O"]: ...

    def global_state(self, state: Any) -> Float[Array, "N S"]: ...

    def available(self, state: Any) -> Bool[Array, "N K A"]: ...


class Episodes(NamedTuple):
    """B whole episodes on fixed-size axes; slot T holds the observation after the last transition."""

    observations: Tensor  # [B, T+1, K, O], stored in Spec.dtype
    states: Tensor  # [B, T+1, S], stored in Spec.dtype
    actions: Int[Tensor, "B T K"]  # 0 in padding
    available: Bool[Tensor, "B T+1 K A"]  # all False in padding
    rewards: Float[Tensor, "B T"]  # 0 in padding
    discounts: Float[Tensor, "B T"]  # gamma, or 0 where the episode ended
    weights: Float[Tensor, "B T"]  # 1 for a real transition, 0 for padding
    # the latent that the agents were told in this episode; Z = 0 for most methods
    context: Float[Tensor, "B Z"]
    won: Bool[Tensor, "B"]  # False where a game cannot be won


class Batch(NamedTuple):
    """Episodes to learn from, and what the networks are told of them: looked through once, for online and target."""

    episodes: Episodes
    inputs: Any  # of the agents, as `Agent.inputs` gives them [T+1, B·K, I]
    states: Float[Tensor, "B T+1 SZ"]  # of the mixers


class Utilities(NamedTuple):
    """What the agents hand to a mixer."""

    chosen: Float[Tensor, "... K"]  # Q_k(tau_k, u_k), the utility of the action taken
    greedy: Float[Tensor, "... K"]  # max_u Q_k(tau_k, u) over the available actions
    actions: Float[Tensor, "... K A"]  # the actions taken, one-hot


class Mixed(NamedTuple):
    """What a mixer returns."""

    q_tot: Float[Tensor, "..."]
    # a regulariser of the mixer's own, per step; a single 0 for most
    penalty: Float[Tensor, "..."]


Mixer = Callable[[Utilities, Tensor], Mixed]  # (utilities, state)
Mixing = Callable[[Utilities], Mixed]  # a mixer at given states


class Forward(NamedTuple):
    """One online pass over a batch, with everything a loss may want to look at."""

    episodes: Episodes
    action_values: Float[Tensor, "B T+1 K A"]  # Q_k(tau_k, .) of the online agents
    # their recurrent states, after the observation of each slot
    hidden: Float[Tensor, "B T+1 K H"]
    greedy: Int[Tensor, "B T+1 K"]  # the actions that the target's values are taken at
    utilities: Utilities  # of the actions taken, t = 0..T-1
    states: Float[Tensor, "B T S+Z"]  # what the mixer is told: state and context
    mixing: Mixing  # the online mixer at these states: q_tot = mixing(utilities).q_tot
    q_tot: Float[Tensor, "B T"]
    penalty: Float[Tensor, "..."]
    # the target networks' joint value of the greedy actions, without gradient
    greedy_values: Float[Tensor, "B T+1"]
    targets: Float[Tensor, "B T"]  # y, without gradient
    weights: Float[Tensor, "B T"]
