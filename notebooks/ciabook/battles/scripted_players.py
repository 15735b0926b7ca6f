"""Scripted players for battles, which see everything.

They show what a scenario is worth before anything has learned it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ciacore.games.battles.smax import Smax, SmaxState, Units

STOP, NORTH, SOUTH, EAST, WEST, FIRST_FOE = range(1, 7)
Player = Callable[[Units, Bool[Tensor, "N K A"], torch.Generator], Int[Tensor, "N K"]]
# of `skirmish`, in cells unless said otherwise
BITES_WITHIN = 3  # a foe of this reach or less bites, the others shoot
TOO_CLOSE = 2.6  # a shooter steps back from a biting foe, whatever its weapon
CLOSE = 4  # and from here on, while its weapon is not ready
WOUNDED = 40  # hit points below which a unit steps back, too
EDGE = 12  # from the middle of the map: who is further out keeps away from the edge


def best(
    scores: Float[Tensor, "N K A"], available: Bool[Tensor, "N K A"]
) -> Int[Tensor, "N K"]:
    """The available action with the highest score.

    Args:
        scores: [N, K, A].
        available: [N, K, A].
    """
    return scores.masked_fill(~available, -float("inf")).argmax(-1)


def at_random(
    units: Units, available: Bool[Tensor, "N K A"], rng: torch.Generator
) -> Int[Tensor, "N K"]:
    """Any available action, all equally likely.

    Args:
        units: not looked at.
        available: [N, K, A], what may be drawn.
        rng: for the draws.
    """
    return best(torch.rand(available.shape, generator=rng), available)


def offsets(units: Units, n_agents: int) -> Float[Tensor, "N K F 2"]:
    """From each agent to each foe, in cells.

    Args:
        units: who stands where; the agents are the first.
        n_agents: K.
    """
    return units.positions[:, None, n_agents:] - units.positions[:, :n_agents, None]


def nearness(units: Units, n_agents: int) -> Float[Tensor, "N K F"]:
    """Minus the distance from each agent to each foe, in cells.

    Args:
        units: who stands where; the agents are the first.
        n_agents: K.
    """
    return -offsets(units, n_agents).norm(dim=-1)


def score(
    units: Units,
    available: Bool[Tensor, "N K A"],
    targets: Float[Tensor, "N K F"],
    walk: bool,
) -> Float[Tensor, "N K A"]:
    """Attack the best foe in reach; else walk towards the nearest foe, or stop.

    Args:
        units: who stands where.
        available: [N, K, A].
        targets: [N, K, F], how good each foe is as a target.
        walk: False: never walk.

    Returns:
        A score for every action, whether it is available or not.
    """
    n_games, n_agents, _ = available.shape
    offset = offsets(units, n_agents)
    dead = ~units.alive[:, None, n_agents:]
    distance = offset.norm(dim=-1).masked_fill(dead, float("inf"))
    moves = torch.full((n_games, n_agents, 4), -1e3)
    if walk:
        nearest = distance.argmin(-1)[:, :, None, None]  # [N, K, 1, 1]
        way = offset.gather(2, nearest.expand(-1, -1, -1, 2))[:, :, 0]  # [N, K, 2]
        moves = towards(way)
    rest = torch.full((n_games, n_agents, 2), -1e2)  # no-op and stop
    return torch.cat([rest, moves, 1e3 + targets], -1)


def towards(way: Float[Tensor, "N K 2"]) -> Float[Tensor, "N K 4"]:
    """How far north, south, east and west lead along a way."""
    x, y = way.unbind(-1)
    return torch.stack([y, -y, x, -x], -1)


def hold(
    units: Units, available: Bool[Tensor, "N K A"], rng: torch.Generator
) -> Int[Tensor, "N K"]:
    """Stands still and attacks the nearest foe in reach.

    Args:
        units: who stands where.
        available: [N, K, A].
        rng: nothing is drawn.
    """
    near = nearness(units, available.shape[1])
    return best(score(units, available, near, walk=False), available)


def closest(
    units: Units, available: Bool[Tensor, "N K A"], rng: torch.Generator
) -> Int[Tensor, "N K"]:
    """Walks to the nearest foe and attacks the nearest in reach.

    Args:
        units: who stands where.
        available: [N, K, A].
        rng: nothing is drawn.
    """
    near = nearness(units, available.shape[1])
    return best(score(units, available, near, walk=True), available)


def focus_fire(
    units: Units, available: Bool[Tensor, "N K A"], rng: torch.Generator
) -> Int[Tensor, "N K"]:
    """Walks to the nearest foe and attacks the weakest in reach.

    Of equally weak foes it is the first, so that all attack the same.

    Args:
        units: who stands where.
        available: [N, K, A].
        rng: nothing is drawn.
    """
    n_agents = available.shape[1]
    weak = -units.health[:, None, n_agents:].expand(-1, n_agents, -1)
    return best(score(units, available, weak, walk=True), available)


def kite(
    units: Units, available: Bool[Tensor, "N K A"], rng: torch.Generator
) -> Int[Tensor, "N K"]:
    """Attacks the nearest foe in reach, and walks away while the weapon is not ready.

    Args:
        units: who stands where.
        available: [N, K, A].
        rng: nothing is drawn.
    """
    n_agents = available.shape[1]
    forward = score(units, available, nearness(units, n_agents), walk=True)
    back = forward.clone()
    back[..., FIRST_FOE:] = -1e4
    back[..., NORTH:FIRST_FOE] *= -1
    has_target = available[..., FIRST_FOE:].any(-1)
    attacks = (units.cooldowns[:, :n_agents] <= 0) | ~has_target
    return best(torch.where(attacks[..., None], forward, back), available)


def skirmish(
    units: Units, available: Bool[Tensor, "N K A"], rng: torch.Generator
) -> Int[Tensor, "N K"]:
    """Three rules together; the only player here that gives units different parts.

    All attack the foe that is weakest and nearest to the team (health + 10 per cell of
    mean distance). Units that reach beyond 3 cells step back from foes that do not,
    when these come within 4 cells and the own weapon is not ready, or within 2.6. Units
    with fewer than 40 points step back while their weapon is not ready and a foe is
    within 4 cells.

    Args:
        units: who stands where.
        available: [N, K, A].
        rng: nothing is drawn.
    """
    n_agents = available.shape[1]
    offset = offsets(units, n_agents)  # [N, K, F, 2]
    distance = offset.norm(dim=-1)
    standing = units.alive[:, None, n_agents:]  # [N, 1, F]

    # whom to attack
    own = units.alive[:, :n_agents, None]
    count = own.sum(1, keepdim=True).clamp(min=1)
    from_team = (distance * own).sum(1, keepdim=True) / count
    rated = -units.health[:, None, n_agents:] - 10 * from_team
    forward = score(units, available, rated.expand(-1, n_agents, -1), walk=True)

    # where to step back: away from the nearest foes, and from the edge of the map
    pressure = standing / distance.clamp(min=0.5) ** 3
    push = -(offset * pressure[..., None]).sum(2)  # [N, K, 2]
    from_edge = 16 - units.positions[:, :n_agents]
    at_edge = from_edge.abs() > EDGE
    unit_push = push / (push.norm(dim=-1, keepdim=True) + 1e-9)
    back = forward.clone()
    back[..., FIRST_FOE:] = -1e4
    back[..., NORTH:FIRST_FOE] = towards(unit_push + 0.5 * from_edge.sign() * at_edge)

    # who steps back
    to_foe = distance.masked_fill(~standing, float("inf"))
    shoots = units.reach[:, None, n_agents:] > BITES_WITHIN
    to_biter = to_foe.masked_fill(shoots, float("inf")).amin(-1)
    waiting = units.cooldowns[:, :n_agents] > 0
    in_danger = (to_biter < CLOSE) & (waiting | (to_biter < TOO_CLOSE))
    keeps_off = (units.reach[:, :n_agents] > BITES_WITHIN) & in_danger
    wounded = units.health[:, :n_agents] < WOUNDED
    falls_back = wounded & waiting & (to_foe.amin(-1) < CLOSE)
    steps_back = keeps_off | falls_back
    return best(torch.where(steps_back[..., None], back, forward), available)


PLAYERS: dict[str, Player] = {
    "random": at_random,
    "hold": hold,
    "closest": closest,
    "focus fire": focus_fire,
    "kite": kite,
    "skirmish": skirmish,
}


def outcomes(game: Smax, player: Player, n_games: int, seed: int) -> dict[str, Tensor]:
    """How N battles end for a player.

    Args:
        game: the scenario.
        player: one of PLAYERS.
        n_games: N.
        seed: of the battles' random numbers.

    Returns:
        `episode_return`, `won` and `length` in steps, [N] each.
    """
    rng = torch.Generator().manual_seed(seed)
    state: SmaxState = game.reset(n_games, rng)
    total = torch.zeros(n_games)
    length = torch.zeros(n_games)
    won = torch.zeros(n_games, dtype=torch.bool)
    for _ in range(game.spec.horizon):
        actions = player(game.units(state), game.available(state), rng)
        step = game.advance(state, actions, rng)
        state = step.state
        valid = step.info["valid"]
        total = total + step.rewards
        length = length + valid
        won = won | (step.info["won"] & valid)
        if not (valid & ~step.terminated & ~step.truncated).any():
            break
    return {"episode_return": total, "won": won, "length": length}
