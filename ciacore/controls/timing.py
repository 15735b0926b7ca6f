"""CIA for a part of training: from some env steps on, or up to some."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ciacore.cia import CIA
from ciacore.config import Config
from ciacore.types import Spec, refuse


class TimedCIA(CIA):
    """L_CL with alpha from `control_start` to `control_stop`, and with 0 elsewhere."""

    def __init__(self, spec: Spec, config: Config) -> None:
        """Draws the identities.

        Args:
            spec: the sizes of the game.
            config: `control_start` and `control_stop` are read here, besides what CIA
                reads.

        Raises:
            InvalidInputError: it stops before it starts.
        """
        super().__init__(spec, config)
        self.start, self.stop = config.control_start, config.control_stop
        if 0 < self.stop <= self.start:
            expected = f"0, or more than control_start = {self.start}"
            cure = "Choose 0 to let it go on to the end."
            refuse("control_stop", expected, self.stop, cure)
        self.coefficient = self.alpha_at

    def alpha_at(self, env_steps: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """alpha where start <= env_steps < stop, else 0."""
        on = env_steps >= self.start
        if self.stop:
            on = on & (env_steps < self.stop)
        return on * self.config.cia_coefficient
