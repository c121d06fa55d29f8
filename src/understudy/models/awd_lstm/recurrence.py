"""One LSTM layer of an AWD-LSTM, and the state that it carries from window to window."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

State = list[tuple[Tensor, Tensor]]
"""The state of a stack of LSTM layers: one ``(h, c)`` a layer, each ``(1, rows, width)``."""

_SHUT = -1e4
"""Added to a gate, this makes its sigmoid exactly 0 in every number format."""


def detached(state: State) -> State:
    """The same state, cut off from its graph: what the next window starts from."""
    return [(h.detach(), c.detach()) for h, c in state]


def run_lstm(
    lstm: nn.LSTM,
    inputs: Tensor,
    state: tuple[Tensor, Tensor] | None,
    *,
    hidden_weight: Tensor | None = None,
    absent: Tensor | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Run one LSTM layer in one direction, optionally with another hidden-to-hidden matrix and with absent steps.

    The matrix after dropout is passed to one call of torch's own LSTM, so it runs at full speed, and the matrix before
    dropout stays the parameter. Absent steps must come before all others of their row. Their input gate is shut, so
    the state stays zero until the first real step.

    Args:
        lstm: one layer, one direction.
        inputs: ``(tokens, rows, width)``.
        state: ``(h, c)``, each ``(1, rows, hidden)``; None is zero.
        hidden_weight: replaces ``lstm.weight_hh_l0``.
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
        # an extra input, 1 at absent steps, shuts the input gate: then nothing enters the state
        inputs = torch.cat([inputs, absent.to(inputs.dtype)], dim=-1)
        column = weights[0].new_zeros(len(weights[0]), 1)
        column[: lstm.hidden_size] = _SHUT
        weights[0] = torch.cat([weights[0], column], dim=-1)
    if state is None:
        zero = inputs.new_zeros(1, inputs.shape[1], lstm.hidden_size)
        state = (zero, zero)
    with warnings.catch_warnings():
        if inputs.is_cuda:  # cuDNN wants the weights in one chunk; it warns at every call that it copies them into one
            warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")
        states, h, c = torch.lstm(inputs, state, weights, True, 1, 0.0, lstm.training, False, False)
    return states, (h, c)
