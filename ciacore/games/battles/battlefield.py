"""The six battles on SMAX (Rutherford et al. 2024): units, grounds and opponents, as data and two small subclasses.

Only `ciacore.games.battles.smax` imports this file; it needs the extra `battles`. SMAX
itself is not changed.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


@contextmanager
def quiet() -> Iterator[None]:
    """Swallows what JaxMARL prints when it is imported, and undoes what it does to the standard streams then."""
    kept = sys.stdout, sys.stderr, sys.__stdout__
    sys.stdout = sys.__stdout__ = io.StringIO()
    try:
        yield
    finally:
        sys.stdout, sys.stderr, sys.__stdout__ = kept


with quiet():
    from jaxmarl.environments.smax import HeuristicEnemySMAX, Scenario
    from jaxmarl.environments.smax.heuristic_enemy import create_heuristic_policy
    from jaxmarl.environments.smax.smax_env import SMAX

# SMAX's numbers, and one type more
MARINE, MARAUDER, STALKER, ZEALOT, ZERGLING, HYDRALISK, COLOSSUS = range(7)
HIT_POINTS = np.array([45.0, 125.0, 80.0, 100.0, 35.0, 80.0, 200.0], np.float32)
# SMAX adds them to the hit points
SHIELDS = np.array([0.0, 0.0, 80.0, 50.0, 0.0, 0.0, 150.0], np.float32)
SIZE = 32  # cells per side of every map
# the colossus in SMAX's tables: StarCraft II 4.10 at speed "Faster"; two beams of 10,
# +5 on light units
COLUMN = {
    "unit_type_velocities": 3.15,
    "unit_type_attacks": 30.0,
    "unit_type_attack_ranges": 7.0,
    "unit_type_sight_ranges": 10.0,
    "unit_type_radiuses": 1.0,
    "unit_type_health": 350.0,
    "unit_type_weapon_cooldowns": 1.07,
}


class Ground(NamedTuple):
    """Uneven ground, read from a map of StarCraft II: a number per row of cells, south to north; bit x is column x."""

    rows: str  # where units may walk, hexadecimal
    # rows, between columns 4 and 28, that only a colossus may step over
    cliffs: tuple[int, ...]
    # of the allies, of the foes
    spawns: tuple[tuple[float, float], tuple[float, float]]
    goal: tuple[float, float]  # where foes walk while they see nobody


class Battle(NamedTuple):
    """A scenario. Tables are those of SMAX but for what `changes` names."""

    allies: tuple[tuple[int, int], ...]  # (how many, of which type)
    foes: tuple[tuple[int, int], ...]
    limit: int  # steps
    ground: Ground | None = None
    changes: Mapping[str, Mapping[int, float]] = {}  # table of SMAX -> type -> value
    # half width and half depth of the line a colossus burns
    splash: tuple[float, float] = (0.0, 0.0)


BATTLES = {
    "10m_vs_11m": Battle(((10, MARINE),), ((11, MARINE),), 150),
    "2c_vs_64zg": Battle(
        ((2, COLOSSUS),),
        ((64, ZERGLING),),
        400,
        Ground(
            "0 0 0 0 0 0 ffffff0 ffffff0 3ffffffc 3ffffffc ffffffff ffffffff f000000f f000000f ffffffff ffffffff "
            "3ffffffc 3ffffffc ffff00 ffff00 0 0 0 0 0 0 0 0 0 0 0 0",
            cliffs=(12, 13),
            spawns=((16.0, 16.0), (16.0, 9.0)),
            goal=(16.0, 16.0),
        ),
        # 2.0 is too easy: the chapter shows the sweep
        changes={"unit_type_attack_ranges": {ZERGLING: 2.3}},
        splash=(1.4, 0.15),
    ),
    "7sz": Battle(((7, STALKER), (7, ZEALOT)), ((7, STALKER), (7, ZEALOT)), 200),
    "6h_vs_8z": Battle(((6, HYDRALISK),), ((8, ZEALOT),), 150),
    "corridor": Battle(
        ((6, ZEALOT),),
        ((24, ZERGLING),),
        400,
        Ground(
            "0 0 3ffc 1ffc ffc ffc ffc ffc ffc ffc 1ffc 3ffc 7c00 f800 7fff000 fffe000 1fffe000 3ffff000 3ffff000 "
            "3ffff000 3ffff000 3ffff000 3ffff000 3fffe000 3fffc000 3fff8000 3fff0000 3ffe0000 3ffc0000 3ff80000 0 0",
            cliffs=(),
            spawns=((19.04, 19.12), (27.91, 28.24)),
            goal=(4.47, 4.33),
        ),
        changes={
            "unit_type_attacks": {ZEALOT: 16.0},
            "unit_type_attack_ranges": {ZEALOT: 1.25, ZERGLING: 1.25},
        },
    ),
    "3s5z_vs_3s6z": Battle(
        ((3, STALKER), (5, ZEALOT)), ((3, STALKER), (6, ZEALOT)), 170
    ),
}


class Field(SMAX):
    """SMAX with weapons that burn a line, and on uneven ground."""

    def __init__(self, battle: Battle, **options: Any) -> None:
        super().__init__(**options)
        self.splash, ground = jnp.array(battle.splash), battle.ground
        walkable = np.ones((SIZE, SIZE), bool) if ground is None else cells(ground)
        stepped = walkable.copy()
        stepped[list(ground.cliffs) if ground else [], 4:28] = True
        # [may cross cliffs, y, x]
        self.walkable = jnp.stack([jnp.array(walkable), jnp.array(stepped)])
        self.spawns = None if ground is None else jnp.array(ground.spawns)

    def passable(self, positions: jax.Array, types: jax.Array) -> jax.Array:
        """Whether units of these types may stand at these points [..., 2]."""
        x, y = jnp.moveaxis(jnp.floor(positions).astype(jnp.int32), -1, 0)
        inside = (x >= 0) & (x < SIZE) & (y >= 0) & (y < SIZE)
        return inside & self.walkable[(types == COLOSSUS).astype(jnp.int32), y, x]

    def slide(self, before: jax.Array, after: jax.Array, types: jax.Array) -> jax.Array:
        """Where units come to that want from `before` to `after`: along x or along y where the ground ends."""
        along_x, along_y = (
            jnp.where(jnp.array(axis), after, before)
            for axis in ((True, False), (False, True))
        )
        reached = before
        for point in (along_y, along_x, after):  # the last that is open
            reached = jnp.where(self.passable(point, types)[:, None], point, reached)
        return reached

    def _world_step(self, key: jax.Array, state: Any, actions: Any) -> Any:
        new = super()._world_step(key, state, actions)
        if self.spawns is None:
            return new
        health = jnp.maximum(new.unit_health - self.burnt(state, new, actions[1]), 0.0)
        positions = self.slide(
            state.unit_positions, new.unit_positions, state.unit_types
        )
        return new.replace(unit_health=health, unit_positions=positions)

    def burnt(self, state: Any, new: Any, attacks: jax.Array) -> jax.Array:
        """The damage of colossi to foes beside their targets: all that stand on a line across the line of fire."""
        index, first = jnp.arange(self.num_agents), self.num_movement_actions
        order = attacks - first
        target = jnp.where(
            index < self.num_allies,
            self.num_allies + order,
            self.num_allies - 1 - order,
        )
        target = jnp.where(attacks < first, index, target)
        fired = (new.unit_weapon_cooldowns > state.unit_weapon_cooldowns) & (
            state.unit_types == COLOSSUS
        )
        aim = state.unit_positions[target] - state.unit_positions
        # [shooter, 2]
        aim = aim / (jnp.linalg.norm(aim, axis=-1, keepdims=True) + 1e-6)
        # [shooter, victim, 2]
        offset = state.unit_positions[None] - state.unit_positions[target][:, None]
        along = jnp.abs((offset * aim[:, None]).sum(-1))
        across = jnp.abs(
            offset[..., 0] * aim[:, None, 1] - offset[..., 1] * aim[:, None, 0]
        )
        # [width or depth, victim]
        reach = self.splash[:, None] + self.unit_type_radiuses[state.unit_types]
        hit = (across <= reach[0]) & (along <= reach[1])
        foes = state.unit_teams[:, None] != state.unit_teams[None]
        hit &= (
            fired[:, None]
            & foes
            & state.unit_alive[None]
            & (index[None] != target[:, None])
        )
        return (hit * self.unit_type_attacks[state.unit_types][:, None]).sum(0)

    def _push_units_away(self, state: Any, firmness: float = 1.0) -> Any:
        new = super()._push_units_away(state, firmness)
        if self.spawns is None:
            return new
        return new.replace(
            unit_positions=self.slide(
                state.unit_positions, new.unit_positions, state.unit_types
            )
        )

    def reset(self, key: jax.Array) -> tuple[Any, Any]:
        """SMAX's, with the teams moved to the map's points."""
        seen, state = super().reset(key)
        if self.spawns is None:
            return seen, state
        # where SMAX puts the teams
        homes = jnp.array([[SIZE / 4, SIZE / 2], [SIZE * 3 / 4, SIZE / 2]])
        team = state.unit_teams.astype(jnp.int32)
        spread = jnp.clip(state.unit_positions - homes[team], -2.5, 2.5)
        start = self.spawns[team]
        state = state.replace(
            unit_positions=self.slide(start, start + spread, state.unit_types)
        )
        for _ in range(8):
            state = self._push_units_away(state)
        return seen, state


class Besieged(HeuristicEnemySMAX):
    """A battle against SMAX's scripted foes; on uneven ground they take the shortest way."""

    def __init__(self, battle: Battle) -> None:
        options = settings(battle)
        super().__init__(**options)
        self._env = Field(battle, **options)
        self.heuristic_policy = create_heuristic_policy(self._env, 1)
        self.ways = (
            None if battle.ground is None else jnp.array(ways(cells(battle.ground)))
        )
        self.goal = None if battle.ground is None else jnp.array(battle.ground.goal)

    def get_enemy_actions(
        self, key: jax.Array, policy_state: Any, enemy_obs: jax.Array
    ) -> tuple[Any, Any]:
        """SMAX's, but for the direction in which a foe walks on uneven ground: to whom it sees nearest, or the goal."""
        chosen, policy_state = super().get_enemy_actions(key, policy_state, enemy_obs)
        if self.ways is None:
            return chosen, policy_state
        field, width = self._env, len(self._env.unit_features)
        first, last = (
            (self.num_enemies - 1) * width,
            (self.num_enemies - 1 + self.num_allies) * width,
        )
        others, own = (
            enemy_obs[:, first:last].reshape(self.num_enemies, -1, width),
            enemy_obs[:, last:],
        )
        position = own[:, 1:3] * SIZE
        sight = field.unit_type_sight_ranges[own[:, 4:].argmax(-1)]
        offset, seen = others[..., 1:3] * sight[:, None, None], others[..., 0] > 0
        nearest = jnp.where(seen, jnp.linalg.norm(offset, axis=-1), jnp.inf).argmin(-1)
        met = position + jnp.take_along_axis(offset, nearest[:, None, None], 1)[:, 0]
        aim = jnp.where(seen.any(-1)[:, None], met, self.goal)
        there, here = (
            jnp.clip(p.astype(jnp.int32), 0, SIZE - 1) @ jnp.array([1, SIZE])
            for p in (aim, position)
        )
        dx, dy = (aim - position).T
        straight = jnp.where(
            jnp.abs(dx) > jnp.abs(dy), jnp.where(dx > 0, 1, 3), jnp.where(dy > 0, 0, 2)
        )
        walk = jnp.where(there == here, straight, self.ways[there, here])
        wanted = jnp.stack([chosen[agent] for agent in self.enemy_agents])
        wanted = jnp.where(wanted < field.num_movement_actions, walk, wanted)
        return {
            agent: wanted[index] for index, agent in enumerate(self.enemy_agents)
        }, policy_state


def types(groups: tuple[tuple[int, int], ...]) -> list[int]:
    """The type of each unit."""
    return [kind for count, kind in groups for _ in range(count)]


def settings(battle: Battle) -> dict[str, Any]:
    """What SMAX is told: the units, their tables, and a limit that it would overstep by one."""
    allies, foes = types(battle.allies), types(battle.foes)
    scenario = Scenario(
        jnp.array(allies + foes, dtype=jnp.uint8), len(allies), len(foes), False, False
    )
    stock = SMAX(scenario=scenario)
    options: dict[str, Any] = {name: np.array(getattr(stock, name)) for name in COLUMN}
    if COLOSSUS in allies:
        options = {
            name: np.append(table, np.float32(COLUMN[name]))
            for name, table in options.items()
        }
        options["unit_type_names"] = [*stock.unit_type_names, "colossus"]
        options["unit_type_shorthands"] = [*stock.unit_type_shorthands, "c"]
    for name, changes in battle.changes.items():
        for kind, value in changes.items():
            options[name][kind] = value
    options = {
        name: jnp.array(table) if name in COLUMN else table
        for name, table in options.items()
    }
    return {
        **options,
        "scenario": scenario,
        "max_steps": battle.limit - 1,
        "walls_cause_death": False,
    }


def cells(ground: Ground) -> np.ndarray:
    """Where units may walk, [y, x]."""
    return np.array(
        [[int(row, 16) >> x & 1 for x in range(SIZE)] for row in ground.rows.split()],
        bool,
    )


def ways(walkable: np.ndarray) -> np.ndarray:
    """[target cell, own cell] -> 0 north, 1 east, 2 south or 3 west on a shortest way; cells count y * 32 + x."""
    open_cells, all_cells = (
        np.argwhere(walkable),
        np.indices(walkable.shape).reshape(2, -1).T,
    )
    # a target in a wall is beside it
    nearest = ((all_cells[:, None] - open_cells[None]) ** 2).sum(-1).argmin(1)
    # to each target, with a rim
    steps = np.full((len(all_cells), SIZE + 2, SIZE + 2), 10_000, np.int32)
    steps[
        np.arange(len(all_cells)),
        open_cells[nearest, 0] + 1,
        open_cells[nearest, 1] + 1,
    ] = 0
    wall = np.pad(~walkable, 1, constant_values=True)
    while True:
        sides = (
            steps[:, 2:, 1:-1],
            steps[:, 1:-1, 2:],
            steps[:, :-2, 1:-1],
            steps[:, 1:-1, :-2],
        )
        shorter = np.minimum(steps[:, 1:-1, 1:-1], np.minimum.reduce(sides) + 1)
        shorter[:, wall[1:-1, 1:-1]] = 10_000
        if (shorter == steps[:, 1:-1, 1:-1]).all():
            return np.stack(sides).argmin(0).reshape(len(all_cells), -1).astype(np.int8)
        steps[:, 1:-1, 1:-1] = shorter
