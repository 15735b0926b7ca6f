"""The CIA loss. Something is wrong with it."""

import torch
from torch import Tensor


def cia_loss(credits: Tensor, identities: Tensor) -> Tensor:
    """The mean surprise of the identities at their own agents' credits.

    Args:
        credits: [B, T, K].
        identities: [K, T].
    """
    similarities = torch.einsum("kt,btj->bkj", identities, credits)
    log_p = similarities.log_softmax(dim=1)
    return -log_p.diagonal(dim1=1, dim2=2).mean()
