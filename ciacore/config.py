"""Config: everything an experiment is, in one frozen value."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ciacore.types import refuse

CHOICES = {
    "optimizer": ("rmsprop", "adam"),
    "credit_derivative": ("published", "exact"),
    "credit_padding": ("published", "masked"),
    "qplex_weights": ("dmaq", "unweighted", "qatten"),
    "weighting": ("optimistic", "central"),
    "maven_entropy": ("published", "exact"),
    "eoi_target": ("published", "fixed"),
}


@dataclass(frozen=True)
class Config:
    """One method with its hyper-parameters. The defaults are those the paper and its code share.

    A method is a Config (`ciacore.METHODS`), a variation is `config.but(field=value)`,
    a study is a list of them. Seeds, the game and the result folder are arguments of
    `train`, not part of the method.

    Raises:
        InvalidInputError: a field has the wrong type or an impossible value.
    """

    method: str = "qmix"  # label: the key in METHODS this value started from
    agent: str = "recurrent"  # key in AGENTS
    mixer: str = "qmix"  # key in MIXERS
    backbone: str = "td"  # key in BACKBONES: what is regressed on which target
    # keys in TERMS: losses added to the backbone's
    terms: tuple[str, ...] | list[str] = ()
    explorer: str = "epsilon_greedy"  # key in EXPLORERS
    # keys in AUXILIARIES: parts with an optimizer of their own
    auxiliaries: tuple[str, ...] | list[str] = ()

    # training ends after the first episode that exceeds this many environment steps
    env_steps: int = 2_050_000
    # games played at once per seed; more than one acts with older parameters
    n_games: int = 1
    batch: int = 32  # episodes per update
    buffer: int = 5_000  # episodes kept in the replay
    # episodes between copies of the online to the target networks
    target_interval: int = 200
    evaluation_interval: int = 10_000  # environment steps between evaluations
    evaluation_games: int = 32  # greedy episodes per evaluation

    gamma: float = 0.99  # discount per step
    double_q: bool = True  # the online agents choose the target's actions
    optimizer: str = "rmsprop"  # "rmsprop" or "adam"
    learning_rate: float = 5e-4
    rmsprop_smoothing: float = 0.99
    rmsprop_epsilon: float = 1e-5
    gradient_clip: float = 10.0  # joint L2 norm over all parameters

    epsilon_start: float = 1.0
    epsilon_end: float = 0.05
    epsilon_steps: int = 50_000  # environment steps of the linear decay

    hidden_size: int = 64  # H, width of the agent network
    mixing_size: int = 32  # E, width of the mixing network
    # hidden width of the hypernetworks; 0: a single linear layer
    hypernetwork_size: int = 64

    # alpha, weight of the CIA (or CC) loss; 0 turns it off
    cia_coefficient: float = 0.0
    # "exact": autograd, any mixer; "published": QMIX's closed form with its ELU' slip
    credit_derivative: str = "exact"
    # True: the CIA gradient stops before the agents, as published
    credit_detach: bool = True
    # "published" keeps the credits of padded steps, "masked" zeroes them
    credit_padding: str = "published"

    # "dmaq", "unweighted" or "qatten" (needs features per agent in the state)
    qplex_weights: str = "dmaq"
    qplex_kernels: int = 4  # J, of the importance
    qplex_heads: int = 4  # attention heads of Qatten
    qplex_penalty: float = 1e-3  # weight of Qatten's logits in the loss

    qtran_opt: float = 1.0  # weight of L_opt
    qtran_nopt: float = 0.1  # weight of L_nopt

    weighting: str = "optimistic"  # Weighted QMIX: "optimistic" (OW) or "central" (CW)
    weighting_alpha: float = 0.1  # alpha, the weight of the other joint actions
    central_size: int = 256  # width of the unrestricted mixer

    gre_coefficient: float = 1e-3  # lambda, weight of the credit entropy

    latent_size: int = 0  # Z, the latents of MAVEN; 0: none
    maven_coefficient: float = 0.01  # weight of the information loss
    maven_size: int = 64  # width of the discriminator
    maven_layers: int = 3  # its hidden layers
    # the latent policy's bonus: "published" (a mere baseline) or "exact"
    maven_entropy: str = "published"
    maven_entropy_coefficient: float = 0.01  # c

    eoi_episodes: float = 0.4  # share of exploring episodes
    eoi_steps: float = 0.05  # share of their steps at which one agent explores
    # update of the target network: "published" (grows without end) or "fixed"
    eoi_target: str = "published"

    scds_beta: float = 0.1  # beta, weight of the intrinsic reward
    scds_beta1: float = 0.5  # beta1, of the informed prediction and the policies
    scds_beta2: float = 0.5  # beta2, of the policies' divergence
    # share of the reward lost per million env steps after the first; 0: none
    scds_anneal: float = 0.0
    scds_size: int = 128  # width of the predictors

    def __post_init__(self) -> None:
        for name in ("terms", "auxiliaries"):
            if isinstance(getattr(self, name), list):  # as JSON and notebooks write it
                object.__setattr__(self, name, tuple(getattr(self, name)))
        for field in fields(self):
            check_field(field.name, field.type, getattr(self, field.name))
        for name in ("batch", "n_games"):
            if getattr(self, name) > self.buffer:
                refuse(
                    name,
                    f"at most buffer = {self.buffer}",
                    getattr(self, name),
                    f"Lower {name} or raise buffer.",
                )
        if self.cia_coefficient > 0 and not self.terms:
            cure = 'Start from METHODS["qmix_cia"], or add terms=("cia",).'
            refuse(
                "cia_coefficient",
                "0, as no loss term uses it",
                self.cia_coefficient,
                cure,
            )
        if not re.fullmatch(r"\w[\w.+-]*", self.method):
            refuse(
                "method",
                "a name of letters, digits and . _ + -",
                self.method,
                "It becomes the name of a folder.",
            )
        for name in ("terms", "auxiliaries"):
            if len(set(getattr(self, name))) != len(getattr(self, name)):
                refuse(
                    name,
                    "different names",
                    list(getattr(self, name)),
                    "Name every part once.",
                )

    def but(self, **changes: Any) -> Config:
        """This Config with some fields changed.

        Raises:
            InvalidInputError: a name is not a field, or a value is impossible.
        """
        names = [field.name for field in fields(self)]
        for name in changes:
            if name not in names:
                known_name(name, names, "overrides")
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON can hold them; `Config(**config.to_dict()) == config`."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }


POSITIVE = (
    "env_steps",
    "n_games",
    "batch",
    "buffer",
    "target_interval",
    "evaluation_interval",
    "evaluation_games",
)
POSITIVE += (
    "epsilon_steps",
    "hidden_size",
    "mixing_size",
    "learning_rate",
    "gradient_clip",
    "rmsprop_epsilon",
)
POSITIVE += (
    "qplex_kernels",
    "qplex_heads",
    "central_size",
    "maven_size",
    "maven_layers",
    "scds_size",
)
SHARES = (
    "gamma",
    "epsilon_start",
    "epsilon_end",
    "rmsprop_smoothing",
    "weighting_alpha",
    "eoi_episodes",
    "eoi_steps",
)


def known_name(name: object, names: Iterable[str], argument: str) -> str:
    """`name`, if it is one of `names`; otherwise an error that lists them and suggests the nearest."""
    names = list(names)
    if name not in names:
        near = difflib.get_close_matches(str(name), names, n=1)
        cure = f"Did you mean {near[0]!r}?" if near else "Choose one of these."
        refuse(argument, "one of " + ", ".join(names), name, cure)
    return str(name)


def check_field(name: str, kind: str, value: Any) -> None:
    """Refuses a value of the wrong type or outside the field's range."""
    if kind == "int" and (isinstance(value, bool) or not isinstance(value, int)):
        refuse(
            name,
            "a whole number",
            value,
            "Write it without a fraction or quotes, e.g. 10000.",
        )
    if kind == "float" and (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
    ):
        refuse(name, "a finite number", value, "Write it without quotes, e.g. 0.02.")
    if kind == "bool" and not isinstance(value, bool):
        refuse(name, "True or False", value, "Write it without quotes.")
    if kind == "str" and not (isinstance(value, str) and value):
        refuse(name, "a non-empty string", value, "Write it in quotes.")
    is_names = isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    if kind.startswith("tuple") and not is_names:
        refuse(name, "a list of names", value, 'Write e.g. ["cia"].')
    if name in CHOICES:
        known_name(value, CHOICES[name], name)
    if name in POSITIVE and value <= 0:
        refuse(name, "a number above 0", value, "Choose a positive value.")
    if kind in ("int", "float") and value < 0:
        refuse(
            name,
            "a number of at least 0",
            value,
            "Choose 0 to turn it off, or a positive value.",
        )
    if name in SHARES and value > 1:
        refuse(name, "a number between 0 and 1", value, "Choose a value in [0, 1].")
