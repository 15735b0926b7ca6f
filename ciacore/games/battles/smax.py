"""The six battles, embedded: SMAX (Rutherford et al. 2024) played as SMAC is.

SMAC (Samvelyan et al. 2019) gives the observations, the state, the actions and the
rewards; SMAX moves the units. One battle is written in JAX (`fresh_battle`,
`play_step`) and compiled for N at once.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ciacore.fast.whole_episodes import Played, PurePolicy
from ciacore.games.checks import Checked, check_n_games
from ciacore.types import Spec, Step, known_name, refuse

# JAX would take three quarters of a GPU's memory, which torch needs, too. Read when JAX
# first asks for its devices.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

try:
    import jax
    import jax.numpy as jnp

    from ciacore.games.battles.battlefield import (
        BATTLES,
        HIT_POINTS,
        SHIELDS,
        SIZE,
        Battle,
        ScriptedBattle,
        unit_types,
    )
except ModuleNotFoundError as error:
    refuse(
        "game",
        "JaxMARL, which holds the battles",
        str(error),
        "Install it: pip install 'ciacore[battles]'.",
    )

SIGHT = 9.0  # of every unit, as in SMAC
FIRST_ATTACK = 6  # the actions before it: no-op, stop, north, south, east, west
TO_SMAX = (4, 4, 0, 2, 1, 3)  # SMAX's numbers of these six
NO_ACTION = -1  # the last action before the first step
# what has to be open for a move north, south, east, west
STEPS = ((0.0, 1.0), (0.0, -1.0), (1.0, 0.0), (-1.0, 0.0))
# rewards of SMAC, in points of damage, and its scale
KILLED, WON, HIGHEST = 10.0, 200.0, 20.0
SLOTS = ("observations", "states", "available")  # of Played, one more than steps


class Units(NamedTuple):
    """Who stands where: the allies first, then the foes."""

    positions: Float[Tensor, "N U 2"]  # (x, y) in cells of the map
    health: Float[Tensor, "N U"]  # hit points and shields together
    alive: Bool[Tensor, "N U"]
    cooldowns: Float[Tensor, "N U"]  # seconds until the weapon is ready
    targets: Int[Tensor, "N U"]  # who is being attacked, -1 for nobody
    reach: Float[Tensor, "N U"]  # cells from which a unit attacks


class SmaxState(NamedTuple):
    """N battles in JAX, and what is seen of them as tensors that share JAX's memory."""

    battles: Running  # keys, units and foes' memories, as JAX arrays
    observations: Float[Tensor, "N K O"]
    states: Float[Tensor, "N S"]
    available: Bool[Tensor, "N K A"]
    t: Int[Tensor, "N"]  # steps played


class Running(NamedTuple):
    """One battle on JAX's side."""

    key: jax.Array
    field: Any  # state of SMAX and of the foes' script
    over: jax.Array
    t: jax.Array


class View(NamedTuple):
    """What is seen of one battle."""

    observations: jax.Array  # float [K, O]
    state: jax.Array  # float [S]
    available: jax.Array  # bool [K, A]
    t: jax.Array  # steps played


class Result(NamedTuple):
    """What one step of a battle returns."""

    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    valid: jax.Array  # the battle was not over before
    won: jax.Array


class Smax(Checked):
    """A battle of SMAC's scenarios, simulated by SMAX.

    Story:
        A team of units meets scripted foes that are more, or stronger. Every unit is an
        agent and sees what is near.
    Agents and actions:
        10m_vs_11m: 10 marines against 11. 2c_vs_64zg: 2 colossi against 64 zerglings.
        7sz: 7 stalkers and 7 zealots against as many. 6h_vs_8z: 6 hydralisks against 8
        zealots. corridor: 6 zealots against 24 zerglings. 3s5z_vs_3s6z: 3 stalkers and
        5 zealots against 3 and 6. Actions: 0 no-op (the dead, and only they), 1 stop, 2
        north, 3 south, 4 east, 5 west, 6 + j attack foe j, available where it is within
        the weapon's range.
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

    def __init__(
        self, scenario: str, battle: Battle | None = None, name: str | None = None
    ) -> None:
        """Makes the battle's rules; they are compiled when the first is played.

        Args:
            scenario: one of the six, e.g. "6h_vs_8z".
            battle: other rules for it.
            name: of the game with these rules, for its runs.

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
        keep_compiled_code()
        self.scenario = scenario
        self.name = name or f"smax_{scenario}"
        self.battle = battle or BATTLES[scenario]
        self.smax = ScriptedBattle(self.battle)
        allies, foes = unit_types(self.battle.allies), unit_types(self.battle.foes)
        self.n_allies = len(allies)
        self.n_foes = len(foes)
        self.unit_types = jnp.array(allies + foes)
        # the types that features tell apart: none where all allies are alike
        self.type_bits = sorted(set(allies)) if len(set(allies)) > 1 else []
        self.allies_have_shields = bool(SHIELDS[allies].max() > 0)
        self.foes_have_shields = bool(SHIELDS[foes].max() > 0)
        foes_health = float((HIT_POINTS + SHIELDS)[foes].sum())
        self.scale = HIGHEST / (foes_health + KILLED * self.n_foes + WON)
        self.spec = self._spec()
        self._fresh_battles = jax.jit(jax.vmap(self.fresh_battle))
        self._play_steps = jax.jit(jax.vmap(self.play_step))
        self._whole: dict[Hashable, Any] = {}  # kind of policy -> compiled episodes

    def __reduce__(self) -> tuple[Any, ...]:
        """By name: another process compiles its own."""
        return Smax, (self.scenario, self.battle, self.name)

    def _spec(self) -> Spec:
        """The sizes of the scenario, as the card describes its features."""
        n_actions = FIRST_ATTACK + self.n_foes
        body = 1 + len(self.type_bits)  # health and type
        ally_body = body + self.allies_have_shields
        foe_body = body + self.foes_have_shields
        seen_ally = 4 + ally_body  # visible, distance, dx, dy
        seen_foe = 4 + foe_body  # attackable, distance, dx, dy
        unit_of_ally = 3 + ally_body  # cooldown, x, y
        unit_of_foe = 2 + foe_body  # x, y
        seen_allies = (self.n_allies - 1) * seen_ally
        seen_foes = self.n_foes * seen_foe
        last_actions = self.n_allies * n_actions
        units = self.n_allies * unit_of_ally + self.n_foes * unit_of_foe
        return Spec(
            n_agents=self.n_allies,
            n_actions=n_actions,
            observation_size=len(STEPS) + seen_foes + seen_allies + ally_body,
            state_size=units + last_actions,
            unit_size=unit_of_ally,
            horizon=self.battle.limit,
            winnable=True,
        )

    # the game, on N battles in torch

    def reset(self, n_games: int, rng: torch.Generator) -> SmaxState:
        """N fresh battles, on the generator's device.

        Args:
            n_games: N, at least 1; each number of battles is compiled anew.
            rng: draws the seed of the battles' own JAX keys.

        Returns:
            The battles at t = 0.

        Raises:
            InvalidInputError: n_games is not a whole number of at least 1, or JAX has
                no such device.
        """
        battles, view = self._fresh_battles(self.fresh_keys(n_games, rng))
        return in_torch(battles, view)

    def fresh_keys(self, n_games: int, rng: torch.Generator) -> jax.Array:
        """A JAX key for each of N battles, drawn as `reset` draws them.

        Args:
            n_games: N, at least 1.
            rng: draws the seed that all of them come from.

        Raises:
            InvalidInputError: as `reset`.
        """
        check_n_games(n_games)
        seed = int(torch.randint(2**31 - 1, (), generator=rng, device=rng.device))
        key = jax.device_put(jax.random.PRNGKey(seed), jax_device(rng.device))
        return jax.random.split(key, n_games)

    def play_whole(
        self, policy: PurePolicy, keys: jax.Array, first: Tensor, draws: Tensor
    ) -> Played:
        """Plays N whole episodes in one compiled loop.

        It is compiled once for each kind of policy and each N.

        Args:
            policy: who plays.
            keys: N JAX keys, of `fresh_keys`.
            first: the policy's random numbers before the first step.
            draws: those of each step, [T, ...].
        """
        if policy.key not in self._whole:
            self._whole[policy.key] = jax.jit(partial(self._play_whole, policy))
        weights = jax.tree.map(in_jax, policy.weights)
        steps, record = self._whole[policy.key](
            weights, keys, in_jax(first), in_jax(draws)
        )
        steps = int(steps)
        record = Played(*(torch.from_dlpack(array) for array in record))
        cut = {
            name: getattr(record, name)[: steps + (name in SLOTS)]
            for name in Played._fields[:7]
        }
        return record._replace(**cut)

    def advance(
        self, state: SmaxState, actions: Int[Tensor, "N K"], rng: torch.Generator
    ) -> Step:
        """Plays one joint action in every battle.

        Args:
            state: N battles.
            actions: the action of each agent, 0 to A - 1.
            rng: not used; what is random goes on from the battles' own keys.

        Returns:
            The battles one step later, the team rewards, the ends, and in `info` which
            battles were `valid` (not over before) and which are `won`.
        """
        actions_in_jax = jnp.from_dlpack(actions.int())
        battles, view, result = self._play_steps(state.battles, actions_in_jax)
        return Step(
            state=in_torch(battles, view),
            rewards=torch.from_dlpack(result.reward),
            terminated=torch.from_dlpack(result.terminated),
            truncated=torch.from_dlpack(result.truncated),
            info={
                "valid": torch.from_dlpack(result.valid),
                "won": torch.from_dlpack(result.won),
            },
        )

    def observe(self, state: SmaxState) -> Float[Tensor, "N K O"]:
        """What each agent sees."""
        return state.observations

    def global_state(self, state: SmaxState) -> Float[Tensor, "N S"]:
        """All units and the last actions."""
        return state.states

    def available(self, state: SmaxState) -> Bool[Tensor, "N K A"]:
        """No-op for the dead; stop, open moves and foes in reach for the living."""
        return state.available

    def units(self, state: SmaxState) -> Units:
        """Who stands where, for pictures and for scripted players."""
        field, n = state.battles.field.state, self.n_allies
        order = field.prev_attack_actions - self.smax.num_movement_actions
        target = jnp.concatenate([n + order[:, :n], n - 1 - order[:, n:]], 1)
        is_idle = (order < 0) | ~field.unit_alive
        target = jnp.where(is_idle, -1, target).astype(jnp.int32)
        cooldown = jnp.maximum(field.unit_weapon_cooldowns, 0)
        reach = self.smax.unit_type_attack_ranges[field.unit_types]
        return Units(
            positions=torch.from_dlpack(field.unit_positions),
            health=torch.from_dlpack(field.unit_health),
            alive=torch.from_dlpack(field.unit_alive),
            cooldowns=torch.from_dlpack(cooldown),
            targets=torch.from_dlpack(target),
            reach=torch.from_dlpack(reach),
        )

    # N battles from beginning to end, in JAX

    def _play_whole(
        self,
        policy: PurePolicy,
        weights: Any,
        keys: jax.Array,
        first: jax.Array,
        draws: jax.Array,
    ) -> tuple[jax.Array, Played]:
        """The steps of the longest battle, and the record; what follows is zeros."""
        battles, view = jax.vmap(self.fresh_battle)(keys)
        memory = policy.start(weights, first, view.observations, view.state)
        n_games, limit = len(keys), self.battle.limit
        record = self._empty_record(view, n_games, limit)
        over = jnp.zeros(n_games, bool)

        def going_on(carry: Any) -> jax.Array:
            t, _, _, _, over, _, _ = carry
            return (t < limit) & ~over.all()

        def step(carry: Any) -> Any:
            t, battles, view, memory, over, won, record = carry
            actions, memory = policy.act(
                weights, draws[t], view.observations, view.available, memory
            )
            battles, view, result = jax.vmap(self.play_step)(battles, actions)
            ended = result.terminated | result.truncated
            won = won | (result.won & ~over)
            record = record._replace(
                observations=record.observations.at[t + 1].set(view.observations),
                states=record.states.at[t + 1].set(view.state),
                available=record.available.at[t + 1].set(view.available),
                actions=record.actions.at[t].set(actions.astype(jnp.int32)),
                rewards=record.rewards.at[t].set(result.reward),
                ended=record.ended.at[t].set(ended),
                terminated=record.terminated.at[t].set(result.terminated),
            )
            return t + 1, battles, view, memory, over | ended, won, record

        carry = (jnp.array(0), battles, view, memory, over, over, record)
        carry = without_weak_types(carry)
        t, _, _, memory, _, won, record = jax.lax.while_loop(going_on, step, carry)
        return t, record._replace(won=won, context=policy.context(memory))

    def _empty_record(self, view: View, n_games: int, limit: int) -> Played:
        """The record before the first step, with room for the longest battle.

        Args:
            view: what is seen at the start.
            n_games: N.
            limit: steps of the longest battle.
        """

        def slots(seen: jax.Array) -> jax.Array:
            return jnp.zeros((limit + 1, *seen.shape), seen.dtype).at[0].set(seen)

        return Played(
            observations=slots(view.observations),
            states=slots(view.state),
            available=slots(view.available),
            actions=jnp.zeros((limit, n_games, self.n_allies), jnp.int32),
            rewards=jnp.zeros((limit, n_games)),
            ended=jnp.zeros((limit, n_games), bool),
            terminated=jnp.zeros((limit, n_games), bool),
            won=jnp.zeros(n_games, bool),
            context=jnp.zeros((n_games, 0)),
        )

    # one battle, in JAX

    def fresh_battle(self, key: jax.Array) -> tuple[Running, View]:
        """A fresh battle, and what is seen of it."""
        key, first = jax.random.split(key)
        _, field = self.smax.reset(first)
        battle = Running(key, field, over=jnp.array(False), t=jnp.array(0))
        battle = without_weak_types(battle)
        return battle, self.view(battle, jnp.full(self.n_allies, NO_ACTION))

    def play_step(
        self, battle: Running, actions: jax.Array
    ) -> tuple[Running, View, Result]:
        """One step of a battle.

        Args:
            battle: the battle before the step.
            actions: the action of each agent, 0 to A - 1, [K].

        Returns:
            The battle after the step, what is seen of it, and what the step returns.
        """
        key, now = jax.random.split(battle.key)
        orders = self.orders_to_smax(actions)
        _, field, *_ = self.smax.step_env(now, battle.field, orders)
        before, after = battle.field.state, field.state
        allies, foes = jnp.split(after.unit_alive, [self.n_allies])
        valid, t = ~battle.over, battle.t + 1
        terminated = ~allies.any() | ~foes.any()
        truncated = (t >= self.battle.limit) & ~terminated
        reward = jnp.where(valid, self.reward(before, after), 0.0)
        new = Running(key, field, battle.over | terminated | truncated, t)
        new = without_weak_types(new)
        view = self.view(new, actions)
        won = self.won(after)
        return new, view, Result(reward, terminated, truncated, valid, won)

    def orders_to_smax(self, actions: jax.Array) -> dict[str, jax.Array]:
        """SMAX's action of each agent, by the agent's name there."""
        moves = jnp.array(TO_SMAX)[jnp.minimum(actions, FIRST_ATTACK - 1)]
        attacks = actions - 1  # SMAX's first attack is 5
        orders = jnp.where(actions < FIRST_ATTACK, moves, attacks)
        return {agent: orders[index] for index, agent in enumerate(self.smax.agents)}

    def won(self, field: Any) -> jax.Array:
        """Whether all foes are dead and an ally is not."""
        allies = field.unit_alive[: self.n_allies]
        foes = field.unit_alive[self.n_allies :]
        return allies.any() & ~foes.any()

    def reward(self, before: Any, after: Any) -> jax.Array:
        """What one step pays: damage to foes, foes killed and the win, scaled.

        Args:
            before: SMAX's state before the step.
            after: SMAX's state after it.

        Returns:
            A single number; those of a full win sum to 20.
        """
        hurt = (before.unit_health - after.unit_health)[self.n_allies :].sum()
        killed = (before.unit_alive & ~after.unit_alive)[self.n_allies :].sum()
        return (hurt + KILLED * killed + WON * self.won(after)) * self.scale

    def view(self, battle: Running, last_actions: jax.Array) -> View:
        """What is seen of a battle.

        Args:
            battle: the battle.
            last_actions: the action that each agent took last, NO_ACTION before the
                first step, [K].

        Returns:
            What the agents see, the state, the available actions, and the time.
        """
        field = battle.field.state
        available = self.choices(field)
        allies, foes = self._bodies(field)
        observations = self._observations(field, available, allies, foes)
        state = self._state(field, allies, foes, last_actions)
        return View(observations, state, available, battle.t)

    def choices(self, field: Any) -> Bool[jax.Array, "K A"]:
        """The available actions of each agent, from SMAX's state."""
        n, alive, position = self.n_allies, field.unit_alive, field.unit_positions
        types, living = self.unit_types[:n], alive[:n, None]
        reach = self.smax.unit_type_attack_ranges[types][:, None]
        distance = jnp.linalg.norm(position[:n, None] - position[None, n:], axis=-1)
        in_reach = distance < reach
        ahead = position[:n, None] + jnp.array(STEPS)  # [agent, direction, 2]
        is_open = self.smax._env.passable(ahead, types[:, None])
        no_op, stop = ~living, living
        moves, attacks = living & is_open, living & alive[n:] & in_reach
        return jnp.concatenate([no_op, stop, moves, attacks], 1)

    def _bodies(self, field: Any) -> tuple[jax.Array, jax.Array]:
        """Health, shield and type of the allies and of the foes, [units, features]."""
        n = self.n_allies
        hit_points = jnp.array(HIT_POINTS)[self.unit_types]
        shields = jnp.array(SHIELDS)[self.unit_types]
        health = jnp.minimum(field.unit_health, hit_points) / hit_points
        absorbing = jnp.maximum(field.unit_health - hit_points, 0)
        shield = absorbing / jnp.maximum(shields, 1)
        is_type = self.unit_types[:, None] == jnp.array(self.type_bits, dtype=int)
        bits = is_type.astype(jnp.float32)
        with_shield = [health[:, None], shield[:, None], bits]
        without_shield = [health[:, None], bits]
        ally = with_shield if self.allies_have_shields else without_shield
        foe = with_shield if self.foes_have_shields else without_shield
        return jnp.concatenate(ally, 1)[:n], jnp.concatenate(foe, 1)[n:]

    def _observations(
        self, field: Any, available: jax.Array, allies: jax.Array, foes: jax.Array
    ) -> jax.Array:
        """What each agent sees, [K, O]: moves, foes, other agents, itself."""
        n, alive = self.n_allies, field.unit_alive[:, None]
        position = field.unit_positions
        offset = (position - position[:n, None]) / SIGHT  # [agent, unit, 2]
        distance = jnp.linalg.norm(offset, axis=-1, keepdims=True)
        visible = (distance < 1) & alive & alive[:n, None]
        where = jnp.concatenate([distance, offset], -1)
        moves = available[:, 2:FIRST_ATTACK]
        attackable = available[:, FIRST_ATTACK:, None]
        # [agent, unit, features]
        of_allies = jnp.broadcast_to(allies, (n, *allies.shape))
        of_foes = jnp.broadcast_to(foes, (n, *foes.shape))
        seen_foes = jnp.concatenate([attackable, where[:, n:], of_foes], -1)
        seen_foes = seen_foes * visible[:, n:]
        seen_allies = jnp.concatenate([visible[:, :n], where[:, :n], of_allies], -1)
        seen_allies = seen_allies * visible[:, :n]
        others = jnp.array([[j for j in range(n) if j != i] for i in range(n)])
        seen_allies = jnp.take_along_axis(seen_allies, others[:, :, None], 1)
        itself = allies * alive[:n]
        features = [moves, seen_foes.reshape(n, -1), seen_allies.reshape(n, -1), itself]
        return jnp.concatenate(features, 1, dtype=jnp.float32)

    def _state(
        self, field: Any, allies: jax.Array, foes: jax.Array, last_actions: jax.Array
    ) -> jax.Array:
        """All units and the last actions, [S]."""
        n, alive = self.n_allies, field.unit_alive[:, None]
        longest = self.smax.unit_type_weapon_cooldowns[self.unit_types]
        # A constant is, in some programs and not in others, replaced by its inverse.
        longest = jax.lax.optimization_barrier(longest)
        cooldown = jnp.clip(field.unit_weapon_cooldowns / longest, 0, 1)[:, None]
        spot = field.unit_positions / SIZE - 0.5
        ally_health, ally_rest = allies[:, :1], allies[:, 1:]
        foe_health, foe_rest = foes[:, :1], foes[:, 1:]
        ally = jnp.concatenate([ally_health, cooldown[:n], spot[:n], ally_rest], 1)
        foe = jnp.concatenate([foe_health, spot[n:], foe_rest], 1)
        ally, foe = ally * alive[:n], foe * alive[n:]
        last = jax.nn.one_hot(last_actions, self.spec.n_actions)
        return jnp.concatenate([ally.ravel(), foe.ravel(), last.ravel()])


def clash(scenario: str, foe_damage: float, name: str) -> Smax:
    """A battle whose foes walk to the nearest agent, and hit harder or more softly.

    Args:
        scenario: one of the six.
        foe_damage: a factor on what allies lose.
        name: of the game.
    """
    known = known_name(scenario, BATTLES, "scenario")
    battle = BATTLES[known]._replace(foe_damage=foe_damage, foes_chase="nearest")
    return Smax(scenario, battle, name)


def in_torch(battles: Running, view: View) -> SmaxState:
    """The state of N battles; the tensors share JAX's memory and must not be changed.

    Args:
        battles: N battles.
        view: what is seen of them, with N as the first axis of every field.

    Returns:
        The battles, and tensors of what is seen.
    """
    return SmaxState(
        battles=battles,
        observations=torch.from_dlpack(view.observations),
        states=torch.from_dlpack(view.state),
        available=torch.from_dlpack(view.available),
        t=torch.from_dlpack(view.t),
    )


def in_jax(value: Tensor | float) -> jax.Array:
    """A tensor as JAX reads it, without a copy; a number as an array."""
    if isinstance(value, Tensor):
        return jnp.from_dlpack(value.contiguous())
    return jnp.array(value, jnp.float32)


def without_weak_types(tree: Any) -> Any:
    """The same arrays, each with a type of its own, so that nothing compiles twice.

    JAX gives arrays made of Python numbers a weak type, and compiles a function anew
    where a weak type is replaced by the same one that is not.
    """

    def convert(leaf: jax.Array) -> jax.Array:
        return jax.lax.convert_element_type(leaf, jnp.asarray(leaf).dtype)

    return jax.tree.map(convert, tree)


def jax_device(device: torch.device) -> jax.Device:
    """JAX's name of a device.

    Raises:
        InvalidInputError: JAX was installed without CUDA.
    """
    try:
        devices = jax.devices("cuda" if device.type == "cuda" else "cpu")
        return devices[device.index or 0]
    except RuntimeError as error:
        refuse(
            "device",
            "a device that JAX has",
            str(error),
            "Install jax[cuda13], or train on the CPU.",
        )


def keep_compiled_code() -> None:
    """Has JAX keep what it compiles on disk, unless it was given a folder already."""
    folder = cache_folder()
    if folder is not None and not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def cache_folder() -> Path | None:
    """Where compiled code is kept; None where this user has no place for it.

    As XDG has it, a folder that is empty or relative counts as not named.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        place = named if named.is_absolute() else Path.home() / ".cache"
        folder = place / "ciacore" / "jax"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # nobody's home, or one that cannot be written
        return None
    return folder if os.access(folder, os.W_OK) else None
