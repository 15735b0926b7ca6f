"""How well credits tell the agents of a team apart.

An episode is never compared with a mean that contains it.
"""

import torch
from torch import Tensor


def told_apart(credits: Tensor) -> float:
    """The share of credit vectors [T] that lie nearest to their own agent's mean.

    There is one credit vector per episode and agent; credits are [B, T, K].
    """
    x = credits.transpose(1, 2)  # [B, K, T]
    means = (x.sum(0) - x) / (len(x) - 1)  # [B, K, T], of all other episodes
    nearest = torch.cdist(x, means).argmin(-1)  # [B, K]
    return (nearest == torch.arange(x.shape[1])).float().mean().item()
