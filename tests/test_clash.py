"""Battles with one rule for all foes and one knob: what changes, and what does not."""

from __future__ import annotations

import pickle

import jax
import jax.numpy as jnp
import pytest
import torch
from ciabook.battles.scripted_players import PLAYERS
from support.toys import rng

from ciacore.games import SCENARIOS, clash_name, game_name, make_game
from ciacore.games.battles.battlefield import BATTLES
from ciacore.games.battles.smax import Smax, SmaxState
from ciacore.types import InvalidInputError

N = 4
FLAT = "6h_vs_8z"


def played(game: Smax, steps: int) -> list[SmaxState]:
    """The states of battles whose agents attack whom they can."""
    generator = rng(1)
    states = [game.reset(N, generator)]
    for _ in range(steps):
        state = states[-1]
        actions = PLAYERS["closest"](
            game.units(state), game.available(state), generator
        )
        states.append(game.step(state, actions, generator).state)
    return states


@pytest.fixture(scope="module")
def old() -> Smax:
    return Smax(FLAT)


@pytest.fixture(scope="module")
def states(old) -> list[SmaxState]:
    """Of battles with the old rules."""
    return played(old, 30)


@pytest.fixture(scope="module")
def softer() -> Smax:
    """Foes that hit half as hard."""
    return Smax(FLAT, BATTLES[FLAT]._replace(foe_damage=0.5))


@pytest.fixture(scope="module")
def chasing() -> Smax:
    """Foes that walk to the nearest agent."""
    return Smax(FLAT, BATTLES[FLAT]._replace(foes_chase="nearest"))


@pytest.fixture(scope="module")
def with_old_rule() -> Smax:
    """The knob at one, and foes that chase as before."""
    return Smax(FLAT, BATTLES[FLAT]._replace(foe_damage=1.0, foes_chase="random"))


def health(game: Smax, state: SmaxState) -> torch.Tensor:
    return game.units(state).health


def test_with_the_old_rule_and_the_knob_at_one_nothing_changes(states, with_old_rule):
    for before, after in zip(states, played(with_old_rule, 30), strict=True):
        assert torch.equal(before.observations, after.observations)
        assert torch.equal(before.states, after.states)
        assert torch.equal(before.available, after.available)


def test_allies_lose_by_the_factor_and_foes_as_before(old, softer, states):
    check_losses(old, softer, states)


@pytest.mark.long
def test_harder_foes(old, states):
    harder = Smax(FLAT, BATTLES[FLAT]._replace(foe_damage=2.0))
    check_losses(old, harder, states)


def check_losses(old: Smax, game: Smax, states: list[SmaxState]) -> None:
    """From the same states with the same draws, one step on."""
    n, lost, factor = game.n_allies, 0.0, game.battle.foe_damage
    for state in states:
        actions = PLAYERS["closest"](old.units(state), old.available(state), rng(2))
        before = health(old, state)
        plain = health(old, old.step(state, actions, rng()).state)
        scaled = health(game, game.step(state, actions, rng()).state)
        # SMAX makes several small steps in one: whoever dies early is hit no more
        lived = ((plain > 0) & (scaled > 0) | (before == 0))[:, :n].all(1)
        assert torch.equal(scaled[lived, n:], plain[lived, n:])
        loss = factor * (before - plain)[lived, :n]
        expected = before[lived, :n] - loss
        torch.testing.assert_close(scaled[lived, :n], expected, rtol=0, atol=5e-3)
        lost += float(loss.sum())
    assert lost > 100


def test_what_would_kill_is_scaled_before_it_kills(softer, states):
    """An ally with a point left loses half of the blow, not half of the point."""
    game = softer
    n, seen = game.n_allies, 0
    for state in states:
        field = state.battles.field
        weak = field.state.unit_health.at[:, :n].set(
            jnp.where(field.state.unit_alive[:, :n], 1.0, 0.0)
        )
        weak = field.replace(state=field.state.replace(unit_health=weak))
        state = state._replace(battles=state.battles._replace(field=weak))
        actions = torch.ones(N, n, dtype=torch.int64)  # stop
        actions[~game.units(state).alive[:, :n]] = 0
        after = game.step(state, actions, rng()).state
        hit = health(game, after)[:, :n] < health(game, state)[:, :n]
        # half a zealot's blow is more than a point
        assert (health(game, after)[:, :n][hit] == 0).all()
        seen += int(hit.sum())
    assert seen > 0


def moves(game: Smax, state: SmaxState, seed: int) -> jax.Array:
    """What the foes of the first battle do."""
    field = jax.tree.map(lambda leaf: leaf[0], state.battles.field)
    smax = game.smax
    seen = smax._env.get_obs(field.state)
    foes = jnp.stack([seen[agent] for agent in smax.enemy_agents])
    chosen, _ = smax.get_enemy_actions(
        jax.random.PRNGKey(seed), field.enemy_policy_state, foes
    )
    return jnp.stack([chosen[agent] for agent in smax.enemy_agents])


def test_foes_walk_to_the_nearest_whatever_is_drawn(old, chasing, states):
    states = states[:12]
    same = [
        bool((moves(chasing, state, 1) == moves(chasing, state, 2)).all())
        for state in states
    ]
    assert all(same)
    dither = [
        bool((moves(old, state, 1) == moves(old, state, 2)).all()) for state in states
    ]
    assert not all(dither)


def test_that_is_the_move_towards_the_nearest_agent(chasing, states):
    """By hand, for every foe that walks and sees somebody."""
    game, n, checked = chasing, chasing.n_allies, 0
    for state in states[:12]:
        units = game.units(state)
        where, alive = units.positions[0], units.alive[0]
        chosen = moves(game, state, 0).tolist()
        sight = float(game.smax._env.unit_type_sight_ranges[game.unit_types[n]])
        for foe in range(game.n_foes):
            if not alive[n + foe] or chosen[foe] >= 4:
                continue
            offsets = where[:n] - where[n + foe]
            distances = offsets.norm(dim=1)
            distances[~alive[:n]] = torch.inf
            if distances.min() >= sight:
                continue
            dx, dy = offsets[distances.argmin()].tolist()
            along_x, along_y = (1 if dx > 0 else 3), (0 if dy > 0 else 2)
            assert chosen[foe] == (along_x if abs(dx) > abs(dy) else along_y)
            checked += 1
    assert checked > 20


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_clash_has_a_name_and_the_same_sizes(scenario):
    name = clash_name(scenario, 0.8)
    assert name == f"clash_{scenario}_at_0.8" == game_name(name)
    game = make_game(name)
    again = pickle.loads(pickle.dumps(game))
    assert again.name == game.name == name
    assert again.battle == game.battle
    assert game.battle.foe_damage == 0.8 and game.battle.foes_chase == "nearest"
    assert game.spec == make_game(f"smax_{scenario}").spec


@pytest.mark.parametrize(
    "name",
    [
        "clash_3m_at_0.8",
        "clash_10m_vs_11m_at_0",
        "clash_10m_vs_11m_at_0.80",
        "clash_10m_vs_11m_at_-1",
        "clash_10m_vs_11m",
    ],
)
def test_other_names_are_refused(name):
    with pytest.raises(InvalidInputError, match="game: expected one of"):
        make_game(name)
