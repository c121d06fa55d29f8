"""The dropouts of an AWD-LSTM: whole words, inputs and states locked over time, weights from state to state."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

State = list[tuple[Tensor, Tensor]]
"""What an LSTM remembers: one ``(h, c)`` a layer, each ``(1, rows, width)``."""

_SHUT = -1e4
"""Added to a gate it gives 0 after the sigmoid, exactly, in every number format."""


@dataclass
class Masks:
    """What one reading drops. ``None`` drops nothing.

    They are drawn once a reading, however many pieces it is read in, so that pieces change nothing.
    """

    words: Tensor | None = None
    """``(vocabulary, 1)``: whole words."""
    inputs: Tensor | None = None
    """``(1, rows, embedding)``."""
    hidden: list[Tensor | None] = field(default_factory=list)
    """``(1, rows, width)`` after each layer but the last."""
    weights: list[Tensor | None] = field(default_factory=list)
    """The hidden-to-hidden matrix of each layer ``(4 * width, width)``, dropped already."""


def dropout_mask(like: Tensor, shape: tuple[int, ...], rate: float) -> Tensor | None:
    r"""Zeros with probability `rate`, and :math:`1 / (1 - \mathrm{rate})` elsewhere; None where nothing is to be dropped.

    A length of 1 in `shape` shares the draw over that dimension: over time this is locked (variational) dropout, over
    the width of an embedding it drops whole words.

    Args:
        like: gives type and device.
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


def drop(values: Tensor, mask: Tensor | None) -> Tensor:
    """`values` times a mask that broadcasts to them; themselves without one."""
    return values if mask is None else values * mask


def run_lstm(
    lstm: nn.LSTM,
    inputs: Tensor,
    state: tuple[Tensor, Tensor] | None,
    *,
    hidden_weight: Tensor | None = None,
    absent: Tensor | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """One layer of one direction, with another hidden-to-hidden matrix than its own, or with steps that are not there.

    A dropped matrix takes the place of the raw one in a single call of torch's own LSTM, at its speed; the raw matrix
    remains the parameter. Steps that are not there must come before all others of their row: their input gate is shut,
    so the state stays zero until the first real one.

    Args:
        inputs: ``(tokens, rows, width)``.
        hidden_weight: in place of ``lstm.weight_hh_l0``.
        absent: ``(tokens, rows, 1)``, true where there is no token.

    Returns:
        The states ``(tokens, rows, hidden)``, zero where absent, and the last ``(h, c)``.
    """
    if hidden_weight is None and absent is None:
        return lstm(inputs, state)
    weights: list[Any] = [lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0, lstm.bias_hh_l0]
    if hidden_weight is not None:
        weights[1] = hidden_weight
    if absent is not None:
        # one more input that is 1 where a step is absent and shuts the input gate; the state has nothing else to become
        inputs = torch.cat([inputs, absent.to(inputs.dtype)], dim=-1)
        column = weights[0].new_zeros(len(weights[0]), 1)
        column[: lstm.hidden_size] = _SHUT
        weights[0] = torch.cat([weights[0], column], dim=-1)
    if state is None:
        zero = inputs.new_zeros(1, inputs.shape[1], lstm.hidden_size)
        state = (zero, zero)
    with warnings.catch_warnings():
        if inputs.is_cuda:  # cuDNN wants one chunk of weights, and says at every call that it copies these into one
            warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")
        states, h, c = torch.lstm(inputs, state, weights, True, 1, 0.0, lstm.training, False, False)
    return states, (h, c)
