"""The two-step game, the m-step game and predator-prey: rules by hand, and bounds."""

import pickle
from itertools import product

import numpy as np
import pytest
import torch
from ciabook.page.drawings import draw_predator_prey, drawing_of
from ciabook.small_games import (
    best_return,
    chance,
    idle,
    lonely,
    returns,
    script,
    together,
)
from ciabook.turn.scripted_players import Uniform
from matplotlib.figure import Figure
from support.faults import refused
from support.toys import rng
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from ciacore.games import GAMES, MStep, PredatorPrey, TwoStep, check_game
from ciacore.games.predator_prey import (
    ATTACK,
    DOWN,
    LEFT,
    RIGHT,
    STAY,
    UP,
    PredatorPreyState,
)
from ciacore.learning.rollout import play

SMALL = {
    "two_step": TwoStep,
    "m_step": MStep,
    "predator_prey": lambda: PredatorPrey(size=4, n_predators=4, n_prey=3, horizon=30),
}
PAIRS = list(product(range(2), repeat=2))
NAMES = ("two_step", "m_step", "predator_prey", "predator_prey_0")


def played(game, *joint_actions):
    """Rewards and ends of one game, step by step."""
    state, rewards, ended = game.reset(1, rng()), [], []
    for actions in joint_actions:
        step = game.step(state, torch.tensor([actions]), rng())
        state = step.state
        rewards.append(step.rewards.item())
        ended.append(step.terminated.item())
        assert not step.truncated
    return rewards, ended


# --------------------------------------------------------------------------------------
# all of them


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize("name", NAMES)
def test_a_game_keeps_its_contract(name):
    game = GAMES[name]()
    assert game.name == name
    check_game(game)
    check_game(game, n_games=5)


@pytest.mark.parametrize("name", SMALL)
def test_torch_and_numpy_play_the_same_rules(name):
    """Where the actions decide everything; chance is each library's own."""
    game = SMALL[name]()
    choices = np.random.default_rng(1)
    state = game.reset(6, np.random.default_rng(2))
    for _ in range(game.spec.horizon):
        copied = type(state)(*map(torch.tensor, state))
        for method in ("observe", "global_state", "available"):
            seen = getattr(game, method)(state)
            same = getattr(game, method)(copied)
            assert np.array_equal(seen, same.numpy())
        actions = choices.integers(game.spec.n_actions, size=(6, game.spec.n_agents))
        step = game.step(state, actions, np.random.default_rng(3))
        if name != "predator_prey":
            other = game.step(copied, torch.tensor(actions), rng())
            assert np.array_equal(step.rewards, other.rewards)
            assert np.array_equal(step.terminated, other.terminated)
            for mine, theirs in zip(step.state, other.state, strict=True):
                assert np.array_equal(mine, theirs)
        state = step.state


@pytest.mark.parametrize("name", SMALL)
def test_many_games_are_many_single_ones(name):
    """The same rows of random numbers, drawn together or one by one."""
    game, n_games = SMALL[name](), 7
    spec = game.spec
    choices = np.random.default_rng(4)
    drawn = choices.random((n_games, 64), dtype=np.float32)

    class Rows(np.random.Generator):
        """Gives each game the numbers of its own row, whatever is asked for."""

        def __init__(self, rows):
            super().__init__(np.random.PCG64(0))
            self.rows = rows

        def random(self, shape, dtype=np.float32):
            wanted = int(np.prod(shape[1:]))
            times = wanted // self.rows.shape[1] + 1
            return np.tile(self.rows, (1, times))[:, :wanted].reshape(shape)

    everybody = Rows(drawn)
    state = game.reset(n_games, everybody)
    alone = [game.reset(1, Rows(drawn[index : index + 1])) for index in range(n_games)]
    for _ in range(spec.horizon):
        actions = choices.integers(spec.n_actions, size=(n_games, spec.n_agents))
        step = game.step(state, actions, everybody)
        for index in range(n_games):
            only = slice(index, index + 1)
            single = game.step(alone[index], actions[only], Rows(drawn[only]))
            alone[index] = single.state
            assert single.rewards[0] == step.rewards[index]
            assert single.terminated[0] == step.terminated[index]
            assert single.truncated[0] == step.truncated[index]
            for mine, ours in zip(single.state, step.state, strict=True):
                assert np.array_equal(mine[0], ours[index])
        state = step.state


@pytest.mark.parametrize("name", SMALL)
def test_the_rules_ask_for_no_value(name):
    """They run on tensors without values, as a captured iteration does."""
    game, cpu = SMALL[name](), rng()
    game.observe(game.reset(1, cpu))  # the tables are made before a capture
    state = game.reset(3, cpu)
    actions = torch.zeros(3, game.spec.n_agents, dtype=torch.int64)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    fake = type(state)(*(mode.from_tensor(field) for field in state))
    actions = mode.from_tensor(actions)
    with mode:
        for _ in range(3):
            step = game.advance(fake, actions, cpu)
            fake = step.state
            shapes = [game.observe(fake).shape, game.global_state(fake).shape]
            shapes.append(game.available(fake).shape)
        with pytest.raises(DataDependentOutputException):  # the check can fail
            bool(step.terminated.all())
    spec = game.spec
    assert shapes == [
        (3, spec.n_agents, spec.observation_size),
        (3, spec.state_size),
        (3, spec.n_agents, spec.n_actions),
    ]


@pytest.mark.parametrize("name", SMALL)
def test_a_copy_in_another_process_has_no_tensors_and_plays_on(name):
    game = SMALL[name]()
    game.observe(game.reset(1, rng()))
    again = pickle.loads(pickle.dumps(game))
    assert not again._lookup._in_torch and game._lookup._in_torch
    assert torch.equal(
        again.observe(again.reset(2, rng(1))), game.observe(game.reset(2, rng(1)))
    )


# --------------------------------------------------------------------------------------
# the two-step game


@pytest.mark.parametrize("second", PAIRS)
@pytest.mark.parametrize("first", PAIRS)
def test_every_episode_of_the_two_step_game(first, second):
    """The table of the paper, by agent 0's first action; agent 1's does not count."""
    by_hand = {0: 7, 1: {(0, 0): 0, (0, 1): 1, (1, 0): 1, (1, 1): 8}}
    paid = by_hand[first[0]]
    paid = paid if first[0] == 0 else paid[second]
    assert played(TwoStep(), first, second) == ([0, paid], [False, True])


def test_the_two_step_game_shows_where_it_stands():
    game = TwoStep()
    state = game.reset(2, rng())
    assert game.global_state(state).tolist() == [[1, 0, 0]] * 2
    state = game.step(state, torch.tensor([[0, 1], [1, 0]]), rng()).state
    assert game.global_state(state).tolist() == [[0, 1, 0], [0, 0, 1]]
    assert game.observe(state).tolist() == [[[0, 1, 0]] * 2, [[0, 0, 1]] * 2]
    state = game.step(state, torch.tensor([[0, 1], [1, 0]]), rng()).state
    assert not game.global_state(state).any()


def test_bounds_of_the_two_step_game():
    game = TwoStep()
    assert best_return(game) == 8
    assert returns(game, script([[1, 1], [1, 1]]), 2, rng()).tolist() == [8, 8]
    assert returns(game, script([[0, 0]]), 2, rng()).tolist() == [7, 7]
    assert returns(game, script([[1, 0], [0, 0]]), 2, rng()).tolist() == [0, 0]
    at_random = returns(game, chance, 4000, rng(3))
    exact = 0.5 * 7 + 0.5 * (0 + 1 + 1 + 8) / 4
    assert abs(at_random.mean().item() - exact) < 4 * at_random.std() / 4000**0.5


# --------------------------------------------------------------------------------------
# the m-step game


def by_hand(m, *joint_actions):
    """Rewards of an episode, from the words of the card."""
    rewards = []
    for t, action in enumerate(joint_actions):
        branch = joint_actions[0]
        reward = 1 if action == branch and branch in ((0, 0), (1, 1)) else 0
        if t == m - 1 and branch == (0, 0):
            reward = 4 if action == (1, 1) else 1
        rewards.append(reward)
        if reward == 0 or t == m - 1:
            return rewards
    raise AssertionError("an episode without an end")


@pytest.mark.parametrize("m", [2, 3, 4])
def test_every_episode_of_the_m_step_game(m):
    found = []
    for actions in product(PAIRS, repeat=m):
        expected = by_hand(m, *actions)
        rewards, ended = played(MStep(m), *actions[: len(expected)])
        assert rewards == expected
        assert ended == [False] * (len(expected) - 1) + [True]
        found.append(sum(expected))
    assert max(found) == m + 3 == best_return(MStep(m))


def test_the_m_step_game_shows_time_and_branch():
    game = MStep(3)
    state = game.reset(1, rng())
    assert game.global_state(state).tolist() == [[1, 0, 0, 0, 1, 0, 0, 0]]
    state = game.step(state, torch.tensor([[1, 1]]), rng()).state
    assert game.global_state(state).tolist() == [[0, 1, 0, 0, 0, 0, 0, 1]]
    assert game.observe(state)[0].tolist() == [[0, 1, 0, 0, 0, 0, 0, 1]] * 2


def test_bounds_of_the_m_step_game():
    game = MStep()
    assert (game.name, MStep(4).name) == ("m_step", "m_step_4")
    assert best_return(game) == 13
    best = script([[0, 0]] * 9 + [[1, 1]])
    assert returns(game, best, 2, rng()).tolist() == [13, 13]
    assert returns(game, script([[0, 0]]), 2, rng()).tolist() == [10, 10]
    assert returns(game, script([[1, 1]]), 2, rng()).tolist() == [10, 10]
    assert returns(game, script([[0, 1]]), 2, rng()).tolist() == [0, 0]
    at_random = returns(game, chance, 4000, rng(3))
    # half of the first actions pay; each later one pays with 1/4 until the last step
    steps = [0.5 * 0.25**t for t in range(9)]
    exact = sum(steps) + 0.5 * steps[8] * 0.25 + 0.5 * steps[8] * (1 + 1 + 1 + 4) / 4
    assert abs(at_random.mean().item() - exact) < 4 * at_random.std() / 4000**0.5


@pytest.mark.parametrize("m", [1, 0, 2.0, True])
@pytest.mark.usefixtures("as_users_run_it")
def test_impossible_lengths_are_refused(m):
    refused(lambda: MStep(m), "m", "a whole number of at least 2")


# --------------------------------------------------------------------------------------
# predator-prey


def grid(game, predators, prey):
    """One grid, from rows and columns; None is removed."""

    def cells(places):
        found = [
            game.off if place is None else place[0] * game.size + place[1]
            for place in places
        ]
        return torch.tensor([found])

    return PredatorPreyState(cells(predators), cells(prey), torch.tensor([0]))


def small_grid(n_predators=2, n_prey=1, size=5, **rules):
    return PredatorPrey(size=size, n_predators=n_predators, n_prey=n_prey, **rules)


def test_everybody_starts_on_a_cell_of_his_own():
    game = PredatorPrey()
    state = game.reset(500, rng(1))
    cells = torch.cat([state.predators, state.prey], 1)
    assert all(len(row.unique()) == 16 for row in cells)
    assert cells.min() == 0 and cells.max() == 99
    counts = torch.bincount(cells.flatten(), minlength=100)
    expected = counts.sum() / 100
    # the 99.9 % quantile with 99 degrees of freedom
    assert ((counts - expected) ** 2 / expected).sum() < 148.3


@pytest.mark.parametrize(
    ("action", "after"),
    [(RIGHT, (2, 3)), (DOWN, (3, 2)), (LEFT, (2, 1)), (UP, (1, 2)), (STAY, (2, 2))],
)
def test_predators_move(action, after):
    game = small_grid(n_predators=1)
    step = game.step(grid(game, [(2, 2)], [(0, 0)]), torch.tensor([[action]]), rng())
    assert game.places(step.state)[0][0].tolist() == [list(after)]
    assert step.rewards.item() == 0 and not step.terminated


def test_nobody_goes_where_somebody_is():
    game = small_grid()
    # a prey on the right, a predator below
    state = grid(game, [(2, 2), (3, 2)], [(2, 3)])
    for action in (RIGHT, DOWN):
        after = game.step(state, torch.tensor([[action, STAY]]), rng()).state
        assert after.predators[0, 0] == state.predators[0, 0]
    # two want the same cell: one of them gets it, each of them at times
    state = grid(game, [(2, 0), (2, 2)], [(4, 4)])
    found = set()
    for seed in range(20):
        after = game.step(state, torch.tensor([[RIGHT, LEFT]]), rng(seed)).state
        found.add(tuple(after.predators[0].tolist()))
    assert found == {(11, 12), (10, 11)}


def test_two_that_attack_together_catch_and_are_removed():
    game = small_grid(n_predators=3)
    state = grid(game, [(2, 1), (1, 2), (3, 2)], [(2, 2)])
    step = game.step(state, torch.tensor([[ATTACK, ATTACK, STAY]]), rng())
    assert step.rewards.item() == 10
    assert step.info["caught"].item() == 1 and step.info["alone"].item() == 0
    assert step.state.predators.tolist() == [[25, 25, 17]]
    assert step.state.prey.tolist() == [[25]]
    assert step.terminated.item()  # no prey is left
    three = game.step(state, torch.tensor([[ATTACK] * 3]), rng())
    assert three.rewards.item() == 10 and three.state.predators.tolist() == [[25] * 3]


@pytest.mark.parametrize("penalty", [0.0, -0.5, -2.0])
def test_attacking_alone_costs_the_penalty(penalty):
    game = small_grid(penalty=penalty)
    state = grid(game, [(2, 1), (1, 2)], [(2, 2)])
    step = game.step(state, torch.tensor([[ATTACK, STAY]]), rng())
    assert step.rewards.item() == penalty and step.info["alone"].item() == 1
    assert step.state.predators.tolist() == state.predators.tolist()
    assert step.state.prey.item() in (13, 17)  # it fled to a free cell
    assert not step.terminated
    # beside each other's prey only across a corner: both attack alone
    game = small_grid(n_prey=2, penalty=penalty)
    state = grid(game, [(0, 0), (4, 4)], [(0, 1), (4, 3)])
    step = game.step(state, torch.tensor([[ATTACK, ATTACK]]), rng())
    assert step.rewards.item() == 2 * penalty
    # two prey beside one that attacks: it attacks both
    state = grid(game, [(0, 0), (4, 4)], [(0, 1), (1, 0)])
    step = game.step(state, torch.tensor([[ATTACK, STAY]]), rng())
    assert step.rewards.item() == 2 * penalty


def test_prey_go_to_every_free_cell_equally_often_and_stay_when_surrounded():
    game = small_grid()
    many = 6000
    state = grid(game, [(2, 1), (4, 4)], [(2, 2)])
    state = PredatorPreyState(*(field.repeat_interleave(many, 0) for field in state))
    after = game.step(state, torch.full((many, 2), STAY), rng(1)).state.prey[:, 0]
    counts = torch.bincount(after, minlength=25)
    assert counts.nonzero().flatten().tolist() == [7, 13, 17]
    # the 99.9 % quantile with 2 degrees of freedom
    assert ((counts[[7, 13, 17]] - 2000.0) ** 2 / 2000).sum() < 13.8
    cornered = grid(game, [(0, 1), (1, 0)], [(0, 0)])
    assert game.step(cornered, torch.full((1, 2), STAY), rng()).state.prey.item() == 0


def test_what_a_predator_sees():
    game = small_grid(n_predators=3, n_prey=2)
    state = grid(game, [(0, 1), (2, 2), None], [(1, 3), (4, 4)])
    seen = game.observe(state)[0].view(3, 3, 5, 5)  # agent, window, row, column
    assert seen[0, 0].nonzero().tolist() == [[2, 2], [4, 3]]  # itself, and agent 1
    assert seen[0, 1].nonzero().tolist() == [[3, 4]]
    walls = torch.zeros(5, 5)
    walls[:2] = 1  # two rows above the grid
    walls[:, 0] = 1  # one column to the left of it
    assert torch.equal(seen[0, 2], walls)
    assert seen[1, 1].nonzero().tolist() == [[1, 3], [4, 4]]
    assert not seen[1, 2].any()
    assert not seen[2].any()  # the removed see nothing
    whole = game.global_state(state)[0].view(2, 5, 5)
    assert whole[0].nonzero().tolist() == [[0, 1], [2, 2]]
    assert whole[1].nonzero().tolist() == [[1, 3], [4, 4]]


def test_what_a_predator_may_do():
    game = small_grid(n_predators=4)
    state = grid(game, [(0, 0), (2, 2), (4, 3), None], [(2, 3)])
    may = game.available(state)[0].tolist()
    order = (RIGHT, DOWN, LEFT, UP, STAY, ATTACK)
    assert [may[0][action] for action in order] == [
        True,
        True,
        False,
        False,
        True,
        False,
    ]
    assert [may[1][action] for action in order] == [True] * 6
    assert [may[2][action] for action in order] == [
        True,
        False,
        True,
        True,
        True,
        False,
    ]
    assert [may[3][action] for action in order] == [False] * 4 + [True, False]


def test_an_episode_ends_with_the_last_predator_or_prey_or_with_time():
    game = small_grid(n_prey=2)
    state = grid(game, [(2, 1), (1, 2)], [(2, 2), (4, 4)])
    step = game.step(state, torch.tensor([[ATTACK, ATTACK]]), rng())
    assert step.terminated.item() and step.state.prey[0, 0] == 25
    game = small_grid(horizon=3)
    state, ended = game.reset(1, rng()), []
    for _ in range(3):
        step = game.step(state, torch.tensor([[STAY, STAY]]), rng())
        state = step.state
        ended.append(step.truncated.item())
        assert not step.terminated
    assert ended == [False, False, True]


@pytest.mark.usefixtures("as_users_run_it")  # the type checks take half a minute
def test_bounds_of_predator_prey():
    game, cheap = PredatorPrey(), PredatorPrey(penalty=0.0)
    at_most = 10 * (game.spec.n_agents // 2)
    assert not returns(game, idle, 10, rng()).any()
    for game_played, player, mean, deviation in (
        (game, together, 34, 5.5),
        (game, chance, -93, 26),
        (cheap, chance, 5, 7),
    ):
        found = returns(game_played, player, 20, rng(1))
        assert found.max() <= at_most
        assert abs(found.mean() - mean) < 4 * deviation / 20**0.5
    # attacking at once is good only where it costs nothing
    assert returns(game, lonely, 20, rng(2)).mean() < 0
    assert returns(cheap, lonely, 20, rng(2)).mean() > 30


def test_the_best_of_a_small_grid_is_found_by_search():
    """Every joint action of three steps, with the same chance in every branch."""
    game = PredatorPrey(size=3, n_predators=2, n_prey=1, horizon=3)
    joint = torch.tensor(list(product(range(6), repeat=2)))
    best, states = -np.inf, grid(game, [(0, 0), (2, 2)], [(1, 1)])
    earned = torch.zeros(1)
    for t in range(3):
        many = len(joint)
        actions = joint.repeat(len(earned), 1)
        states = PredatorPreyState(
            *(field.repeat_interleave(many, 0) for field in states)
        )
        legal = game.available(states).gather(-1, actions[..., None]).all(-1)[:, 0]
        step = game.step(states, actions, rng(t))
        earned = earned.repeat_interleave(many) + step.rewards
        going_on = legal & ~(step.terminated | step.truncated)
        best = max(best, earned[legal].max().item())
        states = PredatorPreyState(*(field[going_on] for field in step.state))
        earned = earned[going_on]
    assert best == 10


def test_episodes_of_predator_prey_are_recorded_up_to_their_end():
    game = PredatorPrey(size=2, n_predators=2, n_prey=1, horizon=30)
    episodes = play(game, Uniform(), 8, rng(5), gamma=1.0)
    lengths = episodes.weights.sum(1).long()
    assert lengths.min() < 30
    for rewards, length in zip(episodes.rewards, lengths, strict=True):
        caught = (rewards == 10).nonzero().flatten().tolist()
        assert caught == [length - 1] or length == 30
        assert not rewards[length:].any()


@pytest.mark.parametrize(
    ("rules", "parts"),
    [
        ({"penalty": 1.0}, ("penalty", "at most 0")),
        ({"penalty": float("nan")}, ("penalty", "finite")),
        ({"size": 0}, ("size", "at least 1")),
        ({"n_predators": 2.5}, ("n_predators", "at least 1")),
        ({"size": 3}, ("n_prey", "at most 9")),
    ],
)
@pytest.mark.usefixtures("as_users_run_it")
def test_impossible_grids_are_refused(rules, parts):
    refused(lambda: PredatorPrey(**rules), *parts)


def test_a_penalty_names_the_game():
    names = [PredatorPrey(penalty).name for penalty in (-2.0, -0.5, 0.0)]
    assert names == ["predator_prey", "predator_prey_0.5", "predator_prey_0"]


def test_a_grid_is_drawn():
    game = small_grid(n_predators=3, n_prey=2)
    state = grid(game, [(0, 1), (2, 2), None], [(2, 3), None])
    axis = Figure().subplots()
    assert drawing_of(game) is draw_predator_prey
    draw_predator_prey(axis, game, state, np.array([STAY, ATTACK, STAY]))
    shown = {}
    for line in axis.lines:
        place = (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        shown.setdefault((line.get_marker(), line.get_fillstyle()), []).append(place)
    assert shown == {
        ("D", "full"): [(3, 2)],
        ("o", "full"): [(1, 0), (2, 2)],
        ("o", "none"): [(2, 2)],
    }
    assert [text.get_text() for text in axis.texts] == ["0", "1"]
