"""What the CIA loss must do, whoever wrote it."""

import math

import torch
from wrong_axis import cia_loss


def test_equal_credits_tell_nothing():
    """Agents that are credited alike cannot be told apart: log K for any identities."""
    credits = torch.rand(4, 6, 1).expand(-1, -1, 3)
    loss = cia_loss(credits, torch.randn(3, 6)).item()
    assert math.isclose(loss, math.log(3), rel_tol=1e-4)


def test_by_hand():
    """Two agents, two steps: the rows of similarities are (2, 1) and (5, 4)."""
    credits = torch.tensor([[[2.0, 1.0], [1.0, 2.0]]])  # x0 = (2, 1), x1 = (1, 2)
    identities = torch.tensor([[1.0, 0.0], [2.0, 1.0]])  # w0 = (1, 0), w1 = (2, 1)
    first = math.log(1 + math.exp(1 - 2))
    second = math.log(1 + math.exp(5 - 4))
    loss = cia_loss(credits, identities).item()
    assert math.isclose(loss, (first + second) / 2, rel_tol=1e-5)


def test_renaming_changes_nothing():
    torch.manual_seed(0)
    credits = torch.rand(2, 5, 3)
    identities = torch.randn(3, 5)
    order = torch.tensor([2, 0, 1])
    renamed = cia_loss(credits[..., order], identities[order])
    assert torch.isclose(renamed, cia_loss(credits, identities))
