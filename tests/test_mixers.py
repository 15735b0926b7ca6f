"""QPLEX, QTRAN's sum, the central and the shuffled mixer: what each promises.

It holds for any weights.
"""

import itertools

import pytest
import torch
from support.toys import random_utilities, rng, size_of, small
from torch.testing import assert_close

from ciacore.config import Config
from ciacore.credits import credits
from ciacore.games import Turn
from ciacore.losses import utilities_of
from ciacore.methods import MIXERS
from ciacore.mixers.qplex import WEIGHTS
from ciacore.types import Spec, Utilities

K, A, UNIT, STATE, BATCH = 3, 4, 2, 7, 50
SPEC = Spec(K, A, observation_size=1, state_size=STATE, unit_size=UNIT, horizon=1)
JOINT = torch.tensor(list(itertools.product(range(A), repeat=K)))  # [A^K, K]


def mixer(name: str, seed: int = 0, wide: float = 3.0, **fields):
    """A mixer in double precision with `wide` times the weights of a fresh one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = MIXERS[name](SPEC, small(**fields)).double()
    for parameter in made.parameters():
        parameter.data *= wide
    return made


def utilities(values: torch.Tensor, actions: torch.Tensor) -> Utilities:
    """What a mixer is told of joint actions, with all actions available.

    Args:
        values: [..., K, A].
        actions: [..., K].
    """
    chosen = values.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
    one_hot = torch.nn.functional.one_hot(actions, A).to(values.dtype)
    return Utilities(chosen, values.amax(-1), one_hot)


def every_joint_action(seed: int) -> tuple[torch.Tensor, Utilities, torch.Tensor]:
    """Random values, and the utilities of all joint actions with their states.

    Returns:
        Values [B, K, A], utilities [B, A^K, K] and states [B, A^K, S].
    """
    values = 2 * torch.randn(BATCH, K, A, generator=rng(seed), dtype=torch.float64)
    state = torch.randn(BATCH, STATE, generator=rng(seed + 1), dtype=torch.float64)
    shape = (BATCH, len(JOINT))
    repeated = values.unsqueeze(1).expand(*shape, K, A)
    given = utilities(repeated, JOINT.expand(*shape, K))
    return values, given, state.unsqueeze(1).expand(*shape, STATE)


# -------------------------------------------------------------------------------- QPLEX


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("seed", range(5))
def test_qplex_satisfies_igm(weights, seed):
    """The tuple of greedy actions alone has the largest Q_tot of all A^K."""
    values, given, state = every_joint_action(seed)
    q_tot = mixer("qplex", seed, qplex_weights=weights)(given, state).q_tot
    assert torch.equal(JOINT[q_tot.argmax(1)], values.argmax(-1))
    best = q_tot.topk(2, dim=1).values
    assert (best[:, 0] > best[:, 1]).all()


@pytest.mark.parametrize("weights", WEIGHTS)
def test_qplex_is_the_value_of_greedy_actions_plus_weighted_advantages(weights):
    """Q_tot = sum_k (w_k max Q_k + v_k) + sum_k lambda_k w_k (Q_k - max Q_k).

    The last sum is never above 0.
    """
    _, given, state = every_joint_action(0)
    made = mixer("qplex", qplex_weights=weights)
    at = made.at(state)
    importance = at.importance(given.actions)
    assert (importance > 0).all() and (at.w > 0).all() and importance.std() > 0.01
    advantages = (importance * at.w * (given.chosen - given.greedy)).sum(-1)
    assert (advantages <= 0).all()
    is_greedy = (given.chosen == given.greedy).all(-1)
    assert torch.equal(advantages == 0, is_greedy) and is_greedy.sum() == BATCH
    of_greedy = (at.w * given.greedy + at.v).sum(-1)
    assert_close(made(given, state).q_tot, of_greedy + advantages)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_qplex_credits_are_its_weights_without_importance(weights):
    """The credit is w_k, and neither lambda_k w_k nor 1 + ...

    As published, no gradient flows through advantages.
    """
    _, given, state = every_joint_action(1)
    made = mixer("qplex", qplex_weights=weights)
    at = made.at(state)
    found = credits(made, given, state)
    assert_close(found, at.w.detach())
    weighted = (at.importance(given.actions) * at.w).detach()
    assert not torch.allclose(found, weighted, rtol=0.01)


def test_qatten_weights_add_up_to_the_number_of_heads():
    _, given, state = every_joint_action(2)
    for heads in (1, 4):
        made = mixer("qplex", qplex_weights="qatten", qplex_heads=heads)
        found = credits(made, given, state)
        assert_close(found.sum(-1), torch.full_like(found[..., 0], heads))
        assert found.std() > 0.01
    unweighted = mixer("qplex", qplex_weights="unweighted")
    assert_close(credits(unweighted, given, state), torch.ones_like(found))


def test_qatten_reads_its_block_of_the_state():
    """Exchanging the features of two agents exchanges their weights.

    The query must not look at them.
    """
    made = mixer("qplex", qplex_weights="qatten")
    for query in made.weights.query:
        query[0].weight.data[:, : K * UNIT] = 0
    _, given, state = every_joint_action(3)
    first, second = slice(0, UNIT), slice(UNIT, 2 * UNIT)
    swapped = state.clone()
    swapped[..., first] = state[..., second]
    swapped[..., second] = state[..., first]
    exchanged = credits(made, given, state)[..., [1, 0, 2]]
    assert_close(credits(made, given, swapped), exchanged)
    assert not torch.allclose(state[..., first], state[..., second])


def test_qatten_penalty_by_hand():
    """coefficient · sum over heads of the mean squared unscaled logit, per step."""
    made = mixer(
        "qplex",
        qplex_weights="qatten",
        qplex_penalty=0.5,
        mixing_size=1,
        hypernetwork_size=1,
    )
    state = torch.ones(1, STATE, dtype=torch.float64)
    state[:, 2:4] = 3.0
    for query, key in zip(made.weights.query, made.weights.key, strict=True):
        for part in (query[0], query[2]):
            part.weight.data.fill_(1.0)
        query[0].bias.data.zero_()
        key.weight.data.fill_(1.0)
    q = STATE + 2 * 2.0  # the query: the sum of the state; keys: 2, 6, 2
    given = utilities(torch.zeros(1, K, A, dtype=torch.float64), JOINT[:1])
    penalty = made(given, state).penalty.item()
    squares = (2 * q) ** 2 + (6 * q) ** 2 + (2 * q) ** 2
    assert_close(penalty, 0.5 * 4 * squares / 3)


# ------------------------------------------------------- QTRAN's sum, central, shuffled


def test_value_sum_credits_are_one():
    _, given, state = every_joint_action(4)
    made = mixer("value_sum")
    assert_close(credits(made, given, state), torch.ones_like(given.chosen))
    rest = made(given, state).q_tot - given.chosen.sum(-1)
    assert_close(rest, made.value(state).squeeze(-1))


def test_central_is_bound_by_nothing():
    """Its slopes take both signs, and its argmax need not be the greedy actions."""
    values, given, state = every_joint_action(5)
    made = mixer("central", wide=5.0)
    found = credits(made, given, state)
    assert (found > 0).any() and (found < 0).any()
    q_tot = made(given, state).q_tot
    assert not torch.equal(JOINT[q_tot.argmax(1)], values.argmax(-1))


def test_the_identity_order_is_qmix_bit_for_bit():
    shuffled, plain = mixer("shuffled_qmix"), mixer("qmix")
    names = {f"mixer.{name}" for name in plain.state_dict()}
    assert set(shuffled.state_dict()) == names
    _, given, state = every_joint_action(6)
    assert torch.equal(shuffled(given, state).q_tot, plain(given, state).q_tot)


@pytest.mark.parametrize("order", list(itertools.permutations(range(K))))
def test_a_shuffled_mixer_credits_the_slot_of_an_agent(order):
    """Agent order[j] stands at slot j: its credit is that of the slot."""
    shuffled, plain = mixer("shuffled_qmix"), mixer("qmix")
    shuffled.order.copy_(torch.tensor(order))
    given = random_utilities(BATCH, K, dtype=torch.float64)
    state = torch.randn(BATCH, STATE, generator=rng(9), dtype=torch.float64)
    reordered = given.with_chosen(given.chosen[:, order])
    at_slots = credits(plain, reordered, state)
    assert_close(credits(shuffled, given, state)[:, order], at_slots)
    assert torch.equal(shuffled(given, state).q_tot, plain(reordered, state).q_tot)


def test_sizes_on_turn():
    """The sizes of the published modules: 77 state features, 2 agents, 6 actions."""
    sizes = {"qmix": 21_249, "qplex": 11_900, "central": 172_546, "vdn": 0}
    for name, size in sizes.items():
        made = MIXERS[name](Turn().spec, Config())
        assert size_of(made) == size, name


# what a mixer reads


@pytest.mark.parametrize("name", ["vdn", "qmix"])
def test_what_a_mixer_does_not_read_is_not_computed(name):
    _, given, state = every_joint_action(5)
    eager = mixer(name)(given, state).q_tot

    def never() -> torch.Tensor:
        pytest.fail("it was computed")

    lazy = Utilities(given.chosen, never, never)
    assert torch.equal(mixer(name)(lazy, state).q_tot, eager)
    doubled = mixer(name)(lazy.with_chosen(2 * given.chosen), state).q_tot
    assert not torch.equal(doubled, eager)


def test_utilities_of_actions_are_those_computed_at_once():
    values, given, state = every_joint_action(6)
    repeated = values.unsqueeze(1).expand(-1, len(JOINT), -1, -1)
    actions = JOINT.expand(BATCH, -1, -1)
    found = utilities_of(repeated, actions, torch.ones_like(repeated, dtype=torch.bool))
    for name in ("chosen", "greedy", "actions"):
        assert torch.equal(getattr(found, name).double(), getattr(given, name))
    q_tot = mixer("qplex")(found, state).q_tot
    assert_close(q_tot, mixer("qplex")(given, state).q_tot, rtol=0, atol=0)
