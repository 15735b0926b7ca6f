"""Reading the recorded numbers of the published implementations into this library's records."""

import os
import re
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ciacore import Config
from ciacore.types import Episodes, Spec, Utilities

FOLDER = Path(os.environ.get("GOLDEN", Path(__file__).parents[1] / "data" / "golden"))
RECURRENT = {
    "weight_ih": "weight_ih_l0",
    "weight_hh": "weight_hh_l0",
    "bias_ih": "bias_ih_l0",
    "bias_hh": "bias_hh_l0",
}
GAMMA = 0.99


def group(file: str, prefix: str = "") -> dict[str, torch.Tensor]:
    """The arrays of a file whose key starts with `prefix/`, without the prefix; floats stay, the rest becomes int64."""
    prefix = f"{prefix}/" if prefix else ""
    with np.load(FOLDER / f"{file}.npz") as arrays:
        found = {
            key[len(prefix) :]: torch.from_numpy(arrays[key])
            for key in arrays
            if key.startswith(prefix)
        }
    return {
        key: value if value.is_floating_point() else value.long()
        for key, value in found.items()
    }


def cases(file: str, holding: str) -> list[str]:
    """The cases of a file that have a key `holding`."""
    with np.load(FOLDER / f"{file}.npz") as arrays:
        return sorted(
            {key.split("/")[0] for key in arrays if key.split("/", 1)[-1] == holding}
        )


def parameters(values: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    """The part of a parameter group that starts with `name.`, under torch.nn.GRU's names."""
    part = {
        key[len(name) + 1 :]: value
        for key, value in values.items()
        if key.startswith(f"{name}.")
    }
    return {
        ".".join(RECURRENT.get(word, word) for word in key.split(".")): value
        for key, value in part.items()
    }


def utilities(chosen: torch.Tensor) -> Utilities:
    """A record for mixers that look at the chosen utilities only."""
    return Utilities(chosen, chosen, torch.zeros(*chosen.shape, 1))


def qmix_sizes(
    weights: dict[str, torch.Tensor], prefix: str = ""
) -> tuple[int, dict[str, int]]:
    """State size and the Config fields of a recorded QMIX mixer."""
    mixing_size, state_size = weights[f"{prefix}hyper_b1.weight"].shape
    hidden = weights.get(f"{prefix}hyper_w1.0.weight")
    hypernetwork_size = 0 if hidden is None else len(hidden)
    return state_size, {
        "mixing_size": mixing_size,
        "hypernetwork_size": hypernetwork_size,
    }


def episodes(batch: dict[str, torch.Tensor]) -> Episodes:
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


def spec(batch: dict[str, torch.Tensor], horizon: int, unit_size: int = 0) -> Spec:
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


def load(module: nn.Module, values: dict[str, torch.Tensor]) -> None:
    """Sets every parameter of a module; a missing or unknown name is an error."""
    module.load_state_dict(values, strict=True)


def config(**fields: object) -> Config:
    """A Config with the recorded learners' fixed values."""
    return Config(gamma=GAMMA, gradient_clip=10.0, learning_rate=5e-4, **fields)


RENAMED = [  # recorded parameter names -> ours, in this order
    (r"gru\.(\w+)$", r"gru.\1_l0"),
    (r"^mixer\.attn\.", "mixer.weights."),
    (r"^mixer\.(joint_q|action_encoding)\.", r"backbone.\1."),
    (r"^mixer\.joint_v\.", "mixer.value."),
    (r"^central_mixer\.central_value\.", "central_mixer.value."),
    (r"^(central_agent|central_mixer)\.", r"backbone.\1."),
    (r"^agent\.noise_head\.", "agent.fc_out.noise_head."),
    (r"^discriminator\.", "terms.latent_information.discriminator."),
    (r"^identity\.weight$", "terms.cia.identities"),
    (r"^mixer\.adv\.agent\.", "mixer.adv.agents."),
    (r"^mixer\.adv\.action\.", "mixer.adv.actions."),
]
DMAQ = [(r"^mixer\.(weight|value)\.", r"mixer.weights.\1.")]


def translated(
    values: dict[str, torch.Tensor], renamed: list[tuple[str, str]]
) -> dict[str, torch.Tensor]:
    """Recorded parameters under our names; QPLEX's kernels, recorded one by one, are stacked."""
    found: dict[str, torch.Tensor] = {}
    kernels: dict[str, list[torch.Tensor]] = {}
    for name, value in values.items():
        if name == "identity.bias":  # cancels in the loss, and we have none
            continue
        for pattern, replacement in renamed:
            name = re.sub(pattern, replacement, name)
        kernel = re.fullmatch(r"mixer\.adv\.(\w+)\.\d+\.(\w+)", name)
        if kernel:
            kernels.setdefault(f"mixer.importance.{kernel[1]}.{kernel[2]}", []).append(
                value
            )
        else:
            found[name] = value
    return found | {name: torch.cat(parts) for name, parts in kernels.items()}


def part(
    recorded: dict[str, torch.Tensor],
    when: str,
    renamed: list[tuple[str, str]],
    target: bool = False,
) -> dict:
    """The parameters recorded under `when/`, of the online or the target networks, under our names."""
    start = f"{when}/target_" if target else f"{when}/"
    values = {
        key[len(start) :]: value
        for key, value in recorded.items()
        if key.startswith(start)
    }
    return translated(
        {key: value for key, value in values.items() if not key.startswith("target_")},
        renamed,
    )
