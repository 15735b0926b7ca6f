"""What the CIA loss must do, whoever wrote it."""

import math

import torch
from wrong_axis import cia_loss


def test_equal_credits_tell_nothing():
    """Identities cannot tell agents apart that are credited alike: log K, whatever the identities are."""
    credits = torch.rand(4, 6, 1).expand(-1, -1, 3)
    assert math.isclose(
        cia_loss(credits, torch.randn(3, 6)).item(), math.log(3), rel_tol=1e-4
    )


def test_by_hand():
    """w0 = (1, 0), w1 = (2, 1); x0 = (2, 1), x1 = (1, 2): rows of similarities (2, 1) and (5, 4)."""
    loss = cia_loss(
        torch.tensor([[[2.0, 1.0], [1.0, 2.0]]]), torch.tensor([[1.0, 0.0], [2.0, 1.0]])
    )
    assert math.isclose(
        loss.item(),
        (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(1))) / 2,
        rel_tol=1e-5,
    )


def test_renaming_changes_nothing():
    torch.manual_seed(0)
    credits, identities, order = (
        torch.rand(2, 5, 3),
        torch.randn(3, 5),
        torch.tensor([2, 0, 1]),
    )
    assert torch.isclose(
        cia_loss(credits[..., order], identities[order]), cia_loss(credits, identities)
    )
