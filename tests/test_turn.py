"""Turn: the rules worked by hand, what is seen, and what is random."""

import pickle
from itertools import product

import numpy as np
import pytest
import torch
from ciabook.turn.scripted_players import Uniform, trace

from ciacore.games import GAMES, Turn
from ciacore.games.turn import (
    DOWN,
    EAT,
    LEFT,
    N_ACTIONS,
    RIGHT,
    STAY,
    UP,
    TurnState,
    act,
    seen_from,
    tabulate,
)
from ciacore.types import InvalidInputError

CELLS = list(product(range(5), repeat=2))
GAME = Turn()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def board(agent0, agent1, apple, free=0, t=0, game=GAME) -> TurnState:
    """One game."""
    state = game.placed(
        torch.tensor([[agent0, agent1]]), torch.tensor([apple]), torch.tensor([free])
    )
    return state._replace(t=torch.tensor([t]))


def agents(state, game=GAME):
    return game.places(state)[0].tolist()


def apples(state, game=GAME):
    return game.places(state)[1].tolist()


def step(state, *actions, game=None):
    return (game or GAME).step(state, torch.tensor([actions]), generator())


# --------------------------------------------------------------------------------------
# rules


def test_an_episode_starts_in_opposite_corners_with_agent_0_free():
    state = Turn().reset(3, generator())
    assert agents(state) == [[[0, 0], [4, 4]]] * 3
    assert state.free.tolist() == [0, 0, 0]
    assert state.t.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("free", "actions", "reward", "after"),
    [
        (0, (UP, STAY), 0, [[1, 2], [3, 3]]),
        (0, (DOWN, STAY), 0, [[3, 2], [3, 3]]),
        (0, (LEFT, STAY), 0, [[2, 1], [3, 3]]),
        (0, (RIGHT, STAY), 0, [[2, 3], [3, 3]]),
        (0, (STAY, STAY), 0, [[2, 2], [3, 3]]),
        # eating where there is no apple costs nothing ...
        (0, (EAT, STAY), 0, [[2, 2], [3, 3]]),
        (0, (STAY, EAT), -1, [[2, 2], [3, 3]]),  # ... unless one is trapped
        (0, (STAY, UP), -1, [[2, 2], [3, 3]]),  # a trapped agent pays and does not move
        (0, (RIGHT, LEFT), -1, [[2, 3], [3, 3]]),
        (1, (STAY, UP), 0, [[2, 2], [2, 3]]),
        (1, (STAY, EAT), 0, [[2, 2], [3, 3]]),
        (1, (DOWN, RIGHT), -1, [[2, 2], [3, 4]]),
        (1, (EAT, LEFT), -1, [[2, 2], [3, 2]]),
    ],
)
def test_moves_and_their_costs(free, actions, reward, after):
    result = step(board((2, 2), (3, 3), (0, 4), free), *actions)
    assert result.rewards.tolist() == [reward]
    assert agents(result.state) == [after]
    assert apples(result.state) == [[0, 4]]
    assert result.state.free.tolist() == [free]
    assert result.state.t.tolist() == [1]
    assert result.info["eaten"].tolist() == [False]


@pytest.mark.parametrize(
    ("cell", "action"), [((0, 2), UP), ((4, 2), DOWN), ((2, 0), LEFT), ((2, 4), RIGHT)]
)
def test_the_border_costs_one_and_holds(cell, action):
    result = step(board(cell, (3, 3), (1, 1)), action, STAY)
    assert result.rewards.tolist() == [-1]
    assert agents(result.state) == [[list(cell), [3, 3]]]


def test_a_trapped_agent_at_the_border_pays_once():
    result = step(board((2, 2), (4, 4), (1, 1)), STAY, DOWN)
    assert result.rewards.tolist() == [-1]


def test_the_penalties_of_both_agents_add_up():
    assert step(board((0, 0), (4, 4), (1, 1)), UP, UP).rewards.tolist() == [-2]


@pytest.mark.parametrize("free", [0, 1])
def test_eating_pays_ten_and_passes_the_turn(free):
    cells, actions = [(4, 4), (4, 4)], [STAY, STAY]
    cells[free], actions[free] = (2, 1), EAT
    result = step(board(*cells, apple=(2, 1), free=free), *actions)
    assert result.rewards.tolist() == [10]
    assert result.info["eaten"].tolist() == [True]
    assert result.state.free.tolist() == [1 - free]
    assert agents(result.state) == [[list(cell) for cell in cells]]
    assert Turn().global_state(result.state)[0, -2:].tolist() == [
        float(free == 1),
        float(free == 0),
    ]


@pytest.mark.parametrize("illegal", [UP, DOWN, LEFT, RIGHT, EAT])
def test_eating_while_the_other_acts_illegally_pays_nine(illegal):
    assert step(board((2, 1), (4, 4), (2, 1)), EAT, illegal).rewards.tolist() == [9]


def test_both_eat_on_the_same_apple_and_only_the_free_agent_gets_it():
    result = step(board((2, 1), (2, 1), (2, 1), free=1), EAT, EAT)
    assert result.rewards.tolist() == [9]
    assert result.state.free.tolist() == [0]  # the turn passes once


def test_the_trapped_agent_cannot_eat():
    result = step(board((0, 0), (2, 1), (2, 1)), STAY, EAT)
    assert result.rewards.tolist() == [-1]
    assert apples(result.state) == [[2, 1]]
    assert result.state.free.tolist() == [0]


def test_agents_may_share_a_cell():
    result = step(board((2, 2), (2, 3), (0, 0)), RIGHT, STAY)
    assert result.rewards.tolist() == [0]
    assert agents(result.state) == [[[2, 3], [2, 3]]]


@pytest.mark.parametrize("horizon", [1, 3, 100])
def test_the_time_limit_truncates_at_the_last_step_only(horizon):
    game, rng = Turn(horizon=horizon), generator()
    state, ended = game.reset(1, rng), []
    for _ in range(horizon):
        result = game.step(state, torch.tensor([[STAY, STAY]]), rng)
        state = result.state
        ended.append(result.truncated.item())
        assert not result.terminated
    assert ended == [False] * (horizon - 1) + [True]


# --------------------------------------------------------------------------------------
# the rule in words, and the tables that the game looks it up in


def by_hand(size, place, action, free):
    """A walk on a map with a wall around it: (place afterwards, bites, points lost)."""
    walls = np.pad(np.zeros((size, size)), 1, constant_values=1)
    if not free:
        return place, False, int(action in (UP, DOWN, LEFT, RIGHT, EAT))
    row, column = place
    wanted = {
        UP: (row - 1, column),
        DOWN: (row + 1, column),
        LEFT: (row, column - 1),
        RIGHT: (row, column + 1),
    }.get(action, place)
    bumps = bool(walls[wanted[0] + 1, wanted[1] + 1])
    return place if bumps else wanted, action == EAT, int(bumps)


@pytest.mark.parametrize("size", [2, 3, 5, 8])
def test_the_rule_is_a_walk_on_a_walled_map(size):
    places = list(product(range(size), repeat=2))
    for cell, place in enumerate(places):
        for action, free in product(range(N_ACTIONS), (True, False)):
            after, bites, lost = by_hand(size, place, action, free)
            found = act(size, cell, action, free)
            assert places[found.cell] == after
            assert found.bitten == (cell if bites else -1)
            assert found.fine == lost


@pytest.mark.parametrize("make", [torch.tensor, np.array], ids=["torch", "numpy"])
@pytest.mark.parametrize("size", [2, 3, 5, 8])
def test_the_game_is_the_rule_in_every_case(size, make):
    """One board per cell, action, apple, and agent that acts, free or trapped.

    The other agent stays, which costs nothing and changes nothing.
    """
    game, n_cells = Turn(size), size**2
    cases = list(
        product(range(2), range(2), range(n_cells), range(N_ACTIONS), range(n_cells))
    )
    agent, free, cell, action, apple = np.array(cases).T
    boards = np.arange(len(cases))
    positions = np.zeros((len(cases), 2), dtype=np.int64)
    positions[boards, agent] = cell
    actions = np.full((len(cases), 2), STAY)
    actions[boards, agent] = action
    state = TurnState(make(positions), make(apple), make(free), make(0 * apple))
    rng = np.random.default_rng(0) if make is np.array else generator()
    step = game.step(state, make(actions), rng)

    rule = [
        [act(size, *case, free=acts_freely) for acts_freely in (False, True)]
        for case in product(range(n_cells), range(N_ACTIONS))
    ]
    rule = np.array(rule).reshape(n_cells, N_ACTIONS, 2, 3)
    is_free = (agent == free).astype(int)
    next_cell, bitten, fine = rule[cell, action, is_free].T
    meal = bitten == apple
    assert meal.sum() == 2 * n_cells  # each agent, in each cell
    positions[boards, agent] = next_cell
    assert np.array_equal(step.state.positions, positions)
    assert np.array_equal(step.rewards, 10 * meal - fine)
    assert np.array_equal(step.info["eaten"], meal)
    assert np.array_equal(step.state.free, np.where(meal, 1 - free, free))
    assert np.array_equal(step.state.apple[~make(meal)], apple[~meal])


@pytest.mark.parametrize("size", [2, 3, 5, 8])
def test_a_window_is_cut_out_of_the_map(size):
    """A map with one thing and a rim of nothing; the window is the 3x3 piece of it."""
    game, n_cells = Turn(size), size**2
    own, thing = np.indices((n_cells, n_cells)).reshape(2, -1)
    both = np.stack([own, thing], -1)
    boards = TurnState(both, apple=thing, free=0 * own, t=0 * own)
    seen = game.observe(boards).reshape(-1, 2, 2, 3, 3)  # [board, agent, window, ...]
    for index in range(len(own)):
        row, column = divmod(own[index], size)
        map_of_thing = np.zeros(n_cells)
        map_of_thing[thing[index]] = 1
        map_of_thing = np.pad(map_of_thing.reshape(size, size), 1)
        window = map_of_thing[row : row + 3, column : column + 3]
        flat = seen_from(size, int(own[index]), int(thing[index]))
        assert flat == window.flatten().tolist()
        assert np.array_equal(seen[index, 0, 0], window)  # the other agent
        assert np.array_equal(seen[index, 0, 1], window)  # the apple
        # agent 1 stands on the apple and sees agent 0 on the opposite side
        assert np.array_equal(seen[index, 1, 0], window[::-1, ::-1])
        assert seen[index, 1, 1].tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_tables_are_made_once_per_size_and_do_not_travel():
    game = Turn()
    game.observe(game.reset(1, generator()))
    assert tabulate(5) is tabulate(5)
    assert len(tabulate(5).outcome) == 2
    sent = pickle.dumps(game)
    assert len(sent) < 1_000
    again = pickle.loads(sent)
    assert (again.name, again.spec, again.size) == (game.name, game.spec, game.size)


# --------------------------------------------------------------------------------------
# what is seen


@pytest.mark.parametrize(
    ("other", "apple", "seen"),
    [
        ((4, 4), (1, 1), [9]),  # apple up and left: first cell of the second window
        ((4, 4), (2, 2), [13]),  # on the own cell
        ((4, 4), (3, 3), [17]),
        ((4, 4), (1, 3), [11]),
        ((1, 2), (4, 4), [1]),  # the other agent straight above
        ((2, 3), (4, 4), [5]),  # to the right
        ((3, 1), (4, 4), [6]),  # down and left
        ((2, 2), (2, 1), [4, 12]),
        ((2, 4), (0, 2), []),  # two cells away: out of view
    ],
)
def test_observation_by_hand(other, apple, seen):
    observation = Turn().observe(board((2, 2), other, apple))[0, 0]
    assert observation.nonzero().flatten().tolist() == seen
    assert observation[seen].tolist() == [1.0] * len(seen)


def test_the_other_agent_is_seen_from_the_opposite_side():
    seen = Turn().observe(board((2, 2), (1, 2), (4, 4)))[0]
    assert seen[0].nonzero().flatten().tolist() == [1]  # above agent 0
    assert seen[1].nonzero().flatten().tolist() == [7]  # below agent 1


def test_every_window_of_the_board():
    game = Turn()
    # also at the border: nothing wraps around
    for agent, apple in product(CELLS, CELLS):
        window = game.observe(board(agent, (0, 0), apple))[0, 0, 9:].view(3, 3)
        for row, column in product((-1, 0, 1), repeat=2):
            assert window[row + 1, column + 1].item() == (
                apple == (agent[0] + row, agent[1] + column)
            )


def test_observation_does_not_tell_whose_turn_it_is_or_the_time():
    seen = [
        Turn().observe(board((2, 2), (3, 3), (2, 1), free, t))
        for free in (0, 1)
        for t in (0, 99)
    ]
    assert all(torch.equal(seen[0], other) for other in seen)


def test_state_is_four_one_hots():
    state = Turn().global_state(board((0, 1), (3, 2), (4, 4), free=1))[0]
    assert state.shape == (77,)
    assert state.nonzero().flatten().tolist() == [
        4 * 5 + 4,
        25 + 1,
        50 + 3 * 5 + 2,
        75 + 1,
    ]


def test_state_in_units():
    """Per agent its own cell, whether it is free, and the apple's cell."""
    game = Turn(units=True)
    state = board((0, 1), (3, 2), (4, 4), free=1)
    features = game.global_state(state)[0]
    assert features.shape == (102,)
    assert game.spec.state_size == 102
    assert game.spec.unit_size == 51
    assert features[:51].nonzero().flatten().tolist() == [1, 26 + 24]
    assert features[51:].nonzero().flatten().tolist() == [3 * 5 + 2, 25, 26 + 24]


def test_units_change_the_state_and_the_name_and_nothing_else():
    state = board((0, 1), (3, 2), (4, 4), free=1)
    assert torch.equal(Turn(units=True).observe(state), Turn().observe(state))
    assert Turn(units=True).name == "turn_units"
    assert Turn().name == "turn"
    assert GAMES["turn_units"]().units


def test_all_actions_are_always_available():
    available = Turn().available(Turn().reset(2, generator()))
    assert available.tolist() == [[[True] * 6] * 2] * 2


# --------------------------------------------------------------------------------------
# randomness


def test_the_first_apple_is_uniform_over_all_cells():
    state = Turn().reset(10_000, generator(1))
    # the 99.9 % quantile with 24 degrees of freedom
    assert chi_square(state.apple) < 51.2
    assert len(state.apple.unique()) == 25  # the agents' own cells too


def test_the_next_apple_is_uniform_even_where_the_last_one_was():
    state = Turn().reset(10_000, generator(1))
    state = state._replace(apple=state.positions[:, 0])
    result = Turn().step(
        state, torch.tensor([EAT, STAY]).expand(10_000, 2), generator(2)
    )
    assert result.info["eaten"].all()
    assert chi_square(result.state.apple) < 51.2


def chi_square(cells: torch.Tensor) -> float:
    counts = torch.bincount(cells, minlength=25)
    expected = len(cells) / 25
    return ((counts - expected) ** 2 / expected).sum().item()


def test_same_seed_same_episodes():
    first = trace(Turn(horizon=40), Uniform(), 5, generator(3))
    again = trace(Turn(horizon=40), Uniform(), 5, generator(3))
    other = trace(Turn(horizon=40), Uniform(), 5, generator(4))
    assert torch.equal(first.actions, again.actions)
    assert torch.equal(first.rewards, again.rewards)
    for mine, yours in zip(first.states, again.states, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, yours, strict=True))
    assert not torch.equal(first.actions, other.actions)


def test_a_game_does_not_notice_what_the_others_do():
    game, found = Turn(), []
    for actions_of_game_1 in ([EAT, STAY], [STAY, STAY]):
        rng = generator(5)
        state = game.reset(2, rng)
        # under agent 0 in both games
        state = state._replace(apple=torch.zeros_like(state.apple))
        state = game.step(
            state, torch.tensor([[EAT, STAY], actions_of_game_1]), rng
        ).state
        result = game.step(state, torch.tensor([[STAY, LEFT], actions_of_game_1]), rng)
        assert result.rewards[0] == 0
        assert agents(result.state)[0] == [[0, 0], [4, 3]]
        found.append(result.state.apple.tolist())
    assert found[0][0] == found[1][0]
    assert found[0][1] != found[1][1]


# --------------------------------------------------------------------------------------
# other boards


@pytest.mark.parametrize("size", [2, 3, 8])
def test_other_board_sizes(size):
    game = Turn(size=size)
    state = game.reset(200, generator())
    assert agents(state, game)[0] == [[0, 0], [size - 1, size - 1]]
    assert state.apple.min() == 0
    assert state.apple.max() == size**2 - 1
    assert game.spec.state_size == 3 * size * size + 2
    assert game.global_state(state).sum(-1).eq(4).all()
    edge = board((size - 1, 0), (0, 0), (0, size - 1), game=game)
    for action in (DOWN, LEFT):
        assert step(edge, action, STAY, game=game).rewards.tolist() == [-1]
    for action in (UP, RIGHT):
        assert step(edge, action, STAY, game=game).rewards.tolist() == [0]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"size": 1}, "size: expected a whole number of at least 2, got 1"),
        ({"horizon": 0}, "horizon: expected a whole number of at least 1, got 0"),
    ],
)
def test_impossible_boards_are_refused(sizes, message):
    with pytest.raises(InvalidInputError, match=message):
        Turn(**sizes)


@pytest.mark.parametrize("actions", [[[6, STAY]], [[STAY, -1]]])
def test_actions_out_of_range_are_refused(actions):
    with pytest.raises(
        InvalidInputError,
        match=r"actions: expected values from 0 to 5, got 'values from -?\d to \d'",
    ):
        Turn().step(board((0, 0), (4, 4), (1, 1)), torch.tensor(actions), generator())


@pytest.mark.parametrize(
    ("agent", "apple", "name"),
    [((0, 5), (0, 0), "positions"), ((0, 0), (-1, 0), "apple")],
)
def test_places_outside_the_board_are_refused(agent, apple, name):
    with pytest.raises(
        InvalidInputError,
        match=f"{name}: expected rows and columns from 0 to 4, got 'values from",
    ):
        board(agent, (4, 4), apple)


@pytest.mark.parametrize("make", [torch.arange, np.arange])
def test_places_and_cells_translate_into_each_other(make):
    game, cell = Turn(size=3), make(9)
    state = TurnState(
        positions=cell[:, None] + 0 * cell[:2], apple=cell, free=0 * cell, t=0 * cell
    )
    positions, apple = game.places(state)
    assert apple.tolist() == [[row, column] for row in range(3) for column in range(3)]
    assert positions[:, 0].tolist() == positions[:, 1].tolist() == apple.tolist()
    again = game.placed(positions, apple, state.free)
    assert all(
        mine.tolist() == given.tolist()
        for mine, given in zip(again, state, strict=True)
    )


def test_two_agents_see_in_one_lookup_what_windows_show() -> None:
    """Each sees the other where the other stands, and the apple."""
    tables = tabulate(5)
    for first, second, apple in product(range(25), repeat=3):
        seen = tables.seen_by_both[first, second, apple]
        for agent, (own, other) in enumerate(((first, second), (second, first))):
            expected = [tables.window[own, other], tables.window[own, apple]]
            assert (seen[agent] == np.concatenate(expected)).all()


def test_a_larger_board_is_observed_without_that_lookup() -> None:
    game = Turn(size=6)
    state = game.reset(4, np.random.default_rng(1))
    tables = tabulate(6)
    seen = game.observe(state)
    assert not len(tables.seen_by_both) and seen.shape == (4, 2, 18)
    assert (seen[..., 9:] == tables.window[state.positions, state.apple[:, None]]).all()
