"""Playing whole episodes: the learner's only seam to a game."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ciacore.fast.arrays import library, tensor
from ciacore.fast.draws import drawn_ahead
from ciacore.fast.numpy_twins import has_twin, numpy_twin
from ciacore.fast.whole_episodes import Played, play_whole
from ciacore.learning.replay import pad_to
from ciacore.types import (
    Agent,
    Array,
    EpisodeLost,
    Episodes,
    Game,
    Generator,
    Policy,
    Spec,
    Step,
)

__all__ = ["Policy", "pad", "play", "play_together", "player_of", "plays_in_numpy"]


def plays_in_numpy(agent: Agent, spec: Spec, device: torch.device) -> bool:
    """Whether episodes are played in numpy: on a CPU, where game and agent can.

    Args:
        agent: the online agent.
        spec: of the game.
        device: where learning happens.
    """
    return device.type == "cpu" and spec.in_numpy and has_twin(agent)


def player_of(agent: Agent, in_numpy: bool) -> Any:
    """The agent as it is now, for play: itself, or its twin.

    Args:
        agent: the online agent.
        in_numpy: whether the game is played in numpy.
    """
    return numpy_twin(agent) if in_numpy else agent


def play(
    game: Game,
    policy: Policy,
    n_games: int,
    rng: Generator,
    gamma: float,
    bootstrap_at_limit: bool = False,
) -> Episodes:
    """N whole episodes, as many side by side as the game can.

    Episodes that a crash of the game took are played again.

    Args:
        game: what is played.
        policy: who plays.
        n_games: N.
        rng: of torch, or of numpy where game and policy can play in numpy; the episodes
            are tensors in either case.
        gamma: discount per step; 0 is stored where an episode ended, by its rules or by
            the time limit (as published).
        bootstrap_at_limit: whether gamma is stored where the time limit ended it.
    """
    side_by_side = game.spec.at_once or n_games
    parts: list[Episodes] = []
    left = n_games
    while left > 0:
        with suppress(EpisodeLost):
            count = min(side_by_side, left)
            parts.append(
                play_together(game, policy, count, rng, gamma, bootstrap_at_limit)
            )
            left -= count
    if len(parts) == 1:
        return parts[0]
    return Episodes(*(torch.cat(fields) for fields in zip(*parts, strict=True)))


@torch.no_grad()
@np.errstate(over="ignore", invalid="ignore")  # diverging networks: the losses tell
def play_together(
    game: Game,
    policy: Policy,
    n_games: int,
    rng: Generator,
    gamma: float,
    bootstrap_at_limit: bool = False,
) -> Episodes:
    """Plays N episodes side by side; what lies after an episode's end is padding.

    Args:
        game: what is played.
        policy: who plays.
        n_games: N, at most as many as the game plays at once.
        rng: as for `play`.
        gamma: as for `play`.
        bootstrap_at_limit: as for `play`.
    """
    played = play_whole(game, policy, n_games, rng)
    if played is not None:
        episodes = episodes_of(played, game.spec, gamma, bootstrap_at_limit)
        return pad_to(episodes, game.spec.horizon)
    spec, rng = game.spec, drawn_ahead(rng, game.spec)
    state = game.reset(n_games, rng)
    observations, available = game.observe(state), game.available(state)
    memory = policy.start(observations, game.global_state(state), rng)
    trace = Trace(spec, bootstrap_at_limit)
    trace.see(observations, available, state)
    for _ in range(spec.horizon):
        actions, memory = policy.act(observations, available, memory, rng)
        step = game.advance(state, actions, rng)
        state = step.state
        observations, available = game.observe(state), game.available(state)
        trace.take(actions, step)
        trace.see(observations, available, state)
        if trace.all_ended():
            break
    context = getattr(memory, "context", observations[:, 0, :0])
    return pad_to(trace.episodes(game, context, gamma), spec.horizon)


def episodes_of(
    played: Played, spec: Spec, gamma: float, bootstrap_at_limit: bool
) -> Episodes:
    """The episodes of a game that played them in one call, up to the longest's end.

    Args:
        played: what the game recorded.
        spec: its sizes.
        gamma: discount per step.
        bootstrap_at_limit: as for `play`.
    """
    final = played.terminated if bootstrap_at_limit else played.ended
    return pad(
        played.observations.transpose(0, 1).to(spec.dtype),
        played.states.transpose(0, 1).to(spec.dtype),
        played.actions.transpose(0, 1).long(),
        played.available.transpose(0, 1),
        played.rewards.transpose(0, 1),
        played.ended.transpose(0, 1),
        gamma,
        played.context,
        played.won,
        final.transpose(0, 1),
    )


class Trace:
    """What happens in N games, step by step."""

    def __init__(self, spec: Spec, bootstrap_at_limit: bool = False) -> None:
        """Nothing has happened yet.

        Args:
            spec: of the game.
            bootstrap_at_limit: as for `play`.
        """
        self.spec = spec
        self.bootstrap_at_limit = bootstrap_at_limit
        self.observations: list[Array] = []  # of every slot, [N, K, O] each
        self.available: list[Array] = []
        self.states: list[Any] = []  # the game's own
        self.actions: list[Array] = []  # of every step, [N, K] each
        self.rewards: list[Array] = []
        # of every step; where all episodes are as long, of the last one alone
        self.flags: list[Step] = []
        self.over: Array | None = None  # [N] the games that have ended
        self.won: Array | None = None  # [N] the games that were won before they ended

    def see(
        self,
        observations: Float[Array, "N K O"],
        available: Bool[Array, "N K A"],
        state: Any,
    ) -> None:
        """Adds a slot.

        Args:
            observations: [N, K, O].
            available: [N, K, A].
            state: the game's own.
        """
        self.observations.append(observations)
        self.available.append(available)
        self.states.append(state)

    def take(self, actions: Int[Array, "N K"], step: Step) -> None:
        """Adds a step.

        Args:
            actions: [N, K] what the agents did.
            step: what came of it.
        """
        self.actions.append(actions)
        self.rewards.append(step.rewards)
        if not self.spec.ends_early:
            self.flags = [step]
            return
        self.flags.append(step)
        ended = step.terminated | step.truncated
        if self.spec.winnable:
            won = step.info["won"]
            self.won = won if self.won is None else self.won | (won & ~self.over)
        self.over = ended if self.over is None else self.over | ended

    def all_ended(self) -> bool:
        """Whether nothing is left to play; not asked where all episodes are as long."""
        return self.spec.ends_early and bool(self.over.all())

    def episodes(self, game: Game, context: Array, gamma: float) -> Episodes:
        """The record, with padding after every end.

        Args:
            game: gives the global states.
            context: [N, Z] the latent of each episode.
            gamma: discount per step.
        """
        context = tensor(context)
        won = torch.zeros(len(context), dtype=torch.bool, device=context.device)
        if self.won is not None:
            won = tensor(self.won)
        ended, final = self.ends()
        return pad(
            in_time(self.observations).to(self.spec.dtype),
            self.global_states(game).to(self.spec.dtype),
            in_time(self.actions),
            in_time(self.available),
            in_time(self.rewards).float(),
            ended,
            gamma,
            context,
            won,
            final,
        )

    def ends(self) -> tuple[Bool[Tensor, "N T"], Bool[Tensor, "N T"]]:
        """Where an episode ended, and where what lies behind has no value."""
        terminated = in_time([step.terminated for step in self.flags])
        ended = in_time([step.terminated | step.truncated for step in self.flags])
        before = len(self.rewards) - len(self.flags)  # steps at which nothing ends
        ended, terminated = F.pad(ended, (before, 0)), F.pad(terminated, (before, 0))
        return ended, terminated if self.bootstrap_at_limit else ended

    def global_states(self, game: Game) -> Float[Tensor, "N slots S"]:
        """The global state of every slot."""
        if not self.spec.in_numpy:
            return in_time([game.global_state(state) for state in self.states])
        # All steps as one state of many more games, which need be looked at only once.
        first = self.states[0]
        concatenate = library(first[0]).concatenate
        fields = [
            concatenate([state[number] for state in self.states])
            for number in range(len(first))
        ]
        joined = type(first)(*fields)
        return by_time(game.global_state(joined), len(self.states))


def in_time(parts: list[Array]) -> Tensor:
    """Steps of [N, ...] as a tensor [N, T, ...].

    They are joined and split, since stacking takes numpy three times as long.
    """
    return by_time(library(parts[0]).concatenate(parts), len(parts))


def by_time(joined: Array, steps: int) -> Tensor:
    """[T N, ...], step after step, as a tensor [N, T, ...].

    Args:
        joined: N rows of the first step, then N of the second, and so on.
        steps: T.
    """
    return tensor(joined).unflatten(0, (steps, -1)).transpose(0, 1)


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
    final: Tensor | None = None,
) -> Episodes:
    """Episodes with zeros after each first end; the slot after the last step stays.

    Args:
        observations: [N, T+1, K, O].
        states: [N, T+1, S].
        actions: [N, T, K].
        available: [N, T+1, K, A].
        rewards: [N, T].
        ended: [N, T] True where an episode ended, and whatever comes after it.
        gamma: discount per step.
        context: [N, Z]; none by default.
        won: [N]; nobody by default.
        final: [N, T] True where what lies behind a step has no value; `ended` by
            default.
    """
    ends_before = ended.cumsum(1) - ended.long()  # [N, T]: how many, before t
    alive = ends_before == 0
    filled = torch.cat([alive[:, :1], alive], dim=1)  # [N, T+1]
    return Episodes(
        observations=observations * filled[..., None, None],
        states=states * filled[..., None],
        actions=actions * alive[..., None],
        available=available & filled[..., None, None],
        rewards=rewards * alive,
        discounts=gamma * (alive & ~(ended if final is None else final)),
        weights=alive.float(),
        context=rewards.new_zeros(len(rewards), 0) if context is None else context,
        won=torch.zeros_like(ended[:, 0]) if won is None else won,
    )
