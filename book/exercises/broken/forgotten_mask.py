"""The temporal-difference loss of episodes that end at different times.

Something is wrong with it.
"""

from torch import Tensor


def td_loss(q_tot: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """The mean squared error of the real transitions.

    Args:
        q_tot: joint values, [B, T].
        targets: what they should be, [B, T].
        weights: 1 for a real transition and 0 for padding, [B, T].
    """
    error = (q_tot - targets.detach()) * weights
    return error.square().mean()
