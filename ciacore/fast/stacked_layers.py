"""Layers of stacked seeds, where `torch.func.vmap` has no rule or a slow one.

A GRU along sequences is a call for every seed, which on CUDA is cuDNN's; while playing
one step of all seeds is a few launches. A linear layer is one product, for which `vmap`
takes three operations.

A product of several matrices is added to the bias in place, so that the bias is copied
first: a launch of its own. While playing that is done for all steps at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

from ciacore.fast.switch import seeds_stacked

CUDNN_GRU = 3  # cuDNN's number of it


def weights_of(gru: nn.GRU) -> tuple[Tensor, ...]:
    """Of inputs and hidden states: both matrices, then both biases.

    Args:
        gru: one layer.
    """
    return gru.weight_ih_l0, gru.weight_hh_l0, gru.bias_ih_l0, gru.bias_hh_l0


class Biases:
    """Copies of biases, made for all steps of an episode at once."""

    def __init__(self, steps: int) -> None:
        """Nothing is copied yet.

        Args:
            steps: how often each bias will be asked for.
        """
        self.steps = steps
        self.left: dict[tuple[int, int], list[Tensor]] = {}

    def next(self, b: Tensor, rows: int) -> Tensor:
        """[S, rows, O], a copy of a bias that may be written to.

        Args:
            b: [S, O].
            rows: of what it is added to.
        """
        key = (id(b), rows)
        if not self.left.get(key):
            copies = b.unsqueeze(1).expand(self.steps, -1, rows, -1).contiguous()
            self.left[key] = list(copies.unbind(0))
        return self.left[key].pop()


BIASES: ContextVar[Biases | None] = ContextVar("biases", default=None)


@contextmanager
def stacked_layers(steps: int = 0) -> Iterator[None]:
    """While it lasts, layers are computed as this file says.

    Args:
        steps: of the episodes that are played; 0 where none are.
    """
    token = BIASES.set(Biases(steps) if steps else None)
    try:
        with seeds_stacked(), InOneProduct():
            yield
    finally:
        BIASES.reset(token)


class Stacked(Function):
    """A function that has a meaning under `vmap` alone."""

    @staticmethod
    def forward(*inputs: Any) -> Tensor:
        """Nobody may ask for it.

        Args:
            inputs: of the function.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "It computes all seeds at once, by its rule for vmap: call it inside "
            "torch.func.vmap, as ciacore.runtime.stacked_seeds does."
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept: the rule for `vmap` is differentiated as it is."""


class OfEachSeed(Stacked):
    """h_1 .. h_T of x [T, R, I], from h_0 = 0."""

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Tensor) -> tuple[Tensor, int]:
        """[S, T, R, H] of all seeds.

        Args:
            info: of torch; the number of seeds.
            in_dims: of torch; where the seeds' axis is.
            inputs: x, then the weights.
        """
        x, *weights = seeds_first(info, in_dims, inputs)
        of_seeds = zip(*(each.unbind(0) for each in weights), strict=True)
        pieces = in_pieces(weights[0]) if x.is_cuda else [None] * len(x)
        found = [
            along(*each) for each in zip(x.unbind(0), of_seeds, pieces, strict=True)
        ]
        return torch.stack(found), 0


class StepOfEachSeed(Stacked):
    """h' of x [R, I] and h [R, H]."""

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Tensor) -> tuple[Tensor, int]:
        """[S, R, H] of all seeds.

        Args:
            info: of torch; the number of seeds.
            in_dims: of torch; where the seeds' axis is.
            inputs: x and h, then the weights.
        """
        x, h, w, u = seeds_first(info, in_dims, inputs[:4])
        b, c = inputs[4:]
        return gated(product(x, w, b), product(h, u, c), h), 0


class LinearOfEachSeed(Stacked):
    """x W^T + b of x [..., I]."""

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Tensor) -> tuple[Tensor, int]:
        """[S, ..., O] of all seeds.

        Args:
            info: of torch; the number of seeds.
            in_dims: of torch; where the seeds' axis is.
            inputs: x, W and b.
        """
        x, w = seeds_first(info, in_dims, inputs[:2])
        rows = x.reshape(len(x), -1, x.shape[-1])
        return product(rows, w, inputs[2]).view(*x.shape[:-1], -1), 0


class InOneProduct(TorchFunctionMode):
    """While it lasts, linear layers with a bias are `LinearOfEachSeed`."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Computes a function of torch.

        Args:
            function: of torch.
            types: not asked.
            args: its arguments.
            kwargs: those with names.
        """
        if function is F.linear and len(args) == 3 and args[2] is not None:
            return LinearOfEachSeed.apply(*args)
        return function(*args, **(kwargs or {}))


class Draw(Stacked):
    """What every seed draws from its own generator."""

    @staticmethod
    def vmap(
        info: Any,
        in_dims: Any,
        seed: Tensor,
        rngs: Sequence[torch.Generator],
        draw: Callable[[torch.Generator], Tensor],
    ) -> tuple[Tensor, int]:
        """[S, ...], the draws of all seeds.

        Args:
            info: of torch.
            in_dims: of torch.
            seed: [S]; not looked at.
            rngs: one of each seed.
            draw: what is drawn, of a generator.
        """
        return torch.stack([draw(rng) for rng in rngs]), 0


def seeds_first(info: Any, in_dims: Any, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Tensors with the axis of seeds in front.

    Args:
        info: of torch; the number of seeds.
        in_dims: where that axis is; None where all seeds share a tensor.
        inputs: the tensors; weights are those of `StackedSeeds`, whose axis is first.
    """
    return [
        each.expand(info.batch_size, *each.shape)
        if axis is None
        else each.movedim(axis, 0)
        for axis, each in zip(in_dims, inputs, strict=False)
    ]


def product(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """x W^T + b of every seed: [S, R, O].

    Args:
        x: [S, R, I].
        w: [S, O, I].
        b: [S, O].
    """
    biases = BIASES.get()
    if biases is None:
        return torch.baddbmm(b.unsqueeze(1), x, w.transpose(1, 2))
    return biases.next(b, x.shape[1]).baddbmm_(x, w.transpose(1, 2))


def gated(from_x: Tensor, from_h: Tensor, h: Tensor) -> Tensor:
    """The next hidden state, from both products; on CUDA in one launch.

    Args:
        from_x: [S, R, 3H] of the inputs: r, z, n.
        from_h: [S, R, 3H] of the hidden state.
        h: [S, R, H] the hidden state.
    """
    if h.is_cuda:
        parts = (part.flatten(0, 1) for part in (from_x, from_h, h))
        found = torch.ops.aten._thnn_fused_gru_cell(*parts, None, None)[0]
        return found.unflatten(0, h.shape[:2])
    (r, z, n), (r_h, z_h, n_h) = from_x.chunk(3, -1), from_h.chunk(3, -1)
    r, z = (r + r_h).sigmoid(), (z + z_h).sigmoid()
    n = (n + r * n_h).tanh()
    return n + z * (h - n)


def along(x: Tensor, weights: Sequence[Tensor], piece: Tensor | None) -> Tensor:
    """The hidden states of one seed, as `nn.GRU` computes them.

    `nn.GRU` hands cuDNN the beginning of the memory that its weights lie in, which is
    the first seed's; so the piece of the seed is handed over here.

    Args:
        x: [T, R, I].
        weights: as `weights_of`.
        piece: on CUDA, the memory of all four weights.
    """
    start = x.new_zeros(1, x.shape[1], weights[1].shape[1])
    if piece is None:
        return torch.gru(x, start, weights, True, 1, 0.0, True, False, False)[0]
    sizes = (CUDNN_GRU, start.shape[-1], 0, 1)  # hidden units, no projection, one layer
    options = (False, 0.0, True, False, [], None)  # no dropout, in one direction
    call = torch.ops.aten._cudnn_rnn
    return call(x, list(weights), len(weights), piece, start, None, *sizes, *options)[0]


def stacked_in_pieces(of_seeds: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Stacks of tensors; those of one seed stay as far apart as they were.

    What torch has laid out for cuDNN keeps that layout; other tensors are put side by
    side, in their order.

    Args:
        of_seeds: of every seed, the tensors that belong together.

    Returns:
        [S, ...] of each, all of them views of one memory.
    """
    first = of_seeds[0]
    if any(tensor.untyped_storage().nbytes() > tensor.nbytes for tensor in first):
        begin = min(tensor.storage_offset() for tensor in first)
        offsets = [tensor.storage_offset() - begin for tensor in first]
    else:
        offsets = [0]
        for tensor in first[:-1]:
            offsets.append(offsets[-1] + tensor.numel())
    pitch = max(
        offset + tensor.numel() for offset, tensor in zip(offsets, first, strict=True)
    )
    memory = first[0].new_zeros(len(of_seeds), pitch)
    stacks = []
    for offset, *tensors in zip(offsets, *of_seeds, strict=True):
        part = memory[:, offset : offset + tensors[0].numel()]
        stacks.append(part.view(len(of_seeds), *tensors[0].shape))
        stacks[-1].copy_(torch.stack([tensor.detach() for tensor in tensors]))
    return stacks


def in_pieces(stack: Tensor) -> tuple[Tensor, ...]:
    """The memory of each seed, which `stacked_in_pieces` laid out.

    Args:
        stack: one of the stacks.
    """
    shape, strides = (len(stack), stack.stride(0)), (stack.stride(0), 1)
    return stack.detach().as_strided(shape, strides, 0).unbind(0)
