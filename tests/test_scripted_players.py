"""The scripted players of Turn: what they earn, knowing only what they may know."""

from itertools import product

import pytest
import torch
from ciabook.turn.scripted_players import (
    FullInformation,
    Stay,
    Sweep,
    Uniform,
    returns,
    trace,
    way_points,
)

from ciacore.games import Turn
from ciacore.games.turn import DOWN, EAT, RIGHT
from ciacore.learning.rollout import Policy, play

CELLS = list(product(range(5), repeat=2))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("policy", "expected", "deviation", "slack"),
    [
        (Stay(), 0.0, 0.0, 0.0),
        (Uniform(), -93.0, 9.0, 0.0),
        (FullInformation(), 231.6, 21.0, 0.0),
        (Sweep(), 179.8, 22.0, 8.0),  # depends on the order of the way-points
    ],
)
def test_reference_returns(policy, expected, deviation, slack):
    """Independent Monte Carlo of the published rules.

    The numbers are mean and standard deviation of 4000 episodes.
    """
    mean = returns(Turn(), policy, 1000, generator(11)).mean().item()
    assert abs(mean - expected) <= slack + 4 * deviation * (1 / 1000 + 1 / 4000) ** 0.5


def test_full_information_earns_its_exact_expectation():
    """Dynamic programming over the steps left.

    An agent walks d cells and eats (one step), and the other agent goes on.
    """
    # probability of a walk of d cells
    walks = {"corner": [0.0] * 9, "anywhere": [0.0] * 9}
    for (row, column), (other_row, other_column) in product(CELLS, CELLS):
        walks["corner"][row + column] += 1 / 625
        walks["anywhere"][abs(row - other_row) + abs(column - other_column)] += 1 / 625

    def apples(start: str, after: list[float] | None) -> list[float]:
        """Expected apples with 0 to 100 steps left.

        `after` is the same list for the agent that goes on.
        """
        worth: list[float] = []
        for t in range(101):
            following = worth if after is None else after
            expected = 0.0
            for d in range(min(t, 9)):
                expected += walks[start][d] * (1 + following[t - d - 1])
            worth.append(expected)
        return worth

    # both stand where they last ate, independent of the new apple
    settled = apples("anywhere", None)
    expected = 10 * apples("corner", apples("corner", settled))[100]
    sample = returns(Turn(), FullInformation(), 4000, generator(12))
    assert abs(sample.mean().item() - expected) < 4 * sample.std().item() / 4000**0.5


def test_scripted_players_never_pay():
    for policy in (FullInformation(), Sweep()):
        rewards = trace(Turn(), policy, 50, generator()).rewards
        assert set(rewards.unique().tolist()) == {0.0, 10.0}


@pytest.mark.parametrize("policy", [Stay(), Uniform()])
def test_policies_on_observations_play_whole_episodes(policy):
    assert isinstance(policy, Policy)
    game = Turn(horizon=40)
    episodes = play(game, policy, 20, generator(7), gamma=1.0)
    assert torch.equal(episodes.rewards.sum(1), returns(game, policy, 20, generator(7)))


def test_uniform_takes_available_actions_only_and_all_of_them():
    available = torch.zeros(500, 2, 6, dtype=torch.bool)
    available[:, 0, [1, 4]] = True
    available[:, 1, 3] = True
    actions, _ = Uniform().act(torch.zeros(500, 2, 18), available, None, generator())
    assert set(actions[:, 0].tolist()) == {1, 4}
    assert set(actions[:, 1].tolist()) == {3}


def test_sweep_does_not_know_where_an_unseen_apple_is():
    def first_action(apple):
        corners = torch.tensor([[[0, 0], [4, 4]]])
        game = Turn()
        player = Sweep()
        state = game.placed(corners, torch.tensor([apple]), torch.tensor([0]))
        memory = player.start(game, state, generator())
        actions, _ = player.act(game, state, memory, generator())
        return actions[0, 0].item()

    unseen = {first_action(cell) for cell in CELLS if max(cell) > 1}
    assert len(unseen) == 1
    assert first_action((0, 0)) == EAT
    assert first_action((0, 1)) == RIGHT
    assert first_action((1, 0)) == DOWN


@pytest.mark.parametrize("size", range(2, 10))
def test_way_points_cover_the_board(size):
    points = way_points(size)
    assert 0 <= points.min() <= points.max() < size
    cells = torch.cartesian_prod(torch.arange(size), torch.arange(size))
    distance = (cells.unsqueeze(1) - points).abs().amax(-1)
    assert distance.amin(1).max() <= 1


def test_sweep_of_the_paper_board_has_four_way_points():
    assert way_points(5).tolist() == [[1, 1], [1, 3], [3, 3], [3, 1]]
