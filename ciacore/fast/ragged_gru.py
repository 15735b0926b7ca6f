"""A GRU along episodes of different lengths, on a CPU: only real steps are computed.

The recurrence is that of `ciacore.fast.gru`. Episodes are sorted by length, so that
those still going on are the first rows of the step before. Every row is its own: in
games of measured quantities hardly any repeat. What does not depend on the step before
is then computed of all rows in one product, forwards and backwards.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import add, matmul, multiply, subtract, tanh
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from ciacore.fast.steps import RealSteps

# A factor for n, r, z, m, since sigmoid(v) = 1/2 + 1/2 tanh(v/2).
HALVES = torch.tensor([1.0, 0.5, 0.5, 1.0])[:, None, None]
SETTLED = 1e-6  # a hidden state that moves no further in a step stays where it is


def gates(gru: nn.GRU) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The weights of a GRU as this folder names them: w, b, u and c.

    torch stacks the gates as r, z, n. The bias of the recurrent part of n stays apart,
    as the reset gate multiplies it.
    """
    w = gru.weight_ih_l0.unflatten(0, (3, -1))
    u = gru.weight_hh_l0.unflatten(0, (3, -1))
    b = gru.bias_ih_l0.unflatten(0, (3, -1))
    c = gru.bias_hh_l0.unflatten(0, (3, -1))
    n_first = w.roll(1, 0)
    return n_first, torch.stack([b[2], b[0] + c[0], b[1] + c[1]]), u, c[2]


def along_real_slots(
    gru: nn.GRU, x: Float[Tensor, "R I"], steps: RealSteps
) -> Float[Tensor, "R H"]:
    """The hidden states h_1 .. h_T of a GRU from h_0 = 0, of real slots alone.

    Args:
        gru: one layer, I inputs, H hidden units.
        x: [R, I] what every agent reads at every real slot, sorted as `steps` says.
        steps: which slots are real.
    """
    n_agents = len(x) // len(steps.slot)
    counts = [n_agents * count for count in steps.slots_at.tolist()]
    return RaggedGRU.apply(x, counts, *gates(gru))


class GoneOn(NamedTuple):
    """Hidden states of agents that go on without input."""

    hidden: Float[Tensor, "U K H"]  # all different ones
    index: Int[Tensor, "P"]  # which of them each further slot has


def go_on(
    gru: nn.GRU,
    first: Float[Tensor, "E K I"],
    later: Float[Tensor, "K I"],
    hidden: Float[Tensor, "E K H"],
    counts: list[int],
) -> GoneOn:
    """The hidden states of agents that read the same at every later step; no gradient.

    Once nothing moves any more they are not computed again.

    Args:
        gru: one layer, I inputs, H hidden units.
        first: [E, K, I] what each agent reads at the first step.
        later: [K, I] at every later step.
        hidden: [E, K, H] at the start.
        counts: episodes at each step, the first of those given; none more than at the
            step before.
    """
    w, b, u, c = gates(gru)
    halves = HALVES.to(u)
    of_first = first.flatten(0, 1) @ w.mT + b.unsqueeze(1)  # for n, r and z
    of_later = (later @ w.mT + b.unsqueeze(1)).repeat(1, len(first), 1)
    of_first, of_later = of_first * halves[:3], of_later * halves[:3]  # [3, E K, H]
    from_h = (u * halves[1:]).mT.contiguous().numpy()
    now = hidden.flatten(0, 1).numpy()
    n_agents, size = hidden.shape[1:]
    product = np.empty((3, *now.shape), now.dtype)
    of_x, c_row = of_first.numpy(), c.numpy()
    found, settled_at = [], len(counts)
    for t, count in enumerate(counts):
        rows = count * n_agents
        before, products = now[:rows], product[:, :rows]
        matmul(before, from_h, out=products)
        r_and_z, m = products[:2], products[2]
        add(r_and_z, of_x[1:, :rows], out=r_and_z)
        tanh(r_and_z, out=r_and_z)
        multiply(r_and_z, 0.5, out=r_and_z)
        add(r_and_z, 0.5, out=r_and_z)
        r, z = r_and_z
        add(m, c_row, out=m)
        multiply(m, r, out=m)
        add(m, of_x[0, :rows], out=m)
        n = tanh(m, out=m)
        subtract(before, n, out=r)
        multiply(r, z, out=r)
        now = n + r
        found.append(now)
        of_x = of_later.numpy()
        if t > 0 and np.abs(subtract(now, before, out=r)).max() < SETTLED:
            settled_at = t
            break
    states = np.concatenate(found) if found else now[:0]
    states = torch.from_numpy(states).view(-1, n_agents, size)
    return GoneOn(states, settled_index(counts, settled_at))


def settled_index(counts: list[int], settled_at: int) -> Int[Tensor, "P"]:
    """Which row of the times up to `settled_at` each row of all times equals.

    Args:
        counts: rows at each time, the first of those at the time before.
        settled_at: the time after which nothing moves.
    """
    computed = sum(counts[: settled_at + 1])
    last = computed - counts[settled_at] if settled_at < len(counts) else computed
    later = [last + row for count in counts[settled_at + 1 :] for row in range(count)]
    return torch.cat([torch.arange(computed), torch.tensor(later, dtype=torch.int64)])


class RaggedGRU(Function):
    """h_1 .. h_T from h_0 = 0, for `counts[t]` rows at time t.

    r, z = sigmoid(W x + b + U h)
    m    = U_m h + c
    n    = tanh(W_n x + b_n + r m)
    h'   = n + z (h - n)

    with w [3, H, I] and b [3, H] for n, r, z; u [3, H, H] for r, z, m; c [H].
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Float[Tensor, "R I"],
        counts: list[int],
        w: Float[Tensor, "3 H I"],
        b: Float[Tensor, "3 H"],
        u: Float[Tensor, "3 H H"],
        c: Float[Tensor, "H"],
    ) -> Float[Tensor, "R H"]:
        """The hidden states; gates are kept, all of a time together."""
        size, most = u.shape[-1], counts[0]
        halves = HALVES.to(u)
        kept = x.new_empty(4, len(x), size)  # n, r, z, m of every row
        half_w, half_b = w * halves[:3], b * halves[:3, 0]
        for gate in range(3):
            torch.addmm(half_b[gate], x, half_w[gate].t(), out=kept[gate])
        from_h = (u * halves[1:]).mT.contiguous().numpy()
        c_row = c.numpy()

        h = x.new_empty(len(x), size).numpy()
        before = np.zeros((most, size), h.dtype)
        product = np.empty((3, most, size), h.dtype)
        all_gates = kept.numpy()
        first = 0
        for count in counts:
            rows = slice(first, first + count)
            gates_t, after = all_gates[:, rows], h[rows]
            n, r, z, m = gates_t
            r_and_z = gates_t[1:3]
            before, products = before[:count], product[:, :count]
            part = products[0]
            matmul(before, from_h, out=products)
            add(r_and_z, products[:2], out=r_and_z)
            tanh(r_and_z, out=r_and_z)
            multiply(r_and_z, 0.5, out=r_and_z)
            add(r_and_z, 0.5, out=r_and_z)
            add(products[2], c_row, out=m)
            multiply(r, m, out=part)
            add(n, part, out=n)
            tanh(n, out=n)
            subtract(before, n, out=part)
            multiply(z, part, out=part)
            add(n, part, out=after)
            before = after
            first += count

        hidden = torch.from_numpy(h)
        ctx.counts = counts
        ctx.save_for_backward(kept, hidden, x, w, u)
        return hidden

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Float[Tensor, "R H"]) -> tuple[Tensor | None, ...]:
        """Backwards through time.

        `d` are the gradients before n, r, z and m, `dh` those at h'.
        """
        kept, hidden, x, w, u = ctx.saved_tensors
        counts = ctx.counts
        d = torch.empty_like(kept)
        all_d, all_gates = d.numpy(), kept.numpy()
        h, gradient = hidden.numpy(), gradient.contiguous().numpy()
        from_h = u.contiguous().numpy()
        most, size = counts[0], h.shape[1]
        dh_of_all = np.zeros((most, size), h.dtype)
        a_of_all, b_of_all = np.empty_like(dh_of_all), np.empty_like(dh_of_all)
        product = np.empty((3, most, size), h.dtype)
        h_before = torch.zeros_like(hidden)  # of every row, zeros at the start
        all_before = h_before.numpy()

        last = len(h)
        for t in reversed(range(len(counts))):
            count = counts[t]
            rows = slice(last - count, last)
            n, r, z, m = all_gates[:, rows]
            dn, dr, dz, dm = all_d[:, rows]
            dh, a, b = dh_of_all[:count], a_of_all[:count], b_of_all[:count]
            products = product[:, :count]
            add(dh, gradient[rows], out=b)
            multiply(b, z, out=dh)  # z dh'
            subtract(b, dh, out=b)  # (1 - z) dh'
            subtract(h[rows], n, out=a)
            multiply(a, b, out=dz)  # z (1 - z) (h - n) dh' = (h' - n) (1 - z) dh'
            multiply(n, n, out=a)
            multiply(a, b, out=a)
            subtract(b, a, out=dn)  # (1 - n n) (1 - z) dh'
            multiply(dn, r, out=dm)
            multiply(dm, m, out=a)
            multiply(a, r, out=b)
            subtract(a, b, out=dr)  # r (1 - r) m dn
            last -= count
            if t > 0:
                matmul(all_d[1:, rows], from_h, out=products)
                for through_gate in products:
                    add(dh, through_gate, out=dh)
                start = last - counts[t - 1]
                all_before[rows] = h[start : start + count]

        dx = torch.zeros_like(x)
        for gate in range(3):
            dx.addmm_(d[gate], w[gate])
        dw = torch.stack([of_gate.t() @ x for of_gate in d[:3]])
        du = torch.stack([of_gate.t() @ h_before for of_gate in d[1:]])
        return dx, None, dw, d[:3].sum(1), du, d[3].sum(0)
