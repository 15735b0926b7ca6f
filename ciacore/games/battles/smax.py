"""The six battles, embedded: SMAX (Rutherford et al. 2024) behind the face of SMAC (Samvelyan et al. 2019)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ciacore.games.checks import Checked, check_n_games
from ciacore.types import Spec, Step, refuse

try:
    import jax
    import jax.numpy as jnp

    from ciacore.games.battles.battlefield import (
        BATTLES,
        HIT_POINTS,
        SHIELDS,
        SIZE,
        Battle,
        Besieged,
        types,
    )
except ModuleNotFoundError as error:
    refuse(
        "game",
        "JaxMARL, which holds the battles",
        str(error),
        "Install it: pip install 'ciacore[battles]'.",
    )

SIGHT = 9.0  # of every unit, as in SMAC
TO_SMAX = (4, 4, 0, 2, 1, 3)  # no-op, stop, north, south, east, west
# what has to be open for a move north, south, east, west
STEPS = ((0.0, 1.0), (0.0, -1.0), (1.0, 0.0), (-1.0, 0.0))
# rewards of SMAC, in points of damage, and its scale
KILLED, WON, HIGHEST = 10.0, 200.0, 20.0
CACHE = (
    Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ciacore" / "jax"
)


class Units(NamedTuple):
    """Who stands where: the allies first, then the foes."""

    positions: Float[Tensor, "N U 2"]  # (x, y) in cells of the map
    health: Float[Tensor, "N U"]  # hit points and shields together
    alive: Bool[Tensor, "N U"]
    cooldowns: Float[Tensor, "N U"]  # seconds until the weapon is ready
    targets: Int[Tensor, "N U"]  # who is being attacked, -1 for nobody
    reach: Float[Tensor, "N U"]  # cells from which a unit attacks


class SmaxState(NamedTuple):
    """N battles: those of JAX, and what is seen of them as tensors that share its memory."""

    battles: Any  # keys, units and foes' memories, as JAX arrays
    observations: Float[Tensor, "N K O"]
    states: Float[Tensor, "N S"]
    available: Bool[Tensor, "N K A"]
    t: Int[Tensor, "N"]  # steps played


class Running(NamedTuple):
    """One battle on JAX's side."""

    key: jax.Array
    field: Any  # state of SMAX
    over: jax.Array
    t: jax.Array


class Smax(Checked):
    """A battle of SMAC's scenarios, simulated by SMAX.

    Story:
        A team of units meets scripted foes that are more, or stronger. Every unit is an
        agent and sees what is near.
    Agents and actions:
        10m_vs_11m: 10 marines against 11. 2c_vs_64zg: 2 colossi against 64 zerglings.
            7sz: 7 stalkers and 7 zealots
        against as many. 6h_vs_8z: 6 hydralisks against 8 zealots. corridor: 6 zealots
        against 24 zerglings.
        3s5z_vs_3s6z: 3 stalkers and 5 zealots against 3 and 6. Actions: 0 no-op (the
            dead, and only they), 1 stop,
        2 north, 3 south, 4 east, 5 west, 6 + j attack foe j, available where it is
        within the weapon's range.
    Observation:
        Per agent: which moves are open (4); each foe within 9 cells: attackable,
        distance, dx, dy, health, shield, type; each ally likewise (visible, ...);
        itself: health, shield, type. Shields and types only where the scenario has
        them. Zeros for what is dead or out of sight, and for a dead agent.
    State:
        Each ally: health, cooldown, x, y, shield, type; each foe: health, x, y, shield,
        type; the agents' last actions, one-hot. The leading `unit_size` numbers per
        agent are its unit.
    Rewards:
        Shared: damage dealt + 10 per foe killed + 200 for a win, scaled so that a full
            win pays exactly 20.
    Episode end:
        Terminated when a side is dead, truncated after the scenario's limit (150 to 400
        steps). Both sides dead at once is no win.
    Start:
        Two groups, each unit moved at random by up to 2 cells.
    Scale:
        Return from 0 to 20. Random teams and scripted ones: the book's chapter on
        battles.
    Differences:
        SMAX is not StarCraft II: its win rates must not be set beside the paper's. The
        chapter lists what differs.
    References:
        Samvelyan et al. (2019), "The StarCraft Multi-Agent Challenge"; Rutherford et
        al. (2024), "JaxMARL".
    """

    def __init__(self, scenario: str, battle: Battle | None = None) -> None:
        """
        Args:
            scenario: one of the six, e.g. "6h_vs_8z".
            battle: other rules for it, to see what they change.

        Raises:
            InvalidInputError: another name.
        """
        if scenario not in BATTLES:
            refuse(
                "scenario",
                f"one of {', '.join(BATTLES)}",
                scenario,
                "These are the paper's six.",
            )
        if not jax.config.jax_compilation_cache_dir:
            jax.config.update("jax_compilation_cache_dir", str(CACHE))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        self.scenario, self.name, self.battle = (
            scenario,
            f"smax_{scenario}",
            battle or BATTLES[scenario],
        )
        self.smax = Besieged(self.battle)
        allies, foes = types(self.battle.allies), types(self.battle.foes)
        self.kinds = jnp.array(allies + foes)
        self.n_allies, self.n_foes = len(allies), len(foes)
        # both sides have the same, or one only
        self.bits = sorted(set(allies)) if len(set(allies)) > 1 else []
        self.shielded = [bool(SHIELDS[side].max() > 0) for side in (allies, foes)]
        points = float((HIT_POINTS + SHIELDS)[foes].sum()) + KILLED * self.n_foes + WON
        self.scale, n_actions = HIGHEST / points, 6 + self.n_foes
        ally, foe = (4 + shield + len(self.bits) for shield in self.shielded)
        seen = 4 + self.n_foes * (foe + 1) + (self.n_allies - 1) * (ally + 1) + ally - 3
        state = (
            self.n_allies * ally + self.n_foes * (foe - 1) + self.n_allies * n_actions
        )
        self.spec = Spec(
            self.n_allies,
            n_actions,
            seen,
            state,
            ally,
            self.battle.limit,
            winnable=True,
        )
        self._begin, self._go = (
            jax.jit(jax.vmap(self.begin)),
            jax.jit(jax.vmap(self.go)),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """By name: another process compiles its own."""
        return Smax, (self.scenario, self.battle)

    def reset(self, n_games: int, rng: torch.Generator) -> SmaxState:
        """N fresh battles, on the generator's device."""
        check_n_games(n_games)
        seed = int(torch.randint(2**31 - 1, (), generator=rng, device=rng.device))
        keys = jax.random.split(
            jax.device_put(jax.random.PRNGKey(seed), place(rng.device)), n_games
        )
        return shown(*self._begin(keys))

    def advance(
        self, state: SmaxState, actions: Int[Tensor, "N K"], rng: torch.Generator
    ) -> Step:
        """Plays one joint action in every battle; what is random goes on from the battles' own keys."""
        battles, view, told = self._go(state.battles, jnp.from_dlpack(actions.int()))
        rewards, terminated, truncated, valid, won = map(torch.from_dlpack, told)
        return Step(
            shown(battles, view),
            rewards,
            terminated,
            truncated,
            {"valid": valid, "won": won},
        )

    def observe(self, state: SmaxState) -> Float[Tensor, "N K O"]:
        """What each agent sees."""
        return state.observations

    def global_state(self, state: SmaxState) -> Float[Tensor, "N S"]:
        """All units and the last actions."""
        return state.states

    def available(self, state: SmaxState) -> Bool[Tensor, "N K A"]:
        """No-op for the dead; for the living stop, the open moves, and the foes in reach."""
        return state.available

    def units(self, state: SmaxState) -> Units:
        """Who stands where, for pictures and for scripted players."""
        field = state.battles.field.state
        order, n = (
            field.prev_attack_actions - self.smax.num_movement_actions,
            self.n_allies,
        )
        target = jnp.concatenate([n + order[:, :n], n - 1 - order[:, n:]], 1)
        target = jnp.where((order < 0) | ~field.unit_alive, -1, target).astype(
            jnp.int32
        )
        parts = (
            field.unit_positions,
            field.unit_health,
            field.unit_alive,
            jnp.maximum(field.unit_weapon_cooldowns, 0),
        )
        reach = self.smax.unit_type_attack_ranges[field.unit_types]
        return Units(*map(torch.from_dlpack, (*parts, target, reach)))

    def begin(self, key: jax.Array) -> tuple[Running, tuple[jax.Array, ...]]:
        """A fresh battle, and its view."""
        key, first = jax.random.split(key)
        _, field = self.smax.reset(first)
        running = strong(Running(key, field, jnp.array(False), jnp.array(0)))
        return running, self.view(running, jnp.full(self.n_allies, -1))

    def go(self, running: Running, actions: jax.Array) -> tuple[Any, ...]:
        """One step of a battle: what it has become, its view, and rewards, terminated, truncated, valid, won."""
        key, now = jax.random.split(running.key)
        orders = jnp.where(
            actions < 6, jnp.array(TO_SMAX)[jnp.minimum(actions, 5)], actions - 1
        )
        told = {agent: orders[index] for index, agent in enumerate(self.smax.agents)}
        _, field, *_ = self.smax.step_env(now, running.field, told)
        before, after = running.field.state, field.state
        allies, foes = jnp.split(after.unit_alive, [self.n_allies])
        valid, t = ~running.over, running.t + 1
        terminated = ~allies.any() | ~foes.any()
        truncated = (t >= self.battle.limit) & ~terminated
        rewards = jnp.where(valid, self.reward(before, after), 0.0)
        new = strong(Running(key, field, running.over | terminated | truncated, t))
        return (
            new,
            self.view(new, actions),
            (rewards, terminated, truncated, valid, self.won(after)),
        )

    def won(self, field: Any) -> jax.Array:
        """Whether all foes are dead and an ally is not."""
        return (
            field.unit_alive[: self.n_allies].any()
            & ~field.unit_alive[self.n_allies :].any()
        )

    def reward(self, before: Any, after: Any) -> jax.Array:
        """What one step pays: damage to foes, foes killed and the win, scaled."""
        hurt = (before.unit_health - after.unit_health)[self.n_allies :].sum()
        killed = (before.unit_alive & ~after.unit_alive)[self.n_allies :].sum()
        return (hurt + KILLED * killed + WON * self.won(after)) * self.scale

    def view(self, running: Running, last_actions: jax.Array) -> tuple[jax.Array, ...]:
        """What the agents see, the state, the available actions, and the time."""
        field, n = running.field.state, self.n_allies
        available = self.choices(field)
        hit_points, shields = (
            jnp.array(HIT_POINTS)[self.kinds],
            jnp.array(SHIELDS)[self.kinds],
        )
        health = jnp.minimum(field.unit_health, hit_points) / hit_points
        shield = jnp.maximum(field.unit_health - hit_points, 0) / jnp.maximum(
            shields, 1
        )
        bits = (self.kinds[:, None] == jnp.array(self.bits, dtype=int)).astype(
            jnp.float32
        )
        body = [
            jnp.concatenate([health[:, None], *[shield[:, None]] * has, bits], 1)
            for has in self.shielded
        ]
        ally, foe = body[0][:n], body[1][n:]  # [units, features]
        alive, position = field.unit_alive[:, None], field.unit_positions
        offset = (position - position[:n, None]) / SIGHT  # [agent, unit, 2]
        distance = jnp.linalg.norm(offset, axis=-1, keepdims=True)
        visible = (distance < 1) & alive & alive[:n, None]
        where = jnp.concatenate([distance, offset], -1)
        tiled = [jnp.broadcast_to(each, (n, *each.shape)) for each in (ally, foe)]
        foes = (
            jnp.concatenate([available[:, 6:, None], where[:, n:], tiled[1]], -1)
            * visible[:, n:]
        )
        mates = (
            jnp.concatenate([visible[:, :n], where[:, :n], tiled[0]], -1)
            * visible[:, :n]
        )
        others = jnp.array([[j for j in range(n) if j != i] for i in range(n)])
        mates = jnp.take_along_axis(mates, others[:, :, None], 1)
        parts = (
            available[:, 2:6],
            foes.reshape(n, -1),
            mates.reshape(n, -1),
            ally * alive[:n],
        )
        seen = jnp.concatenate(parts, 1, dtype=jnp.float32)
        ready = jnp.clip(
            field.unit_weapon_cooldowns
            / self.smax.unit_type_weapon_cooldowns[self.kinds],
            0,
            1,
        )[:, None]
        spot = position / SIZE - 0.5
        own = (
            jnp.concatenate([ally[:, :1], ready[:n], spot[:n], ally[:, 1:]], 1)
            * alive[:n]
        )
        their = jnp.concatenate([foe[:, :1], spot[n:], foe[:, 1:]], 1) * alive[n:]
        last = jax.nn.one_hot(last_actions, self.spec.n_actions)
        state = jnp.concatenate([own.ravel(), their.ravel(), last.ravel()])
        return seen, state, available, running.t

    def choices(self, field: Any) -> Bool[jax.Array, "K A"]:
        """The available actions of each agent."""
        n, alive, position = self.n_allies, field.unit_alive, field.unit_positions
        kinds, living = self.kinds[:n], alive[:n, None]
        reach = self.smax.unit_type_attack_ranges[kinds][:, None]
        near = jnp.linalg.norm(position[:n, None] - position[None, n:], axis=-1) < reach
        ahead = position[:n, None] + jnp.array(STEPS)  # [agent, direction, 2]
        moves = self.smax._env.passable(ahead, kinds[:, None])
        return jnp.concatenate(
            [~living, living, living & moves, living & alive[n:] & near], 1
        )


def shown(battles: Running, view: tuple[jax.Array, ...]) -> SmaxState:
    """The state of N battles; the tensors share JAX's memory and must not be written to."""
    return SmaxState(battles, *map(torch.from_dlpack, view))


def strong(tree: Any) -> Any:
    """The same with types that do not depend on where the values came from, so that nothing is compiled twice."""
    return jax.tree.map(
        lambda leaf: jax.lax.convert_element_type(leaf, jnp.asarray(leaf).dtype), tree
    )


def place(device: torch.device) -> jax.Device:
    """JAX's name of a device.

    Raises:
        InvalidInputError: JAX was installed without CUDA.
    """
    try:
        return jax.devices("cuda" if device.type == "cuda" else "cpu")[
            device.index or 0
        ]
    except RuntimeError as error:
        refuse(
            "device",
            "a device that JAX has",
            str(error),
            "Install jax[cuda13], or train on the CPU.",
        )
