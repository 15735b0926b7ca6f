"""The same words in numpy and torch, the numpy agent, and the written-out GRU."""

import numpy as np
import pytest
import torch
from bench.plain import none_repeat
from support.toys import learner, rng, small
from torch.testing import assert_close

import ciacore.fast.unique_rows
from ciacore.fast.arrays import integers, tensor, uniform
from ciacore.fast.gru import GRUSequence
from ciacore.fast.numpy_twins import numpy_twin
from ciacore.fast.unique_rows import each_row_once, unique_rows
from ciacore.games import Turn
from ciacore.games.turn import EAT
from ciacore.learning.exploration import EpsilonGreedy, epsilon_greedy
from ciacore.learning.rollout import play


@pytest.mark.parametrize(("size", "units"), [(2, False), (5, False), (5, True)])
def test_turn_in_numpy_is_turn_in_torch(size, units):
    game = Turn(size, horizon=40, units=units)
    generator = np.random.default_rng(0)
    games = 50
    state = game.reset(games, generator)
    twin = game.reset(games, rng())
    meals = 0
    for _ in range(40):
        # apples are drawn by different generators
        twin = type(twin)(*(torch.from_numpy(field.copy()) for field in state))
        for look in (game.observe, game.global_state, game.available):
            assert isinstance(look(state), np.ndarray)
            assert torch.equal(tensor(look(state)), look(twin))
        actions = generator.integers(6, size=(games, 2))
        actions[state.positions == state.apple[:, None]] = EAT
        step = game.step(state, actions, generator)
        other = game.step(twin, torch.from_numpy(actions), rng())
        assert torch.equal(tensor(step.rewards).float(), other.rewards)
        assert torch.equal(tensor(step.state.positions), other.state.positions)
        assert torch.equal(tensor(step.state.free), other.state.free)
        assert torch.equal(tensor(step.state.t), other.state.t)
        assert torch.equal(tensor(step.truncated), other.truncated)
        assert not step.terminated.any()
        for name in ("valid", "eaten"):
            assert torch.equal(tensor(step.info[name]), other.info[name])
        meals += int(step.info["eaten"].sum())
        state = step.state
    assert meals > 20 and step.truncated.all()


@pytest.mark.parametrize("make", [rng, np.random.default_rng], ids=["torch", "numpy"])
def test_random_numbers_are_uniform_and_of_the_right_kind(make):
    generator = make(1)
    whole = integers(generator, 5, (20_000, 2))
    parts = uniform(generator, (20_000, 3))
    assert str(whole.dtype).endswith("int64")
    assert str(parts.dtype).endswith("float32")
    shares = tensor(whole).flatten().bincount().float() / 40_000
    assert_close(shares, torch.full((5,), 0.2), rtol=0, atol=0.01)
    assert parts.min() >= 0
    assert parts.max() < 1
    assert abs(float(parts.mean()) - 0.5) < 0.01


@pytest.mark.parametrize("epsilon", [0.0, 0.3])
def test_exploration_in_numpy(epsilon):
    """As in torch: uniform with probability epsilon, else the best available action."""
    values = np.array([4.0, 3.0, 2.0, 9.0], dtype=np.float32)
    available = np.array([True, True, True, False])
    values = np.broadcast_to(values, (40_000, 2, 4))
    available = np.broadcast_to(available, values.shape)
    actions = epsilon_greedy(values, available, epsilon, np.random.default_rng(0))
    expected = np.array([1 - epsilon + epsilon / 3, epsilon / 3, epsilon / 3, 0.0])
    shares = np.bincount(actions.ravel(), minlength=4) / actions.size
    assert np.abs(shares - expected).max() < 0.01


def test_numpy_agent_is_the_torch_agent():
    game = Turn(horizon=20)
    agent = learner(small(mixer="vdn", hidden_size=64), game.spec).online["agent"]
    twin, generator = numpy_twin(agent), np.random.default_rng(0)
    hidden, last = agent.initial(3)
    hidden_twin, last_twin = twin.initial(3)
    for _ in range(20):
        seen = generator.random((3, 2, 18)).astype(np.float32)
        values, hidden = agent.step(torch.from_numpy(seen), last, hidden)
        values_twin, hidden_twin = twin.step(seen, last_twin, hidden_twin)
        assert_close(torch.from_numpy(values_twin), values, rtol=0, atol=1e-5)
        assert_close(torch.from_numpy(hidden_twin), hidden, rtol=0, atol=1e-5)
        actions = generator.integers(6, size=(3, 2))
        last = agent.one_hot(torch.from_numpy(actions))
        last_twin = twin.one_hot(actions)
        assert torch.equal(torch.from_numpy(last_twin), last)
    assert values.std() > 0.01


def test_the_numpy_agent_is_a_snapshot():
    agent = learner(small(mixer="vdn"), Turn().spec).online["agent"]
    twin = numpy_twin(agent)
    hidden, last = twin.initial(1)
    before, _ = twin.step(np.ones((1, 2, 18), np.float32), last, hidden)
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter += 1.0
    after, _ = twin.step(np.ones((1, 2, 18), np.float32), last, hidden)
    assert np.array_equal(before, after)


def test_acting_in_numpy_saw_what_learning_will_see():
    """The values unrolled over stored episodes say the greedy actions of play."""
    game = Turn(horizon=30)
    agent = learner(small(mixer="vdn"), game.spec).online["agent"]
    policy = EpsilonGreedy(numpy_twin(agent), 0.0)
    episodes = play(game, policy, 20, np.random.default_rng(0), 0.99)
    assert all(isinstance(field, torch.Tensor) for field in episodes)
    values, _ = agent.unroll(episodes)
    assert torch.equal(values.argmax(-1)[:, :-1], episodes.actions)


def gradients_of(unroll, rows, weights, probe):
    """The hidden states, and the gradients to rows and weights."""
    rows = rows.clone().requires_grad_()
    weights = [weight.clone().requires_grad_() for weight in weights]
    hidden = unroll(rows, *weights)
    gradients = torch.autograd.grad((hidden * probe).sum(), [rows, *weights])
    return [hidden.detach(), *gradients]


@pytest.mark.parametrize(
    ("steps", "rows", "size", "different"),
    [(1, 1, 1, 1), (7, 3, 4, 21), (101, 64, 64, 300)],
)
def test_the_written_out_gru_is_torchs(steps, rows, size, different):
    """Values and all gradients, for inputs that repeat and inputs that do not."""
    gru = torch.nn.GRU(5, size).double()
    weights = [weight.detach() * 2 for weight in gru.parameters()]
    inputs = torch.randn(different, 5, dtype=torch.float64, generator=rng(1))
    index = torch.randperm(steps * rows, generator=rng(2)).view(steps, rows) % different
    probe = torch.randn(steps, rows, size, dtype=torch.float64, generator=rng(3))

    def torchs(inputs, *weights):
        sequence = inputs[index]
        start = sequence.new_zeros(1, rows, size)
        hidden, _ = torch.gru(
            sequence,
            start,
            weights,
            has_biases=True,
            num_layers=1,
            dropout=0.0,
            train=True,
            bidirectional=False,
            batch_first=False,
        )
        return hidden

    def ours(inputs, w, u, b, c):
        b_r, b_z, b_n = b.chunk(3)
        c_r, c_z, c_n = c.chunk(3)
        w = w.unflatten(0, (3, -1)).roll(1, 0)
        u = u.unflatten(0, (3, -1))
        b = torch.stack([b_n, b_r + c_r, b_z + c_z])
        return GRUSequence.apply(inputs, index, w, b, u, c_n)

    theirs = gradients_of(torchs, inputs, weights, probe)
    mine = gradients_of(ours, inputs, weights, probe)
    for found, expected in zip(mine, theirs, strict=True):
        assert_close(found, expected, rtol=1e-9, atol=1e-9)
    with torch.no_grad():  # the same without gates kept for a backward pass
        assert_close(ours(inputs, *weights), theirs[0], rtol=1e-9, atol=1e-9)


def test_the_written_out_gru_by_finite_differences():
    sizes = (3, 5), (3, 2, 5), (3, 2), (3, 2, 2), (2,)  # x, w, b, u, c
    given = []
    for seed, size in enumerate(sizes):
        value = torch.randn(size, dtype=torch.float64, generator=rng(seed))
        given.append(value.requires_grad_())
    index = torch.tensor([[0, 1], [2, 0], [1, 1], [0, 2]])

    def sequence(x, *weights):
        return GRUSequence.apply(x, index, *weights)

    assert torch.autograd.gradcheck(sequence, given)


# --------------------------------------------------------------------- rows that repeat


def test_rows_that_repeat_are_found_and_put_back():
    few = torch.randint(9, (5, 7), generator=rng(0)).float()
    index = torch.randint(5, (20, 3), generator=rng(1))
    found = unique_rows(few[index])
    assert len(found.rows) == 5 and found.index.shape == (20, 3)
    assert torch.equal(found.gather(found.rows), few[index])


def test_rows_in_bytes_and_a_single_row():
    bits = torch.randint(2, (400, 4), generator=rng(0)).byte()
    found = unique_rows(bits)
    assert len(found.rows) == 16
    assert torch.equal(found.gather(found.rows), bits)
    assert len(unique_rows(torch.ones(3, 1)).rows) == 1
    assert unique_rows(torch.ones(0, 4)).rows.shape == (0, 4)


def test_rows_of_measured_quantities_are_not_searched():
    x = torch.randn(2, 3, generator=rng(0)).repeat(10, 1)
    found = unique_rows(x)
    assert len(found.rows) == 20 and torch.equal(found.gather(found.rows), x)


def test_a_row_that_was_expanded_is_one_row():
    x = torch.randn(1, 3, generator=rng(0)).expand(10, -1)
    (found,) = each_row_once(lambda rows: (2 * rows,), x)
    assert found.shape == (1, 3) and torch.equal(found.expand(10, -1), 2 * x)


def test_rows_of_which_most_differ_stay_as_they_are():
    x = torch.randint(99, (6, 4, 3), generator=rng(0))
    found = unique_rows(x)
    assert len(found.rows) == 24 and torch.equal(found.gather(found.rows), x)


def test_rows_are_compared_and_not_only_their_numbers(monkeypatch):
    """Neither rows with equal numbers nor NaNs are taken for each other."""
    x = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(10, 1)
    assert len(unique_rows(x).rows) == 2
    assert len(unique_rows(torch.full((10, 2), torch.nan)).rows) == 10
    ones = lambda size: np.ones((size, 2), np.float32)  # noqa: E731
    monkeypatch.setattr(ciacore.fast.unique_rows, "multipliers", ones)
    assert len(unique_rows(x).rows) == 20


def test_gradients_through_rows_that_repeat_are_those_of_every_row():
    """An update on a batch of Turn, with rows looked at once and each on its own."""
    game = Turn(horizon=20)
    config = small(mixer="qmix", terms=("cia",), cia_coefficient=0.5)
    ours = learner(config, game.spec)
    policy = EpsilonGreedy(ours.online["agent"], 1.0)
    episodes = play(game, policy, 8, rng(), 0.99)
    assert len(ours.online["agent"].inputs(episodes).once.rows) < 8 * 21

    def gradients():
        record = ours.forward(episodes)
        loss = sum(ours.online["backbone"](record).values())
        loss = loss + ours.online["terms"]["cia"](record)
        return torch.autograd.grad(loss, ours.parameters)

    found = gradients()
    with none_repeat():
        assert len(ours.online["agent"].inputs(episodes).once.rows) == 8 * 21 * 2
        for mine, expected in zip(found, gradients(), strict=True):
            assert_close(mine, expected, rtol=1e-4, atol=1e-6)
