"""One-step matrix games."""

import pytest
import torch

from ciacore.games import MatrixGame
from ciacore.types import InvalidInputError

# Son et al. (2019), Table 1
SON = [[8.0, -12.0, -12.0], [-12.0, 0.0, 0.0], [-12.0, 0.0, 0.0]]
RNG = torch.Generator().manual_seed(0)


def test_pays_the_entry_of_the_joint_action():
    game = MatrixGame(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    actions = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])  # agent 0 chooses the row
    step = game.step(game.reset(4, RNG), actions, RNG)
    assert step.rewards.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_pays_three_agents():
    table = torch.zeros(2, 2, 2)
    table[1, 0, 1] = 5.0
    game = MatrixGame(table)
    actions = torch.tensor([[1, 0, 1], [1, 1, 0], [0, 1, 0]])
    step = game.step(game.reset(3, RNG), actions, RNG)
    assert step.rewards.tolist() == [5.0, 0.0, 0.0]
    assert (game.spec.n_agents, game.spec.n_actions) == (3, 2)


def test_ends_by_its_rules_after_one_step():
    game = MatrixGame(torch.tensor(SON))
    state = game.reset(2, RNG)
    step = game.step(state, torch.zeros(2, 2, dtype=torch.int64), RNG)
    assert game.spec.horizon == 1
    assert step.terminated.tolist() == [True, True]
    assert step.truncated.tolist() == [False, False]
    assert (state.t.tolist(), step.state.t.tolist()) == ([0, 0], [1, 1])


def test_there_is_nothing_to_see_and_everything_is_allowed():
    game = MatrixGame(torch.tensor(SON))
    before = game.reset(2, RNG)
    after = game.step(before, torch.tensor([[0, 1], [2, 2]]), RNG).state
    for state in (before, after):
        assert torch.equal(game.observe(state), torch.ones(2, 2, 1))
        assert torch.equal(game.global_state(state), torch.ones(2, 1))
        assert game.available(state).all()
    assert game.available(before).shape == (2, 2, 3)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 2, 3)])
def test_bad_tables_are_refused(shape):
    with pytest.raises(
        InvalidInputError,
        match="payoff: expected a table with two or more axes of equal length, got ",
    ):
        MatrixGame(torch.zeros(shape))


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (
            torch.tensor([[0, 2]]),
            "actions: expected values from 0 to 1, got 'values from 0 to 2'",
        ),
        (
            torch.tensor([[-1, 0]]),
            "actions: expected values from 0 to 1, got 'values from -1 to 0'",
        ),
        (torch.tensor([[0, 0, 0]]), r"actions: expected shape \[1, 2\]"),
    ],
)
def test_bad_actions_are_refused(actions, message):
    game = MatrixGame([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(InvalidInputError, match=message):
        game.step(game.reset(1, RNG), actions, RNG)


def test_payoffs_must_be_finite():
    with pytest.raises(InvalidInputError, match="payoff: expected finite numbers"):
        MatrixGame([[1.0, float("nan")], [3.0, 4.0]])
