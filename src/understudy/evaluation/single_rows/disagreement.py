"""Rows for which models answer differently."""

from __future__ import annotations

import numpy as np


def disagreement(answers: np.ndarray) -> np.ndarray:
    r"""The share of the pairs of models that answer differently; with several labels, the mean over these.

    .. math:: \frac{2}{M (M - 1)} \sum_{m < n} [a_m \ne a_n]

    Args:
        answers: ``(models, rows)``, classes; or ``(models, rows, labels)``, 0 and 1.

    Returns:
        ``(rows,)``, between 0 and 1; all 0 for one model.

    Example:
        >>> disagreement(np.array([[0, 0, 0], [0, 0, 1], [0, 1, 2]])).round(2)
        array([0.  , 0.67, 1.  ])
    """
    models = len(answers)
    if models < 2:
        return np.zeros(answers.shape[1])
    apart = np.zeros(answers.shape[1:])
    for one in range(models):
        for other in range(one + 1, models):
            apart += answers[one] != answers[other]
    shares = apart / (models * (models - 1) / 2)
    return shares if shares.ndim == 1 else shares.mean(1)


def spread(answers: np.ndarray) -> np.ndarray:
    """How far apart models' numbers are: their standard deviation, by row.

    Args:
        answers: ``(models, rows)``.

    Example:
        >>> spread(np.array([[1.0, 2.0], [3.0, 2.0]])).tolist()
        [1.0, 0.0]
    """
    return answers.astype(np.float64).std(0)
