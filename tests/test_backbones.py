"""Which loss moves what, QTRAN's conditions, and the weights of Weighted QMIX."""

import copy

import pytest
import torch
from support.toys import (
    LENGTHS,
    SIZES,
    SPEC,
    learner,
    made,
    random_episodes,
    reached,
    size_of,
    small,
    under,
)
from torch.testing import assert_close

from ciacore import METHODS
from ciacore.baselines.wqmix import central, optimistic
from ciacore.games import Turn
from ciacore.losses import weighted_mean


def losses_of(ours) -> dict[str, torch.Tensor]:
    """The backbone's losses on a batch of episodes of several lengths."""
    return ours.online["backbone"](ours.forward(random_episodes(LENGTHS)))


# ---------------------------------------------------------------- which loss moves what


@pytest.mark.parametrize("method", ["vdn", "qmix", "qmix_rs"])
def test_td_moves_agents_and_mixer(method):
    ours = made(method)
    found = reached(losses_of(ours)["td_loss"], ours)
    everything = {name for name, _ in ours.online.named_parameters()}
    assert found == everything
    parts = ["agent."] if method == "vdn" else ["agent.", "mixer."]
    assert under(found, *parts)


@pytest.mark.parametrize("method", ["qplex", "scds"])
def test_td_of_qplex_moves_agents_weights_and_importance(method):
    ours = made(method)
    found = reached(losses_of(ours)["td_loss"], ours)
    # and not SCDS's predictors
    assert under(found, "agent.", "mixer.weights.", "mixer.importance.")


def test_qatten_penalty_moves_keys_and_queries_only():
    config = METHODS["qplex"].but(**SIZES, qplex_weights="qatten")
    ours = learner(config, SPEC._replace(unit_size=2))
    found = reached(losses_of(ours)["penalty"], ours)
    assert under(found, "mixer.weights.query.", "mixer.weights.key.")


def test_qtran_losses_move_what_they_should():
    """What each of QTRAN's losses reaches.

    L_td moves the joint value J and, through h, the recurrent layers. L_opt and L_nopt
    move the utilities and V(s), not J.
    """
    ours = made("qtran")
    losses = losses_of(ours)
    joint = ("backbone.joint_q.", "backbone.action_encoding.")
    assert under(reached(losses["td_loss"], ours), *joint, "agent.fc_in.", "agent.gru.")
    for name in ("opt_loss", "nopt_loss"):
        assert under(
            reached(losses[name], ours),
            "agent.fc_in.",
            "agent.gru.",
            "agent.fc_out.",
            "mixer.value.",
        ), name


@pytest.mark.parametrize("method", ["ow_qmix", "cw_qmix"])
def test_weighted_losses_move_their_own_branch(method):
    ours = made(method)
    losses = losses_of(ours)
    assert under(reached(losses["td_loss"], ours), "agent.", "mixer.")
    assert under(
        reached(losses["central_loss"], ours),
        "backbone.central_agent.",
        "backbone.central_mixer.",
    )


# -------------------------------------------------------------------------------- QTRAN


def test_qtran_is_satisfied_by_a_joint_value_that_is_the_sum():
    """Both conditions hold where J = sum_k Q_k + V everywhere.

    A J that is 1 lower costs 1 (opt) and 0 (nopt); one that is 1 higher costs 1 and 1.
    """
    ours = made("qtran", qtran_opt=1.0, qtran_nopt=1.0)
    episodes = random_episodes([8] * 4)
    record = ours.forward(episodes)
    backbone = ours.online["backbone"]
    values = record.action_values[:, :-1]
    available = episodes.available[:, :-1]
    best = values.masked_fill(~available, -torch.inf).amax(-1).sum(-1)
    best = best + ours.online["mixer"].value(record.states).squeeze(-1)
    for offset, opt, nopt in ((0.0, 0.0, 0.0), (-1.0, 1.0, 0.0), (1.0, 1.0, 1.0)):
        # of the chosen actions, then of the greedy ones
        given = iter([record.q_tot + offset, best + offset])
        backbone.joint = lambda *_, given=given: next(given)
        losses = backbone(record)
        assert_close(losses["opt_loss"].item(), opt, rtol=0, atol=1e-5)
        assert_close(losses["nopt_loss"].item(), nopt, rtol=0, atol=1e-5)


def test_qtran_size_on_turn():
    ours = learner(METHODS["qtran"], Turn().spec)
    assert size_of(ours.online["mixer"], ours.online["backbone"]) == 32_854


# ------------------------------------------------------------------------ Weighted QMIX


@pytest.mark.parametrize("method", ["ow_qmix", "cw_qmix"])
def test_weights_by_their_definition(method):
    """Step by step: 1 where the joint action may be a good one, alpha elsewhere."""
    ours = made(method, weighting_alpha=0.25)
    record = ours.forward(random_episodes([8, 8, 8, 8], seed=3))
    rule = {"ow_qmix": optimistic, "cw_qmix": central}[method]
    kinds = set()
    found = rule(record)
    for b in range(4):
        for t in range(8):
            q_tot, y = record.q_tot[b, t].item(), record.targets[b, t].item()
            if method == "ow_qmix":
                expected = q_tot < y
            else:
                greedy = torch.equal(record.episodes.actions[b, t], record.greedy[b, t])
                expected = greedy or y > record.greedy_values[b, t].item()
            assert bool(found[b, t]) == expected
            kinds.add(expected)
    assert kinds == {True, False}
    w = torch.where(found, 1.0, 0.25)
    by_hand = weighted_mean(w * (record.q_tot - record.targets) ** 2, record.weights)
    assert_close(ours.online["backbone"](record)["td_loss"], by_hand)


@pytest.mark.parametrize("method", ["ow_qmix", "cw_qmix"])
def test_alpha_one_is_qmix_with_central_targets(method):
    ours = made(method, weighting_alpha=1.0)
    record = ours.forward(random_episodes(LENGTHS))
    loss = ours.online["backbone"](record)["td_loss"]
    plain = weighted_mean((record.q_tot - record.targets) ** 2, record.weights)
    assert_close(loss, plain, rtol=0, atol=0)


@pytest.mark.parametrize("method", ["ow_qmix", "cw_qmix"])
def test_the_target_mixer_is_never_asked(method):
    ours, episodes = made(method), random_episodes(LENGTHS)
    spoiled = copy.deepcopy(ours)
    for name in ("agent", "mixer"):
        for parameter in spoiled.target[name].parameters():
            parameter.data.fill_(float("nan"))
    targets = ours.forward(episodes).targets
    assert torch.equal(spoiled.forward(episodes).targets, targets)


def test_central_network_size_on_turn():
    sizes = {"hidden_size": 64, "central_size": 256}
    config = small(method="ow_qmix", backbone="weighted", **sizes)
    backbone = learner(config, Turn().spec).online["backbone"]
    assert size_of(backbone.central_agent) == 27_078
    assert size_of(backbone.central_mixer) == 172_546
    assert size_of(backbone) == 27_078 + 172_546
