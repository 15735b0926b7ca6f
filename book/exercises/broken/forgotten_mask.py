"""The temporal-difference loss of episodes that end at different times. Something is wrong with it."""

from torch import Tensor


def td_loss(q_tot: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """All [B, T]; weights are 1 for real transitions and 0 for padding -> the mean squared error of the real ones."""
    error = (q_tot - targets.detach()) * weights
    return error.square().mean()
