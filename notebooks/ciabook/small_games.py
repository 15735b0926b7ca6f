"""Scripted players of the small games, and the best return found by trying everything.

A player is a function (game, state, rng) -> actions. It is shown the full state, which
learned agents are not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ciacore.games.predator_prey import ATTACK, NEEDED, STAY, PredatorPrey
from ciacore.types import Game

Player = Callable[[Any, Any, torch.Generator], Int[Tensor, "N K"]]
FAR = 1_000  # more cells than any walk takes


def script(joint_actions: Sequence[Sequence[int]]) -> Player:
    """A player that does what is written down for each step.

    Args:
        joint_actions: of step 0, 1, and so on; the last one is repeated.
    """
    written = torch.tensor(joint_actions)

    def player(game: Game, state: Any, rng: torch.Generator) -> Int[Tensor, "N K"]:
        return written[state.t.clamp(max=len(written) - 1)]

    return player


def chance(game: Game, state: Any, rng: torch.Generator) -> Int[Tensor, "N K"]:
    """Each agent takes one of its available actions, all equally likely.

    Args:
        game: the rules.
        state: of N games.
        rng: draws the actions.
    """
    available = game.available(state)
    drawn = torch.multinomial(available.flatten(0, 1).float(), 1, generator=rng)
    return drawn.view(available.shape[:2])


def idle(game: PredatorPrey, state: Any, rng: torch.Generator) -> Int[Tensor, "N K"]:
    """All predators stay.

    Args:
        game: the rules.
        state: of N grids.
        rng: nothing is drawn.
    """
    return torch.full_like(state.predators, STAY)


def lonely(game: PredatorPrey, state: Any, rng: torch.Generator) -> Tensor:
    """Every predator walks to its nearest prey and attacks at once.

    Args:
        game: the rules.
        state: of N grids.
        rng: nothing is drawn.
    """
    target = distances(game, state).argmin(-1)  # [N, K]
    beside = game.available(state)[..., ATTACK]
    return torch.where(beside, ATTACK, towards(game, state, target))


def together(game: PredatorPrey, state: Any, rng: torch.Generator) -> Tensor:
    """All predators walk to one prey, and attack it once two are beside it.

    The prey is the one to which the nearest two have the shortest walks.

    Args:
        game: the rules.
        state: of N grids.
        rng: nothing is drawn.
    """
    far = distances(game, state)  # [N, K, M]
    nearest_two = far.sort(1).values[:, :NEEDED].sum(1)  # [N, M]
    target = nearest_two.argmin(-1)[:, None].expand_as(state.predators)  # [N, K]
    beside = far.gather(-1, target[..., None])[..., 0] == 1
    enough = beside.sum(-1, keepdim=True) >= NEEDED
    waits_or_attacks = torch.where(enough, ATTACK, STAY)
    return torch.where(beside, waits_or_attacks, towards(game, state, target))


def distances(game: PredatorPrey, state: Any) -> Int[Tensor, "N K M"]:
    """Steps from each predator to each prey; FAR where one of them was removed.

    Args:
        game: the rules.
        state: of N grids.
    """
    predators, prey = game.places(state)
    steps = (predators[:, :, None] - prey[:, None]).abs().sum(-1)
    removed = (state.predators == game.off)[:, :, None]
    removed = removed | (state.prey == game.off)[:, None]
    return torch.where(removed, FAR, steps)


def towards(game: PredatorPrey, state: Any, target: Int[Tensor, "N K"]) -> Tensor:
    """The move of each predator that leads nearest to its prey, onto a free cell.

    Args:
        game: the rules.
        state: of N grids.
        target: index of the prey that each predator walks to.
    """
    predators, prey = game.places(state)
    moves = torch.tensor([(0, 1), (1, 0), (0, -1), (-1, 0), (0, 0)])
    ends = predators[:, :, None] + moves  # [N, K, 5, 2]
    index = target[..., None].expand(-1, -1, 2)
    goal = prey.gather(1, index)  # [N, K, 2]
    steps = (ends - goal[:, :, None]).abs().sum(-1)  # [N, K, 5]
    possible = game.available(state)[..., :ATTACK]
    others = torch.cat([predators, prey], 1)  # [N, K+M, 2]
    taken = (ends[:, :, :, None] == others[:, None, None]).all(-1).any(-1)
    taken[..., STAY] = False
    return torch.where(possible & ~taken, steps, FAR).argmin(-1)


def returns(
    game: Game, player: Player, n_games: int, rng: torch.Generator
) -> Float[Tensor, "N"]:
    """Undiscounted returns of N episodes, each up to its own end.

    Args:
        game: the rules.
        player: who plays.
        n_games: N.
        rng: for everything that is random.
    """
    state = game.reset(n_games, rng)
    alive: Bool[Tensor, "N"] = torch.ones(n_games, dtype=torch.bool)
    found = torch.zeros(n_games)
    for _ in range(game.spec.horizon):
        step = game.step(state, player(game, state, rng), rng)
        found = found + alive * step.rewards
        alive = alive & ~(step.terminated | step.truncated)
        state = step.state
    return found


def best_return(game: Game) -> float:
    """The largest undiscounted return of a game without chance, by trying everything.

    States that were met before are looked up. Only for tiny games.

    Args:
        game: the rules; nothing in them may be random, and the state is a named tuple.
    """
    spec, rng = game.spec, torch.Generator()
    joint = torch.tensor(list(product(range(spec.n_actions), repeat=spec.n_agents)))
    known: dict[tuple, float] = {}

    def best_from(state: Any) -> float:
        key = tuple(field.item() for field in state)
        if key not in known:
            branches = type(state)(*(field.expand(len(joint)) for field in state))
            step = game.step(branches, joint, rng)
            over = step.terminated | step.truncated
            found = []
            for branch in range(len(joint)):
                after = type(state)(
                    *(field[branch : branch + 1] for field in step.state)
                )
                ahead = 0.0 if over[branch] else best_from(after)
                found.append(step.rewards[branch].item() + ahead)
            known[key] = max(found)
        return known[key]

    return best_from(game.reset(1, rng))
