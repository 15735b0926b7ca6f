"""The temporal-difference loss of episodes that end at different times. The mean is over real transitions."""

from torch import Tensor


def td_loss(q_tot: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """All [B, T]; weights are 1 for real transitions and 0 for padding -> the mean squared error of the real ones."""
    error = (q_tot - targets.detach()) * weights
    return error.square().sum() / weights.sum()
