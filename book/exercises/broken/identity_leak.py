"""How well credits tell the agents of a team apart.

Something is wrong with it.
"""

import torch
from torch import Tensor


def told_apart(credits: Tensor) -> float:
    """The share of credit vectors [T] that lie nearest to their own agent's mean.

    There is one credit vector per episode and agent; credits are [B, T, K].
    """
    x = credits.transpose(1, 2)  # [B, K, T]
    means = x.mean(0)  # [K, T]
    nearest = torch.cdist(x, means.expand(len(x), -1, -1)).argmin(-1)  # [B, K]
    return (nearest == torch.arange(x.shape[1])).float().mean().item()
