"""The battles on SMAX: real sizes, rewards, limits, masks, and N battles at once."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from ciabook.battles.scripted_players import PLAYERS, outcomes
from ciabook.studies.battles import in_battle
from jaxmarl.environments.smax import map_name_to_scenario
from support.toys import rng, small

from ciacore import METHODS
from ciacore.games import GAMES, SCENARIOS
from ciacore.games.battles.battlefield import (
    BATTLES,
    SIZE,
    shortest_ways,
    unit_types,
    walkable_cells,
)
from ciacore.games.battles.smax import Smax, SmaxState, cache_folder
from ciacore.learning.rollout import play
from ciacore.training import Training
from ciacore.types import Game, InvalidInputError

N = 4  # battles at once, in every test: each number of battles is compiled anew
# agents, foes, limit, actions, observation, state, unit: from SMAC's own StarCraft2Env
REAL = {
    "10m_vs_11m": (10, 11, 150, 17, 105, 243, 4),
    "2c_vs_64zg": (2, 64, 400, 70, 332, 342, 5),
    "7sz": (14, 14, 200, 20, 224, 462, 7),
    "6h_vs_8z": (6, 8, 150, 14, 78, 140, 4),
    "corridor": (6, 24, 400, 30, 156, 282, 5),
    "3s5z_vs_3s6z": (8, 9, 170, 15, 136, 230, 7),
}
# hit points and shields of all foes + 10 each + 200 for the win, as SMAC counts them
POINTS = {
    "10m_vs_11m": 805,
    "2c_vs_64zg": 3080,
    "7sz": 2510,
    "6h_vs_8z": 1480,
    "corridor": 1280,
    "3s5z_vs_3s6z": 1670,
}


@pytest.fixture(scope="module")
def games() -> dict[str, Smax]:
    """Each battle once, so that each is compiled once."""
    return {name: GAMES[f"smax_{name}"]() for name in SCENARIOS}


@pytest.mark.parametrize("name", SCENARIOS)
def test_sizes_are_the_real_environments(games: dict[str, Smax], name: str) -> None:
    spec = games[name].spec
    sizes = (
        spec.n_agents,
        len(unit_types(BATTLES[name].foes)),
        spec.horizon,
        spec.n_actions,
        spec.observation_size,
        spec.state_size,
        spec.unit_size,
    )
    assert sizes == REAL[name]


@pytest.mark.parametrize("name", SCENARIOS)
def test_smoke_of_a_whole_battle(games: dict[str, Smax], name: str) -> None:
    """Random play ends, every number is finite, every agent always has a choice."""
    game = games[name]
    assert isinstance(game, Game)
    generator = rng(1)
    state = game.reset(N, generator)
    total, wins = torch.zeros(N), torch.zeros(N, dtype=torch.bool)
    for t in range(game.spec.horizon):
        check_view(game, state)
        units, available = game.units(state), game.available(state)
        actions = PLAYERS["random"](units, available, generator)
        step = game.step(state, actions, generator)
        state = step.state
        total, wins = total + step.rewards, wins | step.info["won"]
        assert (step.rewards[~step.info["valid"]] == 0).all()
        assert not (step.terminated & step.truncated).any()
        assert state.t.tolist() == [t + 1] * N
        if state.battles.over.all():
            break
    assert bool(state.battles.over.all())
    assert (total[wins] > 20 - 1e-3).all()
    assert (total[~wins] < 20).all()
    assert (total >= 0).all()


def check_view(game: Smax, state: SmaxState) -> None:
    """Shapes, finite numbers, and what the dead see and may do."""
    spec = game.spec
    seen, features = game.observe(state), game.global_state(state)
    available = game.available(state)
    assert seen.shape == (N, spec.n_agents, spec.observation_size)
    assert seen.dtype == torch.float32
    assert features.shape == (N, spec.state_size)
    assert seen.isfinite().all()
    assert features.isfinite().all()
    assert available.any(-1).all()
    dead = ~game.units(state).alive[:, : spec.n_agents]
    # the dead may only do nothing
    assert (available[..., 0] == dead).all()
    assert not available[..., 1:][dead].any()
    assert not seen[dead].any()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_full_win_pays_exactly_20(games: dict[str, Smax], name: str) -> None:
    """In two blows: half of all health first, then the rest, the foes and the win."""
    game = games[name]
    assert 20 / game.scale == pytest.approx(POINTS[name], rel=1e-6)
    field = jax.tree.map(lambda leaf: leaf[0], game.reset(N, rng()).battles.field.state)
    foe = jnp.arange(len(field.unit_health)) >= game.n_allies
    halved = jnp.where(foe, field.unit_health / 2, field.unit_health)
    half = field.replace(unit_health=halved)
    gone = jnp.where(foe, 0.0, field.unit_health)
    none = field.replace(unit_health=gone, unit_alive=~foe)
    # the allies died in the same moment: no win
    both = none.replace(unit_alive=jnp.zeros_like(foe))
    paid = float(game.reward(field, half) + game.reward(half, none))
    assert paid == pytest.approx(20, abs=1e-4)
    paid_without_win = float(game.reward(field, both))
    assert paid_without_win == pytest.approx(20 - 200 * game.scale, abs=1e-4)


def test_a_battle_that_was_won_paid_20(games: dict[str, Smax]) -> None:
    """The rewards of each won battle sum to 20, those of a lost one to less."""
    found = outcomes(games["7sz"], PLAYERS["focus fire"], N, seed=1)
    won = found["won"]
    assert won.sum() >= 2
    assert found["episode_return"][won].tolist() == pytest.approx(
        [20.0] * int(won.sum()), abs=1e-3
    )
    assert (found["episode_return"][~won] < 20 - 1e-3).all()


def test_limit_truncates_exactly(games: dict[str, Smax]) -> None:
    """Allies out of sight, in a corner, wait until the time is up, not a step less."""
    game = games["6h_vs_8z"]
    state = game.reset(N, rng())
    field = state.battles.field.state
    aside = field.unit_positions.at[:, : game.n_allies].set(jnp.array([1.0, 31.0]))
    aside = aside.at[:, game.n_allies :].set(jnp.array([31.0, 1.0]))
    # foes that find them all the same do no harm
    ready = field.unit_weapon_cooldowns.at[:, game.n_allies :].set(1e6)
    field = field.replace(unit_positions=aside, unit_weapon_cooldowns=ready)
    state = state._replace(
        battles=state.battles._replace(field=state.battles.field.replace(state=field))
    )
    for t in range(1, BATTLES["6h_vs_8z"].limit + 1):
        step = game.step(
            state, torch.ones(N, game.spec.n_agents, dtype=torch.int64), rng()
        )
        state = step.state
        assert not step.terminated.any()
        assert step.truncated.tolist() == [t == 150] * N


def test_attacks_are_available_as_smax_has_it(games: dict[str, Smax]) -> None:
    """In reach of the unit's own weapon; SMAX itself is asked, some steps on."""
    game = games["3s5z_vs_3s6z"]
    state, generator = game.reset(N, rng(3)), rng(4)
    compared = 0
    for _ in range(12):
        theirs = jax.vmap(game.smax.get_avail_actions)(state.battles.field)
        theirs = np.stack([np.asarray(theirs[agent]) for agent in game.smax.agents], 1)[
            :, :, 5:
        ].astype(bool)
        ours = game.available(state)[..., 6:].numpy()
        assert (ours == theirs).all()
        compared += ours.sum()
        action = PLAYERS["closest"](game.units(state), game.available(state), generator)
        state = game.step(state, action, generator).state
    assert compared > 50


def test_moves_are_closed_at_the_border_and_at_walls(games: dict[str, Smax]) -> None:
    """SMAC's numbers: 2 north, 3 south, 4 east, 5 west; a move leads there."""
    game = games["10m_vs_11m"]
    state = game.reset(N, rng())
    field = state.battles.field.state
    corner = (
        field.unit_positions.at[0, 0]
        .set(jnp.array([0.5, 31.5]))
        .at[0, 1]
        .set(jnp.array([31.5, 0.5]))
    )
    choices = game.choices(
        jax.tree.map(lambda leaf: leaf[0], field.replace(unit_positions=corner))
    )
    assert choices[0, 2:6].tolist() == [False, True, True, False]
    assert choices[1, 2:6].tolist() == [True, False, False, True]
    before = game.units(state).positions[0, :4].clone()
    after = game.units(
        game.step(state, torch.tensor([[2, 3, 4, 5, *[1] * 6]] * N), rng()).state
    ).positions[0, :4]
    moved = (after - before).numpy()
    assert (moved[[0, 1, 2, 3], [1, 1, 0, 0]] * [1, -1, 1, -1] > 1).all()


@pytest.mark.parametrize("name", ["corridor", "2c_vs_64zg"])
def test_units_stay_on_open_ground(games: dict[str, Smax], name: str) -> None:
    """At every step, foes stand where the map lets them."""
    game, ground = games[name], BATTLES[name].ground
    state, generator = game.reset(N, rng(2)), rng(3)
    open_cells = walkable_cells(ground)
    for _ in range(40):
        units = game.units(state)
        x, y = units.positions[:, game.n_allies :].floor().long().unbind(-1)
        assert open_cells[y.numpy(), x.numpy()].all()
        state = game.step(
            state, PLAYERS["kite"](units, game.available(state), generator), generator
        ).state


@pytest.mark.parametrize("name", ["corridor", "2c_vs_64zg"])
def test_ways_lead_to_the_goal(name: str) -> None:
    """From every open cell a walk along the table ends there, never through a wall."""
    ground = BATTLES[name].ground
    open_cells = walkable_cells(ground)
    table = shortest_ways(open_cells)
    x, y = int(ground.goal[0]), int(ground.goal[1])
    goal = y * SIZE + x
    moves = (SIZE, 1, -SIZE, -1)  # north, east, south, west
    arrived = 0
    for cell in np.flatnonzero(open_cells.ravel()):
        for _ in range(SIZE * SIZE):
            if cell == goal:
                arrived += 1
                break
            cell = cell + moves[table[goal, cell]]
            assert open_cells.ravel()[cell]
    assert arrived == open_cells.sum()


def test_many_battles_equal_single_ones(games: dict[str, Smax]) -> None:
    """Battle i of N is the same battle played alone, with its key and actions."""
    game, generator = games["6h_vs_8z"], rng(5)
    keys = jax.random.split(jax.random.PRNGKey(7), N)
    together, _ = game._fresh_battles(keys)
    alone = [game._fresh_battles(keys[i : i + 1])[0] for i in range(N)]
    for _ in range(60):
        actions = (
            torch.randint(1, 14, (N, game.spec.n_agents), generator=generator)
            .int()
            .numpy()
        )
        together, view, result = game._play_steps(together, actions)
        for i in range(N):
            played_alone = game._play_steps(alone[i], actions[i : i + 1])
            alone[i], own_view, own_result = played_alone
            for ours, theirs in zip(
                (*view, *result), (*own_view, *own_result), strict=True
            ):
                np.testing.assert_allclose(
                    np.asarray(ours[i]), np.asarray(theirs[0]), rtol=1e-5, atol=1e-5
                )
    assert bool(together.over.any())


def test_state_layout(games: dict[str, Smax]) -> None:
    """By hand, in 3s5z_vs_3s6z.

    An ally: health, cooldown, x, y, shield, two type bits; then foes; then actions.
    """
    game = games["3s5z_vs_3s6z"]
    state = game.reset(N, rng())
    units, features = game.units(state), game.global_state(state)[0]
    allies = features[: 8 * 7].view(8, 7)
    assert allies[:, 0].tolist() == [1.0] * 8
    assert allies[:, 1].tolist() == [0.0] * 8
    assert allies[:, 4].tolist() == [1.0] * 8
    assert torch.allclose(allies[:, 2:4], units.positions[0, :8] / SIZE - 0.5)
    # stalkers, then zealots
    assert allies[:, 5:].tolist() == [[1.0, 0.0]] * 3 + [[0.0, 1.0]] * 5
    foes = features[56 : 56 + 9 * 6].view(9, 6)
    assert torch.allclose(foes[:, 1:3], units.positions[0, 8:] / SIZE - 0.5)
    assert not features[56 + 54 :].any()  # nothing was done yet
    step = game.step(state, torch.full((N, 8), 4), rng())
    last_actions = game.global_state(step.state)[0, 110:].view(8, 15)
    assert last_actions.argmax(-1).tolist() == [4] * 8


def test_observation_layout(games: dict[str, Smax]) -> None:
    """By hand, in 6h_vs_8z: moves, foes, allies, own health.

    A foe: attackable, distance, dx, dy, health, shield.
    """
    game = games["6h_vs_8z"]
    state = game.reset(N, rng())
    field = state.battles.field.state
    # foe 0 four cells east of all agents, the others out of sight
    x = jnp.array([10.0] * 6 + [14.0] + [30.0] * 7)
    placed = field.replace(
        unit_positions=jnp.stack([x, jnp.full(14, 16.0)], -1)[None].repeat(N, 0)
    )
    running = state.battles._replace(field=state.battles.field.replace(state=placed))
    first = jax.tree.map(lambda leaf: leaf[0], running)
    seen = game.view(first, jnp.full(6, -1)).observations
    assert seen[0, :4].tolist() == [1, 1, 1, 1]
    foes = np.asarray(seen[0, 4 : 4 + 8 * 6]).reshape(8, 6)
    assert foes[0].tolist() == pytest.approx([1, 4 / 9, 4 / 9, 0, 1, 1])
    assert not foes[1:].any()
    mates = np.asarray(seen[0, 52:77]).reshape(5, 5)
    assert mates.tolist() == [[1, 0, 0, 0, 1]] * 5
    assert seen[0, 77] == 1


def test_stock_scenarios_are_those_of_smax() -> None:
    """10m_vs_11m, 6h_vs_8z and 3s5z_vs_3s6z: SMAX's own units and tables, unchanged."""
    for name in ("10m_vs_11m", "6h_vs_8z", "3s5z_vs_3s6z"):
        theirs, ours = map_name_to_scenario(name), BATTLES[name]
        units = unit_types(ours.allies) + unit_types(ours.foes)
        assert theirs.unit_types.tolist() == units
        assert ours.ground is None
        assert not ours.changes


def test_an_episode_is_padded_behind_its_end_and_knows_whether_it_was_won(
    games: dict[str, Smax],
) -> None:
    class Anyhow:
        """Any available action."""

        def start(self, observations, states, generator):
            return None

        def act(self, observations, available, memory, generator):
            wanted = torch.rand(available.shape, generator=generator)
            return wanted.masked_fill(~available, -1.0).argmax(-1), None

    game = games["6h_vs_8z"]
    episodes = play(game, Anyhow(), N, rng(1), 0.99)
    lengths = episodes.weights.sum(1).long()
    assert episodes.rewards.shape == (N, 150) and (lengths < 150).all()
    for i, length in enumerate(lengths.tolist()):
        assert episodes.discounts[i, length - 1] == 0
        assert (episodes.discounts[i, : length - 1] > 0).all()
        assert not episodes.observations[i, length + 1 :].any()
        assert not episodes.available[i, length + 1 :].any()
    assert episodes.won.tolist() == [False] * N


def test_trains_and_keeps_what_was_won(games: dict[str, Smax]) -> None:
    config = small(
        method="tiny",
        n_games=N,
        batch=N,
        buffer=N,
        env_steps=300,
        evaluation_interval=60,
        evaluation_games=N,
    )
    training = Training(config, games["6h_vs_8z"], 1, torch.device("cpu"))
    while training.running():
        training.iterate()
    metrics = training.log.metrics
    assert len(metrics["won"]) >= 2
    assert len(metrics["won"]) == len(metrics["episode_return"])
    assert metrics["won"][0] == [False] * N


@pytest.mark.parametrize(
    "method",
    [
        method if method == "maven" else pytest.param(method, marks=pytest.mark.long)
        for method in METHODS
    ],
)
def test_every_method_learns_in_a_battle(method: str, games: dict[str, Smax]) -> None:
    """It plays, updates and evaluates, with the map's hyper-parameters."""
    short = {
        "n_games": N,
        "batch": N,
        "buffer": N,
        "env_steps": 300,
        "evaluation_games": N,
        "evaluation_interval": 200,
    }
    training = Training(
        in_battle(METHODS[method], "6h_vs_8z").but(**short),
        games["6h_vs_8z"],
        1,
        torch.device("cpu"),
    )
    while training.running():
        training.iterate()
    losses = [entry for entry in training.log.metrics["losses"] if entry]
    assert losses
    for entry in losses:
        assert np.isfinite(list(entry.values())).all()


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_tensors_share_jaxs_memory(
    games: dict[str, Smax], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is copied on the way in or out, on the device of JAX and torch."""
    game = games["6h_vs_8z"]
    generator = torch.Generator(device).manual_seed(0)
    kept = []  # arguments and results of the last call into JAX

    def watched(work):
        def call(*arguments):
            kept[:] = arguments, work(*arguments)
            return kept[1]

        return call

    compiled = game._play_steps
    monkeypatch.setattr(game, "_fresh_battles", watched(game._fresh_battles))
    monkeypatch.setattr(game, "_play_steps", watched(game._play_steps))
    state = game.reset(N, generator)
    game.advance(state, game.available(state).int().argmax(-1).int(), generator)
    state = game.reset(N, generator)  # what is compiled brings its constants along
    programs = compiled._cache_size()
    pairs = list(zip(kept[1][1], state[1:], strict=True))
    actions = game.available(state).int().argmax(-1).int()
    with jax.transfer_guard("disallow"):  # and nothing passes between host and GPU
        step = game.advance(state, actions, generator)
    assert compiled._cache_size() == programs > 0  # nor is anything compiled there
    (_, given), (_, view, result) = kept
    pairs += [(given, actions), *zip(view, step.state[1:], strict=True)]
    pairs += zip(
        result,
        (step.rewards, step.terminated, step.truncated, *step.info.values()),
        strict=True,
    )
    assert len(pairs) == 14
    for array, tensor in pairs:
        assert tensor.data_ptr() == array.unsafe_buffer_pointer()
        assert tensor.device.type == device


def test_jax_leaves_a_gpus_memory_to_torch() -> None:
    show = "import os, ciacore.games.battles.smax; print(os.environ[{!r}])"
    name = "XLA_PYTHON_CLIENT_PREALLOCATE"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop(name, None)
    command = [sys.executable, "-c", show.format(name)]
    assert subprocess.check_output(command, env=environment, text=True) == "false\n"


def test_travels_to_another_process_by_name(games: dict[str, Smax]) -> None:
    again = pickle.loads(pickle.dumps(games["6h_vs_8z"]))
    assert again.spec == games["6h_vs_8z"].spec and again.name == "smax_6h_vs_8z"


@pytest.mark.parametrize(
    ("work", "says"),
    [
        (lambda game: Smax("3m"), "scenario: expected one of 10m_vs_11m, 2c_vs_64zg"),
        (
            lambda game: game.reset(0, rng()),
            "n_games: expected a whole number of at least 1",
        ),
        (
            lambda game: game.step(
                game.reset(N, rng()), torch.zeros(N, 5, dtype=torch.int64), rng()
            ),
            "actions: expected",
        ),
        (
            lambda game: game.step(game.reset(N, rng()), torch.full((N, 6), 14), rng()),
            "actions: expected values from 0",
        ),
    ],
)
def test_bad_input(games: dict[str, Smax], work, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        work(games["6h_vs_8z"])


# ------------------------------------------------- where compiled code is kept


@pytest.mark.parametrize("named", ["", "a/relative/one", None])
def test_an_empty_cache_folder_counts_as_not_named(named, tmp_path, monkeypatch):
    """Nothing appears where one works: a folder `ciacore` there would hide ours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if named is None:
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", named)
    assert cache_folder() == tmp_path / "home" / ".cache" / "ciacore" / "jax"
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_nobody_s_home_is_not_asked_for_where_a_cache_is_named(tmp_path, monkeypatch):
    """A user id without an entry, and no HOME."""

    def nobody() -> None:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.home", nobody)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "ciacore" / "jax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() is None
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    assert cache_folder() is None
