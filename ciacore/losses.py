"""Targets and temporal-difference losses as pure functions."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ciacore.types import Episodes, Utilities


def greedy_actions(
    action_values: Float[Tensor, "... A"], available: Bool[Tensor, "... A"]
) -> Int[Tensor, "..."]:
    """argmax_u Q(u) over the available actions; 0 in padding, where none is available.

    Args:
        action_values: [..., A].
        available: [..., A] the actions that may be taken.
    """
    return action_values.masked_fill(~available, -float("inf")).max(-1).indices


def value_of(
    action_values: Float[Tensor, "... A"], actions: Int[Tensor, "..."]
) -> Float[Tensor, "..."]:
    """Q(u), the value of the actions.

    Args:
        action_values: [..., A].
        actions: [...] one each.
    """
    return action_values.gather(-1, actions.unsqueeze(-1)).squeeze(-1)


def utilities_of(
    action_values: Float[Tensor, "... K A"],
    actions: Int[Tensor, "... K"],
    available: Bool[Tensor, "... K A"],
) -> Utilities:
    """What the agents hand to the mixer when they take `actions`.

    Args:
        action_values: [..., K, A].
        actions: [..., K].
        available: [..., K, A] the actions that may be taken.
    """
    return Utilities(
        chosen=value_of(action_values, actions),
        greedy=partial(greedy_value, action_values, available),
        actions=partial(one_hot, actions, action_values.shape[-1]),
    )


def greedy_value(
    action_values: Float[Tensor, "... A"], available: Bool[Tensor, "... A"]
) -> Float[Tensor, "..."]:
    """max_u Q(u) over the available actions.

    Args:
        action_values: [..., A].
        available: [..., A] the actions that may be taken.
    """
    return value_of(action_values, greedy_actions(action_values, available))


def one_hot(actions: Int[Tensor, "..."], n_actions: int) -> Float[Tensor, "... A"]:
    """The actions as rows of zeros with a single one.

    Args:
        actions: [...].
        n_actions: A.
    """
    return F.one_hot(actions, n_actions).float()


def td_targets(
    rewards: Float[Tensor, "..."],
    discounts: Float[Tensor, "..."],
    next_values: Float[Tensor, "..."],
) -> Float[Tensor, "..."]:
    """y = r + discount · Q_tot(s', u'), without gradient (Liu et al. 2023, Eq. 1).

    Args:
        rewards: [...] of steps.
        discounts: [...] gamma, and 0 at an end.
        next_values: [...] of the target networks, at t + 1.
    """
    return (rewards + discounts * next_values).detach()


def mixer_states(episodes: Episodes, steps: Any = None) -> Float[Tensor, "*slots SZ"]:
    """What the mixers read at every slot: the state, and the latent if there is one.

    Args:
        episodes: B of them.
        steps: `RealSteps` leaves padding out; every slot of every episode by default.
    """
    states, context = episodes.states, episodes.context
    context = context.unsqueeze(1).expand(-1, states.shape[1], -1)
    if steps is not None:
        states, context = steps.of_slots(states), steps.of_slots(context)
    if context.shape[-1] == 0:
        return states.float()
    return torch.cat([states.float(), context], dim=-1)


def in_batch(weights: Float[Tensor, "B T"]) -> Bool[Tensor, "T"]:
    """The steps up to the longest episode's end, where the published code cuts."""
    return weights.amax(0) > 0


def weighted_mean(
    values: Float[Tensor, "..."], weights: Float[Tensor, "..."]
) -> Float[Tensor, ""]:
    """sum(weights · values) / sum(weights).

    Args:
        values: [...] of steps.
        weights: [...] 1 for a real step, 0 for padding.
    """
    return (weights * values).sum() / weights.sum()


def td_loss(
    q_tot: Float[Tensor, "..."],
    targets: Float[Tensor, "..."],
    weights: Float[Tensor, "..."],
) -> Float[Tensor, ""]:
    """L_TD = mean over real steps of (Q_tot - y)² (Liu et al. 2023, Eq. 1).

    Args:
        q_tot: [...] of steps.
        targets: [...] y.
        weights: [...] 1 for a real step, 0 for padding.
    """
    return weighted_mean((q_tot - targets) ** 2, weights)


def batch_mean(
    values: Float[Tensor, "B T"], weights: Float[Tensor, "B T"]
) -> Float[Tensor, ""]:
    """The plain mean over a batch cut to its longest episode.

    Padded steps count, as published.

    Args:
        values: [B, T].
        weights: [B, T] 1 for a real step, 0 for padding.
    """
    kept = in_batch(weights)
    return (values * kept).sum() / (kept.sum() * len(values))
