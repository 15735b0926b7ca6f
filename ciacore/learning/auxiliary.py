"""Networks a method trains besides agents and mixer, each with its own optimizer."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ciacore.types import Episodes, Forward, Generator


class Auxiliary(nn.Module):
    """A part that learns on its own, or changes what is learned.

    Every hook does nothing unless a part says otherwise. `learning_rates` names the
    submodules that get an Adam optimizer each.
    """

    # Whether seeds of a method with this part may be computed as one (torch.func). Not
    # where it uses `on_episodes` or `learn`: torch cannot follow their gradient steps.
    stackable = False

    learning_rates: dict[str, float] = {}  # noqa: RUF012  (replaced, never changed)

    def make_optimizers(self) -> None:
        """Makes the optimizers, once the networks lie where they will be trained."""
        self.optimizers = {
            name: adam(getattr(self, name), rate)
            for name, rate in self.learning_rates.items()
        }

    def on_episodes(self, episodes: Episodes, rng: torch.Generator | None) -> None:
        """Called with every batch of episodes that was played to learn from.

        Args:
            episodes: as they were played.
            rng: for what is random in learning.
        """

    def before_update(
        self, mixer: nn.Module, target_mixer: nn.Module, rng: Generator | None
    ) -> None:
        """Called before every update.

        Args:
            mixer: the online mixer.
            target_mixer: its target copy.
            rng: for what is random in learning.
        """

    def reward(
        self,
        episodes: Episodes,
        action_values: Float[Tensor, "B slots K A"],
        hidden: Float[Tensor, "B slots K H"],
        env_steps: Float[Tensor, ""],
    ) -> Float[Tensor, "B T"] | float:
        """What is added to the team's reward, without gradient.

        Args:
            episodes: the batch.
            action_values: of the online agents.
            hidden: their recurrent states.
            env_steps: of training so far.
        """
        return 0.0

    def learn(
        self, record: Forward, rng: torch.Generator | None
    ) -> dict[str, Float[Tensor, ""]]:
        """Called after every update.

        Args:
            record: the online pass that the update was made from.
            rng: for what is random in learning.

        Returns:
            The part's own losses, by name.
        """
        return {}

    def copy_target(self) -> None:
        """Called whenever the target networks are copied."""


def adam(module: nn.Module, learning_rate: float) -> torch.optim.Adam:
    """Adam with torch's defaults, fused into one call.

    On CUDA its step may be captured in a graph.

    Args:
        module: its parameters are trained.
        learning_rate: per step.
    """
    parameters = list(module.parameters())
    on_gpu = any(parameter.is_cuda for parameter in parameters)
    return torch.optim.Adam(parameters, learning_rate, fused=True, capturable=on_gpu)


def descend(
    optimizer: torch.optim.Optimizer,
    loss: Float[Tensor, ""],
    clip: float | None = None,
) -> None:
    """One gradient step on a loss, for the parameters of this optimizer alone.

    Args:
        optimizer: of one group of parameters.
        loss: what is minimised.
        clip: bounds the joint L2 norm of the gradients; None: no bound.
    """
    parameters = optimizer.param_groups[0]["params"]
    gradients = torch.autograd.grad(loss, parameters)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    if clip is not None:
        nn.utils.clip_grad_norm_(parameters, clip)
    optimizer.step()
