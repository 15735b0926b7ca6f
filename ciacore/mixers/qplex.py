"""QPLEX: a duplex dueling mixer, value and advantage apart (Wang et al. 2021).

It represents every function with the IGM property.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.mixers.hypernetwork import hypernetwork
from ciacore.types import Mixed, Mixing, Spec, Utilities, refuse

POSITIVE = 1e-10  # keeps weights above 0


class QPLEX(nn.Module):
    """Q_tot = sum_k (w_k Q_k + v_k) + sum_k (lambda_k - 1) sg[w_k (Q_k - max Q_k)].

    (Wang et al. 2021, Eq. 8 to 11.) w_k > 0 and v_k come from the state, the importance
    lambda_k > 0 from the state and the joint action. In value this is
    sum_k (w_k max Q_k + v_k) plus advantages <= 0, so the greedy joint action is the
    tuple of greedy actions. As in the published code no gradient flows through the
    advantages, so an agent's credit is w_k, not lambda_k w_k.
    """

    def __init__(self, spec: Spec, config: Config) -> None:
        """Makes the networks.

        Args:
            spec: the sizes of the game.
            config: `qplex_weights` names the transformation.

        Raises:
            InvalidInputError: Qatten is asked for and the state has no block of
                features per agent.
        """
        super().__init__()
        self.weights = WEIGHTS[config.qplex_weights](spec, config)
        # Qatten's penalty is, as published, a mean over padded steps too.
        self.looks_at_padding = isinstance(self.weights, Qatten)
        self.importance = Importance(spec, config)

    def forward(self, utilities: Utilities, state: Float[Tensor, "... S"]) -> Mixed:
        """Q_tot of the utilities at a state.

        Args:
            utilities: of the agents, [..., K].
            state: [..., S].
        """
        return self.at(state)(utilities)

    def at(self, state: Float[Tensor, "... S"]) -> QPLEXAt:
        """The mixing function that the state writes."""
        w, v, penalty = self.weights(state)
        return QPLEXAt(w, v, penalty, partial(self.importance, state))


@dataclass(frozen=True)
class QPLEXAt(Mixing):
    """QPLEX at fixed states."""

    w: Float[Tensor, "... K"]
    v: Float[Tensor, "... K"]
    penalty: Float[Tensor, "..."]
    # one-hot joint actions [..., K, A] -> lambda [..., K]
    importance: Callable[[Tensor], Tensor]

    def __call__(self, utilities: Utilities) -> Mixed:
        """Q_tot."""
        value = (self.w * utilities.chosen + self.v).sum(-1)
        advantages = (self.w * (utilities.chosen - utilities.greedy)).detach()
        importance = self.importance(utilities.actions)
        q_tot = value + ((importance - 1) * advantages).sum(-1)
        return Mixed(q_tot, self.penalty)

    def constant_credits(self) -> Float[Tensor, "... K"]:
        """dQ_tot / dQ_k = w_k, whatever the utilities are."""
        return self.w


class Importance(nn.Module):
    """lambda_k = sum_j abs(key_j(s)) sigmoid(agents_jk(s)) sigmoid(actions_jk(s, u)).

    The sum runs over J kernels.
    """

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        S, K, A = spec.state_size, spec.n_agents, spec.n_actions
        J = config.qplex_kernels
        self.shape = (J, K)
        self.key = nn.Linear(S, J)
        self.agents = nn.Linear(S, J * K)
        self.actions = nn.Linear(S + K * A, J * K)

    def forward(
        self, state: Float[Tensor, "... S"], actions: Float[Tensor, "... K A"]
    ) -> Float[Tensor, "... K"]:
        """lambda at a state and a joint action.

        Args:
            state: [..., S].
            actions: [..., K, A] one-hot.
        """
        joint = torch.cat([state, actions.flatten(-2)], dim=-1)
        key = self.key(state).abs() + POSITIVE
        gates = self.agents(state).sigmoid() * self.actions(joint).sigmoid()
        return (key.unsqueeze(-1) * gates.unflatten(-1, self.shape)).sum(-2)


class DMAQ(nn.Module):
    """w_k = abs(weight(s))_k, v_k = value(s)_k: QPLEX's own transformation."""

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        S, K, H = spec.state_size, spec.n_agents, config.hypernetwork_size
        self.weight = hypernetwork(S, H, K)
        self.value = hypernetwork(S, H, K)

    def forward(self, state: Float[Tensor, "... S"]) -> tuple[Tensor, Tensor, Tensor]:
        """w [..., K], v [..., K] and no penalty, at a state."""
        w = self.weight(state).abs() + POSITIVE
        return w, self.value(state), state.new_zeros(())


class Unweighted(nn.Module):
    """w_k = 1, v_k = 0: every credit is 1."""

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        self.n_agents = spec.n_agents

    def forward(self, state: Float[Tensor, "... S"]) -> tuple[Tensor, Tensor, Tensor]:
        """w [..., K], v [..., K] and no penalty, at a state."""
        ones = state.new_ones(*state.shape[:-1], self.n_agents)
        return ones, torch.zeros_like(ones), state.new_zeros(())


class Qatten(nn.Module):
    """w_k = sum over heads of softmax_k(query(s) · key(unit k) / sqrt(E)).

    v_k = value(s) / K (Yang et al. 2020). The weights add up to the number of heads at
    every step. The penalty keeps the unscaled logits small. The first K · unit_size
    numbers of the state are the agents' features.
    """

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        S, K, U, E = spec.state_size, spec.n_agents, spec.unit_size, config.mixing_size
        if not 0 < K * U <= S:
            expected = (
                "dmaq, as this game's state does not begin with features per agent"
            )
            cure = (
                'Use qplex_weights="dmaq", or a game whose state has them, '
                "e.g. Turn(units=True)."
            )
            refuse("qplex_weights", expected, "qatten", cure)
        self.shape, self.coefficient = (K, U), config.qplex_penalty
        heads, H = range(config.qplex_heads), config.hypernetwork_size
        self.query = nn.ModuleList(query_network(S, H, E) for _ in heads)
        self.key = nn.ModuleList(nn.Linear(U, E, bias=False) for _ in heads)
        self.value = hypernetwork(S, E, 1)

    def forward(self, state: Float[Tensor, "... S"]) -> tuple[Tensor, Tensor, Tensor]:
        """w [..., K], v [..., K] and the penalty [...], at a state."""
        n_agents, unit_size = self.shape
        units = state[..., : n_agents * unit_size].unflatten(-1, self.shape)
        of_each_head = [
            (query(state).unsqueeze(-2) * key(units)).sum(-1)
            for query, key in zip(self.query, self.key, strict=True)
        ]
        logits = torch.stack(of_each_head)  # [heads, ..., K]
        attention = (logits / self.key[0].out_features ** 0.5).softmax(-1)
        w = attention.sum(0) + POSITIVE
        v = self.value(state).expand_as(logits[0]) / n_agents
        penalty = self.coefficient * (logits**2).mean(-1).sum(0)
        return w, v, penalty


def query_network(state_size: int, hidden: int, outputs: int) -> nn.Sequential:
    """The query of one attention head, without a bias at its end.

    Args:
        state_size: S.
        hidden: width of the hidden layer.
        outputs: E, shared with the keys.
    """
    return nn.Sequential(
        nn.Linear(state_size, hidden),
        nn.ReLU(),
        nn.Linear(hidden, outputs, bias=False),
    )


WEIGHTS = {"dmaq": DMAQ, "unweighted": Unweighted, "qatten": Qatten}
