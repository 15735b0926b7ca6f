"""One update: targets and losses by hand, padding, and where gradients may flow."""

import copy
import math

import pytest
import torch
from support.toys import SPEC, gradients, learner, random_episodes, small
from torch.testing import assert_close

from ciacore.fast.steps import AllSteps
from ciacore.losses import greedy_actions, td_loss, td_targets, utilities_of, value_of
from ciacore.methods import assemble
from ciacore.types import Episodes

FULL, SHORT = [8, 8, 8, 8], [8, 3, 5, 1]
CIA = {"mixer": "qmix", "terms": ("cia",), "cia_coefficient": 0.5}

# ----------------------------------------------------------------------- losses by hand


def test_greedy_actions_look_at_available_actions_only():
    values = torch.tensor([[5.0, 3.0, 9.0], [-7.0, -8.0, -9.0], [1.0, 2.0, 3.0]])
    available = torch.tensor(
        [[True, True, False], [False, True, True], [False, False, False]]
    )
    assert greedy_actions(values, available).tolist() == [0, 1, 0]  # 0 in padding
    assert value_of(values, torch.tensor([2, 0, 1])).tolist() == [9.0, -7.0, 2.0]
    given = utilities_of(values, torch.tensor([1, 2, 0]), available)
    assert given.chosen.tolist() == [3.0, -9.0, 1.0]
    assert given.greedy.tolist() == [5.0, -8.0, 1.0]
    assert given.actions.tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]


def test_targets_and_loss_by_hand():
    rewards = torch.tensor([[1.0, 2.0, 0.0]])
    discounts = torch.tensor([[0.9, 0.0, 0.0]])
    next_values = torch.tensor([[10.0, 1e6, 1e6]], requires_grad=True)
    targets = td_targets(rewards, discounts, next_values)
    assert targets.tolist() == [[10.0, 2.0, 0.0]] and not targets.requires_grad
    q_tot, weights = torch.tensor([[11.0, 4.0, 999.0]]), torch.tensor([[1.0, 1.0, 0.0]])
    # squares of 1 and 2 over two real steps
    assert float(td_loss(q_tot, targets, weights)) == (1 + 4) / 2


@pytest.mark.parametrize(
    ("double_q", "expected"), [(True, 1 + 0.5 * (20 + 8)), (False, 1 + 0.5 * (30 + 9))]
)
def test_double_q_by_hand(double_q, expected):
    """At t = 1 the online agents prefer actions 1 and 1; the target agents judge.

    Action 0 is not available to agent 1.
    """
    ours = learner(small(mixer="vdn", double_q=double_q))
    online = torch.tensor(
        [
            [[0.0, 0.0, 0.0]] * 2,
            [[1.0, 2.0, 0.0], [5.0, 4.0, 3.0]],
            [[9.0, 9.0, 9.0]] * 2,
        ]
    )
    judged = torch.tensor(
        [
            [[0.0, 0.0, 0.0]] * 2,
            [[10.0, 20.0, 30.0], [99.0, 8.0, 9.0]],
            [[50.0, 50.0, 50.0]] * 2,
        ]
    )
    available = torch.ones(1, 3, 2, 3, dtype=torch.bool)
    available[0, 1, 1, 0] = False
    episodes = random_episodes([2])._replace(
        available=available,
        rewards=torch.tensor([[1.0, -3.0]]),
        discounts=torch.tensor([[0.5, 0.0]]),
    )
    hidden = torch.zeros(1, 3, 2, 8)
    ours.online["agent"].unroll = lambda *_: (online.unsqueeze(0), hidden)
    ours.target["agent"].unroll = lambda *_: (judged.unsqueeze(0), hidden)
    # no bootstrap where the episode ended
    assert ours.forward(episodes).targets.tolist() == [[expected, -3.0]]


def test_agent_unrolled_at_once_equals_step_by_step():
    ours, episodes = learner(small(mixer="vdn")), random_episodes(SHORT)
    agent = ours.online["agent"]
    values, hiddens = agent.unroll(episodes)
    last = agent.last_actions(episodes, AllSteps()).transpose(0, 1)
    hidden, _ = agent.initial(len(SHORT))
    assert (last[:, 0] == 0).all()
    for t in range(values.shape[1]):
        stepped, hidden = agent.step(episodes.observations[:, t], last[:, t], hidden)
        assert_close(values[:, t], stepped, rtol=0, atol=1e-5)
        assert_close(hiddens[:, t].flatten(0, 1), hidden, rtol=0, atol=1e-5)
    assert values.std() > 0.01


def test_agents_share_weights_but_not_their_identity():
    agent = learner(small(mixer="vdn")).online["agent"]
    observations = torch.ones(1, 2, 4)
    values, _ = agent.step(observations, torch.zeros(1, 2, 3), agent.initial(1)[0])
    # same sight, another one-hot identity
    assert not torch.equal(values[:, 0], values[:, 1])
    agent.fc_in.weight.data[:, -2:] = 0
    values, _ = agent.step(observations, torch.zeros(1, 2, 3), agent.initial(1)[0])
    assert_close(values[:, 0], values[:, 1])


# ------------------------------------------------------------------------------ padding


def test_what_lies_in_padding_is_never_learned():
    ours, episodes = learner(small(mixer="qmix")), random_episodes(SHORT)
    spoiled = Episodes(*(field.clone() for field in episodes))
    for row, length in enumerate(SHORT):
        spoiled.observations[row, length + 1 :] = 1e3
        spoiled.states[row, length + 1 :] = 1e3
        spoiled.rewards[row, length:] = 1e3
    clean = copy.deepcopy(ours).update(episodes)
    assert spoiled.rewards.sum() > 1e3
    for name, value in copy.deepcopy(ours).update(spoiled).items():
        assert_close(value, clean[name], msg=name)


@pytest.mark.parametrize("derivative", ["exact", "published"])
def test_masked_and_published_padding_differ_on_short_episodes_only(derivative):
    losses = {}
    for padding in ("published", "masked"):
        fields = {"credit_padding": padding, "credit_derivative": derivative}
        ours = learner(small(**CIA, **fields))
        batches = {"full": FULL, "short": SHORT, "equal": [5, 5, 5, 5]}
        for name, lengths in batches.items():
            record = ours.forward(random_episodes(lengths))
            losses[name, padding] = ours.online["terms"]["cia"](record).detach()
    assert torch.equal(losses["full", "published"], losses["full", "masked"])
    # cut to the longest of the batch
    assert torch.equal(losses["equal", "published"], losses["equal", "masked"])
    assert abs(losses["short", "published"] - losses["short", "masked"]) > 1e-5


@pytest.mark.parametrize("padding", ["published", "masked"])
def test_common_padding_of_a_batch_changes_no_loss(padding):
    """Episodes of at most 5 steps, stored on 5 or on 8 steps."""
    ours = learner(small(**CIA, credit_padding=padding))
    episodes = random_episodes([5, 2, 4, 5])
    pads = {
        "observations": (0, 0, 0, 0, 0, 3),
        "states": (0, 0, 0, 3),
        "actions": (0, 0, 0, 3),
        "available": (0, 0, 0, 0, 0, 3),
        "rewards": (0, 3),
        "discounts": (0, 3),
        "weights": (0, 3),
    }
    fields = {}
    for name, size in pads.items():
        fields[name] = torch.nn.functional.pad(getattr(episodes, name), size)
    short = copy.deepcopy(ours).update(episodes)
    long = copy.deepcopy(ours).update(episodes._replace(**fields))
    for name, value in short.items():
        assert_close(long[name], value, msg=name)


# ------------------------------------------------------------------------ gradient flow


def term_gradients(lengths=SHORT, **fields) -> tuple[float, dict[str, dict]]:
    """The loss of the only term, and the gradients of agents, mixer and term."""
    ours = learner(small(**{**CIA, **fields}))
    (term,) = ours.online["terms"].values()
    loss = term(ours.forward(random_episodes(lengths)))
    loss.backward()
    found = {
        "agent": gradients(ours.online["agent"]),
        "mixer": gradients(ours.online["mixer"]),
        "term": gradients(term),
    }
    return float(loss.detach()), found


@pytest.mark.parametrize("term", ["cia", "cc", "gre"])
@pytest.mark.parametrize("derivative", ["exact", "published"])
def test_detached_credits_teach_the_mixing_weights_only(derivative, term):
    _, found = term_gradients(credit_derivative=derivative, terms=(term,))
    assert not any(found["agent"].values())  # None or exactly 0
    for name, gradient in found["mixer"].items():
        assert bool(gradient) != name.startswith("value."), name
        assert name.split(".")[0] in ("hyper_w1", "hyper_b1", "hyper_w2", "value")
    assert all(found["term"].values())


@pytest.mark.parametrize("derivative", ["exact", "published"])
def test_attached_credits_teach_the_agents_too(derivative):
    _, found = term_gradients(credit_derivative=derivative, credit_detach=False)
    assert all(found["agent"].values())


@pytest.mark.parametrize("detach", [True, False])
def test_vdn_has_nothing_to_tell_agents_apart_by(detach):
    loss, found = term_gradients(mixer="vdn", credit_detach=detach)
    assert_close(loss, math.log(2))
    assert not any(found["agent"].values())
    assert found["term"]["identities"] < 1e-6


def test_detaching_changes_the_gradient_but_not_the_loss():
    detached, _ = term_gradients(credit_detach=True)
    attached, _ = term_gradients(credit_detach=False)
    assert detached == attached


@pytest.mark.parametrize("term", ["cia", "cc", "gre", "credit_ratio"])
@pytest.mark.parametrize("derivative", ["exact", "published"])
def test_coefficient_zero_is_qmix_bit_for_bit(derivative, term):
    """While no gradient is clipped.

    A zero more in the joint norm may round its last bit another way.
    """
    plain = learner(small(mixer="qmix", gradient_clip=1e9))
    config = small(
        terms=(term,),
        cia_coefficient=0.0,
        gre_coefficient=0.0,
        gradient_clip=1e9,
        credit_derivative=derivative,
    )
    with_term = learner(config)
    for seed in range(3):
        plain.update(random_episodes(SHORT, seed=seed))
        with_term.update(random_episodes(SHORT, seed=seed))
    for name in ("agent", "mixer"):
        for key, value in plain.online[name].state_dict().items():
            assert torch.equal(with_term.online[name].state_dict()[key], value), key


def test_cia_does_not_touch_the_agents_first_update():
    """Published credits come detached: CIA moves the mixer alone.

    So it is with the clip inactive.
    """
    plain = learner(small(gradient_clip=1e9))
    config = small(gradient_clip=1e9, credit_derivative="published", **CIA)
    contrastive = learner(config)
    for ours in (plain, contrastive):
        ours.update(random_episodes(SHORT))
    for part, equal in {"agent": True, "mixer": False}.items():
        ours = plain.online[part].state_dict()
        theirs = contrastive.online[part].state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours) == equal


def test_total_loss_is_the_weighted_sum():
    ours = learner(small(**CIA))
    losses = ours.update(random_episodes(SHORT))
    assert_close(losses["loss"], losses["td_loss"] + 0.5 * losses["cia"])


# ------------------------------------------------------------------------------ updates


def test_gradients_are_clipped_jointly():
    norms = []
    for clip in (1e9, 0.1):
        ours = learner(small(**CIA, gradient_clip=clip))
        reported = ours.update(random_episodes(SHORT))["gradient_norm"]
        used = [p.grad.norm() for p in ours.parameters if p.grad is not None]
        norms.append((float(reported), float(torch.stack(used).norm())))
    assert norms[0][0] == norms[1][0] > 0.1  # the norm before clipping is reported
    assert_close(norms[0][1], norms[0][0], rtol=1e-5, atol=0)
    assert_close(norms[1][1], 0.1, rtol=1e-4, atol=0)


def test_target_networks_follow_only_when_copied():
    ours = learner(small(mixer="qmix"))
    before = copy.deepcopy(ours.target.state_dict())
    ours.update(random_episodes(FULL))
    online, target = ours.online.state_dict(), ours.target.state_dict()
    assert all(torch.equal(target[name], before[name]) for name in before)
    assert not all(torch.equal(online[name], before[name]) for name in before)
    ours.copy_target()
    target = ours.target.state_dict()
    assert all(torch.equal(online[name], target[name]) for name in target)
    assert not any(parameter.requires_grad for parameter in ours.target.parameters())


@pytest.mark.parametrize(
    "fields",
    [{"mixer": "vdn"}, {"mixer": "qmix"}, CIA],
    ids=["vdn", "qmix", "qmix_cia"],
)
def test_one_batch_can_be_overfitted(fields):
    quick = {"learning_rate": 0.01, "optimizer": "adam", "hidden_size": 32}
    config = small(**quick, **fields)
    ours, episodes = learner(config), random_episodes(SHORT)
    first = float(ours.update(episodes)["td_loss"])
    for _ in range(60):
        last = float(ours.update(episodes)["td_loss"])
    assert last < first / 10


def test_identities_start_like_a_linear_layer():
    parts = assemble(SPEC._replace(horizon=100), small(**CIA))
    identities = parts.terms["cia"].identities
    assert identities.shape == (2, 100)
    assert 0.09 < identities.abs().max() <= 0.1  # U(-1/sqrt(N), 1/sqrt(N))
