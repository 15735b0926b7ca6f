"""The credit of an agent in its own turn: by hand, held to a course, and refused."""

import math

import pytest
import torch
from support.faults import refused
from support.toys import SPEC, learner, reached, rng, small, under
from torch.testing import assert_close

from ciacore.config import Config
from ciacore.credits import credits_at
from ciacore.games import Turn
from ciacore.learning.rollout import play
from ciacore.methods import assemble

TURN = Turn(horizon=12)
LOGS = ("credit_in_turn_0", "credit_in_turn_1")
HELD = {
    "terms": ("turn_credit_1", *LOGS),
    "control_coefficient": 0.5,
    "control_course": (2.0, 3.0),
    "control_interval": 40,
    "control_stop": 60,
}


def learned(**fields):
    """A learner of Turn and a record of random episodes; both agents are free there."""
    ours = learner(small(**fields), TURN.spec)
    parts = assemble(TURN.spec, small(**fields))
    random = parts.explorer.learning(parts.agent, 1.0)
    episodes = play(TURN, random, 200, rng(1), 0.99)
    return ours, ours.forward(episodes)


def by_hand(record, agent):
    """The mean credit of an agent over the steps at which it is free, one by one."""
    credits = credits_at(record.mixing, record.utilities).detach()
    states, weights = record.states.reshape(-1, 77), record.weights.reshape(-1)
    found = []
    for row, state, weight in zip(credits.reshape(-1, 2), states, weights, strict=True):
        if weight and int(state[-2:].argmax()) == agent:
            found.append(float(row[agent]))
    return sum(found) / len(found)


def term_of(ours):
    """The first term of a learner."""
    return next(iter(ours.online["terms"].values()))


@pytest.mark.parametrize("agent", [0, 1])
def test_the_credit_in_ones_own_turn_by_hand(agent):
    ours, record = learned(terms=(f"credit_in_turn_{agent}",))
    expected = by_hand(record, agent)
    assert expected != pytest.approx(by_hand(record, 1 - agent), rel=0.01)
    assert_close(float(term_of(ours)(record)), expected)


def test_a_course_is_followed_until_it_stops():
    ours, record = learned(**HELD)
    term, mean = term_of(ours), by_hand(record, 1)
    for steps, course, weight in ((40.0, 2.0, 0.5), (41.0, 3.0, 0.5), (60.0, 3.0, 0)):
        loss = term(record._replace(env_steps=torch.tensor(steps)))
        expected = (math.log(mean) - math.log(course)) ** 2
        assert_close(float(loss.detach()), expected, rtol=1e-4, atol=1e-6)
        assert float(term.weight_at(torch.tensor(steps))) == weight
    always = learner(small(**HELD | {"control_stop": 0}), TURN.spec)
    assert float(term_of(always).weight_at(torch.tensor(1e6))) == 0.5


def test_it_teaches_the_mixing_weights_only_and_pulls_towards_the_course():
    for course, sign in ((100.0, 1), (0.001, -1)):
        ours, record = learned(**HELD | {"control_course": (course,)})
        loss = term_of(ours)(record)
        assert under(
            reached(loss, ours), "mixer.hyper_w1", "mixer.hyper_b1", "mixer.hyper_w2"
        )
        weights = list(ours.online["mixer"].parameters())
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        before = by_hand(record, 1)
        with torch.no_grad():
            for parameter, gradient in zip(weights, gradients, strict=True):
                if gradient is not None:
                    parameter -= 1e-3 * gradient / gradient.norm()
        after = by_hand(ours.forward(record.episodes), 1)
        assert (after - before) * sign > 0


def test_a_batch_without_the_agents_turn_says_nothing():
    ours, record = learned(**HELD)
    states = record.states.clone()
    states[..., -2:] = torch.tensor([1.0, 0.0])  # agent 0 is always free
    alone = record._replace(states=states)
    assert float(term_of(ours)(alone).detach()) == 0
    logged = list(ours.online["terms"].values())[2]
    assert float(logged(alone)) == 0


def test_games_that_do_not_say_whose_turn_it_is_are_refused():
    for name in ("turn_credit_0", "credit_in_turn_1"):
        config = Config(terms=(name,), control_course=[1.0])
        refused(
            lambda config=config: assemble(SPEC, config), "game: expected Turn", "Leave"
        )
    assemble(Turn(n_agents=3).spec, Config(terms=LOGS))
