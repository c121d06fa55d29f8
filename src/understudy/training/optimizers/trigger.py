"""The trigger of NT-ASGD: at which evaluation averaging begins. This module does not import torch."""

from __future__ import annotations

from collections.abc import Sequence

INTERVAL = 5
"""Evaluations that may pass without a new best before averaging begins (the paper's n)."""


def averaging_begins(scores: Sequence[float], score: float, *, interval: int = INTERVAL) -> bool:
    r"""Whether a score is worse than the best of all but the last n scores before it.

    .. math:: t > n \;\wedge\; v_t < \max_{l < t - n} v_l

    This is the trigger of the authors' code and of the conference version of the paper. The first preprint has "the
    last n" in place of "all but the last n"; the authors call that a slip (github.com/salesforce/awd-lstm-lm, issue
    13).

    Args:
        scores: those of the evaluations before, oldest first; higher is better.
        score: that of the latest evaluation.
        interval: n.

    Reference:
        Merity, Keskar & Socher 2018, "Regularizing and Optimizing LSTM Language Models", arXiv 1708.02182, algorithm 1.

    Example:
        >>> averaging_begins([2.0, 1.0], 1.5, interval=1)
        True
    """
    return len(scores) > interval and score < max(scores[:-interval])
