"""The methods as values: each is a Config, and the names in it are looked up here."""

from __future__ import annotations

from torch import nn

from ciacore.agent import RecurrentAgent
from ciacore.cia import CC, CIA
from ciacore.config import Config, known_name
from ciacore.mixers import MIXERS
from ciacore.types import Spec, refuse

TERMS = {
    "cia": CIA,
    "cc": CC,
}

METHODS = {
    config.method: config
    for config in (
        Config(method="vdn", mixer="vdn"),
        Config(method="qmix", mixer="qmix"),
        Config(method="qmix_cc", mixer="qmix", terms=("cc",), cia_coefficient=0.02, credit_derivative="published"),
        Config(method="qmix_cia", mixer="qmix", terms=("cia",), cia_coefficient=0.02, credit_derivative="published"),
    )
}


def assemble(spec: Spec, config: Config) -> tuple[nn.Module, nn.Module, dict[str, nn.Module]]:
    """The networks a Config names: agent, mixer and loss terms.

    Raises:
        InvalidInputError: an unknown mixer or term, or a closed form the mixer does not have.
    """
    mixer = MIXERS[known_name(config.mixer, MIXERS, "mixer")]
    terms = {name: TERMS[known_name(name, TERMS, "terms")] for name in config.terms}
    if terms and config.credit_derivative == "published" and not callable(getattr(mixer, "credits", None)):
        cure = 'Set credit_derivative="exact", which works for any mixer.'
        refuse("credit_derivative", f"exact, as mixer {config.mixer} has no closed form", "published", cure)
    agent = RecurrentAgent(spec, config)
    return agent, mixer(spec, config), {name: term(spec, config) for name, term in terms.items()}
