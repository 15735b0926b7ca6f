"""The six battles on SMAX (Rutherford et al. 2024): units, grounds and scripted foes.

They are data and two small subclasses; SMAX itself is not changed. Only
`ciacore.games.battles.smax` imports this file; it needs the extra `battles`.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


@contextmanager
def quiet() -> Iterator[None]:
    """Swallows what JaxMARL prints on import, and restores the standard streams."""
    kept = sys.stdout, sys.stderr, sys.__stdout__
    nowhere = io.StringIO()
    sys.stdout = nowhere
    sys.__stdout__ = nowhere
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
# the tables that SMAX has per unit type, and the colossus's entry in each: StarCraft II
# 4.10 at speed "Faster"; two beams of 10, +5 on light units
COLOSSUS_ENTRIES = {
    "unit_type_velocities": 3.15,
    "unit_type_attacks": 30.0,
    "unit_type_attack_ranges": 7.0,
    "unit_type_sight_ranges": 10.0,
    "unit_type_radiuses": 1.0,
    "unit_type_health": 350.0,
    "unit_type_weapon_cooldowns": 1.07,
}
SPARE = 4096.0  # more than any unit loses in a step
NORTH, EAST, SOUTH, WEST = range(4)  # SMAX's first actions, the moves


class Ground(NamedTuple):
    """Uneven ground, read from a map of StarCraft II: a number per row of cells."""

    # where units may walk: hexadecimal, south to north; bit x is column x
    rows: str
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
    # a factor on what allies lose; what foes lose stays
    foe_damage: float = 1.0
    # where foes walk on flat maps while they cannot shoot: as in SMAX to a visible
    # agent that is drawn anew at every step, or to the nearest; on uneven ground always
    # to the nearest
    foes_chase: Literal["random", "nearest"] = "random"


GROUND_OF_2C_VS_64ZG = Ground(
    "0 0 0 0 0 0 ffffff0 ffffff0 3ffffffc 3ffffffc ffffffff ffffffff "
    "f000000f f000000f ffffffff ffffffff 3ffffffc 3ffffffc ffff00 ffff00 "
    "0 0 0 0 0 0 0 0 0 0 0 0",
    cliffs=(12, 13),
    spawns=((16.0, 16.0), (16.0, 9.0)),
    goal=(16.0, 16.0),
)
GROUND_OF_CORRIDOR = Ground(
    "0 0 3ffc 1ffc ffc ffc ffc ffc ffc ffc 1ffc 3ffc 7c00 f800 7fff000 fffe000 "
    "1fffe000 3ffff000 3ffff000 3ffff000 3ffff000 3ffff000 3ffff000 "
    "3fffe000 3fffc000 3fff8000 3fff0000 3ffe0000 3ffc0000 3ff80000 0 0",
    cliffs=(),
    spawns=((19.04, 19.12), (27.91, 28.24)),
    goal=(4.47, 4.33),
)
BATTLES = {
    "10m_vs_11m": Battle(
        allies=((10, MARINE),),
        foes=((11, MARINE),),
        limit=150,
    ),
    "2c_vs_64zg": Battle(
        allies=((2, COLOSSUS),),
        foes=((64, ZERGLING),),
        limit=400,
        ground=GROUND_OF_2C_VS_64ZG,
        # 2.0 is too easy: the chapter shows the sweep
        changes={"unit_type_attack_ranges": {ZERGLING: 2.3}},
        splash=(1.4, 0.15),
    ),
    "7sz": Battle(
        allies=((7, STALKER), (7, ZEALOT)),
        foes=((7, STALKER), (7, ZEALOT)),
        limit=200,
    ),
    "6h_vs_8z": Battle(
        allies=((6, HYDRALISK),),
        foes=((8, ZEALOT),),
        limit=150,
    ),
    "corridor": Battle(
        allies=((6, ZEALOT),),
        foes=((24, ZERGLING),),
        limit=400,
        ground=GROUND_OF_CORRIDOR,
        changes={
            "unit_type_attacks": {ZEALOT: 16.0},
            "unit_type_attack_ranges": {ZEALOT: 1.25, ZERGLING: 1.25},
        },
    ),
    "3s5z_vs_3s6z": Battle(
        allies=((3, STALKER), (5, ZEALOT)),
        foes=((3, STALKER), (6, ZEALOT)),
        limit=170,
    ),
}


class Battlefield(SMAX):
    """SMAX with weapons that burn a line, and on uneven ground."""

    def __init__(self, battle: Battle, **options: Any) -> None:
        """Reads the ground.

        Args:
            battle: the scenario.
            options: what SMAX is made with (`settings`).
        """
        super().__init__(**options)
        ground = battle.ground
        self.foe_damage = battle.foe_damage
        self.splash = jnp.array(battle.splash)
        if ground is None:
            by_foot = np.ones((SIZE, SIZE), bool)
            by_colossus = by_foot
            self.spawns = None
        else:
            by_foot = walkable_cells(ground)
            by_colossus = by_foot.copy()
            by_colossus[list(ground.cliffs), 4:28] = True
            self.spawns = jnp.array(ground.spawns)
        # [may cross cliffs, y, x]
        self.walkable = jnp.stack([jnp.array(by_foot), jnp.array(by_colossus)])

    def passable(self, positions: jax.Array, types: jax.Array) -> jax.Array:
        """Whether units may stand at points.

        Args:
            positions: (x, y) in cells, [..., 2].
            types: the units' types; their shape broadcasts with the leading axes.

        Returns:
            True where the point is on the map and open to the unit, [...].
        """
        x, y = jnp.moveaxis(jnp.floor(positions).astype(jnp.int32), -1, 0)
        inside = (x >= 0) & (x < SIZE) & (y >= 0) & (y < SIZE)
        crosses_cliffs = (types == COLOSSUS).astype(jnp.int32)
        return inside & self.walkable[crosses_cliffs, y, x]

    def slide(self, before: jax.Array, after: jax.Array, types: jax.Array) -> jax.Array:
        """Where units come to: along x or along y where the ground ends.

        Args:
            before: where the units are, (x, y) in cells, [U, 2].
            after: where they want to be, [U, 2].
            types: their types, [U].

        Returns:
            The points they reach, [U, 2].
        """
        along_x = jnp.where(jnp.array((True, False)), after, before)
        along_y = jnp.where(jnp.array((False, True)), after, before)
        reached = before
        for point in (along_y, along_x, after):  # the last that is open
            reached = jnp.where(self.passable(point, types)[:, None], point, reached)
        return reached

    def burnt(self, state: Any, new: Any, attacks: jax.Array) -> jax.Array:
        """The damage of colossi to foes other than their targets.

        A shot burns a line through the target, across the line of fire. It hits all
        foes that stand on that line.

        Args:
            state: SMAX's state before the step.
            new: SMAX's state after it, before this damage.
            attacks: the attack action of each unit, [U].

        Returns:
            Points of damage to each unit, [U].
        """
        index, first = jnp.arange(self.num_agents), self.num_movement_actions
        order = attacks - first
        target = jnp.where(
            index < self.num_allies,
            self.num_allies + order,
            self.num_allies - 1 - order,
        )
        target = jnp.where(attacks < first, index, target)
        has_fired = new.unit_weapon_cooldowns > state.unit_weapon_cooldowns
        fired = has_fired & (state.unit_types == COLOSSUS)
        aim = state.unit_positions[target] - state.unit_positions
        length = jnp.linalg.norm(aim, axis=-1, keepdims=True)
        aim = aim / (length + 1e-6)  # [shooter, 2]
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
        may_be_hit = fired[:, None] & foes & state.unit_alive[None]
        hit &= may_be_hit & (index[None] != target[:, None])
        damage = self.unit_type_attacks[state.unit_types]
        return (hit * damage[:, None]).sum(0)

    def reset(self, key: jax.Array) -> tuple[Any, Any]:
        """SMAX's observations and state, with the teams moved to the map's points."""
        observations, state = super().reset(key)
        if self.spawns is None:
            return observations, state
        # where SMAX puts the teams
        homes = jnp.array([[SIZE / 4, SIZE / 2], [SIZE * 3 / 4, SIZE / 2]])
        team = state.unit_teams.astype(jnp.int32)
        spread = jnp.clip(state.unit_positions - homes[team], -2.5, 2.5)
        start = self.spawns[team]
        positions = self.slide(start, start + spread, state.unit_types)
        state = state.replace(unit_positions=positions)
        for _ in range(8):
            state = self._push_units_away(state)
        return observations, state

    def _world_step(self, key: jax.Array, state: Any, actions: Any) -> Any:
        """SMAX's step, then the burning lines and the edges of the ground.

        What allies lose is scaled before anything else.
        """
        new = self._scaled_world_step(key, state, actions)
        if self.spawns is None:
            return new
        _, attacks = actions
        health = jnp.maximum(new.unit_health - self.burnt(state, new, attacks), 0.0)
        positions = self.slide(
            state.unit_positions, new.unit_positions, state.unit_types
        )
        return new.replace(unit_health=health, unit_positions=positions)

    def _scaled_world_step(self, key: jax.Array, state: Any, actions: Any) -> Any:
        """SMAX's step, where allies lose `foe_damage` times what they would lose.

        SMAX stops at 0 health, so that it is shown allies with health to spare.
        """
        if self.foe_damage == 1.0:
            return super()._world_step(key, state, actions)
        is_ally = jnp.arange(self.num_agents) < self.num_allies
        shown = jnp.where(is_ally, SPARE, state.unit_health)
        new = super()._world_step(key, state.replace(unit_health=shown), actions)
        loss = self.foe_damage * (SPARE - new.unit_health)
        of_allies = jnp.maximum(state.unit_health - loss, 0.0)
        health = jnp.where(is_ally, of_allies, new.unit_health)
        return new.replace(unit_health=health)

    def _push_units_away(self, state: Any, firmness: float = 1.0) -> Any:
        """SMAX's, but nobody is pushed off the ground."""
        new = super()._push_units_away(state, firmness)
        if self.spawns is None:
            return new
        positions = self.slide(
            state.unit_positions, new.unit_positions, state.unit_types
        )
        return new.replace(unit_positions=positions)


class ScriptedBattle(HeuristicEnemySMAX):
    """A battle against SMAX's scripted foes, which may walk to the nearest agent.

    On uneven ground they know the way.
    """

    def __init__(self, battle: Battle) -> None:
        """Makes the battlefield, the foes' script, and the ways on uneven ground."""
        options = settings(battle)
        super().__init__(**options)
        self._env = Battlefield(battle, **options)
        self.heuristic_policy = create_heuristic_policy(self._env, 1)
        self.foes_chase = battle.foes_chase
        if battle.ground is None:
            self.ways = None
            self.goal = None
        else:
            self.ways = jnp.array(shortest_ways(walkable_cells(battle.ground)))
            self.goal = jnp.array(battle.ground.goal)

    def get_enemy_actions(
        self, key: jax.Array, policy_state: Any, enemy_obs: jax.Array
    ) -> tuple[Any, Any]:
        """SMAX's, but a foe may walk to the nearest agent that it sees.

        On uneven ground it takes the shortest way there, or to the goal while it sees
        nobody; on flat maps it walks straight, and as SMAX's while it sees nobody.

        Args:
            key: JAX's random key.
            policy_state: the memory of the foes' script.
            enemy_obs: SMAX's observations of the foes, [foes, features].

        Returns:
            The action of each foe by its name, and the memory.
        """
        chosen, policy_state = super().get_enemy_actions(key, policy_state, enemy_obs)
        if self.ways is None and self.foes_chase == "random":
            return chosen, policy_state
        wanted = jnp.stack([chosen[agent] for agent in self.enemy_agents])
        position, met, sees = self._nearest(enemy_obs)
        if self.ways is None:
            walk = jnp.where(sees, straight(met - position), wanted)
        else:
            aim = jnp.where(sees[:, None], met, self.goal)
            there, here = cell_of(aim), cell_of(position)
            on_the_way = self.ways[there, here]
            walk = jnp.where(there == here, straight(aim - position), on_the_way)
        wanted = jnp.where(wanted < self._env.num_movement_actions, walk, wanted)
        actions = {agent: wanted[i] for i, agent in enumerate(self.enemy_agents)}
        return actions, policy_state

    def _nearest(self, enemy_obs: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Where each foe is and the agent nearest to it, [foes, 2] each.

        The last says whether it sees any, [foes].
        """
        width = len(self._env.unit_features)
        first = (self.num_enemies - 1) * width
        last = (self.num_enemies - 1 + self.num_allies) * width
        agents = enemy_obs[:, first:last].reshape(self.num_enemies, -1, width)
        own = enemy_obs[:, last:]
        position = own[:, 1:3] * SIZE
        sight = self._env.unit_type_sight_ranges[own[:, 4:].argmax(-1)]
        offset = agents[..., 1:3] * sight[:, None, None]
        seen = agents[..., 0] > 0
        distance = jnp.linalg.norm(offset, axis=-1)
        nearest = jnp.where(seen, distance, jnp.inf).argmin(-1)
        met = position + jnp.take_along_axis(offset, nearest[:, None, None], 1)[:, 0]
        return position, met, seen.any(-1)


def straight(offset: jax.Array) -> jax.Array:
    """The move that comes nearest to a direction [..., 2]."""
    dx, dy = jnp.moveaxis(offset, -1, 0)
    return jnp.where(
        jnp.abs(dx) > jnp.abs(dy),
        jnp.where(dx > 0, EAST, WEST),
        jnp.where(dy > 0, NORTH, SOUTH),
    )


def cell_of(position: jax.Array) -> jax.Array:
    """The number of the cell at a point [..., 2], y * 32 + x."""
    cell = jnp.clip(position.astype(jnp.int32), 0, SIZE - 1)
    return cell @ jnp.array([1, SIZE])


def unit_types(groups: tuple[tuple[int, int], ...]) -> list[int]:
    """The type of each unit of a team, from its (how many, of which type)."""
    types = []
    for count, unit_type in groups:
        types += [unit_type] * count
    return types


def settings(battle: Battle) -> dict[str, Any]:
    """What SMAX is made with: the units, their tables, and the limit.

    SMAX oversteps its limit by one, so that it gets one step less.
    """
    allies, foes = unit_types(battle.allies), unit_types(battle.foes)
    scenario = Scenario(
        jnp.array(allies + foes, dtype=jnp.uint8), len(allies), len(foes), False, False
    )
    stock = SMAX(scenario=scenario)
    tables = {name: np.array(getattr(stock, name)) for name in COLOSSUS_ENTRIES}
    options: dict[str, Any] = {}
    if COLOSSUS in allies:
        for name, entry in COLOSSUS_ENTRIES.items():
            tables[name] = np.append(tables[name], np.float32(entry))
        options["unit_type_names"] = [*stock.unit_type_names, "colossus"]
        options["unit_type_shorthands"] = [*stock.unit_type_shorthands, "c"]
    for name, changes in battle.changes.items():
        for unit_type, value in changes.items():
            tables[name][unit_type] = value
    for name, table in tables.items():
        options[name] = jnp.array(table)
    options["scenario"] = scenario
    options["max_steps"] = battle.limit - 1
    options["walls_cause_death"] = False
    return options


def walkable_cells(ground: Ground) -> np.ndarray:
    """Where units may walk, bool [y, x]."""
    rows = [int(row, 16) for row in ground.rows.split()]
    return np.array([[row >> x & 1 for x in range(SIZE)] for row in rows], bool)


def shortest_ways(walkable: np.ndarray) -> np.ndarray:
    """The first step of a shortest way between any two cells; cells count y * 32 + x.

    Args:
        walkable: where units may walk, bool [y, x].

    Returns:
        [target cell, own cell] -> NORTH, EAST, SOUTH or WEST. A target in a wall
        counts as the open cell nearest to it.
    """
    far = 10_000  # longer than every way
    steps = steps_to_every_cell(walkable, far)
    blocked = ~walkable
    while True:
        by_way_of = neighbours(steps)
        shorter = np.minimum(steps[:, 1:-1, 1:-1], by_way_of.min(0) + 1)
        shorter[:, blocked] = far
        if (shorter == steps[:, 1:-1, 1:-1]).all():
            return by_way_of.argmin(0).reshape(len(steps), -1).astype(np.int8)
        steps[:, 1:-1, 1:-1] = shorter


def steps_to_every_cell(walkable: np.ndarray, far: int) -> np.ndarray:
    """0 at each target, else `far`: [target cell, y + 1, x + 1], with a rim around.

    Args:
        walkable: [height, width] True where units can stand.
        far: more steps than any way has.
    """
    open_cells = np.argwhere(walkable)
    targets = np.indices(walkable.shape).reshape(2, -1).T  # (y, x) of every cell
    squared_distance = ((targets[:, None] - open_cells[None]) ** 2).sum(-1)
    y, x = open_cells[squared_distance.argmin(1)].T
    steps = np.full((len(targets), SIZE + 2, SIZE + 2), far, np.int32)
    steps[np.arange(len(targets)), y + 1, x + 1] = 0
    return steps


def neighbours(steps: np.ndarray) -> np.ndarray:
    """The values north, east, south and west of each cell inside the rim."""
    north, south = steps[:, 2:, 1:-1], steps[:, :-2, 1:-1]
    east, west = steps[:, 1:-1, 2:], steps[:, 1:-1, :-2]
    return np.stack([north, east, south, west])
