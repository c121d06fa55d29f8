"""How an epoch of tokens is cut: into streams, and each stream into windows. Pure functions of their arguments."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SHORTEST_WINDOW = 5
"""Tokens of the shortest window. A shorter rest at the end of an epoch joins the window before it."""

_WINDOW_SPREAD = 5.0
_HALVED = 0.05
"""Standard deviation of a window's length, and the probability that its mean is halved."""


class Window(NamedTuple):
    """The targets ``start … stop - 1`` of every stream; ``rate`` is its length divided by the expected length."""

    start: int
    stop: int
    rate: float


def window_plan(targets: int, *, bptt: int, seed: int, epoch: int) -> list[Window]:
    """Windows of varying length over an epoch, so that the gradient is not always cut at the same tokens.

    The length of a window is drawn from N(s, 5²), where s is `bptt` with probability 0.95 and ``bptt / 2`` otherwise. It
    is at least 5. The learning rate of a step is multiplied by its length over `bptt`; otherwise the tokens of short
    windows would weigh more.

    Args:
        targets: the tokens that the longest stream predicts in the epoch.
        bptt: the expected length.
        seed, epoch: together they determine the lengths.

    Returns:
        Windows without gaps or overlaps; the last one ends at `targets`.

    Reference:
        Merity, Keskar & Socher 2018, "AWD-LSTM", arXiv 1708.02182, section 5 (variable length backpropagation
        sequences).

    Example:
        >>> [(window.start, window.stop) for window in window_plan(100, bptt=40, seed=0, epoch=0)]
        [(0, 41), (41, 79), (79, 100)]
    """
    rng = np.random.default_rng([seed, epoch, 1])
    windows: list[Window] = []
    start = 0
    while start < targets:
        base = bptt / 2 if rng.random() < _HALVED else float(bptt)
        stop = start + max(SHORTEST_WINDOW, round(rng.normal(base, _WINDOW_SPREAD)))
        if targets - stop < SHORTEST_WINDOW:
            stop = targets
        windows.append(Window(start, stop, (stop - start) / bptt))
        start = stop
    return windows


def stream_starts(tokens: int, streams: int) -> np.ndarray:
    """Where each stream starts in the tokens of an epoch, and where the last one ends: int64 ``(streams + 1,)``.

    Stream i reads from ``starts[i]`` and predicts the tokens ``starts[i] + 1 … starts[i + 1]``. Its last target is the
    first token that the next stream reads, so each token of the epoch except the first is predicted exactly once. The
    lengths of the streams differ by at most one; longer streams come first.

    Example:
        >>> stream_starts(12, 3).tolist()
        [0, 4, 8, 11]
    """
    each, more = divmod(tokens - 1, streams)
    return np.arange(streams + 1) * each + np.minimum(np.arange(streams + 1), more)
