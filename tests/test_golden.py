"""Every module against numbers recorded from the published implementations."""

import pytest
import torch
from support.golden import (
    AGENT,
    CLOSE,
    IDENTITIES,
    QMIX,
    cases,
    check,
    check_forward,
    check_updates,
    config,
    episodes,
    group,
    load,
    qmix_sizes,
    recorded_learner,
    spec,
    utilities,
    within,
)
from torch.testing import assert_close

from ciacore.cia import CIA, cc_loss, cia_loss, similarities, temporal_credits
from ciacore.credits import credits
from ciacore.games import Turn
from ciacore.games.turn import TurnState
from ciacore.methods import MIXERS
from ciacore.types import Spec

# --------------------------------------------------------------------------------- Turn


def natural_order() -> torch.Tensor:
    """Where each of our window's cells is in the published window.

    Its order is (0, +1, -1), ours is (-1, 0, +1).
    """
    wrapped = torch.tensor([2, 0, 1])
    window = (3 * wrapped.unsqueeze(1) + wrapped).flatten()
    return torch.cat([window, 9 + window])


GAME = Turn()


def recorded_state(recorded: dict, t: int) -> TurnState:
    free = recorded["free"][:, t].argmax(-1)
    return GAME.placed(recorded["agent_pos"][:, t], recorded["apple"][:, t], free)


def test_golden_turn_traces():
    recorded = group("turn")
    horizon = recorded["reward"].shape[1]
    game, rng = Turn(horizon=horizon), torch.Generator().manual_seed(0)
    state = game.reset(len(recorded["reward"]), rng)
    assert torch.equal(game.places(state)[0], recorded["agent_pos"][:, 0])
    state = state._replace(apple=recorded_state(recorded, 0).apple)
    for t in range(horizon):
        assert torch.equal(game.places(state)[0], recorded["agent_pos"][:, t])
        assert torch.equal(
            torch.nn.functional.one_hot(state.free, 2), recorded["free"][:, t]
        )
        assert torch.equal(game.global_state(state), recorded["state"][:, t].float())
        assert torch.equal(
            game.observe(state), recorded["obs"][:, t][..., natural_order()].float()
        )
        step = game.step(state, recorded["actions"][:, t], rng)
        assert torch.equal(step.rewards, recorded["reward"][:, t])
        assert torch.equal(
            step.terminated | step.truncated, recorded["done"][:, t].bool()
        )
        moved = (recorded["apple"][:, t] != recorded["apple"][:, t + 1]).any(-1)
        # a new apple only after a meal; where it appears is random
        assert (step.info["eaten"] | ~moved).all()
        state = step.state._replace(apple=recorded_state(recorded, t + 1).apple)
    last = recorded_state(recorded, horizon)
    assert torch.equal(game.global_state(last), recorded["state"][:, horizon].float())
    assert torch.equal(
        game.observe(last), recorded["obs"][:, horizon][..., natural_order()].float()
    )


def test_golden_turn_time_limit():
    short = group("turn")["short_done"].bool()
    horizon = int(short.long().argmax()) + 1
    game, rng = Turn(horizon=horizon), torch.Generator().manual_seed(0)
    state, flags = game.reset(1, rng), []
    for _ in range(horizon):
        step = game.step(state, torch.full((1, 2), 5), rng)
        state = step.state
        flags.append(bool(step.truncated))
    assert flags == short[:horizon].tolist()


# ------------------------------------------------------------------- mixers and credits


def test_golden_vdn_mixer():
    recorded = group("vdn", "mixer")
    mixer = MIXERS["vdn"](Spec(recorded["agent_qs"].shape[-1], 1, 1, 1, 0, 1), config())
    state = torch.zeros(*recorded["agent_qs"].shape[:2], 1)
    assert_close(
        mixer(utilities(recorded["agent_qs"]), state).q_tot,
        recorded["q_tot"].squeeze(-1),
        **CLOSE,
    )
    assert_close(
        credits(mixer, utilities(recorded["agent_qs"]), state),
        recorded["credits"],
        **CLOSE,
    )


def recorded_qmix(case: str):
    recorded = group("qmix", case)
    weights = within(recorded, "w/")
    state_size, sizes = qmix_sizes(weights)
    mixer = MIXERS["qmix"](
        Spec(recorded["agent_qs"].shape[-1], 1, 1, state_size, 0, 1), config(**sizes)
    )
    load(mixer, weights)
    return recorded, mixer, utilities(recorded["agent_qs"].requires_grad_())


@pytest.mark.parametrize("case", cases("qmix", "q_tot"))
def test_golden_qmix_mixer_and_credits(case):
    recorded, mixer, given = recorded_qmix(case)
    state = recorded["states"]
    assert_close(mixer(given, state).q_tot, recorded["q_tot"].squeeze(-1), **CLOSE)
    assert_close(
        mixer.credits(given, state, "exact"), recorded["credits_exact"], **CLOSE
    )
    assert_close(
        mixer.credits(given, state, "published"),
        recorded["credits_official_closed_form"],
        **CLOSE,
    )
    assert_close(credits(mixer, given, state), recorded["credits_exact"], **CLOSE)


def credits_with_graph(mixer, given, state, kind):
    if kind == "autograd":
        return credits(mixer, given, state, create_graph=True)
    if kind == "published":
        given = given.with_chosen(given.chosen.detach())
    return mixer.credits(given, state, kind)


@pytest.mark.parametrize("case", cases("qmix", "q_tot"))
@pytest.mark.parametrize("kind", ["autograd", "exact", "published"])
def test_golden_qmix_gradients_of_credits(case, kind):
    recorded, mixer, given = recorded_qmix(case)
    found = credits_with_graph(mixer, given, recorded["states"], kind)
    (recorded["probe"] * found).sum().backward()
    prefix = "grad_probe_closed_form/" if kind == "published" else "grad_probe_exact/"
    inputs = {"agent_qs": given.chosen, **dict(mixer.named_parameters())}
    for name, value in within(recorded, prefix).items():
        gradient = inputs[name].grad
        if gradient is None:
            gradient = torch.zeros_like(value)
        assert_close(gradient, value, **CLOSE)


# --------------------------------------------------------------------- contrastive loss


@pytest.mark.parametrize("case", cases("cia_loss", "cia_loss"))
def test_golden_cia_and_cc_loss(case):
    recorded = group("cia_loss", case)
    x = recorded["credits"].transpose(1, 2).clone().requires_grad_()  # [B, T, K]
    w = recorded["identity.weight"].clone().requires_grad_()
    b = recorded["identity.bias"].clone().requires_grad_()
    assert w.shape[1] == recorded["pad_length"]
    # row: identity, column: whose credits
    logits = similarities(x, w) + b.unsqueeze(-1)
    assert_close(logits, recorded["cia_logits"], **CLOSE)
    assert_close(logits.transpose(1, 2), recorded["cc_logits"], **CLOSE)

    for name in ("cia", "cc"):
        for tensor in (x, w, b):
            tensor.grad = None
        loss = cia_loss(x, w) if name == "cia" else cc_loss(x, w, b)
        loss.backward()
        assert_close(loss.detach(), recorded[f"{name}_loss"], **CLOSE)
        assert_close(x.grad.transpose(1, 2), recorded[f"{name}_grad_credits"], **CLOSE)
        assert_close(w.grad, recorded[f"{name}_grad_weight"], **CLOSE)
    assert_close(b.grad, recorded["cc_grad_bias"], **CLOSE)
    # the published bias of the identity layer gets no gradient
    assert recorded["cia_grad_bias"].abs().max() < 1e-7
    assert_close(cia_loss(x, w).detach(), recorded["cia_loss_zero_bias"], **CLOSE)


# ------------------------------------------------------------------------ whole updates


def check_everywhere(learner, batch, recorded: dict):
    """The forward pass; Q_tot at padded steps too."""
    record = check_forward(learner, batch, recorded)
    check(record.q_tot, recorded["q_tot"], "q_tot")
    return record


@pytest.mark.parametrize("case", cases("vdn", "loss"))
def test_golden_vdn_learner(case):
    recorded = group("vdn", case)
    batch = within(recorded, "batch/")
    settings = config(
        mixer="vdn",
        hidden_size=len(recorded["init/agent.fc_in.bias"]),
        double_q="double" in case,
    )
    sizes = spec(batch, horizon=batch["reward"].shape[1])
    learner = recorded_learner(recorded, settings, sizes, AGENT)
    check_everywhere(learner, episodes(batch), recorded)
    names = {"loss": "loss", "td_loss": "loss", "gradient_norm": "grad_norm"}
    check_updates(learner, episodes(batch), recorded, names, AGENT)


# case of train_step.npz:
# (case that holds its initial parameters, batch group, Config fields)
QMIX_CASES = {
    "turn_qmix": ("turn_cia_qmix", "turn_batch", {}),
    "turn_cia_qmix": ("turn_cia_qmix", "turn_batch", {"terms": ("cia",)}),
    "varlen_cia_qmix": (
        "varlen_cia_qmix",
        "varlen_cia_qmix/batch",
        {"terms": ("cia",)},
    ),
    "varlen_cia_qmix_adam": (
        "varlen_cia_qmix",
        "varlen_cia_qmix/batch",
        {"terms": ("cia",), "optimizer": "adam"},
    ),
}


@pytest.mark.parametrize("case", QMIX_CASES)
def test_golden_qmix_train_step(case):
    source, batch_group, fields = QMIX_CASES[case]
    recorded = group("train_step", case)
    start = group("train_step", source)
    batch = group("train_step", batch_group)
    init = within(start, "init/")
    alpha = round(float(start["alpha"]), 6)
    _, sizes = qmix_sizes(init, "mixer.")
    settings = config(
        hidden_size=len(init["agent.fc_in.bias"]),
        cia_coefficient=alpha if "terms" in fields else 0.0,
        credit_derivative="published",
        **sizes,
        **fields,
    )
    names = {"loss": "loss", "td_loss": "td_loss", "gradient_norm": "grad_norm"}
    table = {**AGENT, **QMIX, "identity": None}
    if settings.terms:
        names["cia"] = "cl_loss"
        table = {**AGENT, **QMIX, **IDENTITIES}
    horizon = int(start["episode_limit"])
    learner = recorded_learner(start, settings, spec(batch, horizon), table)
    record = check_everywhere(learner, episodes(batch), recorded)
    if settings.terms:
        assert isinstance(learner.online["terms"]["cia"], CIA)
        credits = temporal_credits(record, settings).detach().transpose(1, 2)
        padded = recorded["temporal_credits_padded"]
        assert_close(credits, padded[..., : credits.shape[-1]], **CLOSE)
        assert (padded[..., credits.shape[-1] :] == 0).all()
    check_updates(learner, episodes(batch), recorded, names, table)
