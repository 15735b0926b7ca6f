"""Every module against numbers recorded from the published implementations."""

import pytest
import torch
from support.golden import (
    cases,
    config,
    episodes,
    group,
    load,
    parameters,
    qmix_sizes,
    spec,
    utilities,
)
from torch.testing import assert_close

from ciacore.cia import CIA, cc_loss, cia_loss, similarities, temporal_credits
from ciacore.credits import credits
from ciacore.games import Turn
from ciacore.games.turn import TurnState
from ciacore.learning.learner import Learner
from ciacore.methods import MIXERS, assemble
from ciacore.types import Spec

close = {"rtol": 2e-4, "atol": 1e-5}  # outputs, losses, gradients
close_parameters = {"rtol": 0.0, "atol": 1e-5}  # after 1 and 3 updates


# ------------------------------------------------------------------------------------------------
# Turn


def natural_order() -> torch.Tensor:
    """Where the published (0, +1, -1) window order has the cell that ours has in order (-1, 0, +1)."""
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


# ------------------------------------------------------------------------------------------------
# mixers and credits


def test_golden_vdn_mixer():
    recorded = group("vdn", "mixer")
    mixer = MIXERS["vdn"](Spec(recorded["agent_qs"].shape[-1], 1, 1, 1, 0, 1), config())
    state = torch.zeros(*recorded["agent_qs"].shape[:2], 1)
    assert_close(
        mixer(utilities(recorded["agent_qs"]), state).q_tot,
        recorded["q_tot"].squeeze(-1),
        **close,
    )
    assert_close(
        credits(mixer, utilities(recorded["agent_qs"]), state),
        recorded["credits"],
        **close,
    )


def recorded_qmix(case: str):
    recorded = group("qmix", case)
    weights = {
        key[2:]: value for key, value in recorded.items() if key.startswith("w/")
    }
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
    assert_close(mixer(given, state).q_tot, recorded["q_tot"].squeeze(-1), **close)
    assert_close(
        mixer.credits(given, state, "exact"), recorded["credits_exact"], **close
    )
    assert_close(
        mixer.credits(given, state, "published"),
        recorded["credits_official_closed_form"],
        **close,
    )
    assert_close(credits(mixer, given, state), recorded["credits_exact"], **close)


def credits_with_graph(mixer, given, state, kind):
    if kind == "autograd":
        return credits(mixer, given, state, create_graph=True)
    if kind == "published":
        given = given._replace(chosen=given.chosen.detach())
    return mixer.credits(given, state, kind)


@pytest.mark.parametrize("case", cases("qmix", "q_tot"))
@pytest.mark.parametrize("kind", ["autograd", "exact", "published"])
def test_golden_qmix_gradients_of_credits(case, kind):
    recorded, mixer, given = recorded_qmix(case)
    (
        recorded["probe"] * credits_with_graph(mixer, given, recorded["states"], kind)
    ).sum().backward()
    prefix = "grad_probe_closed_form/" if kind == "published" else "grad_probe_exact/"
    expected = {
        key[len(prefix) :]: value
        for key, value in recorded.items()
        if key.startswith(prefix)
    }
    gradients = {"agent_qs": given.chosen, **dict(mixer.named_parameters())}
    for name, value in expected.items():
        gradient = gradients[name].grad
        assert_close(
            torch.zeros_like(value) if gradient is None else gradient, value, **close
        )


# ------------------------------------------------------------------------------------------------
# contrastive loss


@pytest.mark.parametrize("case", cases("cia_loss", "cia_loss"))
def test_golden_cia_and_cc_loss(case):
    recorded = group("cia_loss", case)
    x = recorded["credits"].transpose(1, 2).clone().requires_grad_()  # [B, T, K]
    w = recorded["identity.weight"].clone().requires_grad_()
    b = recorded["identity.bias"].clone().requires_grad_()
    assert w.shape[1] == recorded["pad_length"]
    # row: identity, column: whose credits
    logits = similarities(x, w) + b.unsqueeze(-1)
    assert_close(logits, recorded["cia_logits"], **close)
    assert_close(logits.transpose(1, 2), recorded["cc_logits"], **close)

    for name in ("cia", "cc"):
        for tensor in (x, w, b):
            tensor.grad = None
        loss = cia_loss(x, w) if name == "cia" else cc_loss(x, w, b)
        loss.backward()
        assert_close(loss.detach(), recorded[f"{name}_loss"], **close)
        assert_close(x.grad.transpose(1, 2), recorded[f"{name}_grad_credits"], **close)
        assert_close(w.grad, recorded[f"{name}_grad_weight"], **close)
    assert_close(b.grad, recorded["cc_grad_bias"], **close)
    # the published bias of the identity layer gets no gradient
    assert recorded["cia_grad_bias"].abs().max() < 1e-7
    assert_close(cia_loss(x, w).detach(), recorded["cia_loss_zero_bias"], **close)


# ------------------------------------------------------------------------------------------------
# whole updates


def check_updates(
    learner: Learner,
    batch,
    recorded: dict,
    groups: list[str],
    loss_names: dict[str, str],
):
    """Three updates on one batch: losses and gradient norm of each, gradients before, parameters after 1 and 3."""
    for update in range(3):
        losses = learner.update(batch)
        for ours, theirs in loss_names.items():
            assert_close(
                losses[ours],
                recorded[theirs].reshape(-1)[update],
                **close,
                msg=f"{ours} {update}",
            )
        if update == 0 and any(key.startswith("grad/") for key in recorded):
            clip = min(1.0, 10.0 / (float(losses["gradient_norm"]) + 1e-6))
            compare(
                learner,
                recorded,
                "grad",
                groups,
                lambda p, clip=clip: p.grad / clip,
                close,
            )
        if update in (0, 2):
            compare(
                learner,
                recorded,
                f"after{update + 1}",
                groups,
                lambda p: p.detach(),
                close_parameters,
            )


def compare(learner, recorded, when, groups, read, tolerance):
    values = {
        key.split("/", 1)[1]: value
        for key, value in recorded.items()
        if key.startswith(f"{when}/")
    }
    for name in groups:
        expected = parameters(values, name)
        assert expected
        ours = dict(learner.online[name].named_parameters())
        assert set(ours) == set(expected)
        for key, value in expected.items():
            assert_close(
                read(ours[key]), value, **tolerance, msg=f"{when} {name}.{key}"
            )


def check_forward(learner: Learner, batch, recorded: dict):
    record = learner.forward(batch)
    mask = recorded["mask"].squeeze(-1)
    assert_close(record.action_values, recorded["agent_q"], **close)
    assert_close(record.q_tot, recorded["q_tot"].squeeze(-1), **close)
    assert_close(record.targets * mask, recorded["targets"].squeeze(-1), **close)
    return record


@pytest.mark.parametrize("case", cases("vdn", "loss"))
def test_golden_vdn_learner(case):
    recorded = group("vdn", case)
    batch = {
        key[6:]: value for key, value in recorded.items() if key.startswith("batch/")
    }
    init = {
        key[5:]: value for key, value in recorded.items() if key.startswith("init/")
    }
    fields = {
        "mixer": "vdn",
        "hidden_size": len(init["agent.fc_in.bias"]),
        "double_q": "double" in case,
    }
    settings, sizes = config(**fields), spec(batch, horizon=batch["reward"].shape[1])
    learner = Learner(assemble(sizes, settings), settings)
    load(learner.online["agent"], parameters(init, "agent"))
    load(learner.target["agent"], parameters(init, "target_agent"))
    check_forward(learner, episodes(batch), recorded)
    names = {"loss": "loss", "td_loss": "loss", "gradient_norm": "grad_norm"}
    check_updates(learner, episodes(batch), recorded, ["agent"], names)


# case of train_step.npz: (case that holds its initial parameters, batch group, Config
# fields)
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
    recorded, start, batch = (
        group("train_step", case),
        group("train_step", source),
        group("train_step", batch_group),
    )
    init = {key[5:]: value for key, value in start.items() if key.startswith("init/")}
    _, sizes = qmix_sizes(init, "mixer.")
    settings = config(
        hidden_size=len(init["agent.fc_in.bias"]),
        cia_coefficient=round(float(start["alpha"]), 6) if fields.get("terms") else 0.0,
        credit_derivative="published",
        **sizes,
        **fields,
    )
    sizes = spec(batch, horizon=int(start["episode_limit"]))
    learner = Learner(assemble(sizes, settings), settings)
    for name in ("agent", "mixer"):
        load(learner.online[name], parameters(init, name))
        load(learner.target[name], parameters(init, f"target_{name}"))
    names = {"loss": "loss", "td_loss": "td_loss", "gradient_norm": "grad_norm"}
    record = check_forward(learner, episodes(batch), recorded)
    if settings.terms:
        learner.online["terms"]["cia"].identities.data.copy_(init["identity.weight"])
        credits = temporal_credits(record, settings).detach().transpose(1, 2)
        padded = recorded["temporal_credits_padded"]
        assert_close(credits, padded[..., : credits.shape[-1]], **close)
        assert (padded[..., credits.shape[-1] :] == 0).all()
        names["cia"] = "cl_loss"
    check_updates(learner, episodes(batch), recorded, ["agent", "mixer"], names)
    if settings.terms:
        identities = learner.online["terms"]["cia"].identities.detach()
        assert_close(identities, recorded["after3/identity.weight"], **close_parameters)
        assert isinstance(learner.online["terms"]["cia"], CIA)
