"""Losses over a vocabulary, a few positions at a time: memory does not grow with positions times vocabulary.

Every function here takes hidden states and a head (a function from hidden states to logits) instead of logits. If there
are more positions than `chunk`, only one chunk's logits exist at a time; see :mod:`understudy.functional.chunks`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.functional.chunks import by_rows, in_chunks
from understudy.functional.logit_distances import forward_kl

Head = Callable[[Tensor], Tensor]
"""Hidden states ``(positions, width)`` to logits ``(positions, vocabulary)``."""

Distance = Callable[..., Tensor]
"""Student's and teacher's logits, each ``(positions, vocabulary)``, and ``temperature=``, to ``(positions,)``."""

IGNORED = -100
"""The target of a position without one; the default ``ignore_index`` of torch."""

_ENTRIES = 2**24
"""Entries of a chunk's logits: 64 MB in float32."""


def positions_at_once(vocabulary: int) -> int:
    """The number of positions in a chunk: as many as keep its logits within 64 MB in float32, at least 16.

    Example:
        >>> positions_at_once(30522), positions_at_once(250002)
        (549, 67)
    """
    return max(16, _ENTRIES // vocabulary)


def chunked_cross_entropy(hidden: Tensor, head: Head, targets: Tensor, *, chunk: int = 512) -> Tensor:
    r"""Cross-entropy of the head's predictions against the target words.

    .. math:: -\log \mathrm{softmax}(\mathrm{head}(h))_y

    Args:
        hidden: ``(positions, width)``.
        head: hidden states to logits.
        targets: ``(positions,)``, word ids; ``IGNORED`` (-100) gives a loss of zero.
        chunk: see :func:`understudy.functional.chunks.in_chunks`.

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
    r"""Distance between the student's and the teacher's distributions over words, from the hidden states of both.

    .. math:: d_T(\mathrm{head}_s(h_s), \; \mathrm{head}_t(h_t)), \qquad
              d_T = T^2 \, \mathrm{KL}(\mathrm{softmax}(t/T) \,\|\, \mathrm{softmax}(s/T))

    The teacher's logits exist for one chunk at a time. Student and teacher may have different widths.

    Args:
        student_hidden, teacher_hidden: ``(positions, width)`` each; the teacher's are treated as a constant.
        student_head, teacher_head: hidden states to logits over one shared vocabulary.
        temperature: T > 0.
        distance: any of :mod:`understudy.functional.logit_distances` that takes a temperature.
        chunk: see :func:`understudy.functional.chunks.in_chunks`.

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
    """:func:`chunked_cross_entropy` and :func:`chunked_distillation` of the same positions, from one pass of the head.

    The student's head runs once instead of twice, which saves a third of the multiplications.

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
    """How good the head's predictions are, without gradients: cross-entropy, and whether the top word is the target.

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
    """Logits in at least float32: half precision is too coarse for a sum over a vocabulary."""
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
            f"both heads must share one vocabulary, but the student's has {student.shape[-1]} words and the teacher's {teacher.shape[-1]}"
        )
    return student, teacher
