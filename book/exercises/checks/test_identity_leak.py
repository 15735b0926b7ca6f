"""What a measure of distinguishability must do."""

import torch
from identity_leak import told_apart


def test_different_agents_are_told_apart():
    torch.manual_seed(0)
    credits = 0.1 * torch.rand(8, 50, 3) + torch.arange(3.0)
    assert told_apart(credits) == 1.0


def test_noise_is_told_apart_by_chance_only():
    """Credits that have nothing to do with the agents: about one in K is right."""
    torch.manual_seed(0)
    found = [told_apart(torch.rand(6, 200, 4)) for _ in range(40)]
    assert abs(sum(found) / len(found) - 1 / 4) < 0.08
