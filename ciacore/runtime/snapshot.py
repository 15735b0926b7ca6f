"""A training as a checkpoint holds it: facts for JSON, and tensors by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ciacore.training import Clock, Training


def facts_of(training: Training) -> dict[str, Any]:
    """What a checkpoint keeps besides tensors, as JSON can hold it."""
    library = "numpy" if training.in_numpy else "torch"
    log = training.log
    return {
        "config": training.config.to_dict(),
        "game": training.game.name,
        "seed": training.seed,
        "arrays": f"{library} on {training.device.type}",  # whose random numbers
        "clock": training.clock._asdict(),
        "log": {
            "metrics": log.metrics,
            "count": log.count,
            "last_return": log.last_return,
        },
        "numpy": {
            name: rng.bit_generator.state
            for name, rng in training.rngs.items()
            if isinstance(rng, np.random.Generator)
        },
    }


def tensors_of(training: Training) -> dict[str, Tensor]:
    """Every tensor that the rest of training depends on, by name."""
    learner = training.learner
    optimizers = {}
    for name, optimizer in learner.optimizers().items():
        for index, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                optimizers[f"{name}.{index}.{key}"] = value
    generators = {
        name: rng.get_state()
        for name, rng in training.rngs.items()
        if isinstance(rng, torch.Generator)
    }
    parts = {
        "online": learner.online.state_dict(),
        "target": learner.target.state_dict(),
        "auxiliaries": learner.auxiliaries.state_dict(),
        "optimizer": optimizers,
        "replay": training.replay.tensors(),
        "generators": generators,
        "losses": training.log.sums,
    }
    return {
        f"{part}.{name}": tensor
        for part, held in parts.items()
        for name, tensor in held.items()
    }


def restore(
    training: Training,
    facts: dict[str, Any],
    tensors: dict[str, Tensor],
    sealed: dict[str, dict[str, Tensor]] | None = None,
) -> None:
    """Puts a training back to where a checkpoint was made.

    It continues exactly as if it had not been interrupted.

    Args:
        training: of the same config, game and seed.
        facts: as `facts_of` returned them.
        tensors: as `tensors_of` returned them.
        sealed: what the replay had sealed.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        part, _, key = name.partition(".")
        parts.setdefault(part, {})[key] = tensor
    learner, log = training.learner, training.log

    learner.online.load_state_dict(parts["online"])
    learner.target.load_state_dict(parts["target"])
    learner.auxiliaries.load_state_dict(parts.get("auxiliaries", {}))
    states: dict[str, dict[int, dict[str, Tensor]]] = {}
    for name, tensor in parts.get("optimizer", {}).items():
        owner, index, key = name.split(".")
        states.setdefault(owner, {}).setdefault(int(index), {})[key] = tensor
    for name, optimizer in learner.optimizers().items():
        settings = optimizer.state_dict()
        optimizer.load_state_dict({**settings, "state": states.get(name, {})})

    training.replay.load(parts["replay"], sealed)
    for name, state in parts["generators"].items():
        training.rngs[name].set_state(state)
    for name, state in facts["numpy"].items():
        training.rngs[name].bit_generator.state = state

    losses = parts.get("losses", {})
    log.sums = {name: tensor.to(training.device) for name, tensor in losses.items()}
    log.metrics = facts["log"]["metrics"]
    log.count = facts["log"]["count"]
    log.last_return = facts["log"]["last_return"]
    training.clock = Clock(**facts["clock"])
