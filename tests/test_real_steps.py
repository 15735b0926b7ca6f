"""No work on padding: an update on real steps alone is that on whole batches."""

import copy

import pytest
import torch
from support.toys import SPEC, learner, random_episodes, rng
from torch.testing import assert_close

import ciacore.learning.learner
from ciacore import METHODS
from ciacore.fast.steps import AllSteps, RealSteps, computed_steps
from ciacore.types import Episodes

LENGTHS = [8, 3, 5, 1, 8, 2, 2, 6]
UNITS = SPEC._replace(unit_size=2)  # which Qatten reads
SMALL = {"hidden_size": 8, "mixing_size": 4, "batch": len(LENGTHS)}


@pytest.fixture
def on(monkeypatch):
    """Chooses the steps that an update computes."""
    return lambda steps: monkeypatch.setattr(
        ciacore.learning.learner, "computed_steps", steps
    )


def everything(episodes: Episodes) -> AllSteps:
    return AllSteps()


def check_alike(config, on, lengths=LENGTHS):
    """Three updates on real steps and on whole batches: losses and weights agree."""
    episodes = random_episodes(lengths, UNITS, latents=config.latent_size)
    whole = learner(config, UNITS)
    real = copy.deepcopy(whole)
    for number in range(3):
        on(everything)
        expected = whole.update(episodes, rng(number))
        on(RealSteps)
        found = real.update(episodes, rng(number))
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert_close(found[name], value, rtol=1e-5, atol=1e-6, msg=name)
    for mine, theirs in zip(real.parameters, whole.parameters, strict=True):
        assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_alike(method, on):
    check_alike(METHODS[method].but(**SMALL), on)


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("qplex", {"qplex_weights": "qatten"}),
        ("qplex_cia", {"qplex_weights": "qatten"}),
        ("qmix_cia", {"credit_padding": "masked"}),
        ("qmix_cia", {"credit_derivative": "exact"}),
        ("qmix_cia", {"credit_derivative": "exact", "credit_detach": False}),
        ("qmix_cc", {"credit_padding": "masked"}),
        ("qmix", {"double_q": False}),
    ],
)
def test_every_variant_learns_alike(method, fields, on):
    check_alike(METHODS[method].but(**SMALL, **fields), on)


@pytest.mark.parametrize("lengths", [[8] * 4, [1, 1], [8, 1], [3, 8]])
def test_equal_and_single_steps(lengths, on):
    config = METHODS["qmix_cia"].but(**SMALL | {"batch": len(lengths)})
    check_alike(config, on, lengths)


def test_long_padding_is_computed_until_nothing_moves(on):
    """400 padded steps after one; the states of the agents settle on the way."""
    horizon = UNITS._replace(horizon=400)
    config = METHODS["qmix_cia"].but(**SMALL | {"batch": 2})
    episodes = random_episodes([400, 1], horizon)
    whole = learner(config, horizon)
    real = copy.deepcopy(whole)
    computed = []
    agent = real.online["agent"]
    without_input = agent.without_input

    def counted(*arguments):
        values, index = without_input(*arguments)
        computed.append((len(values), len(index)))
        return values, index

    agent.without_input = counted
    on(everything)
    expected = whole.update(episodes)
    on(RealSteps)
    found = real.update(episodes)
    ((few, all_of_them),) = computed
    assert all_of_them == 398 and few < 200
    for name, value in expected.items():
        assert_close(found[name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_rows_lead_back_to_episodes():
    episodes = random_episodes(LENGTHS)
    steps = RealSteps(episodes)
    real = episodes.weights.bool()
    rows = steps.of_steps(episodes.rewards)
    assert len(rows) == sum(LENGTHS)
    assert torch.equal(steps.by_episode(rows), episodes.rewards * real)
    slots = steps.of_slots(episodes.states)
    assert len(slots) == sum(LENGTHS) + len(LENGTHS)
    back = steps.slots_by_episode(slots)
    assert torch.equal(steps.before(slots), steps.of_steps(back[:, :-1]))
    assert torch.equal(steps.after(slots), steps.of_steps(back[:, 1:]))
    names = torch.arange(len(LENGTHS))
    expected = names[:, None].expand_as(episodes.rewards)
    assert torch.equal(steps.of_episodes(names), steps.of_steps(expected))


def test_padded_steps_are_those_before_the_longest_end():
    steps = RealSteps(random_episodes(LENGTHS))
    at_ends = steps.put_at_ends(torch.ones(len(steps.step_at_end)))
    later = steps.put_later(torch.ones(len(steps.step_later)))
    real = steps.by_episode(torch.ones(sum(LENGTHS)))
    assert torch.equal(real + at_ends + later, torch.ones(len(LENGTHS), 8))
    assert [int(row.argmax()) for row in at_ends if row.any()] == [3, 5, 1, 2, 2, 6]


def test_padding_is_left_out_only_where_there_is_some(monkeypatch):
    assert isinstance(computed_steps(random_episodes([8, 8])), AllSteps)
    assert isinstance(computed_steps(random_episodes([8, 2])), RealSteps)
    monkeypatch.setenv("CIACORE_FAST", "0")
    assert isinstance(computed_steps(random_episodes([8, 2])), AllSteps)
