"""Distances between hidden states or attention of a student and a teacher: pure, masked and unreduced.

The teacher is always a constant. A mask has one of two shapes. ``(rows, tokens)`` is true at real tokens.
``(rows, tokens, tokens)`` is true where the first token may attend to the second (texts packed into one row); a real
token may attend to itself. At padding, value and gradient are zero: the caller sums and divides by the number of real
tokens. Inputs in half precision are computed in float32.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def hidden_cosine(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""One minus the cosine between the hidden states of a token.

    .. math:: 1 - \frac{s \cdot t}{\lVert s \rVert \, \lVert t \rVert}

    It aligns directions and ignores lengths.

    Args:
        student: ``(..., width)``.
        teacher: ``(..., width)``; treated as a constant.
        mask: ``(...)``; for packed rows see the top of this module.

    Returns:
        ``(...)``, from 0 to 2; zero where the mask is false.

    Raises:
        ValueError: if the shapes differ.

    Reference:
        Sanh et al. 2019, arXiv 1910.01108, section 2 (the third of its losses).

    Example:
        >>> hidden_cosine(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
        tensor([0., 1.])
    """
    _same(student, teacher)
    distance = 1 - F.cosine_similarity(_precise(student), _precise(teacher.detach()), dim=-1)
    return _kept(distance, mask)


def hidden_mse(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""Mean squared difference of the hidden states of a token.

    .. math:: \frac1d \sum_{i=1}^{d} (s_i - t_i)^2

    It is a *mean* over the width, so its size does not depend on the width.

    Args:
        student: ``(..., width)``; a student of another width needs a learned projection to the teacher's width first.
        teacher: ``(..., width)``; treated as a constant.
        mask: ``(...)``; for packed rows see the top of this module.

    Returns:
        ``(...)``; zero where the mask is false.

    Raises:
        ValueError: if the shapes differ.

    Reference:
        Jiao et al. 2020, "TinyBERT", arXiv 1909.10351, equations 8 and 9.

    Example:
        >>> hidden_mse(torch.tensor([[3.0, 1.0]]), torch.zeros(1, 2))
        tensor([5.])
    """
    _same(student, teacher)
    return _kept((_precise(student) - _precise(teacher.detach())).square().mean(-1), mask)


def attention_scores(query: Tensor, key: Tensor, *, heads: int) -> Tensor:
    r"""The scores of scaled dot-product attention, before the softmax.

    .. math:: A_h = Q_h K_h^\top / \sqrt{d_h}

    Args:
        query, key: ``(rows, tokens, heads * head width)``.
        heads: the number of heads.

    Returns:
        ``(rows, heads, tokens, tokens)``.

    Raises:
        ValueError: if the heads do not divide the width.

    Reference:
        Vaswani et al. 2017, arXiv 1706.03762, equation 1.

    Example:
        >>> attention_scores(torch.ones(1, 2, 4), torch.ones(1, 2, 4), heads=1)[0, 0, 0]
        tensor([2., 2.])
    """
    first, second = split_heads(query, heads), split_heads(key, heads)
    with torch.autocast(first.device.type, enabled=False):  # autocast would compute the product in half precision
        return first @ second.transpose(-1, -2) / math.sqrt(first.shape[-1])


def attention_mse(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""Mean squared difference of a token's attention in one head, over the tokens it may attend to.

    .. math:: \frac{1}{|M_i|} \sum_{j \in M_i} (A^S_{h,i,j} - A^T_{h,i,j})^2

    TinyBERT matches the scores before the softmax, because they converged faster than the probabilities. Both work
    here. Padding is left out; the paper's own code sets it to zero on both sides and counts it.

    Args:
        student: ``(rows, heads, tokens, tokens)``.
        teacher: the same shape; treated as a constant.
        mask: ``(rows, tokens)`` or ``(rows, tokens, tokens)``, see the top of this module.

    Returns:
        ``(rows, heads, tokens)``; zero at padding.

    Raises:
        ValueError: if the shapes differ. For different numbers of heads see :func:`relation_kl`.

    Reference:
        Jiao et al. 2020, "TinyBERT", arXiv 1909.10351, equation 7.

    Example:
        >>> scores = torch.tensor([[[[1.0, 9.0], [9.0, 9.0]]]])
        >>> attention_mse(scores, torch.zeros(1, 1, 2, 2), torch.tensor([[True, False]]))
        tensor([[[1., 0.]]])
    """
    _same(student, teacher)
    squares = (_precise(student) - _precise(teacher.detach())).square()
    if mask is None:
        return squares.mean(-1)
    visible = _pairs(mask)
    squares = squares.where(visible, 0.0)
    return _kept(squares.sum(-1) / visible.sum(-1).clamp(min=1), _tokens(mask)[:, None])


def relation_kl(student: Tensor, teacher: Tensor, *, heads: int, mask: Tensor | None = None) -> Tensor:
    r"""Divergence of the student's self-relations from the teacher's, for one kind of vectors: queries, keys or values.

    .. math:: \mathrm{KL}(R^T_{a,i} \,\|\, R^S_{a,i}), \quad
              R_a = \mathrm{softmax}\bigl(A_a A_a^\top / \sqrt{d_r}\bigr)

    The vectors of all attention heads are joined and split again into `heads` relation heads of width d_r each. A
    relation is tokens by tokens whatever the width of its vectors, so teacher and student may have different widths
    and different numbers of attention heads.

    Args:
        student: ``(rows, tokens, width)``.
        teacher: ``(rows, tokens, teacher width)``; treated as a constant.
        heads: relation heads; must divide both widths.
        mask: ``(rows, tokens)`` or ``(rows, tokens, tokens)``, see the top of this module.

    Returns:
        ``(rows, heads, tokens)``, in nats; zero for equal relations and at padding.

    Raises:
        ValueError: if rows or tokens differ, or the heads do not divide a width.

    Reference:
        Wang et al. 2021, "MiniLMv2", arXiv 2012.15828, section 3.1 (which averages over heads and tokens).

    Example:
        >>> vectors = torch.randn(1, 3, 8)
        >>> relation_kl(vectors, vectors, heads=4).abs().max().item()
        0.0
        >>> relation_kl(torch.randn(1, 3, 12), vectors, heads=2).shape
        torch.Size([1, 2, 3])
    """
    if student.shape[:-1] != teacher.shape[:-1] or student.dim() != 3:
        raise ValueError(
            f"vectors must be (rows, tokens, width) with the same rows and tokens, but the student's are {tuple(student.shape)} and the teacher's {tuple(teacher.shape)}"
        )
    log_q = log_relation(student, heads=heads, mask=mask)
    log_p = log_relation(teacher.detach(), heads=heads, mask=mask)
    if mask is None:
        return (log_p.exp() * (log_p - log_q)).sum(-1)
    visible = _pairs(mask)
    divergence = (log_p.exp() * (log_p - log_q).where(visible, 0.0)).sum(-1)
    return _kept(divergence, _tokens(mask)[:, None])


def log_relation(vectors: Tensor, *, heads: int, mask: Tensor | None = None) -> Tensor:
    r"""The logarithm of the self-relation of vectors, :math:`\log \mathrm{softmax}(A_a A_a^\top / \sqrt{d_r})`.

    Args:
        vectors: ``(rows, tokens, width)``.
        heads: relation heads; must divide the width.
        mask: ``(rows, tokens)`` or ``(rows, tokens, tokens)``, see the top of this module.

    Returns:
        ``(rows, heads, tokens, tokens)``; each row is a distribution over the visible tokens. The others are so
        negative that their probability is exactly zero.

    Raises:
        ValueError: if the heads do not divide the width.

    Reference:
        Wang et al. 2021, "MiniLMv2", arXiv 2012.15828, section 3.1.

    Example:
        >>> log_relation(torch.zeros(1, 2, 4), heads=2).exp()[0, 0]
        tensor([[0.5000, 0.5000],
                [0.5000, 0.5000]])
    """
    scores = attention_scores(vectors, vectors, heads=heads)
    if mask is not None:
        # Finite, so that the gradient of a token that sees nothing at all has no NaN.
        scores = scores.masked_fill(~_pairs(mask), torch.finfo(scores.dtype).min / 2)
    return scores.log_softmax(-1)


def split_heads(vectors: Tensor, heads: int) -> Tensor:
    """Reshape ``(rows, tokens, width)`` to ``(rows, heads, tokens, width / heads)``.

    Raises:
        ValueError: if the heads do not divide the width.
    """
    rows, tokens, width = vectors.shape
    if heads < 1 or width % heads:
        raise ValueError(f"{heads} heads must divide the width of the vectors, but that is {width}")
    return _precise(vectors).view(rows, tokens, heads, width // heads).transpose(1, 2)


def _same(student: Tensor, teacher: Tensor) -> None:
    if student.shape != teacher.shape:
        raise ValueError(
            f"student and teacher must have one shape, but theirs are {tuple(student.shape)} and {tuple(teacher.shape)}"
        )


def _precise(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _kept(values: Tensor, mask: Tensor | None) -> Tensor:
    """The values at real tokens, zero elsewhere."""
    if mask is None:
        return values
    return values.where(_tokens(mask) if mask.dim() > values.dim() else mask.bool(), 0.0)


def _tokens(mask: Tensor) -> Tensor:
    """Which tokens are real: ``(rows, tokens)``."""
    return (mask.diagonal(dim1=-2, dim2=-1) if mask.dim() == 3 else mask).bool()


def _pairs(mask: Tensor) -> Tensor:
    """What each token may attend to, for all heads: ``(rows, 1, tokens or 1, tokens)``."""
    return (mask[:, None] if mask.dim() == 3 else mask[:, None, None]).bool()
