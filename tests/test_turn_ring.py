"""Turn with more than two agents; with two it is the game that it was before."""

import hashlib
from itertools import product

import numpy as np
import pytest
import torch
from ciabook.page.drawings import draw_turn
from ciabook.turn.pettingzoo_env import ParallelGame
from ciabook.turn.scripted_players import (
    FullInformation,
    Stay,
    Sweep,
    Uniform,
    returns,
    trace,
)
from matplotlib.figure import Figure
from support.faults import refused
from support.toys import rng, small
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from ciacore.games import GAMES, Turn, TwoStep, check_game
from ciacore.games.turn import EAT, RIGHT, STAY, TurnState, act, seen_from
from ciacore.learning.rollout import play
from ciacore.runtime.cuda_graphs import capturable
from ciacore.training import Training

CELLS = list(product(range(5), repeat=2))
SIZES = [3, 4, 6]
# of the episodes below, as the game of two agents alone played them (commit b9e6259)
BEFORE = {
    (2, False): "89aedb87d0a5f33634ff93b6edbb334f4b2d4baf1cb2245bd14eca5d4a7f1a2c",
    (2, True): "6a613a0c91f4d25ba4efef50268cd4070840fc8dc0a79b5697be1211a9868652",
    (5, False): "134eebab4b2b018cb0c79a67ae610f45ed841adbca3bb1ae557f292cd3a3202c",
    (5, True): "2ea91dc532d9abbc8112ceefc111eb8c00983543f52a714c60f0fce064cbce40",
}


def board(places, apple, free=0, **rules):
    """One board of as many agents as there are places, and its game."""
    game = Turn(n_agents=len(places), **rules)
    state = game.placed(
        torch.tensor([places]), torch.tensor([apple]), torch.tensor([free])
    )
    return game, state


@pytest.mark.parametrize(("size", "units"), BEFORE)
def test_two_agents_play_as_before_bit_for_bit(size, units):
    """Every number of 8 random episodes in numpy, and the types they come in."""
    game, found = Turn(size, units=units), hashlib.sha256()
    choices, numbers = np.random.default_rng(0), np.random.default_rng(7)
    state = game.reset(8, numbers)
    for _ in range(game.spec.horizon):
        shown = [game.observe(state), game.global_state(state), game.available(state)]
        actions = choices.integers(6, size=(8, 2))
        step = game.step(state, actions, numbers)
        outcome = [step.rewards, step.terminated, step.truncated, *step.info.values()]
        for part in (*state, *shown, *outcome):
            found.update(str(part.dtype).encode())
            found.update(part.tobytes())
        state = step.state
    assert found.hexdigest() == BEFORE[size, units]


@pytest.mark.parametrize("n_agents", [2, *SIZES])
def test_every_step_follows_the_rule_agent_by_agent(n_agents):
    """Random boards, played side by side; each is worked out by itself."""
    game, choices = Turn(n_agents=n_agents), np.random.default_rng(n_agents)
    many = 300
    positions = choices.integers(25, size=(many, n_agents))
    apple = choices.integers(25, size=many)
    free = choices.integers(n_agents, size=many)
    apple[::2] = positions[np.arange(many), free][::2]  # half of them can eat
    actions = choices.integers(6, size=(many, n_agents))
    actions[::3] = np.where(choices.random((len(actions[::3]), 1)) < 0.7, EAT, STAY)
    state = TurnState(positions, apple, free, 0 * apple)
    step = game.step(state, actions, np.random.default_rng(0))
    seen, features = game.observe(state), game.global_state(state)
    meals = 0
    for index in range(many):
        reward, eaten, after = 0, False, []
        for agent in range(n_agents):
            cell, action = positions[index, agent], actions[index, agent]
            outcome = act(5, int(cell), int(action), bool(free[index] == agent))
            after.append(outcome.cell)
            reward -= outcome.fine
            eaten = eaten or outcome.bitten == apple[index]
            others = [
                seen_from(5, int(cell), int(positions[index, other]))
                for other in range(n_agents)
                if other != agent
            ]
            window = np.sum(others, axis=0)
            of_apple = seen_from(5, int(cell), int(apple[index]))
            assert np.array_equal(seen[index, agent], [*window, *of_apple])
        meals += eaten
        assert step.rewards[index] == reward + 10 * eaten
        assert step.state.positions[index].tolist() == after
        following = (free[index] + 1) % n_agents if eaten else free[index]
        assert step.state.free[index] == following
        places = 25 * (1 + np.arange(n_agents)) + positions[index]
        hot = [apple[index], *places]
        hot.append(25 * (n_agents + 1) + free[index])
        assert np.flatnonzero(features[index]).tolist() == hot
    assert 0 < meals < many


def test_the_turn_goes_round_in_a_ring():
    game, state = board([(2, 2)] * 3, (2, 2))
    order = []
    for _ in range(7):
        order.append(state.free.item())
        actions = torch.full((1, 3), STAY)
        actions[0, state.free] = EAT
        step = game.step(state, actions, rng())
        assert step.rewards.item() == 10
        state = step.state._replace(apple=torch.tensor([12]))
    assert order == [0, 1, 2, 0, 1, 2, 0]


def test_all_others_are_trapped_and_their_fines_add_up():
    game, state = board([(2, 2), (0, 0), (4, 4), (0, 4)], (1, 1), free=2)
    step = game.step(state, torch.tensor([[RIGHT, EAT, RIGHT, STAY]]), rng())
    assert step.rewards.item() == -3  # two trapped ones act, the free one hits a wall
    assert torch.equal(step.state.positions, state.positions)


@pytest.mark.parametrize(
    ("n_agents", "places"),
    [
        (3, [[0, 0], [4, 4], [0, 4]]),
        (4, [[0, 0], [4, 4], [0, 4], [4, 0]]),
        (6, [[0, 0], [4, 4], [0, 4], [4, 0], [0, 2], [4, 2]]),
    ],
)
def test_where_they_start(n_agents, places):
    game = Turn(n_agents=n_agents)
    state = game.reset(2, rng())
    assert game.places(state)[0].tolist() == [places] * 2
    assert state.free.tolist() == [0, 0]


def test_agents_on_one_cell_are_counted():
    game, state = board([(2, 2), (2, 3), (2, 3), (2, 2)], (4, 4))
    seen = game.observe(state)[0, 0, :9]
    assert seen.tolist() == [0, 0, 0, 0, 1, 2, 0, 0, 0]


def test_units_of_three_agents():
    game, state = board([(0, 1), (3, 2), (4, 0)], (4, 4), free=2, units=True)
    assert game.name == "turn_3_units"
    assert (game.spec.state_size, game.spec.unit_size) == (3 * 51, 51)
    units = game.global_state(state).view(3, 51)
    hot = [unit.nonzero().flatten().tolist() for unit in units]
    assert hot == [[1, 26 + 24], [17, 26 + 24], [20, 25, 26 + 24]]


@pytest.mark.parametrize("n_agents", SIZES)
def test_registered_games_keep_their_contract(n_agents):
    name = f"turn_{n_agents}"
    game = GAMES[name]()
    assert (game.name, game.spec.n_agents) == (name, n_agents)
    check_game(game)


@pytest.mark.parametrize("n_agents", [2, *SIZES])
def test_full_information_earns_its_exact_expectation(n_agents):
    """Dynamic programming over the steps left, agent after agent of the first round."""
    game = Turn(n_agents=n_agents)
    starts = game.places(game.reset(1, rng()))[0][0].tolist()

    def walks(places):
        """Probability of each distance between a start and the apple."""
        found = [0.0] * 9
        for (row, column), (down, right) in product(places, CELLS):
            found[abs(row - down) + abs(column - right)] += 1 / len(places) / 25
        return found

    def apples(chances, following):
        """Expected apples with 0 to 100 steps left; `following`: of who goes on."""
        worth = []
        for left in range(101):
            ahead = worth if following is None else following
            expected = 0.0
            for steps in range(min(left, 9)):
                expected += chances[steps] * (1 + ahead[left - steps - 1])
            worth.append(expected)
        return worth

    worth = apples(walks(CELLS), None)  # after the first round
    for start in reversed(starts):
        worth = apples(walks([start]), worth)
    sample = returns(game, FullInformation(), 2000, rng(12))
    slack = 4 * sample.std().item() / 2000**0.5
    assert abs(sample.mean().item() - 10 * worth[100]) < slack
    assert 215 < 10 * worth[100] < 245


@pytest.mark.parametrize("n_agents", SIZES)
def test_scripted_players_lie_between_the_bounds(n_agents):
    game = Turn(n_agents=n_agents)
    full = returns(game, FullInformation(), 300, rng(1)).mean()
    sweep = returns(game, Sweep(), 300, rng(1)).mean()
    chance = returns(game, Uniform(), 300, rng(1))
    assert not returns(game, Stay(), 5, rng(1)).any()
    assert chance.mean() < 0 < sweep < full
    assert set(trace(game, Sweep(), 20, rng()).rewards.unique().tolist()) == {0, 10}
    # each agent beyond the second pays for five of its six actions
    two = returns(Turn(), Uniform(), 300, rng(1))
    expected = -100 * 5 / 6 * (n_agents - 2)
    error = (chance.var() / 300 + two.var() / 300).sqrt()
    assert abs(chance.mean() - two.mean() - expected) < 4 * error + 3


@pytest.mark.parametrize("game", [Turn(horizon=5, n_agents=3), TwoStep()])
def test_whole_episodes_ask_for_no_value(game):
    """They are played on tensors without values, as a CUDA graph captures them."""
    assert capturable(game, torch.device("cuda"))
    game.observe(game.reset(1, rng()))  # the tables are made before a capture
    with FakeTensorMode(allow_non_fake_inputs=True):
        episodes = play(game, Uniform(), 4, rng(), gamma=0.99)
        spec = game.spec
        shape = (4, spec.horizon + 1, spec.n_agents, spec.observation_size)
        assert episodes.observations.shape == shape
        with pytest.raises(DataDependentOutputException):  # the check can fail
            float(episodes.rewards.sum())


@pytest.mark.parametrize("in_numpy", [True, False])
@pytest.mark.parametrize("name", ["turn_3", "two_step", "m_step"])
def test_a_method_learns_on_it(name, in_numpy):
    config = small(method="qmix", mixer="qmix", env_steps=20)
    training = Training(config, GAMES[name](), 0, torch.device("cpu"), in_numpy)
    while training.running():
        training.iterate()
    assert training.error is None and training.clock.episodes > 0


def test_other_views_of_it():
    env = ParallelGame(Turn(n_agents=3), render_mode="ansi")
    env.reset(seed=1)
    lines = env.render().splitlines()
    assert lines[0].startswith("0") and lines[0].rstrip().endswith("2")
    assert lines[-1] == "t = 0: agent 0 is free"
    axis = Figure().subplots()
    game, state = board([(2, 2), (2, 2), (2, 2), (0, 0)], (4, 4))
    draw_turn(axis, game, state, None)
    discs = [line for line in axis.lines if line.get_marker() == "o"]
    columns = [float(disc.get_xdata()[0]) for disc in discs]
    assert columns == pytest.approx([2.3, 2.5, 2.7, 0.5])


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize("n_agents", [1, 9, 2.0])
def test_impossible_teams_are_refused(n_agents):
    refused(lambda: Turn(n_agents=n_agents), "n_agents", "from 2 to 8")
