"""Playing whole episodes: the learner's only seam to a game."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ciacore.types import Episodes, Game


@runtime_checkable
class Policy(Protocol):
    """Chooses actions from observations and a memory of its own."""

    def begin(self, observations: Tensor) -> Any: ...

    def act(self, observations: Tensor, available: Tensor, memory: Any, rng: torch.Generator) -> tuple[Tensor, Any]: ...


@torch.no_grad()
def play(game: Game, policy: Policy, n_games: int, rng: torch.Generator, gamma: float) -> Episodes:
    """Plays N episodes side by side to the horizon; what lies behind an episode's end comes back as padding.

    Args:
        gamma: discount per step; 0 is stored where an episode ended, by its rules or by the time limit (as published).
    """
    spec, state = game.spec, game.reset(n_games, rng)
    observations, available = game.observe(state), game.available(state)
    memory = policy.begin(observations)
    slots, moves = [(observations, game.global_state(state), available)], []
    for _ in range(spec.horizon):
        actions, memory = policy.act(observations, available, memory, rng)
        step = game.step(state, actions, rng)
        state = step.state
        observations, available = game.observe(state), game.available(state)
        slots.append((observations, game.global_state(state), available))
        moves.append((actions, step.rewards, step.terminated | step.truncated))
    observations, states, available = (torch.stack(parts, dim=1) for parts in zip(*slots, strict=True))
    actions, rewards, ended = (torch.stack(parts, dim=1) for parts in zip(*moves, strict=True))
    return pad(observations.to(spec.dtype), states.to(spec.dtype), actions, available, rewards, ended, gamma)


def pad(
    observations: Tensor,
    states: Tensor,
    actions: Tensor,
    available: Tensor,
    rewards: Tensor,
    ended: Tensor,
    gamma: float,
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
    )
