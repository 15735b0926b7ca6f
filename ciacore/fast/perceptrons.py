"""Perceptrons that take many small gradient steps on a CPU, written out.

With few rows, torch's differentiation and its optimizer's lookups cost more than the
arithmetic. Here the same operations follow each other in the same order, so that every
bit is the same. They write into arrays that are made once for all steps.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.adam import adam

from ciacore.fast import switch


def may_be_written_out(network: nn.Module) -> bool:
    """Whether a network's gradients are written out: on a CPU, where speed is on."""
    on_cpu = all(weight.device.type == "cpu" for weight in network.parameters())
    return on_cpu and switch.on()


class WrittenOut:
    """A `ciacore.networks.mlp` and its gradients, on R rows at a time.

    What a call returns is overwritten by the next. Nothing here is differentiated by
    torch: the caller says `torch.no_grad()`.
    """

    def __init__(
        self,
        network: nn.Sequential,
        rows: int,
        optimizer: torch.optim.Adam | None = None,
    ) -> None:
        """Makes the arrays; the weights stay where they are.

        Args:
            network: linear layers, a ReLU between each two.
            rows: R, of every call.
            optimizer: of the network; None for one that is never trained.
        """
        self.weights = [layer.weight.detach() for layer in network[::2]]
        self.biases = [layer.bias.detach() for layer in network[::2]]
        pairs = zip(self.weights, self.biases, strict=True)
        self.parameters = [parameter for pair in pairs for parameter in pair]
        self.transposed = [weight.t() for weight in self.weights]
        self.layers = [weight.new_empty(rows, len(weight)) for weight in self.weights]
        self.inputs = self.layers[0]  # of the last call
        if optimizer is not None:
            self.before = [torch.empty_like(layer) for layer in self.layers[:-1]]
            self.of_weights = [torch.empty_like(weight) for weight in self.weights]
            self.of_biases = [torch.empty_like(bias) for bias in self.biases]
            pairs = zip(self.of_weights, self.of_biases, strict=True)
            gradients = [gradient for pair in pairs for gradient in pair]
            self.adam = AdamSteps(optimizer, gradients)

    def __call__(self, x: Float[Tensor, "R I"]) -> Float[Tensor, "R O"]:
        """What the network says of R inputs.

        Args:
            x: [R, I].
        """
        self.inputs = x
        for number, layer in enumerate(self.layers):
            if number:
                torch.relu_(x)
            torch.addmm(self.biases[number], x, self.transposed[number], out=layer)
            x = layer
        return x

    def descend(self, gradient: Float[Tensor, "R O"]) -> None:
        """One gradient step on a loss.

        Args:
            gradient: [R, O] of the loss, with respect to what the last call returned.
        """
        for number in reversed(range(len(self.layers))):
            x = self.layers[number - 1] if number else self.inputs
            torch.mm(gradient.t(), x, out=self.of_weights[number])
            torch.sum(gradient, 0, out=self.of_biases[number])
            if number:
                before = self.before[number - 1]
                torch.mm(gradient, self.weights[number], out=before)
                gradient = through_relu(before, x)
        self.adam.step()


def through_relu(
    gradient: Float[Tensor, "R H"], x: Float[Tensor, "R H"]
) -> Float[Tensor, "R H"]:
    """The gradient before a ReLU, in place of the one after it.

    Args:
        gradient: with respect to x.
        x: what the ReLU returned.
    """
    backward = torch.ops.aten.threshold_backward.grad_input
    return backward(gradient, x, 0, grad_input=gradient)


class AdamSteps:
    """Steps of an Adam whose gradients always lie in the same place."""

    def __init__(self, optimizer: torch.optim.Adam, gradients: list[Tensor]) -> None:
        """Finds the parameters.

        Args:
            optimizer: fused, of one group of parameters.
            gradients: of these parameters, in their order.
        """
        self.optimizer, self.gradients = optimizer, gradients
        (self.group,) = optimizer.param_groups
        self.moments: tuple[list[Tensor], ...] = ()

    def step(self) -> None:
        """One step."""
        if not self.moments:
            self.first_step()
            return
        group = self.group
        adam(
            group["params"],
            self.gradients,
            *self.moments,
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )

    def first_step(self) -> None:
        """The optimizer's own step, which makes its state if it had none."""
        parameters = self.group["params"]
        for parameter, gradient in zip(parameters, self.gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()
        states = [self.optimizer.state[parameter] for parameter in parameters]
        means, squares, steps = (
            [state[name] for state in states]
            for name in ("exp_avg", "exp_avg_sq", "step")
        )
        self.moments = (means, squares, [], steps)
