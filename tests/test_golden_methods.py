"""Every method against numbers recorded from its published code: updates, and parts."""

import copy

import pytest
import torch
from support.golden import (
    AGENT,
    CENTRAL,
    CLOSE,
    CLOSE_PARAMETERS,
    EOI_TARGET,
    IDENTITIES,
    MAVEN,
    PREDICTORS,
    QMIX,
    QPLEX,
    QTRAN,
    check,
    check_all,
    check_forward,
    check_updates,
    config,
    episodes,
    group,
    parameters,
    recorded_learner,
    spec,
    translated,
    within,
)
from support.golden import EOI as EOI_TABLE
from torch.testing import assert_close

from ciacore.baselines.eoi import EOI, Rows, identity_loss
from ciacore.baselines.gre import credit_entropy
from ciacore.baselines.maven import behaviours
from ciacore.baselines.scds import policy_divergence
from ciacore.cia import temporal_credits
from ciacore.credits import credits
from ciacore.methods import METHODS, MIXERS
from ciacore.types import Spec, Utilities

LOSSES = {"loss": "loss", "td_loss": "td_loss", "gradient_norm": "grad_norm"}


def number(recorded: dict, name: str) -> float:
    """A recorded hyper-parameter, without the error of single precision."""
    return round(float(recorded[name]), 6)


def chosen_only(values: torch.Tensor) -> Utilities:
    """What a mixer is told that looks at the chosen utilities only."""
    return Utilities(values, values, torch.zeros(*values.shape, 1))


# -------------------------------------------------------------------------------- QPLEX


def qplex_fields(mixer: dict[str, torch.Tensor]) -> tuple[dict, int]:
    """Config fields and unit size of a recorded QPLEX mixer; names are ours."""
    fields = {"qplex_kernels": len(mixer["importance.key.weight"])}
    unit_size = 0
    if "weights.key.0.weight" in mixer:
        size, unit_size = mixer["weights.key.0.weight"].shape
        fields["qplex_weights"] = "qatten"
        fields["mixing_size"] = size
        fields["hypernetwork_size"] = len(mixer["weights.query.0.0.weight"])
    elif "weights.weight.0.weight" in mixer:
        fields["qplex_weights"] = "dmaq"
        fields["hypernetwork_size"] = len(mixer["weights.weight.0.weight"])
    else:
        fields["qplex_weights"] = "unweighted"
    return fields, unit_size


@pytest.mark.parametrize("case", ["qatten", "dmaq", "dmaq_unweighted"])
def test_golden_qplex_mixer_and_credits(case):
    recorded = group("qplex", case)

    def ours(prefix: str) -> dict[str, torch.Tensor]:
        """The arrays of the mixer under a prefix, under our names."""
        published = {
            f"mixer.{name}": value for name, value in within(recorded, prefix).items()
        }
        return within(translated(published, QPLEX[case]), "mixer.")

    weights = ours("w/")
    fields, unit_size = qplex_fields(weights)
    n_agents, n_actions = recorded["config"].int().tolist()[:2]
    states = recorded["states"]
    sizes = Spec(n_agents, n_actions, 1, states.shape[-1], unit_size, 1)
    mixer = MIXERS["qplex"](sizes, config(**fields))
    mixer.load_state_dict(weights, strict=True)
    actions = torch.nn.functional.one_hot(recorded["actions"], n_actions).float()
    chosen = recorded["agent_qs"].requires_grad_()
    utilities = Utilities(chosen, recorded["max_q_i"], actions)

    mixing = mixer.at(states)
    q_tot = mixing(utilities).q_tot
    v_tot = (mixing.w * chosen + mixing.v).sum(-1)
    check(q_tot, recorded["q_tot"], "q_tot")
    check(v_tot, recorded["v_tot"], "v_tot")
    check(q_tot - v_tot, recorded["adv_tot"], "adv_tot")
    check(mixing.importance(actions), recorded["adv_lambda"], "adv_lambda")
    found = credits(mixer, utilities, states, create_graph=True)
    check(found, recorded["credits"], "credits")
    if case == "qatten":
        penalty = recorded["attention_regulariser"]
        check(mixing.penalty.mean(), penalty, "attention_regulariser")
        check(mixing.w, recorded["head_sum_weights"], "head_sum_weights")
        check(mixing.v.sum(-1), recorded["state_value"], "state_value")
    if not found.requires_grad:
        assert case == "dmaq_unweighted"
        return

    (recorded["probe"] * found).sum().backward()
    # credits do not depend on the utilities
    assert chosen.grad is None
    agent_gradient = recorded.pop("grad_probe/agent_qs", torch.zeros(()))
    assert (agent_gradient == 0).all()
    expected = ours("grad_probe/")
    for name, parameter in mixer.named_parameters():
        gradient = parameter.grad
        if gradient is None:
            gradient = torch.zeros_like(parameter)
        assert_close(gradient, expected[name], **CLOSE)


@pytest.mark.parametrize("case", ["learner_dmaq", "learner_dmaq_qatten"])
def test_golden_qplex_learner(case):
    recorded = group("qplex", case)
    table = AGENT | QPLEX["dmaq" if case == "learner_dmaq" else "qatten"]
    batch = within(recorded, "batch/")
    init = parameters(recorded, "init", table)
    fields, unit_size = qplex_fields(within(init, "mixer."))
    hidden_size = len(init["agent.fc_in.bias"])
    settings = config(mixer="qplex", hidden_size=hidden_size, **fields)
    sizes = spec(batch, batch["reward"].shape[1], unit_size)
    learner = recorded_learner(recorded, settings, sizes, table)
    check_forward(learner, episodes(batch), recorded)
    losses = dict(LOSSES)
    if case == "learner_dmaq_qatten":
        losses["penalty"] = "attention_regulariser"
    check_updates(learner, episodes(batch), recorded, losses, table)


QPLEX_CIA_CASES = {
    "turn_cia_dmaq": ("dmaq", "turn_batch"),
    "turn_cia_qatten": ("qatten", "turn_batch"),
    "varlen_cia_qatten": ("qatten", "varlen_cia_qatten/batch"),
}


@pytest.mark.parametrize("case", QPLEX_CIA_CASES)
def test_golden_qplex_cia_train_step(case):
    weights, batch_group = QPLEX_CIA_CASES[case]
    recorded = group("train_step", case)
    batch = group("train_step", batch_group)
    table = AGENT | QPLEX[weights] | IDENTITIES
    init = parameters(recorded, "init", table)
    fields, unit_size = qplex_fields(within(init, "mixer."))
    if case == "turn_cia_qatten":  # the published `is_token` state
        batch["state"] = torch.cat([batch["state"], batch["state"]], dim=-1)
    settings = METHODS["qplex_cia"].but(
        hidden_size=len(init["agent.fc_in.bias"]),
        cia_coefficient=number(recorded, "alpha"),
        **fields,
    )
    sizes = spec(batch, int(recorded["episode_limit"]), unit_size)
    learner = recorded_learner(recorded, settings, sizes, table)
    record = check_forward(learner, episodes(batch), recorded)
    found = temporal_credits(record, settings).detach().transpose(1, 2)
    check(found, recorded["temporal_credits_padded"][..., : found.shape[-1]], "credits")
    if case == "turn_cia_qatten":  # all that it can say
        assert_close(found, torch.full_like(found, settings.qplex_heads / 2))
    losses = LOSSES | {"cia": "cl_loss"}
    check_updates(learner, episodes(batch), recorded, losses, table)


# -------------------------------------------------------------------------------- QTRAN


@pytest.mark.parametrize("case", ["paper", "paper_single_q"])
def test_golden_qtran(case):
    recorded = group("qtran", case)
    table = AGENT | QTRAN
    batch = within(recorded, "batch/")
    init = parameters(recorded, "init", table)
    settings = METHODS["qtran"].but(
        hidden_size=len(init["agent.fc_in.bias"]),
        mixing_size=len(init["backbone.joint_q.0.bias"]),
        double_q=case == "paper",
    )
    given = episodes(batch)
    mask = given.weights
    sizes = spec(batch, batch["reward"].shape[1])
    learner = recorded_learner(recorded, settings, sizes, table)
    record = learner.forward(given)
    backbone = learner.online["backbone"]

    actions = torch.nn.functional.pad(given.actions, (0, 0, 0, 1))
    free = backbone.joint(given.states, recorded["free/hidden"], actions)[:, :-1]
    check(free, recorded["free/joint_q"][:, :-1], "free/joint_q", mask)
    check(record.hidden, recorded["hidden_states"], "hidden_states")
    check(record.action_values, recorded["agent_q"], "agent_q")
    chosen = record.utilities.chosen
    check(chosen, recorded["agent_q_taken"], "agent_q_taken", mask.unsqueeze(-1))
    taken = backbone.joint(record.states, record.hidden[:, :-1], given.actions)
    check(taken, recorded["joint_q_taken"], "joint_q_taken", mask)
    check(record.q_tot - chosen.sum(-1), recorded["joint_v"], "joint_v", mask)
    check(record.targets, recorded["td_targets"], "td_targets", mask)
    nopt_loss = settings.qtran_nopt * recorded["nopt_loss"]
    check(backbone(record)["nopt_loss"], nopt_loss, "nopt_loss")
    losses = LOSSES | {"opt_loss": "opt_loss"}
    check_updates(learner, given, recorded, losses, table)


# ------------------------------------------------------------------------ Weighted QMIX


@pytest.mark.parametrize("case", ["ow_0.1", "cw_0.1", "ow_0.75", "cw_0.75"])
def test_golden_wqmix(case):
    recorded = group("wqmix", case)
    table = AGENT | QMIX | CENTRAL
    batch = within(recorded, "batch/")
    init = parameters(recorded, "init", table)
    settings = METHODS[f"{case[:2]}_qmix"].but(
        hidden_size=len(init["agent.fc_in.bias"]),
        mixing_size=len(init["mixer.hyper_b1.bias"]),
        hypernetwork_size=len(init["mixer.hyper_w1.0.bias"]),
        central_size=len(init["backbone.central_mixer.value.0.bias"]),
        weighting_alpha=number(recorded, "alpha"),
    )
    sizes = spec(batch, batch["reward"].shape[1])
    learner = recorded_learner(recorded, settings, sizes, table)
    given = episodes(batch)
    record = check_forward(learner, given, recorded)
    backbone = learner.online["backbone"]

    alone = chosen_only(recorded["central/agent_qs"])
    central = backbone.central_mixer(alone, recorded["central/states"])
    check(central.q_tot, recorded["central/q"], "central/q")
    central_values = backbone.central_agent.unroll(given)[0]
    check(central_values, recorded["central_agent_q"], "central_agent_q")
    real = given.weights > 0
    w = torch.where(backbone.weighting(record), 1.0, settings.weighting_alpha)
    assert torch.equal((w * given.weights)[real], recorded["weights"].squeeze(-1)[real])
    assert 0 < (w[real] == 1).sum() < real.sum()  # both weights occur
    if case.startswith("cw"):
        greedy = recorded["greedy_central_q_target"]
        ours = record.greedy_values[:, :-1]
        check(ours, greedy, "greedy_central_q", given.weights)
    losses = LOSSES | {"td_loss": "qmix_loss", "central_loss": "central_loss"}
    check_updates(learner, given, recorded, losses, table)


# -------------------------------------------------------------------------------- MAVEN


def test_golden_maven():
    recorded = group("maven", "default")
    table = AGENT | QMIX | MAVEN
    batch = within(recorded, "batch/")
    init = parameters(recorded, "init", table)
    discriminator = within(init, "terms.latent_information.discriminator.")
    layers = [name for name in discriminator if name.endswith("bias")]
    settings = METHODS["maven"].but(
        hidden_size=len(init["agent.fc_in.bias"]),
        mixing_size=len(init["mixer.hyper_b1.bias"]),
        latent_size=batch["noise"].shape[-1],
        maven_size=len(discriminator["0.bias"]),
        maven_layers=len(layers) - 1,
        maven_coefficient=float(recorded["mi_loss"]),
    )
    sizes = spec(batch, batch["reward"].shape[1])
    learner = recorded_learner(recorded, settings, sizes, table)
    given = episodes(batch)

    alone = chosen_only(recorded["mixer/agent_qs"])
    noise = recorded["mixer/noise"].float()
    states = torch.cat([recorded["mixer/states"], noise], dim=-1)
    q_tot = learner.online["mixer"](alone, states).q_tot
    check(q_tot, recorded["mixer/q_tot"], "mixer/q_tot")
    record = learner.forward(given)
    masked = record.action_values.masked_fill(~given.available, -9_999_999.0)
    check(masked, recorded["agent_q_masked"], "agent_q_masked")
    check(record.q_tot, recorded["q_tot"], "q_tot", given.weights)
    check(record.targets, recorded["targets"], "targets", given.weights)
    p = behaviours(record.action_values[:, :-1], given.available[:, :-1])
    weights = given.weights[..., None, None]
    check(p, recorded["action_probabilities"], "action_probabilities", weights)
    losses = LOSSES | {"latent_information": "discriminator_loss"}
    check_updates(learner, given, recorded, losses, table)


# ---------------------------------------------------------------------------------- GRE


def test_golden_credit_entropy():
    recorded = group("gre", "entropy")
    x = recorded["credits"].requires_grad_()
    value = credit_entropy(x)
    check(value, recorded["value"], "value")
    (recorded["probe"] * value).sum().backward()
    assert_close(x.grad, recorded["grad_credits"], **CLOSE)


@pytest.mark.parametrize("case", ["lamb_0.001", "lamb_0.5"])
def test_golden_gre(case):
    recorded = group("gre", case)
    table = AGENT | QMIX
    batch = within(recorded, "batch/")
    init = parameters(recorded, "init", table)
    settings = METHODS["gre"].but(
        hidden_size=len(init["agent.fc_in.bias"]),
        mixing_size=len(init["mixer.hyper_b1.bias"]),
        hypernetwork_size=len(init["mixer.hyper_w1.0.bias"]),
        gre_coefficient=number(recorded, "coefficient"),
    )
    sizes = spec(batch, batch["reward"].shape[1])
    learner = recorded_learner(recorded, settings, sizes, table)
    given = episodes(batch)
    record = check_forward(learner, given, recorded)
    check(temporal_credits(record, settings), recorded["credits"], "credits")
    losses = LOSSES | {"gre": "entropy"}
    check_updates(learner, given, recorded, losses, table)


# --------------------------------------------------------------------------------- SCDS

# one table for the learner's networks, one for the predictors beside them
SCDS_NETWORKS = {
    **AGENT,
    **QPLEX["qatten"],
    "predict_withid": None,
    "predict_withoutid": None,
}
SCDS_PREDICTORS = {**PREDICTORS, "agent": None, "mixer": None}


@pytest.mark.parametrize("case", ["qplex_scds", "qplex_scds_annealed"])
def test_golden_scds(case):
    recorded = group("cds", case)
    batch = within(recorded, "batch/")
    n_agents = batch["obs"].shape[2]
    n_columns = recorded["init/agent.fc_in.weight"].shape[1]
    # the recorded agents have no identity
    for name, value in recorded.items():
        if name.endswith("agent.fc_in.weight"):
            recorded[name] = torch.nn.functional.pad(value, (0, n_agents))
    assert n_columns == batch["obs"].shape[-1] + batch["avail_actions"].shape[-1]

    init = parameters(recorded, "init", SCDS_NETWORKS)
    fields, unit_size = qplex_fields(within(init, "mixer."))
    settings = METHODS["scds"].but(
        hidden_size=len(init["agent.fc_in.bias"]),
        scds_size=len(recorded["init/predict_withid.0.bias"]),
        scds_anneal=5.0 if "annealed" in case else 0.0,
        scds_beta=number(recorded, "beta"),
        scds_beta1=number(recorded, "beta1"),
        scds_beta2=number(recorded, "beta2"),
        **fields,
    )
    sizes = spec(batch, batch["reward"].shape[1], unit_size)
    learner = recorded_learner(recorded, settings, sizes, SCDS_NETWORKS)
    for networks in (learner.online, learner.target):
        networks["agent"].identity.zero_()
    scds = learner.auxiliaries["scds"]
    targets = scds.targets.state_dict()
    targets.update(parameters(recorded, "init", SCDS_PREDICTORS, target=True))
    scds.targets.load_state_dict(targets, strict=True)
    predictors = scds.state_dict()
    predictors.update(parameters(recorded, "init", SCDS_PREDICTORS))
    scds.load_state_dict(predictors, strict=True)
    if "t_env" in recorded:
        learner.env_steps.fill_(float(recorded["t_env"]))

    given = episodes(batch)
    mask = given.weights.unsqueeze(-1)
    record = check_forward(learner, given, recorded)
    x, identities, after = scds.samples(given, record.hidden)
    check(x, recorded["predictor_input"], "predictor_input", mask.unsqueeze(-1))
    with_id = -((scds.targets["with_id"](x, identities) - after) ** 2).sum(-1)
    check(with_id, recorded["log_likelihood_with_id"], "with id", mask)
    without_id = -((scds.targets["without_id"](x) - after) ** 2).sum(-1)
    check(without_id, recorded["log_likelihood_without_id"], "without id", mask)
    divergence = policy_divergence(record.action_values[:, :-1], settings.scds_beta1)
    check(divergence, recorded["policy_divergence"], "policy_divergence", mask)
    share = scds.share_left(learner.env_steps)
    assert (share == 1) == ("annealed" not in case)
    rewards = share * scds.rewards(given, record.action_values, record.hidden)
    name = "intrinsic_reward_per_agent"
    check(rewards, recorded[name], name, mask)
    reward = scds.reward(given, record.action_values, record.hidden, learner.env_steps)
    reward = reward / settings.scds_beta
    check(reward, recorded["intrinsic_reward"], "intrinsic_reward", given.weights)

    losses = LOSSES | {"penalty": "attention_regulariser"}
    check_updates(learner, given, recorded, losses, SCDS_NETWORKS)
    expected = parameters(recorded, "after1", SCDS_PREDICTORS)
    ours = scds.state_dict()
    check_all({name: ours[name] for name in expected}, expected, CLOSE_PARAMETERS)


# ---------------------------------------------------------------------------------- EOI


def recorded_networks(recorded: dict, when: str) -> dict[str, torch.Tensor]:
    """EOI's three networks as they were recorded at some time."""
    online = parameters(recorded, when, EOI_TABLE)
    return online | parameters(recorded, when, EOI_TARGET, target=True)


def recorded_eoi() -> tuple[dict, EOI]:
    """The recordings, and ours with the recorded initial parameters."""
    recorded = group("eoi")
    n_agents = len(recorded["init/classifier.4.bias"])
    n_actions = len(recorded["init/intrinsic_q.4.bias"])
    sizes = Spec(n_agents, n_actions, recorded["obs"].shape[-1], 1, 0, 1)
    ours = EOI(sizes, METHODS["eoi"])
    ours.load_state_dict(recorded_networks(recorded, "init"), strict=True)
    ours.make_optimizers()
    return recorded, ours


def test_golden_eoi_steps():
    recorded, ours = recorded_eoi()
    observations, after = recorded["obs"], recorded["next_obs"]
    agents, actions = recorded["agent_id"], recorded["actions"]
    done = recorded["done"].bool()

    p = ours.classifier(after).softmax(-1)
    check(p, recorded["init_probabilities_next_obs"], "init_probabilities_next_obs")
    loss = identity_loss(p, agents)
    entropy = recorded["classifier_entropy_part"]
    expected = recorded["classifier_cross_entropy_part"] + entropy
    check(loss, expected, "parts of the classifier's loss")
    values = ours.values(ours.with_identity(observations, agents))
    check(values, recorded["init_intrinsic_q_obs"], "init_intrinsic_q_obs")

    classifier_losses = recorded["classifier_loss"]
    value_losses = recorded["intrinsic_q_loss"]
    for update in (1, 2, 3):
        before = copy.deepcopy(ours)
        found = ours.descend_once(Rows(observations, after, agents, actions, done))
        index = update - 1
        check(found["classifier_loss"], classifier_losses[index], f"loss {update}")
        check(found["value_loss"], value_losses[index], f"value_loss {update}")
        if update == 1:
            p = ours.classifier(observations).softmax(-1)
            reward = p.gather(-1, agents.unsqueeze(-1))
            check(reward, recorded["intrinsic_reward"], "intrinsic_reward")
            best = before.target(ours.with_identity(after, agents)).amax(-1)
            value = 10 * reward.squeeze(-1) + 0.92 * ~done * best
            check(value, recorded["bootstrapped_value"], "bootstrapped_value")
        if update in (1, 3):
            expected = recorded_networks(recorded, f"after{update}")
            check_all(ours.state_dict(), expected, CLOSE_PARAMETERS)


def test_golden_eoi_rows():
    recorded, ours = recorded_eoi()
    rows = within(recorded, "rows/")
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
    assert torch.equal(actions, rows["a"])
    assert torch.equal(ended.long(), rows["d"].long())
