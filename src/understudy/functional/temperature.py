"""Temperature scaling: one number that makes a classifier's probabilities as sure as it is right."""

from __future__ import annotations

import numpy as np

USUAL = 2.0
"""The temperature where there is no row to fit one to. `benchmarks/temperature.py` compares it and its weight with others."""
WEIGHT = 1.0
"""How much the usual temperature weighs beside the rows: little beside ten, much beside two."""
LOWEST, HIGHEST = 1e-3, 1e3
"""The temperatures that there are."""
_HALVINGS = 60
_DIGITS = 4
"""The temperature is rounded to this many significant digits, so that rounding in the logits does not show in it."""


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    r"""The temperature at which the labels are most likely, of rows that the model did not learn from.

    .. math:: T = \arg\min_T -\sum_i \log \mathrm{softmax}(z_i / T)_{y_i} + w \left( \frac{T_0}{T} - \log \frac{1}{T} \right)

    With several labels a row: the sum, over rows and labels, of the binary cross-entropies of :math:`\sigma(z / T)`. The
    last term is a prior, a gamma distribution of :math:`1/T` with its mode at :math:`1/T_0` (:data:`USUAL`, :data:`WEIGHT`):
    without it a few rows would say everything or, if the model errs on none of them, that it is always right. In
    :math:`1/T` the loss is strictly convex, so its minimum is where the slope is 0; it is found by halving an interval.
    Dividing all logits of a row by one number changes no decision.

    Args:
        logits: ``(rows, outputs)``; there may be no rows.
        labels: integers ``(rows,)``, negative where there is none; or zeros and ones ``(rows, outputs)``, NaN where there
            are none.

    Returns:
        The temperature, above 1 for a model that is too sure of itself; from :data:`LOWEST` to :data:`HIGHEST`.

    Reference:
        Guo et al. 2017, "On calibration of modern neural networks", arXiv 1706.04599, section 4.2.

    Example:
        >>> logits, labels = np.array([[8.0, 0.0]] * 6000), np.array([0] * 4500 + [1] * 1500)
        >>> round(fit_temperature(logits, labels), 1)  # three in four are right: 8 / T = log 3
        7.3
    """
    several = labels.ndim == 2
    known = ~np.isnan(labels).any(1) if several else labels >= 0
    logits, labels = logits[known].astype(np.float64), labels[known]
    slope = _slope_of_decisions if several else _slope_of_classes
    low, high = 1 / HIGHEST, 1 / LOWEST
    for _ in range(_HALVINGS):
        middle = float(np.sqrt(low * high))
        steep = slope(logits, labels, middle) + WEIGHT * (USUAL - 1 / middle)
        low, high = (middle, high) if steep < 0 else (low, middle)
    return float(f"{1 / np.sqrt(low * high):.{_DIGITS}g}")


def _slope_of_classes(logits: np.ndarray, labels: np.ndarray, inverse: float) -> float:
    """The derivative of the negative log-likelihood by 1/T: the expected logits less those of the true classes."""
    shifted = logits - logits.max(1, keepdims=True)
    weights = np.exp(inverse * shifted)
    expected = (weights * shifted).sum(1) / weights.sum(1)
    return float(np.sum(expected - shifted[np.arange(len(labels)), labels]))


def _slope_of_decisions(logits: np.ndarray, labels: np.ndarray, inverse: float) -> float:
    """The same for a sigmoid each: z (σ(z/T) − y)."""
    return float(np.sum(logits * (0.5 * (1 + np.tanh(0.5 * inverse * logits)) - labels)))
