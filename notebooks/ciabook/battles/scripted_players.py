"""Scripted players for battles, which see everything: what a scenario is worth before anything has learned it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ciacore.games.battles.smax import Smax, SmaxState, Units

STOP, NORTH, SOUTH, EAST, WEST, FIRST_FOE = range(1, 7)
Player = Callable[[Units, Bool[Tensor, "N K A"], torch.Generator], Int[Tensor, "N K"]]


def best(
    scores: Float[Tensor, "N K A"], available: Bool[Tensor, "N K A"]
) -> Int[Tensor, "N K"]:
    """The available action with the highest score."""
    return scores.masked_fill(~available, -float("inf")).argmax(-1)


def at_random(
    units: Units, available: Bool[Tensor, "N K A"], rng: torch.Generator
) -> Int[Tensor, "N K"]:
    """Any available action, all equally likely."""
    return best(torch.rand(available.shape, generator=rng), available)


def offsets(units: Units, n_agents: int) -> Float[Tensor, "N K F 2"]:
    """From each agent to each foe."""
    return units.positions[:, None, n_agents:] - units.positions[:, :n_agents, None]


def score(
    units: Units,
    available: Bool[Tensor, "N K A"],
    targets: Float[Tensor, "N K F"],
    walk: bool,
) -> Float[Tensor, "N K A"]:
    """Attack whom `targets` rates highest of those in reach; else walk towards the nearest foe, or stop."""
    n_games, n_agents, _ = available.shape
    offset = offsets(units, n_agents)
    distance = offset.norm(dim=-1).masked_fill(
        ~units.alive[:, None, n_agents:], float("inf")
    )
    nearest = distance.argmin(-1, keepdim=True)  # [N, K, 1]
    dx, dy = offset.gather(2, nearest[..., None].expand(-1, -1, -1, 2))[:, :, 0].unbind(
        -1
    )
    moves = (
        torch.stack([dy, -dy, dx, -dx], -1)
        if walk
        else torch.full((n_games, n_agents, 4), -1e3)
    )
    rest = torch.full((n_games, n_agents, 2), -1e2)  # no-op and stop
    return torch.cat([rest, moves, 1e3 + targets], -1)


def hold(
    units: Units, available: Bool[Tensor, "N K A"], rng: torch.Generator
) -> Int[Tensor, "N K"]:
    """Stands still and attacks the nearest foe in reach."""
    near = -offsets(units, available.shape[1]).norm(dim=-1)
    return best(score(units, available, near, walk=False), available)


def closest(
    units: Units, available: Bool[Tensor, "N K A"], rng: torch.Generator
) -> Int[Tensor, "N K"]:
    """Walks to the nearest foe and attacks the nearest in reach."""
    near = -offsets(units, available.shape[1]).norm(dim=-1)
    return best(score(units, available, near, walk=True), available)


def focus_fire(
    units: Units, available: Bool[Tensor, "N K A"], rng: torch.Generator
) -> Int[Tensor, "N K"]:
    """Walks to the nearest foe and attacks the weakest in reach; of equals the first, so that all attack the same."""
    n_agents = available.shape[1]
    weak = -units.health[:, None, n_agents:].expand(-1, n_agents, -1)
    return best(score(units, available, weak, walk=True), available)


def kite(
    units: Units, available: Bool[Tensor, "N K A"], rng: torch.Generator
) -> Int[Tensor, "N K"]:
    """Attacks the nearest foe in reach when the weapon is ready, and walks away from the nearest while it is not."""
    n_agents = available.shape[1]
    near = -offsets(units, n_agents).norm(dim=-1)
    forward = score(units, available, near, walk=True)
    back = forward.clone()
    back[..., FIRST_FOE:] = -1e4
    back[..., NORTH:FIRST_FOE] *= -1
    ready = (units.cooldowns[:, :n_agents] <= 0) | ~(available[..., FIRST_FOE:].any(-1))
    return best(torch.where(ready[..., None], forward, back), available)


def skirmish(
    units: Units, available: Bool[Tensor, "N K A"], rng: torch.Generator
) -> Int[Tensor, "N K"]:
    """Three rules together; the only player here that gives units different parts.

    All attack the foe that is weakest and nearest to the team (health + 10 per cell of
    mean distance). Units that reach beyond 3 cells step back from foes that do not,
    when these come within 4 cells and the own weapon is not ready, or within 2.6. Units
    with fewer than 40 points step back while their weapon is not ready and a foe is
    within 4 cells.
    """
    n_agents = available.shape[1]
    offset, standing = offsets(units, n_agents), units.alive[:, None, n_agents:]
    distance = offset.norm(dim=-1)
    own = units.alive[:, :n_agents, None]
    from_team = (distance * own).sum(1, keepdim=True) / own.sum(1, keepdim=True).clamp(
        min=1
    )
    rated = -units.health[:, None, n_agents:] - 10 * from_team
    forward = score(units, available, rated.expand(-1, n_agents, -1), walk=True)
    # [N, K, 2], away from the nearest
    push = -(offset * (standing / distance.clamp(min=0.5) ** 3)[..., None]).sum(2)
    from_edge = 16 - units.positions[:, :n_agents]
    push = push / (push.norm(dim=-1, keepdim=True) + 1e-9) + 0.5 * from_edge.sign() * (
        from_edge.abs() > 12
    )
    x, y = push.unbind(-1)
    back = forward.clone()
    back[..., FIRST_FOE:], back[..., NORTH:FIRST_FOE] = (
        -1e4,
        torch.stack([y, -y, x, -x], -1),
    )
    near = distance.masked_fill(~standing, float("inf"))
    biting = near.masked_fill(units.reach[:, None, n_agents:] > 3, float("inf")).amin(
        -1
    )
    waiting = units.cooldowns[:, :n_agents] > 0
    keeps_off = (
        (units.reach[:, :n_agents] > 3) & (biting < 4) & (waiting | (biting < 2.6))
    )
    falls_back = (units.health[:, :n_agents] < 40) & waiting & (near.amin(-1) < 4)
    return best(
        torch.where((keeps_off | falls_back)[..., None], back, forward), available
    )


PLAYERS: dict[str, Player] = {
    "random": at_random,
    "hold": hold,
    "closest": closest,
    "focus fire": focus_fire,
    "kite": kite,
    "skirmish": skirmish,
}


def outcomes(game: Smax, player: Player, n_games: int, seed: int) -> dict[str, Tensor]:
    """How N battles end for a player: `episode_return`, `won` and `length`, [N] each."""
    rng = torch.Generator().manual_seed(seed)
    state: SmaxState = game.reset(n_games, rng)
    total, length = torch.zeros(n_games), torch.zeros(n_games)
    won = torch.zeros(n_games, dtype=torch.bool)
    for _ in range(game.spec.horizon):
        step = game.advance(
            state, player(game.units(state), game.available(state), rng), rng
        )
        state, valid = step.state, step.info["valid"]
        total, length, won = (
            total + step.rewards,
            length + valid,
            won | (step.info["won"] & valid),
        )
        if not (valid & ~step.terminated & ~step.truncated).any():
            break
    return {"episode_return": total, "won": won, "length": length}
