"""The recorded numbers of the published implementations, in this library's records.

The tables say where each parameter of a published network is in ours. A new network
needs one table more.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from ciacore import Config
from ciacore.learning.learner import Learner
from ciacore.methods import assemble
from ciacore.types import Episodes, Forward, Spec, Utilities

FOLDER = Path(os.environ.get("GOLDEN", Path(__file__).parents[1] / "data" / "golden"))
GAMMA = 0.99
CLIP = 10.0

CLOSE = {"rtol": 2e-4, "atol": 1e-5}  # outputs, losses, gradients
CLOSE_PARAMETERS = {"rtol": 0.0, "atol": 1e-5}  # after 1 and 3 updates


# --------------------------------------------------------------------------- recordings


def group(file: str, prefix: str = "") -> dict[str, Tensor]:
    """The arrays of a file whose name starts with `prefix/`, without the prefix.

    Floats stay as they are, the rest becomes int64.
    """
    found = {}
    with np.load(FOLDER / f"{file}.npz") as arrays:
        for name in arrays:
            if not prefix or name.startswith(f"{prefix}/"):
                found[name] = torch.from_numpy(arrays[name])
    for name, value in found.items():
        if not value.is_floating_point():
            found[name] = value.long()
    return within(found, f"{prefix}/") if prefix else found


def within(values: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The values whose name starts with a prefix, under the rest of their names."""
    return {
        name.removeprefix(prefix): value
        for name, value in values.items()
        if name.startswith(prefix)
    }


def cases(file: str, holding: str) -> list[str]:
    """The cases of a file that have an array named `holding`."""
    found = set()
    with np.load(FOLDER / f"{file}.npz") as arrays:
        for name in arrays:
            case, _, rest = name.partition("/")
            if rest == holding:
                found.add(case)
    return sorted(found)


def utilities(chosen: Tensor) -> Utilities:
    """A record for mixers that look at the chosen utilities only."""
    return Utilities(chosen, chosen, torch.zeros(*chosen.shape, 1))


def qmix_sizes(
    weights: dict[str, Tensor], prefix: str = ""
) -> tuple[int, dict[str, int]]:
    """State size and the Config fields of a recorded QMIX mixer."""
    mixing_size, state_size = weights[f"{prefix}hyper_b1.weight"].shape
    hidden = weights.get(f"{prefix}hyper_w1.0.weight")
    hypernetwork_size = 0 if hidden is None else len(hidden)
    return state_size, {
        "mixing_size": mixing_size,
        "hypernetwork_size": hypernetwork_size,
    }


def episodes(batch: dict[str, Tensor]) -> Episodes:
    """A recorded batch."""
    steps = batch["reward"].shape[1]
    return Episodes(
        observations=batch["obs"].float(),
        states=batch["state"].float(),
        actions=batch["actions"][:, :steps],
        available=batch["avail_actions"].bool(),
        rewards=batch["reward"],
        discounts=GAMMA * (1 - batch["terminated"].float()),
        weights=batch["mask"].float(),
        context=batch.get("noise", torch.zeros(len(batch["reward"]), 0)),
        won=torch.zeros(len(batch["reward"]), dtype=torch.bool),
    )


def spec(batch: dict[str, Tensor], horizon: int, unit_size: int = 0) -> Spec:
    """The sizes of a recorded batch."""
    n_agents, n_actions = batch["avail_actions"].shape[2:]
    return Spec(
        n_agents,
        n_actions,
        batch["obs"].shape[-1],
        batch["state"].shape[-1],
        unit_size,
        horizon,
    )


def load(module: nn.Module, values: dict[str, Tensor]) -> None:
    """Sets every parameter of a module; a missing or unknown name is an error."""
    module.load_state_dict(values, strict=True)


def config(**fields: object) -> Config:
    """A Config with the recorded learners' fixed values."""
    return Config(gamma=GAMMA, gradient_clip=CLIP, learning_rate=5e-4, **fields)


# -------------------------------------------------- published names -> ours, by network

Table = dict[str, str | None]  # None: a published parameter that we do not have

AGENT: Table = {
    "agent.fc_in": "agent.fc_in",
    "agent.gru.weight_ih": "agent.gru.weight_ih_l0",
    "agent.gru.weight_hh": "agent.gru.weight_hh_l0",
    "agent.gru.bias_ih": "agent.gru.bias_ih_l0",
    "agent.gru.bias_hh": "agent.gru.bias_hh_l0",
    "agent.fc_out": "agent.fc_out",
}
QMIX: Table = {
    "mixer.hyper_w1": "mixer.hyper_w1",
    "mixer.hyper_b1": "mixer.hyper_b1",
    "mixer.hyper_w2": "mixer.hyper_w2",
    "mixer.value": "mixer.value",
}
IDENTITIES: Table = {
    "identity.weight": "terms.cia.identities",
    "identity.bias": None,  # it cancels in the loss
}
# QPLEX's importance: published as one small network per kernel, here stacked
KERNELS: Table = {}
for kernel in range(10):
    KERNELS[f"mixer.adv.key.{kernel}"] = "mixer.importance.key"
    KERNELS[f"mixer.adv.agent.{kernel}"] = "mixer.importance.agents"
    KERNELS[f"mixer.adv.action.{kernel}"] = "mixer.importance.actions"
QPLEX: dict[str, Table] = {
    "qatten": {
        "mixer.attn.query": "mixer.weights.query",
        "mixer.attn.key": "mixer.weights.key",
        "mixer.attn.value": "mixer.weights.value",
        **KERNELS,
    },
    "dmaq": {
        "mixer.weight": "mixer.weights.weight",
        "mixer.value": "mixer.weights.value",
        **KERNELS,
    },
    "dmaq_unweighted": {
        "mixer.weight": None,  # recorded, but without effect
        "mixer.value": None,
        **KERNELS,
    },
}
QTRAN: Table = {
    "mixer.joint_q": "backbone.joint_q",
    "mixer.action_encoding": "backbone.action_encoding",
    "mixer.joint_v": "mixer.value",
}
CENTRAL: Table = {
    "central_agent.fc_in": "backbone.central_agent.fc_in",
    "central_agent.gru.weight_ih": "backbone.central_agent.gru.weight_ih_l0",
    "central_agent.gru.weight_hh": "backbone.central_agent.gru.weight_hh_l0",
    "central_agent.gru.bias_ih": "backbone.central_agent.gru.bias_ih_l0",
    "central_agent.gru.bias_hh": "backbone.central_agent.gru.bias_hh_l0",
    "central_agent.fc_out": "backbone.central_agent.fc_out",
    "central_mixer.central": "backbone.central_mixer.central",
    "central_mixer.central_value": "backbone.central_mixer.value",
}
MAVEN: Table = {
    "agent.noise_head": "agent.fc_out.noise_head",
    "discriminator": "terms.latent_information.discriminator",
}
PREDICTORS: Table = {
    "predict_withid.0": "with_id.first",
    "predict_withid.1": "with_id.second",
    "predict_withid.2": "with_id.third",
    "predict_withoutid.0": "without_id.0",
    "predict_withoutid.1": "without_id.2",
    "predict_withoutid.2": "without_id.4",
}
EOI: Table = {
    "classifier": "classifier",
    "intrinsic_q": "values",
}
EOI_TARGET: Table = {"intrinsic_q": "target"}


def our_name(published: str, table: Table) -> str | None:
    """Our name of a published parameter; None where we have no such parameter."""
    for start, ours in table.items():
        if published == start or published.startswith(f"{start}."):
            return None if ours is None else ours + published.removeprefix(start)
    raise KeyError(f"{published} is in no table")


def translated(values: Mapping[str, Tensor], table: Table) -> dict[str, Tensor]:
    """Published parameters under our names; those of one name are stacked."""
    found: dict[str, list[Tensor]] = {}
    for published, value in values.items():
        ours = our_name(published, table)
        if ours is not None:
            found.setdefault(ours, []).append(value)
    return {name: torch.cat(parts) for name, parts in found.items()}


def parameters(
    recorded: Mapping[str, Tensor], when: str, table: Table, target: bool = False
) -> dict[str, Tensor]:
    """The parameters or gradients that were recorded at some time, under our names.

    Args:
        recorded: A group of arrays.
        when: `init`, `grad`, `after1` or `after3`.
        table: Published name -> our name.
        target: Those of the target networks, else those of the online networks.
    """
    values = within(recorded, f"{when}/")
    if target:
        return translated(within(values, "target_"), table)
    online = {}
    for name, value in values.items():
        if not name.startswith("target_"):
            online[name] = value
    return translated(online, table)


# ----------------------------------------------------------------------- whole updates


def recorded_learner(
    recorded: Mapping[str, Tensor], settings: Config, sizes: Spec, table: Table
) -> Learner:
    """Our learner with the recorded initial parameters, online and target."""
    learner = Learner(assemble(sizes, settings), settings)
    target = learner.target.state_dict()
    target.update(parameters(recorded, "init", table, target=True))
    learner.online.load_state_dict(parameters(recorded, "init", table), strict=True)
    learner.target.load_state_dict(target, strict=True)
    return learner


def check(
    value: Tensor,
    expected: Tensor,
    what: str,
    weights: Tensor | None = None,
    tolerance: Mapping[str, float] = CLOSE,
) -> None:
    """Within tolerance; where `weights` are given, at real steps only.

    Args:
        value: Our value, of any shape.
        expected: The recorded value, of the same size.
        what: Its name in the message.
        weights: 1 for a real step and 0 for a padded one.
        tolerance: `rtol` and `atol`.
    """
    value, expected = value.detach(), expected.reshape(value.shape)
    if weights is not None:
        value, expected = value * weights, expected * weights
    assert_close(value, expected, **tolerance, msg=lambda text: f"{what}: {text}")


def check_all(
    ours: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    tolerance: Mapping[str, float],
) -> None:
    """The same names with the same values, within tolerance."""
    assert set(ours) == set(expected)
    for name, value in expected.items():
        assert ours[name].shape == value.shape, name
        check(ours[name], value, name, tolerance=tolerance)


def check_forward(
    learner: Learner, batch: Episodes, recorded: Mapping[str, Tensor]
) -> Forward:
    """Action values, Q_tot and targets are the recorded ones."""
    record = learner.forward(batch)
    check(record.action_values, recorded["agent_q"], "agent_q")
    check(record.q_tot, recorded["q_tot"], "q_tot", batch.weights)
    check(record.targets, recorded["targets"], "targets", batch.weights)
    return record


def check_updates(
    learner: Learner,
    batch: Episodes,
    recorded: Mapping[str, Tensor],
    losses: Mapping[str, str],
    table: Table,
) -> None:
    """Updates on one batch give the recorded numbers.

    Compared are the losses and the gradient norm of each recorded update, the gradients
    before clipping, and the parameters after 1 and 3 updates.

    Args:
        learner: Ours, with the recorded initial parameters.
        batch: The recorded batch.
        recorded: The group of the case.
        losses: Our name -> the recorded name.
        table: Published name of a parameter -> ours.
    """
    updates = 3 if within(recorded, "after3/") else 1
    for update in range(1, updates + 1):
        found = learner.update(batch)
        for ours, theirs in losses.items():
            values = recorded[theirs].reshape(-1)
            if update <= len(values):
                check(found[ours], values[update - 1], f"{ours} {update}")
        online = dict(learner.online.named_parameters())
        if update == 1 and within(recorded, "grad/"):
            clipped = min(1.0, CLIP / (float(found["gradient_norm"]) + 1e-6))
            gradients = {}
            for name, parameter in online.items():
                gradients[name] = torch.zeros_like(parameter)
                if parameter.grad is not None:
                    gradients[name] = parameter.grad / clipped
            check_all(gradients, parameters(recorded, "grad", table), CLOSE)
        if update in (1, 3):
            after = parameters(recorded, f"after{update}", table)
            check_all(online, after, CLOSE_PARAMETERS)
