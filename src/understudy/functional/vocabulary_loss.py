"""Losses over a vocabulary, a few positions at a time: memory does not grow with positions times vocabulary.

Everything here takes hidden states and a head (a function from hidden states to logits) instead of logits. Where there
are more positions than `chunk`, each chunk's logits are computed, turned into one number a position and forgotten; the
backward pass computes them again, chunk by chunk. Up to `chunk` positions nothing is computed twice.

What lies between logits and losses is a dozen passes over numbers that a processor would fetch from memory each time.
On a CPU it is done a few rows at a time, forward and backward, so that they stay in its caches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from understudy.functional.logits import forward_kl

Head = Callable[[Tensor], Tensor]
"""Hidden states ``(positions, width)`` to logits ``(positions, vocabulary)``."""

Distance = Callable[..., Tensor]
"""Student's and teacher's logits, each ``(positions, vocabulary)``, and ``temperature=``, to ``(positions,)``."""

IGNORED = -100
"""The target of a position that has none; torch's own ``ignore_index``."""

_ENTRIES = 2**24
"""Entries of a chunk's logits: 64 MB in float32."""

_CACHED = 2**17
"""Entries of the logits that are turned into losses at once on a CPU: half a megabyte in float32."""


def positions_at_once(vocabulary: int) -> int:
    """How many positions make a chunk: as many as keep its logits at 64 MB in float32, at least 16.

    Example:
        >>> positions_at_once(30522), positions_at_once(250002)
        (549, 67)
    """
    return max(16, _ENTRIES // vocabulary)


def in_chunks(function: Callable[..., tuple[Tensor, ...]], *tensors: Tensor, chunk: int = 512) -> tuple[Tensor, ...]:
    """A function of positions, applied to `chunk` of them at a time; in the backward pass each chunk is computed again.

    Args:
        function: the same positions of every tensor, to tensors of one value a position. It may use parameters that
            are no argument; they get their gradients.
        tensors: each ``(positions, ...)``.
        chunk: the most positions at once. That many or fewer are computed once, by plain autograd.

    Returns:
        What the function returns, each ``(positions,)``.

    Raises:
        ValueError: if `chunk` is not positive, or the tensors differ in their number of positions.

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
        raise ValueError(f"all tensors must have as many positions, but they have {sorted(positions)}")
    count = positions.pop()
    if count <= chunk:
        return function(*tensors)
    pieces = zip(*(tensor.tensor_split(-(-count // chunk)) for tensor in tensors))
    if torch.is_grad_enabled():
        found = [checkpoint(function, *piece, use_reentrant=False) for piece in pieces]
    else:
        found = [function(*piece) for piece in pieces]
    return tuple(torch.cat(values) for values in zip(*found))


def chunked_cross_entropy(hidden: Tensor, head: Head, targets: Tensor, *, chunk: int = 512) -> Tensor:
    r"""Cross-entropy of the head's words against the right ones.

    .. math:: -\log \mathrm{softmax}(\mathrm{head}(h))_y

    Args:
        hidden: ``(positions, width)``.
        head: hidden states to logits.
        targets: ``(positions,)``, numbers of words; ``IGNORED`` (-100) gives a loss of zero.
        chunk: see :func:`in_chunks`.

    Returns:
        ``(positions,)``, in nats, float32 (float64 for such logits), unreduced.

    Example:
        >>> chunked_cross_entropy(torch.zeros(2, 4), lambda hidden: hidden, torch.tensor([1, IGNORED]))
        tensor([1.3863, 0.0000])
    """
    return in_chunks(
        lambda rows, words: by_rows(
            lambda logits, words: (_cross_entropy(logits, words),), float_logits(head, rows), words
        ),
        hidden,
        targets,
        chunk=chunk,
    )[0]


def chunked_distillation(
    student_hidden: Tensor,
    student_head: Head,
    teacher_hidden: Tensor,
    teacher_head: Head,
    *,
    temperature: float = 1.0,
    distance: Distance = forward_kl,
    chunk: int = 512,
) -> Tensor:
    r"""Distance of the student's words from the teacher's, whose hidden states stand for its logits.

    .. math:: d_T(\mathrm{head}_s(h_s), \; \mathrm{head}_t(h_t)), \qquad
              d_T = T^2 \, \mathrm{KL}(\mathrm{softmax}(t/T) \,\|\, \mathrm{softmax}(s/T))

    The teacher's logits, vocabulary wide, exist for one chunk at a time; widths of the two may differ.

    Args:
        student_hidden, teacher_hidden: ``(positions, width)`` each; the teacher's are a constant.
        student_head, teacher_head: hidden states to logits over one vocabulary.
        temperature: T > 0.
        distance: any of :mod:`understudy.functional.logits` that takes a temperature.
        chunk: see :func:`in_chunks`.

    Returns:
        ``(positions,)``, in nats, float32 (float64 for such logits), unreduced.

    Raises:
        ValueError: if the vocabularies differ, or the temperature is not positive.

    Reference:
        Sanh et al. 2019, arXiv 1910.01108, section 2 (the loss over soft target probabilities).

    Example:
        >>> hidden = torch.randn(3, 5)
        >>> chunked_distillation(hidden, torch.relu, hidden, torch.relu, temperature=2.0, chunk=2)
        tensor([0., 0., 0.])
    """

    def apart(student: Tensor, teacher: Tensor) -> tuple[Tensor, ...]:
        return by_rows(
            lambda ours, theirs: (distance(ours, theirs, temperature=temperature),),
            *_both_logits(student_head, student, teacher_head, teacher),
        )

    return in_chunks(apart, student_hidden, teacher_hidden.detach(), chunk=chunk)[0]


def chunked_cross_entropy_and_distillation(
    student_hidden: Tensor,
    student_head: Head,
    teacher_hidden: Tensor,
    teacher_head: Head,
    targets: Tensor,
    *,
    temperature: float = 1.0,
    distance: Distance = forward_kl,
    chunk: int = 512,
) -> tuple[Tensor, Tensor]:
    """:func:`chunked_cross_entropy` and :func:`chunked_distillation` of the same positions, from one pass of the
    student's head: a third of the multiplications less than the two by themselves.

    Returns:
        Cross-entropy and distance, ``(positions,)`` each.

    Example:
        >>> hidden, targets = torch.zeros(2, 4), torch.tensor([0, IGNORED])
        >>> chunked_cross_entropy_and_distillation(hidden, torch.relu, hidden, torch.relu, targets)
        (tensor([1.3863, 0.0000]), tensor([0., 0.]))
    """

    def both(student: Tensor, teacher: Tensor, words: Tensor) -> tuple[Tensor, ...]:
        return by_rows(
            lambda ours, theirs, words: (
                _cross_entropy(ours, words),
                distance(ours, theirs, temperature=temperature),
            ),
            *_both_logits(student_head, student, teacher_head, teacher),
            words,
        )

    entropy, apart = in_chunks(both, student_hidden, teacher_hidden.detach(), targets, chunk=chunk)
    return entropy, apart


@torch.no_grad()
def vocabulary_scores(hidden: Tensor, head: Head, targets: Tensor, *, chunk: int = 512) -> tuple[Tensor, Tensor]:
    """How good the head's words are, without gradients: cross-entropy, and whether the likeliest word is the right one.

    Returns:
        Float and bool, ``(positions,)`` each.

    Example:
        >>> vocabulary_scores(torch.eye(2), lambda hidden: 9 * hidden, torch.tensor([0, 0]))[1]
        tensor([ True, False])
    """

    losses, right = in_chunks(
        lambda rows, words: by_rows(
            lambda logits, words: (_cross_entropy(logits, words), logits.argmax(-1) == words),
            float_logits(head, rows),
            words,
        ),
        hidden,
        targets,
        chunk=chunk,
    )
    return losses, right


def float_logits(head: Head, hidden: Tensor) -> Tensor:
    """In float32 at least: half precision is too coarse for a sum over a vocabulary."""
    logits = head(hidden)
    return logits if logits.dtype == torch.float64 else logits.float()


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits, targets, reduction="none", ignore_index=IGNORED)


def _both_logits(
    student_head: Head, student_hidden: Tensor, teacher_head: Head, teacher_hidden: Tensor
) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        teacher = float_logits(teacher_head, teacher_hidden)
    student = float_logits(student_head, student_hidden)
    if student.shape != teacher.shape:
        raise ValueError(
            f"both heads must have one vocabulary, but the student's has {student.shape[-1]} words and the teacher's {teacher.shape[-1]}"
        )
    return student, teacher


def by_rows(function: Callable[..., tuple[Tensor, ...]], logits: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """A function of logits whose value for a position depends on that position alone, on a CPU a few rows at a time.

    Each block's gradient is computed as soon as its values are, for a unit of each, and scaled in the backward pass.
    What autograd would keep besides (softmaxes, logarithms, products: each as large as the logits) is never all there.

    Args:
        function: the same rows of every tensor, to tensors of one value a row.
        logits: ``(positions, vocabulary)``; the only one that gets a gradient.
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
    """Values forward, and with them their slopes, one row of the logits each, to be scaled backward."""

    @staticmethod
    def forward(ctx: Any, function: Callable[..., tuple[Tensor, ...]], logits: Tensor, *others: Tensor) -> Any:
        """The values; the slopes of each are kept, block by block."""
        values: list[list[Tensor]] = []
        slopes: list[Tensor] = []
        for block, *rest in _blocks(logits, *others):
            # what these small graphs keep is used at once: no checkpoint around should put it away and compute it again
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
        """The slopes, each row times what came from above, added up."""
        slopes, count = ctx.saved_tensors, len(gradients)
        total = slopes[0].new_empty(len(gradients[0]), slopes[0].shape[-1])
        scales = [gradient[:, None].split(len(slopes[0])) for gradient in gradients]
        for number, out in enumerate(total.split(len(slopes[0]))):
            torch.mul(slopes[number * count], scales[0][number], out=out)
            for which in range(1, count):
                out.addcmul_(slopes[number * count + which], scales[which][number])
        return (None, total, *[None] * ctx.others)


def _blocks(logits: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same few rows of all, as many as stay in a processor's caches."""
    rows = max(1, _CACHED // logits.shape[-1])
    return zip(*(tensor.split(rows) for tensor in (logits, *others)))
