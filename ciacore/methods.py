"""The methods as values: each is a Config, and the names in it are looked up here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ciacore.baselines.eoi import EOI, IntrinsicExploration
from ciacore.baselines.gre import GRE
from ciacore.baselines.maven import (
    LatentExploration,
    LatentHead,
    LatentInformation,
    LatentPolicy,
)
from ciacore.baselines.qmix_rs import Shuffle, Shuffled
from ciacore.baselines.qtran import QTRAN, ValueSum
from ciacore.baselines.scds import SCDS
from ciacore.baselines.wqmix import Central, Weighted
from ciacore.cia import CC, CIA
from ciacore.config import Config
from ciacore.controls.equaliser import Equaliser
from ciacore.controls.hypernetworks import MeasuredCIA, MeasuredEqualiser, Noise
from ciacore.controls.identities import FrozenCIA, PermutedCIA
from ciacore.controls.measures import CreditRatio, MeanCredit, RelativeDifference
from ciacore.controls.optimism import optimistic_head
from ciacore.controls.own_turn import CreditInTurn, TurnCredit
from ciacore.controls.scale import Scale
from ciacore.controls.timing import TimedCIA
from ciacore.credits import has_closed_form
from ciacore.learning.agent import RecurrentAgent
from ciacore.learning.exploration import PlainExploration
from ciacore.learning.learner import Parts
from ciacore.learning.per_agent import PerAgent
from ciacore.learning.temporal_difference import TemporalDifference
from ciacore.mixers.qmix import QMIX
from ciacore.mixers.qplex import QPLEX
from ciacore.mixers.vdn import VDN
from ciacore.types import Spec, known_name, refuse

AGENTS: dict[str, Callable[..., Any]] = {  # (spec, config) -> Agent
    "recurrent": RecurrentAgent,
    "recurrent_per_agent": PerAgent,
    "latent": partial(RecurrentAgent, head=LatentHead),
    "optimistic": partial(RecurrentAgent, head=optimistic_head),
}
MIXERS: dict[str, Callable[..., Any]] = {  # (spec, config) -> Mixer
    "vdn": VDN,
    "qmix": QMIX,
    "shuffled_qmix": partial(Shuffled, QMIX),
    "qplex": QPLEX,
    "value_sum": ValueSum,
    "central": Central,
}
OBJECTIVES: dict[str, Callable[..., Any]] = {  # (spec, config) -> Objective
    "td": TemporalDifference,
    "qtran": QTRAN,
    "weighted": Weighted,
}
TERMS: dict[str, Callable[..., Any]] = {  # (spec, config) -> Term
    "cia": CIA,
    "cc": CC,
    "gre": GRE,
    "credit_ratio": CreditRatio,
    "latent_information": LatentInformation,
    # experiments
    "cia_permuted": PermutedCIA,
    "cia_frozen": FrozenCIA,
    "cia_timed": TimedCIA,
    "equaliser": Equaliser,
    "scale": Scale,
    "noise": Noise,
    "turn_credit_0": partial(TurnCredit, agent=0),
    "turn_credit_1": partial(TurnCredit, agent=1),
    # what is logged
    "mean_credit": MeanCredit,
    "relative_difference": RelativeDifference,
    "credit_in_turn_0": partial(CreditInTurn, agent=0),
    "credit_in_turn_1": partial(CreditInTurn, agent=1),
    "cia_measured": MeasuredCIA,
    "equaliser_measured": MeasuredEqualiser,
}
EXPLORERS: dict[str, Callable[..., Any]] = {  # (spec, config, auxiliaries) -> Explorer
    "epsilon_greedy": PlainExploration,
    "intrinsic": IntrinsicExploration,
    "latent": LatentExploration,
}
AUXILIARIES: dict[str, Callable[..., Any]] = {  # (spec, config) -> Auxiliary
    "eoi": EOI,
    "latent_policy": LatentPolicy,
    "scds": SCDS,
    "shuffle": Shuffle,
}
SLOTS = {  # field of Config: where its names are looked up
    "agent": AGENTS,
    "mixer": MIXERS,
    "backbone": OBJECTIVES,
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


def named_parts(config: Config) -> Iterator[tuple[str, str, Any]]:
    """Slot, name and class of everything a Config names.

    Raises:
        InvalidInputError: an unknown name.
    """
    for slot, known in SLOTS.items():
        value = getattr(config, slot)
        for name in (value,) if isinstance(value, str) else value:
            yield slot, name, known[known_name(name, known, slot)]


def assemble(spec: Spec, config: Config) -> Parts:
    """The parts a Config names, freshly made.

    Args:
        spec: the sizes of the game.
        config: the method.

    Raises:
        InvalidInputError: an unknown name, or parts that do not go together.
    """
    found: dict[str, dict[str, Any]] = {slot: {} for slot in SLOTS}
    for slot, name, part in named_parts(config):
        found[slot][name] = part
    agent = found["agent"][config.agent]
    mixer = found["mixer"][config.mixer]
    objective = found["backbone"][config.backbone]
    explorer = found["explorer"][config.explorer]
    check_closed_form(config, mixer, found["terms"])

    # A mixer reads the latent of the episode with the state.
    with_context = spec._replace(state_size=spec.state_size + config.latent_size)
    # Networks are drawn in this order: another would change what a seed stands for.
    agent = agent(spec, config)
    mixer = mixer(with_context, config)
    objective = objective(with_context, config)
    terms = {name: term(spec, config) for name, term in found["terms"].items()}
    auxiliaries = {
        name: part(spec, config) for name, part in found["auxiliaries"].items()
    }
    explorer = explorer(spec, config, auxiliaries)
    if explorer.context_size != config.latent_size:
        expected = f"one that draws a latent of size {config.latent_size}"
        cure = 'Use explorer="latent" with a latent_size of at least 1, or neither.'
        refuse("explorer", expected, config.explorer, cure)
    return Parts(agent, mixer, objective, terms, explorer, auxiliaries)


def check_closed_form(config: Config, mixer: Any, terms: dict[str, Any]) -> None:
    """Refuses what needs credits in closed form where the mixer has none.

    Args:
        config: the method.
        mixer: the class of its mixer.
        terms: the classes of its loss terms, by name.

    Raises:
        InvalidInputError: the derivative or a term needs a closed form.
    """
    if has_closed_form(mixer):
        return
    why = f"as mixer {config.mixer} has no closed form"
    if config.terms and config.credit_derivative == "published":
        cure = 'Set credit_derivative="exact", which works for any mixer.'
        refuse("credit_derivative", f"exact, {why}", "published", cure)
    for name, term in terms.items():
        if term.needs_closed_form:
            expected = f"terms without {name}, {why}"
            refuse("terms", expected, list(config.terms), "Leave it out.")
