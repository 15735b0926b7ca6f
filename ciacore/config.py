"""Config: everything an experiment is, in one frozen value."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    get_args,
    get_origin,
    get_type_hints,
)

from ciacore.types import known_name, refuse


class Range(NamedTuple):
    """What a number may be."""

    words: str  # as an error says it
    low: float
    low_is_in: bool  # whether the number may be `low` itself
    high: float = math.inf
    cure: str = "Choose a positive value."


ABOVE_0 = Range("a number above 0", 0, low_is_in=False)
FROM_0 = Range(
    "a number of at least 0",
    0,
    low_is_in=True,
    cure="Choose 0 to turn it off, or a positive value.",
)
FROM_0_TO_1 = Range(
    "a number between 0 and 1",
    0,
    low_is_in=True,
    high=1,
    cure="Choose a value in [0, 1].",
)

# The types of fields: each says what a value may be.
Count = Annotated[int, ABOVE_0]  # how many of something; at least one
CountOr0 = Annotated[int, FROM_0]  # how many of something; 0: none
Positive = Annotated[float, ABOVE_0]
Weight = Annotated[float, FROM_0]  # 0: off
Share = Annotated[float, FROM_0_TO_1]
Names = tuple[str, ...] | list[str]
Numbers = tuple[float, ...] | list[float]  # each above 0


@dataclass(frozen=True)
class Config:
    """One method with its hyper-parameters.

    The defaults are those the paper and its code share. A method is a Config
    (`ciacore.METHODS`), a variation is `config.but(field=value)`, a study is a list of
    them. Seeds, the game and the result folder are arguments of `train`, not part of
    the method.

    Raises:
        InvalidInputError: a field has the wrong type or an impossible value.
    """

    method: str = "qmix"  # label: the key in METHODS this value started from
    agent: str = "recurrent"  # key in AGENTS
    mixer: str = "qmix"  # key in MIXERS
    # key in OBJECTIVES: what is regressed on which target
    backbone: str = "td"
    # keys in TERMS: losses added to the objective's
    terms: Names = ()
    explorer: str = "epsilon_greedy"  # key in EXPLORERS
    # keys in AUXILIARIES: networks with optimizers of their own
    auxiliaries: Names = ()

    # training ends after the first episode that exceeds this many environment steps
    env_steps: Count = 2_050_000
    # games played at once per seed; more than one acts with older parameters
    n_games: Count = 1
    batch: Count = 32  # episodes per update
    buffer: Count = 5_000  # episodes kept in the replay
    # episodes between copies of the online to the target networks
    target_interval: Count = 200
    evaluation_interval: Count = 10_000  # environment steps between evaluations
    evaluation_games: Count = 32  # greedy episodes per evaluation

    gamma: Share = 0.99  # discount per step
    # True: values go on behind a time limit; False: it ends them, as published
    bootstrap_at_limit: bool = False
    double_q: bool = True  # the online agents choose the target's actions
    optimizer: Literal["rmsprop", "adam"] = "rmsprop"
    learning_rate: Positive = 5e-4
    rmsprop_smoothing: Share = 0.99
    rmsprop_epsilon: Positive = 1e-5
    gradient_clip: Positive = 10.0  # joint L2 norm over all parameters

    epsilon_start: Share = 1.0
    epsilon_end: Share = 0.05
    epsilon_steps: Count = 50_000  # environment steps of the linear decay

    hidden_size: Count = 64  # H, width of the agent network
    mixing_size: Count = 32  # E, width of the mixing network
    # hidden width of the hypernetworks; 0: a single linear layer
    hypernetwork_size: CountOr0 = 64

    # alpha, weight of the CIA (or CC) loss; 0 turns it off
    cia_coefficient: Weight = 0.0
    # "exact": autograd, any mixer; "published": QMIX's closed form with its ELU' slip
    credit_derivative: Literal["published", "exact"] = "exact"
    # True: the CIA gradient stops before the agents, as published
    credit_detach: bool = True
    # "published" keeps the credits of padded steps, "masked" zeroes them
    credit_padding: Literal["published", "masked"] = "published"

    # "dmaq", "unweighted" or "qatten" (needs features per agent in the state)
    qplex_weights: Literal["dmaq", "unweighted", "qatten"] = "dmaq"
    qplex_kernels: Count = 4  # J, of the importance
    qplex_heads: Count = 4  # attention heads of Qatten
    qplex_penalty: Weight = 1e-3  # weight of Qatten's logits in the loss

    qtran_opt: Weight = 1.0  # weight of L_opt
    qtran_nopt: Weight = 0.1  # weight of L_nopt

    weighting: Literal["optimistic", "central"] = (
        "optimistic"  # Weighted QMIX: "optimistic" (OW) or "central" (CW)
    )
    weighting_alpha: Share = 0.1  # alpha, the weight of the other joint actions
    central_size: Count = 256  # width of the unrestricted mixer

    gre_coefficient: Weight = 1e-3  # lambda, weight of the credit entropy

    latent_size: CountOr0 = 0  # Z, the latents of MAVEN; 0: none
    maven_coefficient: Weight = 0.01  # weight of the information loss
    maven_size: Count = 64  # width of the discriminator
    maven_layers: Count = 3  # its hidden layers
    # the latent policy's bonus: "published" (a mere baseline) or "exact"
    maven_entropy: Literal["published", "exact"] = "published"
    maven_entropy_coefficient: Weight = 0.01  # c
    # of an entropy of the latent policy that matters, in standard deviations of the
    # returns; 0: none, as published
    maven_entropy_weight: Weight = 0.0

    eoi_episodes: Share = 0.4  # share of exploring episodes
    eoi_steps: Share = 0.05  # share of their steps at which one agent explores
    # update of the target network: "published" (grows without end) or "fixed"
    eoi_target: Literal["published", "fixed"] = "published"

    scds_beta: Weight = 0.1  # beta, weight of the intrinsic reward
    scds_beta1: Weight = 0.5  # beta1, of the informed prediction and the policies
    scds_beta2: Weight = 0.5  # beta2, of the policies' divergence
    # share of the reward lost per million env steps after the first; 0: none
    scds_anneal: Weight = 0.0
    scds_size: Count = 128  # width of the predictors

    # of the terms that are experiments (ciacore.controls): the weight of the equaliser,
    # or of the penalty on the scale of credits
    control_coefficient: Weight = 0.0
    # env steps from which on timed CIA counts, and from which on it no longer does; 0:
    # from the first, and to the last
    control_start: CountOr0 = 0
    control_stop: CountOr0 = 0
    # what scale or noise follows: a value per interval, the last one held; (): none
    control_course: Numbers = ()
    control_interval: Count = 10_000  # env steps

    def __post_init__(self) -> None:
        for name in ("terms", "auxiliaries", "control_course"):
            if isinstance(getattr(self, name), list):  # as JSON and notebooks write it
                object.__setattr__(self, name, tuple(getattr(self, name)))
        for field in fields(self):
            check_field(field.name, getattr(self, field.name))
        for name in ("batch", "n_games"):
            value = getattr(self, name)
            if value > self.buffer:
                cure = f"Lower {name} or raise buffer."
                refuse(name, f"at most buffer = {self.buffer}", value, cure)
        if self.cia_coefficient > 0 and not self.terms:
            cure = 'Start from METHODS["qmix_cia"], or add terms=("cia",).'
            expected = "0, as no loss term uses it"
            refuse("cia_coefficient", expected, self.cia_coefficient, cure)
        if not re.fullmatch(r"\w[\w.+-]*", self.method):
            cure = "It becomes the name of a folder."
            expected = "a name of letters, digits and . _ + -"
            refuse("method", expected, self.method, cure)
        for name in ("terms", "auxiliaries"):
            names = getattr(self, name)
            if len(set(names)) != len(names):
                refuse(name, "different names", list(names), "Name every part once.")

    def but(self, **changes: Any) -> Config:
        """This Config with some fields changed.

        Args:
            changes: new values, by field.

        Raises:
            InvalidInputError: a name is not a field, or a value is impossible.
        """
        names = [field.name for field in fields(self)]
        for name in changes:
            known_name(name, names, "overrides")
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON can hold them; `Config(**config.to_dict()) == config`."""
        found = asdict(self)
        for name, value in found.items():
            if isinstance(value, tuple):
                found[name] = list(value)
        return found


@cache
def field_types() -> dict[str, Any]:
    """Field -> its type, with the range that stands beside it."""
    return get_type_hints(Config, include_extras=True)


def check_field(name: str, value: Any) -> None:
    """Refuses a value of the wrong type or outside the field's range.

    Args:
        name: of a field of Config.
        value: what it is to be.

    Raises:
        InvalidInputError: it cannot be that.
    """
    kind = field_types()[name]
    if get_origin(kind) is Literal:
        check_type(name, str, value)
        known_name(value, get_args(kind), name)
    elif get_origin(kind) is Annotated:
        number, allowed = get_args(kind)
        check_type(name, number, value)
        above = value >= allowed.low if allowed.low_is_in else value > allowed.low
        if not above or value > allowed.high:
            refuse(name, allowed.words, value, allowed.cure)
    else:
        check_type(name, kind, value)


def check_type(name: str, kind: Any, value: Any) -> None:
    """Refuses a value of the wrong type.

    Args:
        name: of the field.
        kind: int, float, bool, str, `Names` or `Numbers`.
        value: what it is to be.

    Raises:
        InvalidInputError: it is of another type.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int and not (is_number and isinstance(value, int)):
        refuse(name, "a whole number", value, cure_of_number(kind, value))
    if kind is float and not (is_number and math.isfinite(value)):
        refuse(name, "a finite number", value, cure_of_number(kind, value))
    if kind is bool and not isinstance(value, bool):
        is_word = str(value).lower() in ("true", "false")
        word = str(value).capitalize() if is_word else "True or False"
        refuse(name, "True or False", value, f"Write {word}, without quotes.")
    if kind is str and not (isinstance(value, str) and value):
        refuse(name, "a non-empty string", value, "Write it in quotes.")
    if kind == Names:
        is_names = isinstance(value, tuple)
        if not is_names or not all(isinstance(item, str) for item in value):
            refuse(name, "a list of names", value, 'Write e.g. ["cia"].')
    if kind == Numbers:
        if not isinstance(value, tuple):
            refuse(name, "a list of numbers", value, "Write e.g. [0.5, 0.4].")
        for number in value:
            check_type(name, float, number)
            if number <= 0:
                refuse(name, "numbers above 0", value, "Choose positive values.")


def cure_of_number(kind: type, value: Any) -> str:
    """What to write in place of something that is not the number wanted.

    YAML, which papermill's -y and -f are read as, takes 1e-3 and 1.0e3 for text: it
    wants a point and a sign.

    Args:
        kind: int or float.
        value: what came.
    """
    example = "10000" if kind is int else "0.02"
    try:
        number = float(value) if isinstance(value, str | float) else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        return f"Write e.g. {example}, without quotes."
    if kind is int:
        if number != int(number):
            return f"Write it without a fraction, e.g. {round(number)}."
        return f"Write {int(number)}, without a point, an exponent or quotes."
    digits, e, power = repr(number).partition("e")
    point = "" if "." in digits else ".0"
    written = f"{digits}{point}{e}{power}" if e else digits
    return f"Write {written}, without quotes; YAML wants a point and a sign with an e."
