"""The dropout masks of an AWD-LSTM: for whole words, for inputs and states (locked over time), and for recurrent weights."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Masks:
    """The dropout masks of one pass over a batch. ``None`` drops nothing.

    They are drawn once for the whole pass, so cutting it into pieces changes nothing.
    """

    words: Tensor | None = None
    """``(vocabulary, 1)``: drops whole words."""
    inputs: Tensor | None = None
    """``(1, rows, embedding)``."""
    hidden: list[Tensor | None] = field(default_factory=list)
    """``(1, rows, width)`` after each layer but the last."""
    weights: list[Tensor | None] = field(default_factory=list)
    """The hidden-to-hidden matrix of each layer after dropout: ``(4 * width, width)``."""


def dropout_mask(like: Tensor, shape: tuple[int, ...], rate: float) -> Tensor | None:
    r"""Zeros with probability `rate`, and :math:`1 / (1 - \mathrm{rate})` elsewhere; None if `rate` is 0.

    A dimension of length 1 in `shape` shares one draw. Shared over time this is locked (variational) dropout; shared
    over the width of an embedding it drops whole words.

    Args:
        like: a tensor of the type and device of the mask.
        rate: 0 ≤ rate < 1.

    Example:
        >>> mask = dropout_mask(torch.empty(()), (1, 2, 1000), 0.25)
        >>> sorted(round(value, 2) for value in mask.unique().tolist())
        [0.0, 1.33]

    Reference:
        Gal & Ghahramani 2016, arXiv 1512.05287; Merity et al. 2018, arXiv 1708.02182, sections 4.2 and 4.3.
    """
    if not rate:
        return None
    return torch.empty(shape, dtype=like.dtype, device=like.device).bernoulli_(1 - rate).div_(1 - rate)


def apply_mask(values: Tensor, mask: Tensor | None) -> Tensor:
    """`values` times a mask that broadcasts to them; unchanged without a mask."""
    return values if mask is None else values * mask
