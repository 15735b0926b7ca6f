"""Credits of any mixer: x_k = dQ_tot / dQ_k (Liu et al. 2023, Eq. 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ciacore.types import Mixed, Mixer, Mixing, Utilities, refuse


def credits(
    mixer: Mixer,
    utilities: Utilities,
    state: Float[Tensor, "... S"],
    create_graph: bool = False,
) -> Float[Tensor, "... K"]:
    """The gradient of the joint value with respect to every agent's utility.

    It is found by automatic differentiation.

    Args:
        mixer: any (utilities, state) -> Mixed.
        utilities: where to differentiate; only `chosen` is differentiated.
        state: [..., S], the leading axes of the utilities.
        create_graph: True keeps the result differentiable: with respect to the mixer's
            parameters and, unless the utilities come detached, through them to the
            agents (the paper's pseudo-code).

    Raises:
        InvalidInputError: the leading axes of utilities and state differ.
    """
    shape = utilities.chosen.shape
    if shape[:-1] != state.shape[:-1]:
        expected = f"leading axes {list(state.shape[:-1])}, those of the state"
        cure = "Pass utilities and states of the same steps."
        refuse("utilities", expected, list(shape[:-1]), cure)
    with torch.enable_grad():
        return credits_at(mixing_at(mixer, state), utilities, create_graph)


def mixing_at(mixer: Mixer, state: Float[Tensor, "... S"]) -> Mixing:
    """The mixer at given states, as a function of the utilities alone.

    A mixer whose weights are written by the state may offer `at(state)`, so that they
    are written once and used twice: for the joint value and for its credits. That is a
    `Mixing`, too.

    Args:
        mixer: any (utilities, state) -> Mixed.
        state: [..., S].
    """
    if callable(getattr(mixer, "at", None)):
        return mixer.at(state)
    return MixerAt(mixer, state)


@dataclass(frozen=True)
class MixerAt(Mixing):
    """Any mixer at given states."""

    mixer: Mixer
    state: Float[Tensor, "... S"]

    def __call__(self, utilities: Utilities) -> Mixed:
        """Q_tot."""
        return self.mixer(utilities, self.state)


def has_closed_form(mixer: Any) -> bool:
    """Whether a mixer, or its class, offers `credits` in closed form, as QMIX does."""
    return callable(getattr(mixer, "credits", None))


def credits_at(
    mixing: Mixing, utilities: Utilities, create_graph: bool = False
) -> Float[Tensor, "... K"]:
    """The credits at the states of a mixing.

    Args:
        mixing: a mixer at given states.
        utilities: as for `credits`.
        create_graph: as for `credits`.
    """
    chosen = utilities.chosen
    constant = mixing.constant_credits()
    if constant is not None:
        constant = constant.expand_as(chosen)
        return constant if create_graph else constant.detach()
    with torch.enable_grad():
        if not (create_graph and chosen.requires_grad):
            chosen = chosen.detach().requires_grad_()
        q_tot = mixing(utilities.with_chosen(chosen)).q_tot
        (gradient,) = torch.autograd.grad(
            q_tot.sum(), chosen, create_graph=create_graph
        )
    return gradient
