"""A GRU along whole sequences on a CPU, with its backward pass written out (Cho et al. 2014; torch.nn.GRU's gates).

torch differentiates nn.GRU on a CPU step by step. Written out, everything that does not depend on the next step is done
for all steps at once: the slopes of the gates before the backward loop, the gradients of the weights after it, as one
matrix product each. On CUDA cuDNN does as much, and nn.GRU is used as it is.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

sigmoid_backward, tanh_backward = torch.ops.aten.sigmoid_backward, torch.ops.aten.tanh_backward  # (gradient, output)


class GRUSequence(Function):
    """h_1 .. h_T from x_1 .. x_T and h_0 = 0.

    r, z = sigmoid(W_rz x + U_rz h + b),  n = tanh(W_n x + b_n + r (U_n h + c_n)),  h' = n + z (h - n)
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Float[Tensor, "T R I"],
        w: Float[Tensor, "G I"],
        u: Float[Tensor, "G H"],
        b: Float[Tensor, "G"],
        c: Float[Tensor, "G"],
    ) -> Float[Tensor, "T R H"]:
        """Every step in place, on what the inputs contribute to all steps at once."""
        steps, rows, size, two = *x.shape[:2], u.shape[1], 2 * u.shape[1]
        rz = torch.addmm(b[:two] + c[:two], x.flatten(0, 1), w[:two].t()).view(steps, rows, two)
        n = torch.addmm(b[two:], x.flatten(0, 1), w[two:].t(), beta=2, alpha=2).view(steps, rows, size)  # doubled
        r, z, m = rz[..., :size], rz[..., size:], torch.empty_like(n)  # m = U_n h + c_n
        h = x.new_zeros(steps + 1, rows, size)
        u_rz, u_n, c_n, minus_one = u[:two].t(), u[two:].t(), c[two:], x.new_full((), -1)
        for rz_t, r_t, z_t, n_t, m_t, h_t, h_next in zip(rz, r, z, n, m, h[:-1], h[1:], strict=True):
            rz_t.addmm_(h_t, u_rz).sigmoid_()
            torch.addmm(c_n, h_t, u_n, out=m_t)
            n_t.addcmul_(r_t, m_t, value=2).sigmoid_()
            torch.add(minus_one, n_t, alpha=2, out=n_t)  # tanh(v) = 2 sigmoid(2 v) - 1, quicker than tanh_
            torch.lerp(n_t, h_t, z_t, out=h_next)
        ctx.save_for_backward(x, w, u, rz, n, m, h)
        return h[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Float[Tensor, "T R H"]) -> tuple[Tensor | None, ...]:
        """Backwards through time; `d` are the gradients before the gates r, z and at m, `dh` those at h_0 .. h_T."""
        x, w, u, rz, n, m, h = ctx.saved_tensors
        steps, rows, size = n.shape
        r, z = rz[..., :size], rz[..., size:]
        slope_n = tanh_backward(1 - z, n)  # (1 - z) (1 - n n)
        slope_m = slope_n * r
        slope_r, slope_z = sigmoid_backward(slope_n * m, r), sigmoid_backward(h[:-1] - n, z)  # (h - n) z (1 - z)
        slopes = torch.stack([slope_r, slope_z, slope_m], dim=2)  # [T, R, 3, H]
        d, dh = torch.empty_like(slopes), torch.cat([torch.zeros_like(gradient[:1]), gradient])
        for slopes_t, z_t, d_t, dh_t, dh_next in reversed(list(zip(slopes, z, d, dh[:-1], dh[1:], strict=True))):
            torch.mul(slopes_t, dh_next.unsqueeze(1), out=d_t)
            dh_t.addcmul_(dh_next, z_t).addmm_(d_t.flatten(1), u)
        rows_d = d.view(steps * rows, 3 * size)
        du, dc = rows_d.t() @ h[:-1].flatten(0, 1), rows_d.sum(0)
        torch.mul(slope_n, dh[1:], out=d[:, :, 2])  # now before the gate n, where the inputs enter
        dw, db = rows_d.t() @ x.flatten(0, 1), rows_d.sum(0)
        dx = (rows_d @ w).view_as(x) if ctx.needs_input_grad[0] else None
        return dx, dw, du, db, dc
