"""The contrastive loss: what it is, what it cannot see, and its gradient by hand."""

import math

import pytest
import torch
from support.toys import rng
from torch.testing import assert_close

from ciacore.cia import cc_loss, cia_loss, similarities

B, T, K, N = 6, 5, 3, 8


def random_credits(seed: int = 0, agents: int = K) -> torch.Tensor:
    return torch.randn(B, T, agents, generator=rng(seed), dtype=torch.float64)


def random_identities(seed: int = 1, agents: int = K, horizon: int = N) -> torch.Tensor:
    return torch.randn(agents, horizon, generator=rng(seed), dtype=torch.float64)


def equal_credits(agents: int = K) -> torch.Tensor:
    return random_credits(agents=1).expand(-1, -1, agents).clone()


def with_gradients(loss, *inputs):
    inputs = [value.clone().requires_grad_() for value in inputs]
    value = loss(*inputs)
    return value.detach(), *torch.autograd.grad(value, inputs)


# ---------------------------------------------------------------------- numbers by hand


def test_two_agents_by_hand():
    """One trajectory: x^0 = (1, 2), x^1 = (3, 0); w_0 = (1, 0), w_1 = (0, 1).

    G = [[1, 3], [2, 0]] (row: identity). CIA compares along rows: softplus(3 - 1) and
    softplus(2 - 0). CC compares along columns: softplus(2 - 1) and softplus(3 - 0).
    """
    x = torch.tensor([[[1.0, 3.0], [2.0, 0.0]]])  # [B, T, K]
    w = torch.eye(2)
    assert similarities(x, w).tolist() == [[[1.0, 3.0], [2.0, 0.0]]]

    def softplus(gap):
        return math.log(1 + math.exp(gap))

    assert_close(float(cia_loss(x, w)), softplus(2))
    assert_close(float(cc_loss(x, w)), (softplus(1) + softplus(3)) / 2)
    bias = torch.tensor([0.5, -0.5])
    assert_close(float(cc_loss(x, w, bias)), (softplus(0) + softplus(4)) / 2)


@pytest.mark.parametrize("agents", [1, 2, 3, 10])
def test_equal_credits_give_log_k_for_any_identities(agents):
    for seed in range(3):
        x, w = equal_credits(agents), 5 * random_identities(seed, agents)
        loss, to_credits, to_identities = with_gradients(cia_loss, x, w)
        assert_close(float(loss), math.log(agents), rtol=0, atol=1e-12)
        assert_close(to_identities, torch.zeros_like(w), rtol=0, atol=1e-12)
        expected = (w.mean(0) - w) / (B * agents)  # [K, N]: (mean_k w_k - w_j) / (B K)
        assert_close(to_credits, expected[:, :T].T.expand(B, T, agents))
        assert (to_credits.abs().max() > 1e-3) == (agents > 1)
        assert float(cc_loss(x, w)) >= math.log(agents) - 1e-12


def test_zero_identities_give_log_k_and_no_gradient_to_credits():
    x, w = random_credits(), torch.zeros(K, N, dtype=torch.float64)
    loss, to_credits, to_identities = with_gradients(cia_loss, x, w)
    assert_close(float(loss), math.log(K))
    assert (to_credits == 0).all()
    assert (to_identities.abs() > 0).any()


def test_gradients_by_their_closed_form():
    """With P the softmax along the rows of G:

    dL/dx^j = sum_k (P[k, j] - [k = j]) w_k / (B K)
    dL/dw_k = sum_b (sum_j P[k, j] x^j - x^k) / (B K)
    """
    x = random_credits()
    w = random_identities(horizon=T)
    _, to_credits, to_identities = with_gradients(cia_loss, x, w)
    for_x = torch.zeros_like(x)
    for_w = torch.zeros_like(w)
    for b in range(B):
        logits = [[float(w[k] @ x[b, :, j]) for j in range(K)] for k in range(K)]
        for k in range(K):
            total = sum(math.exp(value) for value in logits[k])
            for j in range(K):
                share = (math.exp(logits[k][j]) / total - (k == j)) / (B * K)
                for_x[b, :, j] += share * w[k]
                for_w[k] += share * x[b, :, j]
    assert_close(to_credits, for_x)
    assert_close(to_identities, for_w)


def test_perfectly_told_apart_credits_give_zero_loss():
    x = torch.eye(3).expand(2, 3, 3)  # agent k is credited at step k
    assert_close(float(cia_loss(x, 100 * torch.eye(3))), 0.0)
    # the bound on the information can be negative
    assert float(cia_loss(x, -100 * torch.eye(3))) > math.log(3)


# -------------------------------------------------------------------------- invariances


def test_common_offset_of_all_credits_is_invisible_to_cia_only():
    x, w = random_credits(), random_identities()
    offset = 3 * torch.randn(B, T, 1, generator=rng(7), dtype=torch.float64)
    assert_close(cia_loss(x + offset, w), cia_loss(x, w))
    assert abs(float(cc_loss(x + offset, w) - cc_loss(x, w))) > 0.1


def test_common_vector_in_all_identities_is_invisible_to_cc_only():
    x, w = random_credits(), random_identities()
    common = 3 * torch.randn(N, generator=rng(7), dtype=torch.float64)
    assert_close(cc_loss(x, w + common), cc_loss(x, w))
    assert abs(float(cia_loss(x, w + common) - cia_loss(x, w))) > 0.1


def test_bias_cancels_in_cia_only():
    x = random_credits()
    w = random_identities()
    bias = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
    logits = similarities(x, w) + bias.unsqueeze(-1)
    with_bias = -logits.log_softmax(2).diagonal(dim1=1, dim2=2).mean()
    assert_close(with_bias, cia_loss(x, w))
    assert abs(float(cc_loss(x, w, bias) - cc_loss(x, w))) > 0.1
    # only differences of the bias count
    assert_close(cc_loss(x, w, bias + 4), cc_loss(x, w, bias))


def test_cia_is_cc_of_the_transposed_similarities():
    """With T = N = K, credits and identities can trade places: G is transposed."""
    x = torch.randn(1, 4, 4, generator=rng(2))
    w = torch.randn(4, 4, generator=rng(3))
    x_for_w = w.T.unsqueeze(0)
    w_for_x = x[0].T.contiguous()
    swapped = similarities(x_for_w, w_for_x)
    assert_close(swapped, similarities(x, w).transpose(1, 2))
    assert_close(cc_loss(x_for_w, w_for_x), cia_loss(x, w))
    assert abs(float(cia_loss(x, w) - cc_loss(x, w))) > 0.1


@pytest.mark.parametrize("loss", [cia_loss, cc_loss])
def test_agents_and_identities_may_be_permuted_together(loss):
    x = random_credits()
    w = random_identities()
    order = [2, 0, 1]
    assert_close(loss(x[..., order], w[order]), loss(x, w))
    assert abs(float(loss(x[..., order], w) - loss(x, w))) > 0.1


@pytest.mark.parametrize("loss", [cia_loss, cc_loss])
def test_padding_with_zeros_changes_nothing(loss):
    x, w = random_credits(), random_identities()
    padded = torch.nn.functional.pad(x, (0, 0, 0, N - T))
    assert padded.shape == (B, N, K)
    assert_close(loss(padded, w), loss(x, w))
    # identities beyond the credits are never read
    assert_close(loss(x, w[:, :T]), loss(x, w))
    _, _, to_identities = with_gradients(loss, x, w)
    assert (to_identities[:, T:] == 0).all() and (to_identities[:, :T] != 0).all()


@pytest.mark.parametrize("loss", [cia_loss, cc_loss])
def test_loss_is_a_mean_over_trajectories_and_never_negative(loss):
    x, w = random_credits(), random_identities()
    single = torch.stack([loss(x[b : b + 1], w) for b in range(B)])
    assert_close(loss(x, w), single.mean())
    assert (single > 0).all() and single.std() > 0.1
