"""Functions of many positions, computed a part at a time: in chunks to save memory, in blocks of rows to save time.

:func:`in_chunks` bounds what is in memory: each chunk is computed, reduced to one number a position and forgotten, and
the backward pass computes it again.

:func:`by_rows` keeps a CPU's caches warm. A dozen passes lie between logits and losses, and over a large tensor each
pass fetches every number from memory. Done a few rows at a time, forward and backward, the numbers stay in the caches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

_CACHED = 2**17
"""Entries of the logits in a block of rows on a CPU: half a megabyte in float32."""


def in_chunks(function: Callable[..., tuple[Tensor, ...]], *tensors: Tensor, chunk: int = 512) -> tuple[Tensor, ...]:
    """Apply a function of positions to `chunk` of them at a time; the backward pass computes each chunk again.

    Args:
        function: takes the same positions of every tensor and returns tensors of one value a position. It may use
            parameters that are not among its arguments; they get their gradients.
        tensors: each ``(positions, ...)``.
        chunk: the largest number of positions at once. If there are no more, they are computed once, by plain autograd.

    Returns:
        What the function returns, each ``(positions,)``.

    Raises:
        ValueError: if `chunk` is not positive, or the tensors have different numbers of positions.

    Reference:
        Chen et al. 2016, arXiv 1604.06174 (recomputation in the backward pass).

    Example:
        >>> in_chunks(lambda x: (x.square().sum(-1),), torch.eye(3) * 2, chunk=2)
        (tensor([4., 4., 4.]),)
    """
    if chunk < 1:
        raise ValueError(f"chunk must be positive, but is {chunk}")
    positions = {len(tensor) for tensor in tensors}
    if len(positions) != 1:
        raise ValueError(f"all tensors must have the same number of positions, but they have {sorted(positions)}")
    count = positions.pop()
    if count <= chunk:
        return function(*tensors)
    pieces = zip(*(tensor.tensor_split(-(-count // chunk)) for tensor in tensors))
    if torch.is_grad_enabled():
        found = [checkpoint(function, *piece, use_reentrant=False) for piece in pieces]
    else:
        found = [function(*piece) for piece in pieces]
    return tuple(torch.cat(values) for values in zip(*found))


def by_rows(function: Callable[..., tuple[Tensor, ...]], logits: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """Apply a function of logits that treats every row by itself; on a CPU, a few rows at a time.

    The gradient of each block is computed right after its values, for an incoming gradient of one, and is scaled in the
    backward pass. What autograd would keep otherwise (softmaxes, logarithms, products, each as large as the logits) is
    never in memory as a whole.

    Args:
        function: takes the same rows of every tensor and returns tensors of one value a row. The value of a row must
            depend on that row only.
        logits: ``(positions, vocabulary)``; the only tensor that gets a gradient.
        others: ``(positions, ...)`` each.

    Example:
        >>> by_rows(lambda x: (x.sum(-1), x[:, 0]), torch.eye(2))
        (tensor([1., 1.]), tensor([1., 0.]))
    """
    if logits.device.type != "cpu" or logits.numel() <= _CACHED:
        return function(logits, *others)
    if not (logits.requires_grad and torch.is_grad_enabled()):
        return tuple(torch.cat(values) for values in zip(*(function(*block) for block in _blocks(logits, *others))))
    return _ByRows.apply(function, logits, *others)


class _ByRows(torch.autograd.Function):
    """Values forward, together with their gradients with respect to the logits; the backward pass scales these."""

    @staticmethod
    def forward(ctx: Any, function: Callable[..., tuple[Tensor, ...]], logits: Tensor, *others: Tensor) -> Any:
        """The values. The slopes (gradients of each value) are kept, block by block."""
        values: list[list[Tensor]] = []
        slopes: list[Tensor] = []
        for block, *rest in _blocks(logits, *others):
            # What these small graphs keep is used at once: an enclosing checkpoint should not drop and recompute it.
            with torch.enable_grad(), saved_tensors_hooks(torch.Tensor.detach, lambda kept: kept):
                leaf = block.detach().requires_grad_()
                found = function(leaf, *rest)
                for number, value in enumerate(found):
                    slopes += torch.autograd.grad(value.sum(), leaf, retain_graph=number + 1 < len(found))
            values.append([value.detach() for value in found])
        ctx.save_for_backward(*slopes)
        ctx.others = len(others)
        return tuple(torch.cat(parts) for parts in zip(*values))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """The sum of the slopes, each row times the incoming gradient."""
        slopes, count = ctx.saved_tensors, len(gradients)
        total = slopes[0].new_empty(len(gradients[0]), slopes[0].shape[-1])
        scales = [gradient[:, None].split(len(slopes[0])) for gradient in gradients]
        for number, out in enumerate(total.split(len(slopes[0]))):
            torch.mul(slopes[number * count], scales[0][number], out=out)
            for which in range(1, count):
                out.addcmul_(slopes[number * count + which], scales[which][number])
        return (None, total, *[None] * ctx.others)


def _blocks(logits: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same few rows of every tensor, as many as fit a processor's caches."""
    rows = max(1, _CACHED // logits.shape[-1])
    return zip(*(tensor.split(rows) for tensor in (logits, *others)))
