"""Temperature scaling: one number that makes a classifier's probabilities as sure as it is right."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FEWEST_ROWS = 50
"""With fewer rows the fit is mostly noise: a single wrong answer decides it."""
LOWEST, HIGHEST = 1e-3, 1e3
"""The temperatures that are searched. A minimum at an end means that there is none inside."""
_HALVINGS = 60
_DIGITS = 4
"""The temperature is rounded to this many significant digits, so that rounding in the logits does not show in it."""


class Temperature(NamedTuple):
    """A fitted temperature, or 1 and the reason why there is none."""

    value: float
    reason: str | None
    """Why the value is 1 although nothing was fitted; None after a fit."""


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> Temperature:
    r"""The temperature at which the labels are most likely, of rows that the model did not learn from.

    .. math:: T = \arg\min_T -\sum_i \log \mathrm{softmax}(z_i / T)_{y_i}

    With several labels a row: the sum, over rows and labels, of the binary cross-entropies of :math:`\sigma(z / T)`. In
    :math:`1/T` the loss is convex, so its minimum is where the slope is 0; it is found by halving an interval. Dividing
    all logits of a row by one number changes no decision.

    Args:
        logits: ``(rows, outputs)``.
        labels: integers ``(rows,)``, negative where there is none; or zeros and ones ``(rows, outputs)``, NaN where there
            are none.

    Returns:
        The temperature, above 1 for a model that is too sure of itself. It is 1, with the reason, if fewer than
        :data:`FEWEST_ROWS` rows have labels, or if no temperature between :data:`LOWEST` and :data:`HIGHEST` is better
        than those around it.

    Reference:
        Guo et al. 2017, "On calibration of modern neural networks", arXiv 1706.04599, section 4.2.

    Example:
        >>> logits, labels = np.array([[8.0, 0.0]] * 60), np.array([0] * 45 + [1] * 15)
        >>> fit_temperature(logits, labels).value  # three in four are right: 8 / T = log 3
        7.282
    """
    several = labels.ndim == 2
    known = ~np.isnan(labels).any(1) if several else labels >= 0
    logits, labels = logits[known].astype(np.float64), labels[known]
    if len(logits) < FEWEST_ROWS:
        return Temperature(
            1.0, f"{len(logits)} validation rows with a label are too few to fit one (at least {FEWEST_ROWS})"
        )
    slope = _slope_of_decisions if several else _slope_of_classes
    low, high = 1 / HIGHEST, 1 / LOWEST
    if slope(logits, labels, low) >= 0:
        return Temperature(
            1.0, f"the best one is above {HIGHEST:g}, because its scores say too little of the validation rows"
        )
    if slope(logits, labels, high) <= 0:
        return Temperature(
            1.0, f"the best one is below {LOWEST:g}, because it errs on no validation row, or its scores hardly differ"
        )
    for _ in range(_HALVINGS):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if slope(logits, labels, middle) < 0 else (low, middle)
    return Temperature(float(f"{1 / np.sqrt(low * high):.{_DIGITS}g}"), None)


def _slope_of_classes(logits: np.ndarray, labels: np.ndarray, inverse: float) -> float:
    """The derivative of the mean negative log-likelihood by 1/T: the expected logit less that of the true class."""
    shifted = logits - logits.max(1, keepdims=True)
    weights = np.exp(inverse * shifted)
    expected = (weights * shifted).sum(1) / weights.sum(1)
    return float(np.mean(expected - shifted[np.arange(len(labels)), labels]))


def _slope_of_decisions(logits: np.ndarray, labels: np.ndarray, inverse: float) -> float:
    """The same for a sigmoid each: z (σ(z/T) − y)."""
    return float(np.mean(logits * (0.5 * (1 + np.tanh(0.5 * inverse * logits)) - labels)))
