"""Playing whole episodes: the learner's only seam to a game."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from ciacore.fast.arrays import library, tensor
from ciacore.learning.replay import lengthened
from ciacore.types import Array, EpisodeLost, Episodes, Game, Generator


@runtime_checkable
class Policy(Protocol):
    """Chooses actions from observations and a memory of its own.

    If the memory at the start has a `context` [N, Z], a latent the agents were told, it
    is kept with the episodes.
    """

    def begin(self, observations: Array, states: Array, rng: Generator) -> Any: ...

    def act(
        self, observations: Array, available: Array, memory: Any, rng: Generator
    ) -> tuple[Array, Any]: ...


def play(
    game: Game, policy: Policy, n_games: int, rng: Generator, gamma: float
) -> Episodes:
    """N whole episodes, as many side by side as the game can; one that a crash took is played again.

    Args:
        rng: a torch generator, or a numpy one where game and policy can play in numpy;
            the episodes are tensors.
        gamma: discount per step; 0 is stored where an episode ended, by its rules or by
            the time limit (as published).
    """
    most, parts = game.spec.at_once or n_games, []
    for first in range(0, n_games, most):
        while len(parts) * most <= first:
            with suppress(EpisodeLost):
                parts.append(
                    play_together(game, policy, min(most, n_games - first), rng, gamma)
                )
    return (
        parts[0]
        if len(parts) == 1
        else Episodes(*(torch.cat(fields) for fields in zip(*parts, strict=True)))
    )


@torch.no_grad()
# networks that diverge: the losses tell, in numpy as in torch
@np.errstate(over="ignore", invalid="ignore")
def play_together(
    game: Game, policy: Policy, n_games: int, rng: Generator, gamma: float
) -> Episodes:
    """Plays N episodes side by side to the horizon; what lies behind an episode's end comes back as padding."""
    spec, state = game.spec, game.reset(n_games, rng)
    observations, available = game.observe(state), game.available(state)
    slots, moves = [(observations, available, state)], []
    memory = policy.begin(observations, game.global_state(state), rng)
    context = getattr(memory, "context", observations[:, 0, :0])
    over = won = observations[:, 0, 0] != observations[:, 0, 0]  # [N], nobody
    for _ in range(spec.horizon):
        actions, memory = policy.act(observations, available, memory, rng)
        step = game.advance(state, actions, rng)
        state = step.state
        observations, available = game.observe(state), game.available(state)
        slots.append((observations, available, state))
        moves.append((actions, step.rewards, step.terminated | step.truncated))
        if spec.ends_early:
            won = won | step.info["won"] & ~over if spec.winnable else won
            over = over | moves[-1][2]
            if bool(over.all()):
                break
    *seen, passed = zip(*slots, strict=True)
    states = in_time(
        [
            game.global_state(state)
            for state in (joined(passed) if spec.in_numpy else passed)
        ],
        len(passed),
    )
    observations, available = map(in_time, seen)
    actions, rewards, ended = map(in_time, zip(*moves, strict=True))
    observations, states = observations.to(spec.dtype), states.to(spec.dtype)
    facts = tensor(context), tensor(won)
    episodes = pad(
        observations, states, actions, available, rewards.float(), ended, gamma, *facts
    )
    return lengthened(episodes, spec.horizon)


def joined(states: tuple[Any, ...]) -> list[Any]:
    """Steps of N games as one state of many more games, which need be looked at only once."""
    return [
        type(states[0])(
            *map(library(states[0][0]).concatenate, zip(*states, strict=True))
        )
    ]


def in_time(parts: list[Array] | tuple[Array, ...], steps: int = 0) -> Tensor:
    """Steps of [N, ...] as a tensor [N, T, ...]; joined, since stacking takes numpy three times as long."""
    return (
        tensor(library(parts[0]).concatenate(parts))
        .unflatten(0, (steps or len(parts), -1))
        .transpose(0, 1)
    )


def pad(
    observations: Tensor,
    states: Tensor,
    actions: Tensor,
    available: Tensor,
    rewards: Tensor,
    ended: Tensor,
    gamma: float,
    context: Tensor | None = None,
    won: Tensor | None = None,
) -> Episodes:
    """Episodes with zeros behind each first `ended` [N, T]; the slot after the last transition stays."""
    alive = (ended.cumsum(1) - ended.long()) == 0  # [N, T]: no end before t
    filled = torch.cat([alive[:, :1], alive], dim=1)  # [N, T+1]
    return Episodes(
        observations=observations * filled[..., None, None],
        states=states * filled[..., None],
        actions=actions * alive[..., None],
        available=available & filled[..., None, None],
        rewards=rewards * alive,
        discounts=gamma * (alive & ~ended),
        weights=alive.float(),
        context=rewards.new_zeros(len(rewards), 0) if context is None else context,
        won=torch.zeros_like(ended[:, 0]) if won is None else won,
    )
