"""QTRAN-base: a free joint value, and a sum of utilities pressed to agree with it.

(Son et al. 2019.)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.losses import greedy_actions, utilities_of, weighted_mean
from ciacore.networks import mlp
from ciacore.types import Agent, Batch, Forward, Mixed, Mixer, Spec, Utilities


class ValueSum(nn.Module):
    """Q'_tot = sum_k Q_k + V(s): every agent's credit is 1.

    (Son et al. 2019, Eq. 4 and Theorem 1.)
    """

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        self.value = mlp(spec.state_size, config.mixing_size, config.mixing_size, 1)

    def forward(self, utilities: Utilities, state: Float[Tensor, "... S"]) -> Mixed:
        """Q_tot of the utilities at a state.

        Args:
            utilities: of the agents, [..., K].
            state: [..., S].
        """
        q_tot = utilities.chosen.sum(-1) + self.value(state).squeeze(-1)
        return Mixed(q_tot, q_tot.new_zeros(()))


class QTRAN(nn.Module):
    """L = L_td + opt · L_opt + nopt · L_nopt.

    (Son et al. 2019, Eq. 5 to 8; PyMARL's qtran_base.) The joint value J(s, h, u) is
    learned by temporal differences. The mixer's Q_tot (a sum of utilities and V(s))
    must equal it at the greedy joint action (opt) and must not lie below it elsewhere
    (nopt); neither moves J.
    """

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        size, E = config.hidden_size + spec.n_actions, config.mixing_size
        self.n_actions = spec.n_actions
        self.opt, self.nopt = config.qtran_opt, config.qtran_nopt
        self.action_encoding = mlp(size, size, size)
        self.joint_q = mlp(spec.state_size + size, E, E, 1)

    def joint(
        self,
        states: Float[Tensor, "... S"],
        hidden: Float[Tensor, "... K H"],
        actions: Int[Tensor, "... K"],
    ) -> Float[Tensor, "..."]:
        """J(s, h, u) = f([s, sum_k e([h_k, u_k])]).

        Args:
            states: [..., S].
            hidden: [..., K, H] of the agents.
            actions: [..., K].
        """
        one_hot = F.one_hot(actions, self.n_actions).float()
        encoded = self.action_encoding(torch.cat([hidden, one_hot], dim=-1)).sum(-2)
        return self.joint_q(torch.cat([states, encoded], dim=-1)).squeeze(-1)

    def greedy_values(
        self, agent: Agent, mixer: Mixer, batch: Batch, greedy: Int[Tensor, "*slots K"]
    ) -> Float[Tensor, "*slots"]:
        """J of the greedy actions.

        Args:
            agent: the target agent.
            mixer: the target mixer; it is not asked.
            batch: the episodes, as the networks read them.
            greedy: [slots, K] the actions; `slots` may be several axes.
        """
        _, hidden = agent.unroll(batch.episodes, batch.inputs)
        return self.joint(batch.states, hidden, greedy)

    def forward(self, record: Forward) -> dict[str, Float[Tensor, ""]]:
        """The three losses of an online pass, by name."""
        states, before = record.states, record.steps.before
        hidden, values = before(record.hidden), before(record.action_values)
        available = before(record.available)
        greedy = greedy_actions(values, available)
        actions = record.steps.of_steps(record.episodes.actions)
        taken = self.joint(states, hidden, actions)
        with torch.no_grad():
            best = self.joint(states, hidden, greedy)
        greedy_q_tot = record.mixing(utilities_of(values, greedy, available)).q_tot
        td_error = taken - record.targets
        opt_error = greedy_q_tot - best
        nopt_error = (record.q_tot - taken.detach()).clamp(max=0)
        weights = record.weights
        return {
            "td_loss": weighted_mean(td_error**2, weights),
            "opt_loss": self.opt * weighted_mean(opt_error**2, weights),
            "nopt_loss": self.nopt * weighted_mean(nopt_error**2, weights),
        }
