"""The size of credits without their difference: the mean credit follows a course."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from ciacore.cia import credits_of
from ciacore.config import Config
from ciacore.controls.course import Course
from ciacore.controls.equaliser import SMALL
from ciacore.losses import weighted_mean
from ciacore.types import Forward, Spec


class Scale(nn.Module):
    """The mean of (log(mean credit of a step) - log c(t))² over real steps."""

    needs_closed_form = False

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        self.config = config
        self.coefficient = config.control_coefficient
        self.course = Course(config)  # c

    def forward(self, record: Forward) -> Float[Tensor, ""]:
        """The mean squared distance of the record's credits from the course."""
        of_step = credits_of(record, self.config).mean(-1).clamp(min=SMALL)
        distance = of_step.log() - self.course(record.env_steps).log()
        return weighted_mean(distance**2, record.weights)
