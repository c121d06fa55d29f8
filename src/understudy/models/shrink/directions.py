"""Which directions of the hidden states a narrower model keeps, and how matrices and norms are reduced to them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from understudy.models.structure.blocks import BlockParts


def strongest_units(parts: list[BlockParts], width: int) -> Tensor:
    r"""The hidden units that matter most to the blocks, as columns of the identity.

    .. math:: \overline{\gamma_i^2 + \beta_i^2} \cdot \sum_{W} \lVert W_{:,i} \rVert^2

    The first factor is the mean square of the norms' outputs in unit i. The second is how strongly queries, keys, values
    and feed-forward neurons read it.

    Returns:
        float64 ``(hidden size, width)``, orthonormal.
    """
    norms = [norm for block in parts for norm in (block.attention_norm, block.norm)]
    put_out = torch.stack([float64(norm.weight).square() + float64(norm.bias).square() for norm in norms]).mean(0)
    readers = [part.weight for block in parts for part in (block.query, block.key, block.value, block.inner)]
    read = torch.stack([float64(weight).square().sum(0) for weight in readers]).sum(0)
    kept = (put_out * read).argsort(descending=True, stable=True)[:width].sort().values
    return torch.eye(len(read), dtype=torch.float64, device=read.device)[:, kept]


def principal_directions(table: Tensor, width: int) -> Tensor:
    r"""Orthonormal directions :math:`B` with the smallest :math:`\lVert W - W B B^\top \rVert`: the right singular vectors.

    They are rotated within their span so that the direction of equal entries is mapped to the direction of equal
    entries. A norm that subtracts the mean then subtracts the same in both spaces, as far as the span allows.

    Args:
        table: ``(tokens, wide)``.
        width: at most `wide`. If equal to `wide`, the result is the identity.

    Returns:
        float64 ``(wide, width)``.

    Example:
        >>> table = torch.randn(9, 2).double() @ torch.randn(2, 5).double()
        >>> basis = principal_directions(table, 2)
        >>> bool(torch.allclose(table @ basis @ basis.T, table))
        True
    """
    rows = table.detach().double()
    return leading_directions(rows.T @ rows, width)


def leading_directions(moment: Tensor, width: int) -> Tensor:
    """:func:`principal_directions` from the second moment of the rows alone.

    Args:
        moment: the sum of the outer products of the rows with themselves, float64 ``(wide, wide)``, at any scale.
        width: at most `wide`. If equal to `wide`, the result is the identity.

    Returns:
        float64 ``(wide, width)``.
    """
    wide = len(moment)
    if width == wide:
        return torch.eye(wide, dtype=torch.float64, device=moment.device)
    _, vectors = torch.linalg.eigh(moment)
    directions = vectors.flip(1)[:, :width]
    largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
    directions = (
        directions * largest.sign()
    )  # fixes the signs, so that the result does not depend on the linear-algebra library
    mean = directions.sum(0)
    if mean.norm() < 1e-9:
        return directions
    # Householder's reflection that maps one direction to the other
    away = mean / mean.norm() - torch.full_like(mean, 1 / math.sqrt(width))
    if away.norm() < 1e-9:
        return directions
    away = away / away.norm()
    return directions - 2 * torch.outer(directions @ away, away)


def lower_rank(left: Tensor, right: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    r"""Two factors of a smaller rank whose product is nearest to the product of the given ones.

    Args:
        left: ``(n, k)``.
        right: ``(k, m)``.
        rank: at most k.

    Returns:
        ``(n, rank)`` and ``(rank, m)``; each takes the square roots of the singular values.

    Reference:
        Eckart & Young 1936, "The approximation of one matrix by another of lower rank".

    Example:
        >>> left, right = torch.randn(5, 3), torch.randn(3, 4)
        >>> first, second = lower_rank(left, right, 3)
        >>> bool(torch.allclose(first @ second, left @ right, atol=1e-5))
        True
    """
    q_left, r_left = torch.linalg.qr(left)
    q_right, r_right = torch.linalg.qr(right.T)
    u, s, vh = torch.linalg.svd(r_left @ r_right.T)
    root = s[:rank].sqrt()
    return q_left @ u[:, :rank] * root, (root[:, None] * vh[:rank]) @ q_right.T


def project_norm(weight: Tensor, basis: Tensor) -> Tensor:
    """A norm's gains in new directions: the diagonal of ``Bᵀ diag(g) B``, scaled to the new length of normalised vectors.

    Args:
        weight: the gains g, ``(wide,)``.
        basis: the directions B, float64 ``(wide, width)``.

    Returns:
        float64 ``(width,)``.
    """
    wide, width = basis.shape
    return (basis.square() * weight.detach().double()[:, None]).sum(0) * math.sqrt(wide / width)


def float64(tensor: Tensor) -> Tensor:
    """The tensor, detached and in double precision."""
    return tensor.detach().double()
