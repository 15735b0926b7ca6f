"""The credit of one agent of Turn while it is free: looked at, or held to a course.

Only Turn's state says who is free: its last K entries are a one-hot row.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.controls.course import Course
from ciacore.controls.equaliser import SMALL
from ciacore.credits import credits_at
from ciacore.types import Forward, Spec, refuse

ACTIONS = 6  # of Turn


def check_turn(spec: Spec) -> None:
    """Refuses games whose state cannot be Turn's: one-hot cells, then who is free.

    Args:
        spec: the sizes of the game.

    Raises:
        InvalidInputError: the sizes are not those of Turn.
    """
    n_agents = spec.n_agents
    cells, left = divmod(spec.state_size - n_agents, n_agents + 1)
    is_square = round(max(cells, 0) ** 0.5) ** 2 == cells
    if spec.n_actions != ACTIONS or left or not is_square:
        cure = "Leave out the term: other games do not say whose turn it is."
        refuse("game", "Turn, whose state says who is free", f"another: {spec}", cure)


def free_steps(record: Forward, spec: Spec, agent: int) -> Float[Tensor, "..."]:
    """1 at the real steps at which an agent is free, else 0.

    Args:
        record: of Turn.
        spec: its sizes.
        agent: 0 to K - 1.
    """
    whose = spec.state_size - spec.n_agents + agent
    return record.weights * record.states[..., whose]


def credit_in_turn(
    record: Forward, spec: Spec, agent: int, create_graph: bool = False
) -> Float[Tensor, ""]:
    """The mean exact credit of an agent over the steps at which it is free.

    It is 0 where the agent is never free in the batch.

    Args:
        record: of Turn.
        spec: its sizes.
        agent: 0 to K - 1.
        create_graph: True lets a gradient into the mixer; never into the agents.
    """
    chosen = record.utilities.chosen.detach()
    utilities = record.utilities.with_chosen(chosen)
    credits = credits_at(record.mixing, utilities, create_graph)[..., agent]
    free = free_steps(record, spec, agent)
    return (credits * free).sum() / free.sum().clamp(min=1.0)


class CreditInTurn(nn.Module):
    """Logs an agent's mean credit over the steps at which it is free."""

    needs_closed_form = False
    coefficient = 0.0

    def __init__(self, spec: Spec, config: Config, agent: int) -> None:
        """Checks the game.

        Args:
            spec: the sizes of the game.
            config: nothing is read here.
            agent: 0 to K - 1.

        Raises:
            InvalidInputError: the game is not Turn.
        """
        super().__init__()
        check_turn(spec)
        self.spec, self.agent = spec, agent

    def forward(self, record: Forward) -> Float[Tensor, ""]:
        """The mean credit, without gradient."""
        return credit_in_turn(record, self.spec, self.agent).detach()


class TurnCredit(nn.Module):
    """Holds an agent's mean credit x in its own turn to a course c(t).

    The penalty is (log x - log c(t))², of the means over a batch. It counts before
    `control_stop` env steps, 0: always. A batch in which the agent is never free says
    nothing.
    """

    needs_closed_form = False

    def __init__(self, spec: Spec, config: Config, agent: int) -> None:
        """Reads the course.

        Args:
            spec: the sizes of the game.
            config: `control_coefficient`, `control_course`, `control_interval` and
                `control_stop` are read here.
            agent: 0 to K - 1.

        Raises:
            InvalidInputError: the game is not Turn, or there is no course.
        """
        super().__init__()
        check_turn(spec)
        self.spec, self.agent = spec, agent
        self.course = Course(config)
        self.weight, self.stop = config.control_coefficient, config.control_stop
        self.coefficient = self.weight_at

    def weight_at(self, env_steps: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """`control_coefficient` before `control_stop`, then 0."""
        on = env_steps < self.stop if self.stop else env_steps >= 0
        return on * self.weight

    def forward(self, record: Forward) -> Float[Tensor, ""]:
        """The squared distance of the logarithms; 0 where the agent is never free."""
        mean = credit_in_turn(record, self.spec, self.agent, create_graph=True)
        distance = mean.clamp(min=SMALL).log() - self.course(record.env_steps).log()
        is_free = free_steps(record, self.spec, self.agent).any()
        return torch.where(is_free, distance**2, torch.zeros_like(distance))
