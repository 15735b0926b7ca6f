"""Gradients in the hypernetworks: how large a term's are, and noise as large as that.

Two terms return a value that is logged and a gradient that is another matter:
`with_gradient_of(loss, value)` has the gradient of the loss, and is the value.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ciacore.cia import CIA
from ciacore.config import Config
from ciacore.controls.course import Course
from ciacore.controls.equaliser import Equaliser
from ciacore.learning.learner import coefficient_of
from ciacore.types import Forward, Spec, refuse


def hypernetworks(mixer: nn.Module) -> list[nn.Parameter]:
    """The parameters of the networks that write QMIX's W1, b1 and W2.

    V is not among them: no credit depends on it.

    Raises:
        InvalidInputError: the mixer has none.
    """
    found = []
    for name, parameter in mixer.named_parameters():
        if name.startswith("hyper_"):
            found.append(parameter)
    if not found:
        expected = "one with hypernetworks named hyper_..., as QMIX has"
        refuse("mixer", expected, type(mixer).__name__, 'Set mixer="qmix".')
    return found


def joint_norm(tensors: tuple[Tensor, ...] | list[Tensor]) -> Float[Tensor, ""]:
    """The L2 norm of all entries together."""
    return torch.cat([tensor.flatten() for tensor in tensors]).norm()


def with_gradient_of(
    loss: Float[Tensor, ""], value: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """A number that is `value` and has the gradient of `loss`, bit for bit.

    Args:
        loss: whose gradient is meant.
        value: what is logged; without gradient.
    """
    return value.detach() + (loss - loss.detach())


class Measured:
    """What a term becomes that logs its gradient's norm in the place of its value.

    The norm is the joint L2 norm of coefficient · gradient in the hypernetworks.
    Training is that with the term itself.
    """

    needs_closed_form = True  # only QMIX has such hypernetworks

    def forward(self, record: Forward) -> Float[Tensor, ""]:
        """The norm, with the gradient of the term."""
        loss = super().forward(record)
        parameters = hypernetworks(record.mixer)
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
        coefficient = coefficient_of(self, record.env_steps)
        return with_gradient_of(loss, coefficient * joint_norm(gradients))


class MeasuredCIA(Measured, CIA):
    """CIA that logs the norm of its gradient in the hypernetworks."""


class MeasuredEqualiser(Measured, Equaliser):
    """The equaliser that logs the norm of its gradient in the hypernetworks."""


class Noise(nn.Module):
    """Gaussian noise on the gradients of the hypernetworks; its value is its norm.

    All entries are independent with one deviation, which makes the mean L2 norm that
    of the course. The noise joins the other gradients before they are clipped, as
    CIA's does.
    """

    needs_closed_form = True  # only QMIX has such hypernetworks
    coefficient = 1.0

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        self.norm = Course(config)

    def forward(self, record: Forward) -> Float[Tensor, ""]:
        """The norm of the noise; the gradient is the noise itself."""
        parameters = hypernetworks(record.mixer)
        size = sum(parameter.numel() for parameter in parameters)
        deviation = self.norm(record.env_steps) / size**0.5
        noise, product = [], 0.0
        for parameter in parameters:
            drawn = torch.randn(
                parameter.shape, generator=record.rng, device=parameter.device
            )
            noise.append(deviation * drawn)
            product = product + (noise[-1] * parameter).sum()
        return with_gradient_of(product, joint_norm(noise))
