"""A quantity that follows a course along training: steps of equal length, then held."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.types import refuse


class Course(nn.Module):
    """`control_course`, a value for each `control_interval` env steps.

    Value i holds where i · interval < env steps <= (i + 1) · interval; these are the
    updates whose losses an evaluation at (i + 1) · interval averages. The last value
    holds from there on.
    """

    def __init__(self, config: Config) -> None:
        """Reads the course.

        Args:
            config: `control_course` and `control_interval` are read here.

        Raises:
            InvalidInputError: there is no course.
        """
        super().__init__()
        if not config.control_course:
            cure = "Give it, e.g. control_course=[0.5, 0.4]."
            expected = "at least one value, as a term follows it"
            refuse("control_course", expected, [], cure)
        self.interval = config.control_interval
        course = torch.tensor(config.control_course)
        self.register_buffer("course", course, persistent=False)

    def forward(self, env_steps: Float[Tensor, ""] | float) -> Float[Tensor, ""]:
        """The value at some env steps."""
        env_steps = torch.as_tensor(env_steps, device=self.course.device)
        index = (env_steps / self.interval).ceil().long() - 1
        return self.course[index.clamp(0, len(self.course) - 1)]
