"""A GRU along whole sequences on a CPU, with its backward pass written out (Cho et al. 2014; torch.nn.GRU's gates).

torch differentiates nn.GRU on a CPU step by step, in some thirty small operations each.
Written out they are fewer, what a step needs stays in the core's cache, and they run in
numpy, where a small operation costs half of torch's. On CUDA cuDNN does as much, and
nn.GRU is used as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

add, subtract, multiply, tanh, matmul = (
    np.add,
    np.subtract,
    np.multiply,
    np.tanh,
    np.matmul,
)
# of n, r, z, m: sigmoid(v) = 1/2 + 1/2 tanh(v/2)
HALVES = torch.tensor([1.0, 0.5, 0.5, 1.0])[:, None, None]


class GRUSequence(Function):
    """h_1 .. h_T from h_0 = 0 and the inputs; at step t row i is told x[index[t, i]], so inputs may repeat.

    r, z = sigmoid(W x + b + U h),  m = U_m h + c,  n = tanh(W_n x + b_n + r m),  h' = n
    + z (h - n)

    with w [3, H, I] and b [3, H] for n, r, z; u [3, H, H] for r, z, m; c [H].
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Float[Tensor, "D I"],
        index: Int[Tensor, "T R"],
        w: Tensor,
        b: Tensor,
        u: Tensor,
        c: Tensor,
    ) -> Float[Tensor, "T R H"]:
        """Gates are kept for the backward pass only, where there will be one."""
        steps, kept, shape, halves = (
            len(index),
            any(ctx.needs_input_grad),
            (index.shape[1], u.shape[-1]),
            HALVES.to(u),
        )
        given = x.new_empty(3, len(x), u.shape[-1])
        for gate, weight, bias in zip(
            given, w * halves[:3], b * halves[:3, 0], strict=True
        ):
            torch.addmm(bias, x, weight.t(), out=gate)
        given, v, added = (
            given.numpy(),
            (u * halves[1:]).mT.contiguous().numpy(),
            c.repeat(shape[0], 1).numpy(),
        )
        h, product = (x.new_empty(count, *shape).numpy() for count in (steps + 1, 3))
        gates, part = x.new_empty(steps if kept else 1, 4, *shape).numpy(), product[0]
        h[0] = 0
        for t, index_t in enumerate(index.numpy()):
            now = gates[t if kept else 0]
            rz, (n, r, z, m) = now[1:3], now
            given.take(index_t, 1, out=now[:3], mode="clip")
            matmul(h[t], v, out=product)
            add(rz, product[:2], out=rz)
            tanh(rz, out=rz)
            multiply(rz, 0.5, out=rz)
            add(rz, 0.5, out=rz)
            add(product[2], added, out=m)
            multiply(r, m, out=part)
            add(n, part, out=n)
            tanh(n, out=n)
            subtract(h[t], n, out=part)
            multiply(z, part, out=part)
            add(n, part, out=h[t + 1])
        hidden = torch.from_numpy(h)
        ctx.save_for_backward(torch.from_numpy(gates), hidden, x, index, w, u)
        return hidden[1:]

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, gradient: Float[Tensor, "T R H"]
    ) -> tuple[Tensor | None, ...]:
        """Backwards through time; `d` are the gradients before n, r, z and m, `dh` those at h'."""
        gates, hidden, x, index, w, u = ctx.saved_tensors
        h, v, gradient = hidden.numpy(), u.contiguous().numpy(), gradient.numpy()
        (dh, a, b), product = gates.new_zeros(2, 3, *h.shape[1:]).numpy()
        d, du, outer, dc = (
            torch.empty_like(gates[0]),
            *gates.new_zeros(2, *v.shape).numpy(),
            np.zeros_like(dh),
        )
        rows, (dn, dr, dz, dm), d_rzm = d[:3].flatten(0, 1), d.numpy(), d[1:].numpy()
        # [T, 3 R]: of rows in totals
        places = (torch.arange(3)[:, None] * len(x) + index.unsqueeze(1)).flatten(1)
        totals = u.new_zeros(3 * len(x), u.shape[-1])
        for t, (n, r, z, m) in reversed(list(enumerate(gates.numpy()))):
            add(dh, gradient[t], out=b)
            multiply(b, z, out=dh)  # z dh'
            subtract(b, dh, out=b)  # (1 - z) dh'
            subtract(h[t + 1], n, out=a)
            multiply(a, b, out=dz)  # z (1 - z) (h - n) dh' = (h' - n) (1 - z) dh'
            multiply(n, n, out=a)
            multiply(a, b, out=a)
            subtract(b, a, out=dn)  # (1 - n n) (1 - z) dh'
            multiply(dn, r, out=dm)
            multiply(dm, m, out=a)
            multiply(a, r, out=b)
            subtract(a, b, out=dr)  # r (1 - r) m dn
            matmul(d_rzm, v, out=product)
            for more in product:
                add(dh, more, out=dh)
            matmul(d_rzm.swapaxes(1, 2), h[t], out=outer)
            add(du, outer, out=du)
            add(dc, dm, out=dc)
            totals.index_add_(0, places[t], rows)
        parts, dx = totals.unflatten(0, (3, -1)), torch.zeros_like(x)
        for part, weight in zip(parts, w, strict=True):
            dx.addmm_(part, weight)
        dw = torch.stack([part.t() @ x for part in parts])
        return (
            dx,
            None,
            dw,
            parts.sum(1),
            torch.from_numpy(du),
            torch.from_numpy(dc).sum(0),
        )
