"""The methods as values: each is a Config, and the names in it are looked up here."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from ciacore.baselines.eoi import EOI, intrinsic_exploration
from ciacore.baselines.gre import GRE
from ciacore.baselines.maven import (
    LatentHead,
    LatentInformation,
    LatentPolicy,
    latent_exploration,
)
from ciacore.baselines.qmix_rs import Shuffle
from ciacore.baselines.qtran import QTRAN
from ciacore.baselines.scds import SCDS
from ciacore.baselines.wqmix import Weighted
from ciacore.cia import CC, CIA, CreditRatio
from ciacore.config import Config, known_name
from ciacore.learning.agent import RecurrentAgent
from ciacore.learning.auxiliary import Auxiliary
from ciacore.learning.exploration import EpsilonGreedy, epsilon_greedy_alone
from ciacore.learning.temporal_difference import TemporalDifference
from ciacore.mixers import MIXERS
from ciacore.types import Spec, refuse

AGENTS = {  # (spec, config) -> the network of the utilities
    "recurrent": RecurrentAgent,
    "latent": partial(RecurrentAgent, head=LatentHead),
}
BACKBONES = {  # (spec, config) -> what is regressed on which target
    "td": TemporalDifference,
    "qtran": QTRAN,
    "weighted": Weighted,
}
TERMS = {  # (spec, config) -> a loss to be added, Forward -> scalar
    "cia": CIA,
    "cc": CC,
    "gre": GRE,
    "credit_ratio": CreditRatio,
    "latent_information": LatentInformation,
}
EXPLORERS = {  # (epsilon-greedy, auxiliaries, config, numpy, learning) -> a policy
    "epsilon_greedy": epsilon_greedy_alone,
    "intrinsic": intrinsic_exploration,
    "latent": latent_exploration,
}
AUXILIARIES = {  # (spec, config) -> a part with an optimizer of its own
    "eoi": EOI,
    "latent_policy": LatentPolicy,
    "scds": SCDS,
    "shuffle": Shuffle,
}
SLOTS = {  # field of Config: where its names are looked up
    "agent": AGENTS,
    "mixer": MIXERS,
    "backbone": BACKBONES,
    "terms": TERMS,
    "explorer": EXPLORERS,
    "auxiliaries": AUXILIARIES,
}

QMIX_CIA = Config(
    method="qmix_cia",
    terms=("cia",),
    cia_coefficient=0.02,
    credit_derivative="published",
)
METHODS = {
    config.method: config
    for config in (
        Config(method="vdn", mixer="vdn"),
        Config(method="qmix"),
        Config(method="qplex", mixer="qplex"),
        Config(method="qtran", mixer="value_sum", backbone="qtran", mixing_size=64),
        Config(method="ow_qmix", backbone="weighted", weighting="optimistic"),
        Config(method="cw_qmix", backbone="weighted", weighting="central"),
        Config(
            method="maven",
            agent="latent",
            terms=("latent_information",),
            explorer="latent",
            auxiliaries=("latent_policy",),
            latent_size=16,
            hypernetwork_size=0,
        ),
        Config(method="eoi", explorer="intrinsic", auxiliaries=("eoi",)),
        Config(method="gre", terms=("gre",), credit_derivative="published"),
        Config(method="scds", mixer="qplex", auxiliaries=("scds",)),
        Config(method="qmix_rs", mixer="shuffled_qmix", auxiliaries=("shuffle",)),
        QMIX_CIA.but(method="qmix_cc", terms=("cc",)),
        QMIX_CIA,
        Config(method="qplex_cia", mixer="qplex", terms=("cia",), cia_coefficient=0.02),
    )
}


class Parts(NamedTuple):
    """The networks of a method."""

    agent: nn.Module
    mixer: nn.Module
    backbone: nn.Module
    terms: dict[str, nn.Module]
    auxiliaries: dict[str, Auxiliary]


def named(config: Config) -> Iterator[tuple[str, str, Any]]:
    """Slot, name and class of everything a Config names.

    Raises:
        InvalidInputError: an unknown name.
    """
    for slot, known in SLOTS.items():
        value = getattr(config, slot)
        for name in (value,) if isinstance(value, str) else value:
            yield slot, name, known[known_name(name, known, slot)]


def assemble(spec: Spec, config: Config) -> Parts:
    """The networks a Config names.

    Raises:
        InvalidInputError: an unknown name, parts that do not go together, or a closed
            form the mixer does not have.
    """
    found: dict[str, dict[str, Any]] = {slot: {} for slot in SLOTS}
    for slot, name, part in named(config):
        found[slot][name] = part
    mixer = found["mixer"][config.mixer]
    if not callable(getattr(mixer, "credits", None)):
        why = f"as mixer {config.mixer} has no closed form"
        if config.terms and config.credit_derivative == "published":
            cure = 'Set credit_derivative="exact", which works for any mixer.'
            refuse("credit_derivative", f"exact, {why}", "published", cure)
        for name, term in found["terms"].items():
            if getattr(term, "closed_form", False):
                refuse(
                    "terms",
                    f"terms without {name}, {why}",
                    list(config.terms),
                    "Leave it out.",
                )
    # mixers are told the latent with the state
    told = spec._replace(state_size=spec.state_size + config.latent_size)
    parts = Parts(
        agent=found["agent"][config.agent](spec, config),
        mixer=mixer(told, config),
        backbone=found["backbone"][config.backbone](told, config),
        terms={name: term(spec, config) for name, term in found["terms"].items()},
        auxiliaries={
            name: part(spec, config) for name, part in found["auxiliaries"].items()
        },
    )
    check_explorer(spec, config, parts)
    return parts


def check_explorer(spec: Spec, config: Config, parts: Parts) -> None:
    """Refuses an explorer whose auxiliaries are missing, or that tells the agents another latent than they expect."""
    explorer = EXPLORERS[config.explorer](
        EpsilonGreedy(parts.agent, 0.0), parts.auxiliaries, config, False, True
    )
    observations = torch.zeros(1, spec.n_agents, spec.observation_size)
    drawn = explorer.begin(
        observations, torch.zeros(1, spec.state_size), torch.Generator()
    ).context.shape[-1]
    if drawn != config.latent_size:
        cure = 'Use explorer="latent" with a latent_size of at least 1, or neither.'
        refuse(
            "explorer",
            f"one that draws a latent of size {config.latent_size}",
            config.explorer,
            cure,
        )
