"""Every method against numbers recorded from its published implementation: whole updates, and the parts alone."""

import copy

import pytest
import torch
from support.golden import (
    DMAQ,
    RENAMED,
    config,
    episodes,
    group,
    part,
    spec,
    translated,
)
from torch.testing import assert_close

from ciacore.baselines.eoi import EOI, Rows, identity_loss
from ciacore.baselines.gre import credit_entropy
from ciacore.baselines.maven import behaviours
from ciacore.baselines.scds import policy_divergence
from ciacore.cia import temporal_credits
from ciacore.config import Config
from ciacore.credits import credits
from ciacore.learning.learner import Learner
from ciacore.methods import METHODS, MIXERS, assemble
from ciacore.types import Forward, Spec, Utilities

close = {"rtol": 2e-4, "atol": 1e-5}  # outputs, losses, gradients
close_parameters = {"rtol": 0.0, "atol": 1e-5}  # after 1 and 3 updates


def batch_of(recorded: dict, name: str = "batch") -> dict:
    return {
        key[len(name) + 1 :]: value
        for key, value in recorded.items()
        if key.startswith(f"{name}/")
    }


def recorded_learner(
    recorded: dict, settings: Config, sizes: Spec, renamed=RENAMED
) -> Learner:
    """Our learner with the recorded initial parameters, online and target."""
    learner = Learner(assemble(sizes, settings), settings)
    target = part(recorded, "init", renamed, target=True)
    own = {
        name: value
        for name, value in learner.target.state_dict().items()
        if name not in target
    }
    learner.online.load_state_dict(part(recorded, "init", renamed), strict=True)
    learner.target.load_state_dict({**target, **own}, strict=True)
    return learner


def check(
    value: torch.Tensor,
    expected: torch.Tensor,
    what: str,
    weights: torch.Tensor | None = None,
) -> None:
    """Within tolerance; where `weights` are given, at real steps only."""
    expected = expected.reshape(value.shape)
    if weights is not None:
        value, expected = value * weights, expected * weights
    assert_close(value.detach(), expected, **close, msg=lambda text: f"{what}: {text}")


def check_updates(
    learner: Learner,
    batch,
    recorded: dict,
    losses: dict[str, str],
    renamed=RENAMED,
    known=None,
):
    """Updates on one batch: losses, gradient norm, gradients before clipping, and parameters after 1 and 3."""
    last = 3 if any(key.startswith("after3/") for key in recorded) else 1
    for update in range(1, last + 1):
        found = learner.update(batch)
        for ours, theirs in losses.items():
            values = recorded[theirs].reshape(-1)
            if update <= len(values):
                assert_close(
                    found[ours],
                    values[update - 1],
                    **close,
                    msg=lambda text, name=ours: f"{name}: {text}",
                )
        clip = min(1.0, 10.0 / (float(found["gradient_norm"]) + 1e-6))
        online = dict(learner.online.named_parameters())
        if update == 1 and any(key.startswith("grad/") for key in recorded):
            gradients = {
                name: torch.zeros_like(one) if one.grad is None else one.grad / clip
                for name, one in online.items()
            }
            compare(gradients, part(recorded, "grad", renamed), close)
        if update in (1, 3):
            compare(online, part(recorded, f"after{update}", renamed), close_parameters)


def compare(ours: dict, expected: dict, tolerance: dict) -> None:
    expected = {
        name: value
        for name, value in expected.items()
        if not name.startswith("predict_")
    }
    assert set(ours) == set(expected)
    for name, value in expected.items():
        assert_close(
            ours[name].detach(),
            value,
            **tolerance,
            msg=lambda text, name=name: f"{name}: {text}",
        )


def check_forward(
    learner: Learner, batch, recorded: dict, q_tot: str = "q_tot"
) -> Forward:
    record = learner.forward(batch)
    check(record.action_values, recorded["agent_q"], "agent_q")
    check(record.q_tot, recorded[q_tot], "q_tot", batch.weights)
    check(record.targets, recorded["targets"], "targets", batch.weights)
    return record


# -------------------------------------------------------------------------------- QPLEX


def qplex_fields(mixer: dict[str, torch.Tensor]) -> tuple[dict, int, list]:
    """Config fields, unit size and renaming of a recorded QPLEX mixer; names are ours, without `mixer.`."""
    kernels = len(mixer["importance.key.weight"])
    if "weights.key.0.weight" in mixer:
        size, unit_size = mixer["weights.key.0.weight"].shape
        fields = {"qplex_weights": "qatten", "mixing_size": size}
        fields["hypernetwork_size"] = len(mixer["weights.query.0.0.weight"])
        return {**fields, "qplex_kernels": kernels}, unit_size
    if "weights.weight.0.weight" in mixer:
        hidden = len(mixer["weights.weight.0.weight"])
        return {
            "qplex_weights": "dmaq",
            "hypernetwork_size": hidden,
            "qplex_kernels": kernels,
        }, 0
    return {"qplex_weights": "unweighted", "qplex_kernels": kernels}, 0


@pytest.mark.parametrize("case", ["qatten", "dmaq", "dmaq_unweighted"])
def test_golden_qplex_mixer_and_credits(case):
    recorded = group("qplex", case)
    given = {
        f"mixer.{key[2:]}": value
        for key, value in recorded.items()
        if key.startswith("w/")
    }
    renamed = RENAMED + (DMAQ if case == "dmaq" else [])
    weights = {key[6:]: value for key, value in translated(given, renamed).items()}
    if case == "dmaq_unweighted":  # recorded, but without effect
        weights = {
            key: value
            for key, value in weights.items()
            if key.startswith("importance.")
        }
    fields, unit_size = qplex_fields(weights)
    n_agents, n_actions, _, _ = recorded["config"].int().tolist()[:4]
    states, n_actions = recorded["states"], int(recorded["config"][1])
    mixer = MIXERS["qplex"](
        Spec(n_agents, n_actions, 1, states.shape[-1], unit_size, 1), config(**fields)
    )
    mixer.load_state_dict(weights, strict=True)
    actions = torch.nn.functional.one_hot(recorded["actions"], n_actions).float()
    utilities = Utilities(
        recorded["agent_qs"].requires_grad_(), recorded["max_q_i"], actions
    )
    mixing = mixer.at(states)
    check(mixing(utilities).q_tot, recorded["q_tot"], "q_tot")
    check((mixing.w * utilities.chosen + mixing.v).sum(-1), recorded["v_tot"], "v_tot")
    check(mixing.importance(actions), recorded["adv_lambda"], "adv_lambda")
    check(
        mixing(utilities).q_tot - (mixing.w * utilities.chosen + mixing.v).sum(-1),
        recorded["adv_tot"],
        "adv_tot",
    )
    found = credits(mixer, utilities, states, create_graph=True)
    check(found, recorded["credits"], "credits")
    if case == "qatten":
        check(
            mixing.penalty.mean(),
            recorded["attention_regulariser"],
            "attention_regulariser",
        )
        check(mixing.w, recorded["head_sum_weights"], "head_sum_weights")
        check(mixing.v.sum(-1), recorded["state_value"], "state_value")
    if not found.requires_grad:
        assert case == "dmaq_unweighted"
        return
    (recorded["probe"] * found).sum().backward()
    probed = {
        key[11:]: value
        for key, value in recorded.items()
        if key.startswith("grad_probe/")
    }
    agent_gradient = probed.pop("agent_qs", torch.zeros(()))
    # credits do not depend on the utilities
    assert (agent_gradient == 0).all() and utilities.chosen.grad is None
    expected = translated(
        {f"mixer.{key}": value for key, value in probed.items()}, renamed
    )
    for name, one in mixer.named_parameters():
        gradient = torch.zeros_like(one) if one.grad is None else one.grad
        assert_close(gradient, expected[f"mixer.{name}"], **close)


@pytest.mark.parametrize("case", ["learner_dmaq", "learner_dmaq_qatten"])
def test_golden_qplex_learner(case):
    recorded = group("qplex", case)
    renamed = RENAMED + (DMAQ if case == "learner_dmaq" else [])
    batch, init = batch_of(recorded), part(recorded, "init", renamed)
    fields, unit_size = qplex_fields(
        {key[6:]: value for key, value in init.items() if key.startswith("mixer.")}
    )
    settings = config(
        mixer="qplex", hidden_size=len(init["agent.fc_in.bias"]), **fields
    )
    sizes = spec(batch, batch["reward"].shape[1], unit_size)
    learner = recorded_learner(recorded, settings, sizes, renamed)
    check_forward(learner, episodes(batch), recorded)
    losses = {"loss": "loss", "td_loss": "td_loss"}
    losses |= {"gradient_norm": "grad_norm"} if "grad_norm" in recorded else {}
    losses |= (
        {"penalty": "attention_regulariser"}
        if "attention_regulariser" in recorded
        else {}
    )
    check_updates(learner, episodes(batch), recorded, losses, renamed)


@pytest.mark.parametrize(
    "case", ["turn_cia_dmaq", "turn_cia_qatten", "varlen_cia_qatten"]
)
def test_golden_qplex_cia_train_step(case):
    recorded = group("train_step", case)
    batch = batch_of(recorded) or batch_of(group("train_step"), "turn_batch")
    renamed = RENAMED + (DMAQ if case == "turn_cia_dmaq" else [])
    init = part(recorded, "init", renamed)
    fields, unit_size = qplex_fields(
        {key[6:]: value for key, value in init.items() if key.startswith("mixer.")}
    )
    if case == "turn_cia_qatten":  # the published `is_token` state
        batch["state"] = torch.cat([batch["state"], batch["state"]], dim=-1)
    settings = METHODS["qplex_cia"].but(
        hidden_size=len(init["agent.fc_in.bias"]),
        cia_coefficient=round(float(recorded["alpha"]), 6),
        **fields,
    )
    learner = recorded_learner(
        recorded,
        settings,
        spec(batch, int(recorded["episode_limit"]), unit_size),
        renamed,
    )
    record = check_forward(learner, episodes(batch), recorded)
    found = temporal_credits(record, settings).detach().transpose(1, 2)
    check(found, recorded["temporal_credits_padded"][..., : found.shape[-1]], "credits")
    if case == "turn_cia_qatten":  # all that it can say
        assert_close(found, torch.full_like(found, settings.qplex_heads / 2))
    losses = {
        "loss": "loss",
        "td_loss": "td_loss",
        "cia": "cl_loss",
        "gradient_norm": "grad_norm",
    }
    check_updates(learner, episodes(batch), recorded, losses, renamed)


# -------------------------------------------------------------------------------- QTRAN


@pytest.mark.parametrize("case", ["paper", "paper_single_q"])
def test_golden_qtran(case):
    recorded = group("qtran", case)
    batch, init = batch_of(recorded), part(recorded, "init", RENAMED)
    settings = METHODS["qtran"].but(
        hidden_size=len(init["agent.fc_in.bias"]),
        mixing_size=len(init["backbone.joint_q.0.bias"]),
        double_q=case == "paper",
    )
    given = episodes(batch)
    learner = recorded_learner(
        recorded, settings, spec(batch, batch["reward"].shape[1])
    )
    record, backbone, mask = (
        learner.forward(given),
        learner.online["backbone"],
        given.weights,
    )
    actions = torch.nn.functional.pad(given.actions, (0, 0, 0, 1))
    free = backbone.joint(given.states, recorded["free/hidden"], actions)[:, :-1]
    check(free, recorded["free/joint_q"][:, :-1], "free/joint_q", mask)
    check(record.hidden, recorded["hidden_states"], "hidden_states")
    check(record.action_values, recorded["agent_q"], "agent_q")
    check(
        record.utilities.chosen,
        recorded["agent_q_taken"],
        "agent_q_taken",
        mask.unsqueeze(-1),
    )
    taken = backbone.joint(record.states, record.hidden[:, :-1], given.actions)
    check(taken, recorded["joint_q_taken"], "joint_q_taken", mask)
    check(
        record.q_tot - record.utilities.chosen.sum(-1),
        recorded["joint_v"],
        "joint_v",
        mask,
    )
    check(record.targets, recorded["td_targets"], "td_targets", mask)
    losses = {"loss": "loss", "td_loss": "td_loss", "opt_loss": "opt_loss"}
    losses |= {"gradient_norm": "grad_norm"} if "grad_norm" in recorded else {}
    check(
        settings.qtran_nopt * recorded["nopt_loss"],
        backbone(record)["nopt_loss"].detach(),
        "nopt_loss",
    )
    check_updates(learner, given, recorded, losses)


# --------------------------------------------------------------------------------
# Weighted QMIX


@pytest.mark.parametrize("case", ["ow_0.1", "cw_0.1", "ow_0.75", "cw_0.75"])
def test_golden_wqmix(case):
    recorded = group("wqmix", case)
    batch, init = batch_of(recorded), part(recorded, "init", RENAMED)
    settings = METHODS[f"{case[:2]}_qmix"].but(
        hidden_size=len(init["agent.fc_in.bias"]),
        mixing_size=len(init["mixer.hyper_b1.bias"]),
        hypernetwork_size=len(init["mixer.hyper_w1.0.bias"]),
        central_size=len(init["backbone.central_mixer.value.0.bias"]),
        weighting_alpha=round(float(recorded["alpha"]), 6),
    )
    learner = recorded_learner(
        recorded, settings, spec(batch, batch["reward"].shape[1])
    )
    given = episodes(batch)
    record, backbone = (
        check_forward(learner, given, recorded),
        learner.online["backbone"],
    )
    alone = Utilities(
        recorded["central/agent_qs"], recorded["central/agent_qs"], torch.zeros(1)
    )
    check(
        backbone.central_mixer(alone, recorded["central/states"]).q_tot,
        recorded["central/q"],
        "central/q",
    )
    check(
        backbone.central_agent.unroll(given)[0],
        recorded["central_agent_q"],
        "central_agent_q",
    )
    real = given.weights > 0
    w = torch.where(backbone.weighting(record), 1.0, settings.weighting_alpha)
    assert torch.equal((w * given.weights)[real], recorded["weights"].squeeze(-1)[real])
    assert 0 < (w[real] == 1).sum() < real.sum()  # both weights occur
    if case.startswith("cw"):
        check(
            record.greedy_values[:, :-1],
            recorded["greedy_central_q_target"],
            "greedy_central_q",
            given.weights,
        )
    losses = {
        "loss": "loss",
        "td_loss": "qmix_loss",
        "central_loss": "central_loss",
        "gradient_norm": "grad_norm",
    }
    check_updates(learner, given, recorded, losses)


# -------------------------------------------------------------------------------- MAVEN


def test_golden_maven():
    recorded = group("maven", "default")
    batch, init = batch_of(recorded), part(recorded, "init", RENAMED)
    name = "terms.latent_information.discriminator"
    settings = METHODS["maven"].but(
        hidden_size=len(init["agent.fc_in.bias"]),
        mixing_size=len(init["mixer.hyper_b1.bias"]),
        latent_size=batch["noise"].shape[-1],
        maven_size=len(init[f"{name}.0.bias"]),
        maven_layers=sum(key.startswith(name) and key.endswith("bias") for key in init)
        - 1,
        maven_coefficient=float(recorded["mi_loss"]),
    )
    learner = recorded_learner(
        recorded, settings, spec(batch, batch["reward"].shape[1])
    )
    given, mixer = episodes(batch), learner.online["mixer"]
    alone = Utilities(
        recorded["mixer/agent_qs"], recorded["mixer/agent_qs"], torch.zeros(1)
    )
    told = torch.cat(
        [recorded["mixer/states"], recorded["mixer/noise"].float()], dim=-1
    )
    check(mixer(alone, told).q_tot, recorded["mixer/q_tot"], "mixer/q_tot")
    record = learner.forward(given)
    masked = record.action_values.masked_fill(~given.available, -9_999_999.0)
    check(masked, recorded["agent_q_masked"], "agent_q_masked")
    check(record.q_tot, recorded["q_tot"], "q_tot", given.weights)
    check(record.targets, recorded["targets"], "targets", given.weights)
    p = behaviours(record.action_values[:, :-1], given.available[:, :-1])
    check(
        p,
        recorded["action_probabilities"],
        "action_probabilities",
        given.weights[..., None, None],
    )
    losses = {
        "loss": "loss",
        "td_loss": "td_loss",
        "latent_information": "discriminator_loss",
    }
    losses |= {"gradient_norm": "grad_norm"} if "grad_norm" in recorded else {}
    check_updates(learner, given, recorded, losses)


# -------------------------------------------------------------------------------- GRE


def test_golden_credit_entropy():
    recorded = group("gre", "entropy")
    x = recorded["credits"].requires_grad_()
    value = credit_entropy(x)
    check(value, recorded["value"], "value")
    (recorded["probe"] * value).sum().backward()
    (gradient,) = [value for key, value in recorded.items() if key.startswith("grad")]
    assert_close(x.grad, gradient, **close)


@pytest.mark.parametrize("case", ["lamb_0.001", "lamb_0.5"])
def test_golden_gre(case):
    recorded = group("gre", case)
    batch, init = batch_of(recorded), part(recorded, "init", RENAMED)
    settings = METHODS["gre"].but(
        hidden_size=len(init["agent.fc_in.bias"]),
        mixing_size=len(init["mixer.hyper_b1.bias"]),
        hypernetwork_size=len(init["mixer.hyper_w1.0.bias"]),
        gre_coefficient=round(float(recorded["coefficient"]), 6),
    )
    learner = recorded_learner(
        recorded, settings, spec(batch, batch["reward"].shape[1])
    )
    given = episodes(batch)
    record = check_forward(learner, given, recorded)
    check(temporal_credits(record, settings), recorded["credits"], "credits")
    losses = {"loss": "loss", "td_loss": "td_loss", "gre": "entropy"}
    losses |= {"gradient_norm": "grad_norm"} if "grad_norm" in recorded else {}
    check_updates(learner, given, recorded, losses)


# -------------------------------------------------------------------------------- SCDS


LAYERS = {
    "without_id": {"0": "0", "1": "2", "2": "4"},
    "with_id": {"0": "first", "1": "second", "2": "third"},
}


def predictors(recorded: dict, when: str, start: str) -> dict[str, torch.Tensor]:
    """The recorded predictors under our names."""
    found = {}
    for name, layers in LAYERS.items():
        for theirs, ours in layers.items():
            for kind in ("weight", "bias"):
                found[f"{name}.{ours}.{kind}"] = recorded[
                    f"{when}/{start}{name.replace('_', '')}.{theirs}.{kind}"
                ]
    return found


@pytest.mark.parametrize("case", ["qplex_scds", "qplex_scds_annealed"])
def test_golden_scds(case):
    recorded = group("cds", case)
    batch = batch_of(recorded)
    n_agents, n_columns = (
        batch["obs"].shape[2],
        recorded["init/agent.fc_in.weight"].shape[1],
    )
    # the recorded agents have no identity
    for key in [key for key in recorded if key.endswith("agent.fc_in.weight")]:
        recorded[key] = torch.nn.functional.pad(recorded[key], (0, n_agents))
    init = part(recorded, "init", RENAMED)
    fields, unit_size = qplex_fields(
        {key[6:]: value for key, value in init.items() if key.startswith("mixer.")}
    )
    betas = {
        f"scds_{name}": round(float(recorded[name]), 6)
        for name in ("beta", "beta1", "beta2")
    }
    settings = METHODS["scds"].but(
        hidden_size=len(init["agent.fc_in.bias"]),
        scds_size=len(recorded["init/predict_withid.0.bias"]),
        scds_anneal=5.0 if "annealed" in case else 0.0,
        **betas,
        **fields,
    )
    init = {key: value for key, value in recorded.items() if "predict" not in key}
    learner = recorded_learner(
        init, settings, spec(batch, batch["reward"].shape[1], unit_size)
    )
    for networks in (learner.online, learner.target):
        networks["agent"].identity.zero_()
    part_ = learner.auxiliaries["scds"]
    for start, target in {"predict_": part_, "target_predict_": part_.targets}.items():
        target.load_state_dict(
            {**target.state_dict(), **predictors(recorded, "init", start)}, strict=True
        )
    learner.env_steps.fill_(float(recorded["t_env"]) if "t_env" in recorded else 0.0)
    given = episodes(batch)
    mask = given.weights.unsqueeze(-1)
    record = check_forward(learner, given, recorded)
    x, identities, after = part_.samples(given, record.hidden)
    check(x, recorded["predictor_input"], "predictor_input", mask.unsqueeze(-1))
    with_id = -((part_.targets["with_id"](x, identities) - after) ** 2).sum(-1)
    check(with_id, recorded["log_likelihood_with_id"], "with id", mask)
    without_id = -((part_.targets["without_id"](x) - after) ** 2).sum(-1)
    check(without_id, recorded["log_likelihood_without_id"], "without id", mask)
    divergence = policy_divergence(record.action_values[:, :-1], settings.scds_beta1)
    check(divergence, recorded["policy_divergence"], "policy_divergence", mask)
    share = part_.share_left(learner.env_steps)
    assert (share == 1) == ("annealed" not in case)
    rewards = share * part_.rewards(given, record.action_values, record.hidden)
    check(
        rewards,
        recorded["intrinsic_reward_per_agent"],
        "intrinsic_reward_per_agent",
        mask,
    )
    reward = (
        part_.reward(given, record.action_values, record.hidden, learner.env_steps)
        / settings.scds_beta
    )
    check(reward, recorded["intrinsic_reward"], "intrinsic_reward", given.weights)
    losses = {"loss": "loss", "td_loss": "td_loss", "penalty": "attention_regulariser"}
    losses |= {"gradient_norm": "grad_norm"} if "grad_norm" in recorded else {}
    check_updates(learner, given, recorded, losses)
    assert n_columns == batch["obs"].shape[-1] + batch["avail_actions"].shape[-1]
    ours = part_.state_dict()
    for name, value in predictors(recorded, "after1", "predict_").items():
        assert_close(
            ours[name],
            value,
            **close_parameters,
            msg=lambda text, name=name: f"{name}: {text}",
        )


# -------------------------------------------------------------------------------- EOI


def recorded_eoi() -> tuple[dict, EOI]:
    recorded = group("eoi")
    n_agents, n_actions = (
        len(recorded["init/classifier.4.bias"]),
        len(recorded["init/intrinsic_q.4.bias"]),
    )
    ours = EOI(
        Spec(n_agents, n_actions, recorded["obs"].shape[-1], 1, 0, 1), METHODS["eoi"]
    )
    names = {
        "classifier": "classifier",
        "intrinsic_q": "values",
        "target_intrinsic_q": "target",
    }
    for theirs, mine in names.items():
        getattr(ours, mine).load_state_dict(translated_part(recorded, "init", theirs))
    ours.make_optimizers()
    return recorded, ours


def translated_part(recorded: dict, when: str, name: str) -> dict:
    start = f"{when}/{name}."
    return {
        key[len(start) :]: value
        for key, value in recorded.items()
        if key.startswith(start)
    }


def test_golden_eoi_steps():
    recorded, ours = recorded_eoi()
    rows = [recorded[name] for name in ("obs", "next_obs", "agent_id", "actions")] + [
        recorded["done"].bool()
    ]
    p = ours.classifier(recorded["next_obs"]).softmax(-1)
    check(p, recorded["init_probabilities_next_obs"], "init_probabilities_next_obs")
    loss = identity_loss(p, recorded["agent_id"])
    parts = (
        recorded["classifier_cross_entropy_part"] + recorded["classifier_entropy_part"]
    )
    check(loss, parts, "parts of the classifier's loss")
    values = ours.values(ours.with_identity(recorded["obs"], recorded["agent_id"]))
    check(values, recorded["init_intrinsic_q_obs"], "init_intrinsic_q_obs")
    for update in range(1, 4):
        before = copy.deepcopy(ours)
        found = ours.descend_once(Rows(*rows))
        check(
            found["classifier_loss"],
            recorded["classifier_loss"][update - 1],
            f"classifier_loss {update}",
        )
        check(
            found["value_loss"],
            recorded["intrinsic_q_loss"][update - 1],
            f"value_loss {update}",
        )
        if update == 1:
            reward = (
                ours.classifier(recorded["obs"])
                .softmax(-1)
                .gather(-1, rows[2].unsqueeze(-1))
            )
            check(reward, recorded["intrinsic_reward"], "intrinsic_reward")
            best = before.target(
                ours.with_identity(recorded["next_obs"], rows[2])
            ).amax(-1)
            value = 10 * reward.squeeze(-1) + 0.92 * ~rows[4] * best
            check(value, recorded["bootstrapped_value"], "bootstrapped_value")
        if update in (1, 3):
            for theirs, mine in {
                "classifier": "classifier",
                "intrinsic_q": "values",
                "target_intrinsic_q": "target",
            }.items():
                for name, value in translated_part(
                    recorded, f"after{update}", theirs
                ).items():
                    assert_close(
                        getattr(ours, mine).state_dict()[name],
                        value,
                        **close_parameters,
                    )


def test_golden_eoi_rows():
    recorded, ours = recorded_eoi()
    rows = {
        key[5:]: value for key, value in recorded.items() if key.startswith("rows/")
    }
    terminated = rows["episode_terminated"]
    steps = terminated.shape[1] - 1
    before = torch.nn.functional.pad(terminated.cumsum(1), (1, 0))[:, :steps]
    weights = (before == 0).float()
    given = episodes(
        {
            "obs": rows["episode_obs"],
            "state": torch.zeros(*rows["episode_obs"].shape[:2], 1),
            "actions": rows["episode_actions"],
            "avail_actions": torch.ones(*rows["episode_actions"].shape, 5),
            "reward": torch.zeros(weights.shape),
            "terminated": terminated[:, :steps],
            "mask": weights,
        }
    )
    observations, after, agents, actions, ended = ours.rows(given)
    assert torch.equal(ours.with_identity(observations, agents), rows["o"])
    assert torch.equal(ours.with_identity(after, agents), rows["next_o"])
    assert torch.equal(actions, rows["a"]) and torch.equal(
        ended.long(), rows["d"].long()
    )
