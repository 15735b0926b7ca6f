"""What a masked loss must do."""

import torch
from forgotten_mask import td_loss


def test_by_hand():
    """Two real transitions with errors 1 and 3: their mean square is 5."""
    q_tot, targets = torch.tensor([[1.0, 3.0, 7.0]]), torch.zeros(1, 3)
    assert td_loss(q_tot, targets, torch.tensor([[1.0, 1.0, 0.0]])).item() == 5.0


def test_values_in_padding_do_not_matter():
    q_tot, weights = torch.tensor([[1.0, 3.0, 7.0]]), torch.tensor([[1.0, 1.0, 0.0]])
    other = torch.tensor([[1.0, 3.0, -100.0]])
    targets = torch.zeros(1, 3)
    assert td_loss(q_tot, targets, weights) == td_loss(other, targets, weights)


def test_more_padding_does_not_matter():
    """The same episodes, in a batch with a longer one."""
    short = [torch.tensor([[1.0, 3.0]]), torch.zeros(1, 2), torch.ones(1, 2)]
    longer = [torch.cat([part, torch.zeros(1, 8)], 1) for part in short]
    assert td_loss(*short) == td_loss(*longer)
