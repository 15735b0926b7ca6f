"""A GRU along whole sequences on a CPU, with its backward pass written out.

(Cho et al. 2014; the gates of torch.nn.GRU.) torch differentiates nn.GRU on a CPU step
by step, in some thirty small operations each. Written out they are fewer, what a step
needs stays in the core's cache, and they run in numpy, where a small operation costs
half of torch's. On CUDA cuDNN does as much, and nn.GRU is used as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import add, matmul, multiply, subtract, tanh
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from ciacore.fast import switch
from ciacore.fast.ragged_gru import HALVES, along_real_slots, gates
from ciacore.fast.stacked_layers import OfEachSeed, StepOfEachSeed, weights_of
from ciacore.fast.steps import RealSteps, Steps
from ciacore.fast.unique_rows import UniqueRows, on_cpu


def gru_along(
    gru: nn.GRU, x: Float[Tensor, "D I"], inputs: UniqueRows, steps: Steps
) -> Float[Tensor, "*slots R H"]:
    """The hidden states h_1 .. h_T of a GRU from h_0 = 0.

    Args:
        gru: one layer, I inputs, H hidden units.
        x: [D, I] what it reads, each different row once.
        inputs: where the rows stand: at step t row r reads x[inputs.index[t, r]].
        steps: `RealSteps` where only real slots are computed.

    Returns:
        [T, R, H], or [S, H] of the rows of all real slots.
    """
    if isinstance(steps, RealSteps):
        return along_real_slots(gru, inputs.gather(x), steps)
    if on_cpu(x) and switch.on():
        return GRUSequence.apply(x, inputs.index, *gates(gru))
    if switch.stacked():
        return OfEachSeed.apply(inputs.gather(x), *weights_of(gru))
    return gru(inputs.gather(x))[0]


def gru_step(
    gru: nn.GRU, x: Float[Tensor, "R I"], hidden: Float[Tensor, "R H"]
) -> Float[Tensor, "R H"]:
    """The next hidden state of a GRU, while playing.

    Args:
        gru: one layer, I inputs, H hidden units.
        x: [R, I] what it reads.
        hidden: [R, H] after the step before.
    """
    if switch.stacked():
        return StepOfEachSeed.apply(x, hidden, *weights_of(gru))
    return torch.gru_cell(x, hidden, *weights_of(gru))


class GRUSequence(Function):
    """h_1 .. h_T from h_0 = 0; at step t row i reads x[index[t, i]].

    r, z = sigmoid(W x + b + U h)
    m    = U_m h + c
    n    = tanh(W_n x + b_n + r m)
    h'   = n + z (h - n)

    with w [3, H, I] and b [3, H] for n, r, z; u [3, H, H] for r, z, m; c [H].
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Float[Tensor, "D I"],
        index: Int[Tensor, "T R"],
        w: Float[Tensor, "3 H I"],
        b: Float[Tensor, "3 H"],
        u: Float[Tensor, "3 H H"],
        c: Float[Tensor, "H"],
    ) -> Float[Tensor, "T R H"]:
        """The hidden states; gates are kept where there will be a backward pass."""
        steps, rows, size = len(index), index.shape[1], u.shape[-1]
        keeps_gates = any(ctx.needs_input_grad)
        halves = HALVES.to(u)

        from_x = x.new_empty(3, len(x), size)  # W x + b, of each different row
        half_w, half_b = w * halves[:3], b * halves[:3, 0]
        for gate in range(3):
            torch.addmm(half_b[gate], x, half_w[gate].t(), out=from_x[gate])
        from_x = from_x.numpy()
        from_h = (u * halves[1:]).mT.contiguous().numpy()
        c_rows = c.repeat(rows, 1).numpy()

        h = x.new_empty(steps + 1, rows, size).numpy()
        product = x.new_empty(3, rows, size).numpy()
        gates = x.new_empty(steps if keeps_gates else 1, 4, rows, size).numpy()
        part = product[0]
        h[0] = 0
        for t, index_t in enumerate(index.numpy()):
            gates_t = gates[t if keeps_gates else 0]
            n, r, z, m = gates_t
            r_and_z = gates_t[1:3]
            from_x.take(index_t, 1, out=gates_t[:3], mode="clip")
            matmul(h[t], from_h, out=product)
            add(r_and_z, product[:2], out=r_and_z)
            tanh(r_and_z, out=r_and_z)
            multiply(r_and_z, 0.5, out=r_and_z)
            add(r_and_z, 0.5, out=r_and_z)
            add(product[2], c_rows, out=m)
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
        """Backwards through time.

        `d` are the gradients before n, r, z and m, `dh` those at h'.
        """
        gates, hidden, x, index, w, u = ctx.saved_tensors
        d = torch.empty_like(gates[0])
        d_nrz = d[:3].flatten(0, 1)  # [3 R, H], a view
        gates, h, gradient = gates.numpy(), hidden.numpy(), gradient.numpy()
        from_h = u.contiguous().numpy()
        rows, size = h.shape[1:]

        dn, dr, dz, dm = d.numpy()
        d_rzm = d[1:].numpy()
        dh = np.zeros((rows, size), h.dtype)
        dc = np.zeros_like(dh)
        du = np.zeros_like(from_h)
        a, b = np.empty_like(dh), np.empty_like(dh)
        product = np.empty((3, rows, size), h.dtype)
        outer = np.empty_like(du)

        # Gradients of W x + b add up over all places of a row: one total per gate and
        # row.
        totals = u.new_zeros(3 * len(x), size)
        first_of_gate = torch.arange(3)[:, None] * len(x)
        places = (first_of_gate + index.unsqueeze(1)).flatten(1)  # [T, 3 R]

        for t in reversed(range(len(gates))):
            n, r, z, m = gates[t]
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
            matmul(d_rzm, from_h, out=product)
            for through_gate in product:
                add(dh, through_gate, out=dh)
            matmul(d_rzm.swapaxes(1, 2), h[t], out=outer)
            add(du, outer, out=du)
            add(dc, dm, out=dc)
            totals.index_add_(0, places[t], d_nrz)

        per_gate = totals.unflatten(0, (3, -1))  # [3, D, H]
        dx = torch.zeros_like(x)
        for gate in range(3):
            dx.addmm_(per_gate[gate], w[gate])
        dw = torch.stack([total.t() @ x for total in per_gate])
        return (
            dx,
            None,
            dw,
            per_gate.sum(1),
            torch.from_numpy(du),
            torch.from_numpy(dc).sum(0),
        )
