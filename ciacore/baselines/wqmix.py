"""Weighted QMIX: a monotone mixer that looks first at joint actions worth taking.

(Rashid et al. 2020.)
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.learning.agent import Inputs, RecurrentAgent
from ciacore.losses import utilities_of, weighted_mean
from ciacore.networks import mlp
from ciacore.types import Agent, Batch, Forward, Mixed, Mixer, Spec, Utilities


class Central(nn.Module):
    """Q* = f([s, Q_1, ..., Q_K]) + V(s), a plain network: neither monotone nor IGM.

    (Rashid et al. 2020, Sec. 4.)
    """

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        S, E = spec.state_size, config.central_size
        self.central = mlp(S + spec.n_agents, E, E, E, 1)
        self.value = mlp(S, E, 1)

    def forward(self, utilities: Utilities, state: Float[Tensor, "... S"]) -> Mixed:
        """Q_tot of the utilities at a state.

        Args:
            utilities: of the agents, [..., K].
            state: [..., S].
        """
        joined = torch.cat([state, utilities.chosen], dim=-1)
        q_tot = (self.central(joined) + self.value(state)).squeeze(-1)
        return Mixed(q_tot, q_tot.new_zeros(()))


class Weighted(nn.Module):
    """L = mean of w (Q_tot - y)² + mean of (Q* - y)².

    (Rashid et al. 2020, Eq. 7, 9 and 10.) The targets y come from an unrestricted Q*
    with agents of its own; double Q never asks target agents and mixer.
    """

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        self.weighting = WEIGHTINGS[config.weighting]
        self.alpha = config.weighting_alpha
        self.central_agent = RecurrentAgent(spec, config)
        self.central_mixer = Central(spec, config)

    def greedy_values(
        self, agent: Agent, mixer: Mixer, batch: Batch, greedy: Int[Tensor, "*slots K"]
    ) -> Float[Tensor, "*slots"]:
        """Q* of the greedy actions.

        Args:
            agent: the target agent; it is not asked.
            mixer: the target mixer; it is not asked.
            batch: the episodes, as the networks read them.
            greedy: [slots, K] the actions; `slots` may be several axes.
        """
        inputs = batch.inputs
        if not isinstance(inputs, Inputs):  # the agents read something else
            inputs = self.central_agent.inputs(batch.episodes, batch.steps)
        values, _ = self.central_agent.unroll(batch.episodes, inputs)
        utilities = utilities_of(values, greedy, batch.available)
        return self.central_mixer(utilities, batch.states).q_tot

    def forward(self, record: Forward) -> dict[str, Float[Tensor, ""]]:
        """Both losses of an online pass, by name."""
        episodes, steps = record.episodes, record.steps
        inputs = self.central_agent.inputs(episodes, steps)
        values, _ = self.central_agent.unroll(episodes, inputs)
        actions = steps.of_steps(episodes.actions)
        available = steps.before(record.available)
        taken = utilities_of(steps.before(values), actions, available)
        central = self.central_mixer(taken, record.states).q_tot
        with torch.no_grad():
            w = torch.where(self.weighting(record), 1.0, self.alpha)
        td_error = record.q_tot - record.targets
        central_error = central - record.targets
        return {
            "td_loss": weighted_mean(w * td_error**2, record.weights),
            "central_loss": weighted_mean(central_error**2, record.weights),
        }


def optimistic(record: Forward) -> Bool[Tensor, "..."]:
    """OW-QMIX: the steps whose joint action is worth more than Q_tot says.

    (Rashid et al. 2020, Eq. 9.)
    """
    return record.q_tot < record.targets


def central(record: Forward) -> Bool[Tensor, "..."]:
    """CW-QMIX: the steps whose joint action is greedy, or better than the greedy one.

    (Rashid et al. 2020, Eq. 10.)
    """
    steps = record.steps
    actions = steps.of_steps(record.episodes.actions)
    is_greedy = (actions == steps.before(record.greedy)).all(-1)
    return is_greedy | (record.targets > steps.before(record.greedy_values))


WEIGHTINGS = {"optimistic": optimistic, "central": central}
