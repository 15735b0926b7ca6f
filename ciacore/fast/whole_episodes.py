"""Whole episodes in one compiled call, for games that run in JAX.

A step from Python costs such a game many times what its rules do. A game that has
`play_whole` plays from the first step to the last inside one compiled loop, and is
handed what it needs for that: a policy as pure functions, the weights of its networks,
and its random draws, made here. Policies and networks that have such a form are
registered by the files that define them; others go on stepping, with the same results.
Nothing here loads JAX.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ciacore.fast import switch
from ciacore.types import Game, Generator, Spec


class PurePolicy(NamedTuple):
    """A policy without memory of its own, as JAX compiles it.

    N games are played by K agents; arrays are JAX's.
    """

    # what the functions depend on, besides their arguments: equal keys, equal code
    key: Hashable
    # (weights, draws, observations [N, K, O], states [N, S]) -> memory
    start: Callable[[Any, Any, Any, Any], Any]
    # (weights, draws, observations [N, K, O], available [N, K, A], memory)
    # -> (actions [N, K], memory)
    act: Callable[[Any, Any, Any, Any, Any], tuple[Any, Any]]
    # memory -> the latents [N, Z] of the episodes
    context: Callable[[Any], Any]
    weights: Any  # a tree of tensors
    first_draws: int  # numbers in [0, 1) per game before the first step
    step_draws: int  # and per game at each step


class PureNetwork(NamedTuple):
    """A network as JAX computes it."""

    key: Hashable
    weights: Any  # a tree of tensors
    # (weights, what the network reads) -> what it returns
    function: Callable[..., Any]


class Played(NamedTuple):
    """N episodes as they were played, up to the end of the longest; time comes first.

    What lies after an episode's end is whatever the game goes on to do.
    """

    observations: Tensor  # [T+1, N, K, O]
    states: Tensor  # [T+1, N, S]
    available: Tensor  # [T+1, N, K, A]
    actions: Tensor  # [T, N, K]
    rewards: Tensor  # [T, N]
    ended: Tensor  # [T, N]
    terminated: Tensor  # [T, N] ended by the rules, and not by the time limit
    won: Tensor  # [N]
    context: Tensor  # [N, Z]


PureOf = Callable[[Any, Spec], PurePolicy | PureNetwork | None]
PURE: dict[type, PureOf] = {}


def register(kind: type, pure: PureOf) -> None:
    """Says how a policy or a network is written for JAX.

    Args:
        kind: the class; its subclasses are not meant, as they may compute otherwise.
        pure: (policy or network, spec) -> its pure form; None where one of its parts
            has none.
    """
    PURE[kind] = pure


def pure(part: Any, spec: Spec) -> Any:
    """The pure form of a policy or a network; None where it has none.

    Args:
        part: a policy or a network.
        spec: the sizes of the game.
    """
    form = PURE.get(type(part))
    return None if form is None else form(part, spec)


def play_whole(game: Game, policy: Any, n_games: int, rng: Generator) -> Played | None:
    """Plays N whole episodes in one call; None where that cannot be done.

    The generator is left as if the episodes had been played step by step.

    Args:
        game: what is played; it can be done where it has `play_whole`.
        policy: who plays; it can be done where it has a pure form.
        n_games: N.
        rng: of torch; of the CPU.
    """
    offered = getattr(game, "play_whole", None)
    on_cpu = isinstance(rng, torch.Generator) and rng.device.type == "cpu"
    if offered is None or not on_cpu or not switch.on():
        return None
    form = pure(policy, game.spec)
    if form is None:
        return None
    state = game.fresh_keys(n_games, rng)
    first = torch.rand(n_games * form.first_draws, generator=rng)
    before = rng.get_state()
    draws = torch.rand(game.spec.horizon, n_games * form.step_draws, generator=rng)
    played = offered(form, state, first, draws)
    steps = len(played.rewards)
    rng.set_state(before)
    torch.rand(steps, n_games * form.step_draws, generator=rng)
    return played


def tensors(network: nn.Module) -> dict[str, Tensor]:
    """The parameters and buffers of a network by name, without gradient."""
    found = {name: value.detach() for name, value in network.named_parameters()}
    found |= dict(network.named_buffers())
    return found
