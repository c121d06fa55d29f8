"""Dropout from sixteen random bits an element; torch's own takes a sixth of a training step on a CPU."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_LEVELS = 1 << 16
"""Probabilities are rounded to multiples of 1/65,536. The scale uses the rounded probability, so the mean is exact."""


def fast_dropout(values: Tensor, p: float) -> Tensor:
    r"""Dropout that uses sixteen random bits for each element.

    .. math:: y_i = \frac{m_i x_i}{1 - p}, \quad m_i \sim \mathrm{Bernoulli}(1 - p)

    torch draws a floating-point number for each element, which takes longer than the rest of dropout. Here four elements
    share one 64-bit number of torch's default generator.

    Args:
        values: any shape.
        p: the probability of a zero, from 0 to 1.

    Returns:
        The shape of `values`.

    Raises:
        ValueError: if `p` is not between 0 and 1.

    Reference:
        Srivastava et al. 2014, "Dropout", section 4, with the scaling in training instead of at test time.

    Example:
        >>> kept = fast_dropout(torch.ones(100_000), 0.25)
        >>> sorted({round(value, 4) for value in kept[:100].tolist()}), bool((kept.mean() - 1).abs() < 0.01)
        ([0.0, 1.3333], True)
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p must lie between 0 and 1, but is {p}")
    level = round(p * _LEVELS)
    if level == 0:
        return values
    if level == _LEVELS:
        return values * 0.0
    words = torch.empty(-(-values.numel() // 4), dtype=torch.int64, device=values.device).random_(-(2**63), None)
    bits = words.view(torch.int16)[: values.numel()].view(values.shape)
    # a mask of numbers, because multiplying by a boolean mask takes three times as long
    kept = torch.ge(bits, level - _LEVELS // 2, out=torch.empty_like(bits, dtype=values.dtype))
    return values * kept.mul_(_LEVELS / (_LEVELS - level))


def attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, dropout: float, scale: float | None
) -> Tensor:
    r"""Scaled dot-product attention with dropout on its weights.

    .. math:: \mathrm{dropout}(\mathrm{softmax}(s \, Q K^\top + M)) \, V

    Args:
        query, key, value: ``(..., tokens, width)``.
        mask: added to the scores; or boolean, true where attention is allowed. A row of a boolean mask that allows
            nothing attends to all tokens equally.
        dropout: the probability that a weight is dropped.
        scale: s; None for one over the square root of the width.

    Returns:
        ``(..., tokens, width)``.

    Reference:
        Vaswani et al. 2017, arXiv 1706.03762, equation 1.
    """
    scaled = query * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    scores = scaled @ key.transpose(-2, -1)
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    elif mask is not None:
        scores = scores + mask
    return fast_dropout(scores.softmax(-1), dropout) @ value


class FastDropout(TorchFunctionMode):
    """Inside ``with FastDropout():`` every dropout of a CPU tensor, also in attention, is :func:`fast_dropout`.

    On a CPU, torch's fused attention does not support dropout: it falls back to separate operations with slow dropout.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replace dropout, and attention with dropout; call everything else as it is."""
        kwargs = kwargs or {}
        if torch.compiler.is_compiling():  # compiled, torch's own dropout is faster still
            return func(*args, **kwargs)
        if func is F.dropout and args and args[0].device.type == "cpu":
            return _dropout(*args, **kwargs)
        if func is F.scaled_dot_product_attention and len(args) == 3 and _plain(args[0], kwargs):
            query, key, value = args
            mask, scale = kwargs.get("attn_mask"), kwargs.get("scale")
            return attention(query, key, value, mask, dropout=kwargs["dropout_p"], scale=scale)
        return func(*args, **kwargs)


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """The arguments of ``torch.nn.functional.dropout``."""
    return fast_dropout(input, p) if training else input


def _plain(query: Tensor, kwargs: dict[str, Any]) -> bool:
    """Whether attention has dropout, is on a CPU, and has no options that :func:`attention` lacks."""
    dropped = query.device.type == "cpu" and bool(kwargs.get("dropout_p"))
    return dropped and not kwargs.get("is_causal") and not kwargs.get("enable_gqa")
