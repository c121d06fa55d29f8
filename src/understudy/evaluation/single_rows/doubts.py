"""Labels that look wrong, by what models answer for rows that they did not learn from."""

from __future__ import annotations

import numpy as np

_MAD = 1.4826
"""A normal distribution's standard deviation over its median absolute deviation."""
_FAR = 3.0
"""A number is far from what models say from so many standard deviations on."""


def suggested_classes(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    r"""The class that a label should be, by the rule of :func:`doubtful_classes`: where it is not in doubt, the label itself.

    Args:
        probabilities: ``(rows, classes)``, of models that did not learn from these rows.
        labels: ``(rows,)``, classes; negative for a row without one.

    Returns:
        ``(rows,)``. It need not be the likeliest class: that may be below its own threshold.

    Example:
        >>> suggested_classes(np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.1, 0.9]]), np.array([0, 0, 1, 0]))
        array([0, 0, 1, 1])
    """
    known = np.flatnonzero(labels >= 0)
    shares, given = probabilities[known].astype(np.float64), labels[known]
    classes = shares.shape[1]
    counts = np.bincount(given, minlength=classes)
    own = shares[np.arange(len(given)), given]
    sums = np.bincount(given, weights=own, minlength=classes)
    thresholds = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)  # no row has it: never a candidate
    candidates = np.where(shares >= thresholds, shares, -1.0)
    best = candidates.argmax(1)
    found = labels.copy()
    found[known] = np.where(candidates.max(1) > own, best, given)
    return found


def doubtful_classes(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    r"""How much a label is in doubt, by confident learning; 0 for a label that is not.

    .. math:: t_j = \operatorname{mean}_{i: y_i = j} p_{ij}, \qquad
        \hat y_i = \arg\max_{j: p_{ij} \ge t_j} p_{ij}, \qquad d_i = p_{i \hat y_i} - p_{i y_i}

    A class is a candidate for a row where the models are at least as sure of it as they are, on average, for the rows that
    have this label. A label is in doubt if there is a candidate and the likeliest one is another class that is likelier
    than the label. Thresholds of their own keep classes apart of which models are more or less sure in general.

    Args:
        probabilities: ``(rows, classes)``, of models that did not learn from these rows.
        labels: ``(rows,)``, classes; negative for a row without one.

    Returns:
        ``(rows,)``, between 0 and 1.

    Reference:
        Northcutt, Jiang & Chuang 2021, "Confident Learning", arXiv 1911.00068, equations 1 and 2; ordered by the
        normalized margin of its section 3.2.

    Example:
        >>> sure, torn = [0.9, 0.1], [0.4, 0.6]
        >>> doubtful_classes(np.array([sure, sure, torn, [0.1, 0.9]]), np.array([0, 0, 1, 0])).round(2)
        array([0. , 0. , 0. , 0.8])
    """
    known = np.flatnonzero(labels >= 0)
    shares = probabilities[known].astype(np.float64)
    rows, suggested = np.arange(len(known)), suggested_classes(probabilities, labels)[known]
    found = np.zeros(len(labels))
    found[known] = shares[rows, suggested] - shares[rows, labels[known]]
    return found


def doubtful_sets(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The same for rows with any number of labels: each label is a task of two classes, and the greatest doubt counts.

    Args:
        probabilities: ``(rows, labels)``.
        labels: ``(rows, labels)``, 0 and 1; NaN for a row without labels.

    Returns:
        ``(rows, labels)``, between 0 and 1.

    Example:
        >>> probabilities = np.array([[0.9], [0.8], [0.1], [0.2], [0.95]])
        >>> doubtful_sets(probabilities, np.array([[1.0], [1.0], [0.0], [0.0], [0.0]])).round(2).T
        array([[0. , 0. , 0. , 0. , 0.9]])
    """
    known = ~np.isnan(labels).any(1)
    classes = np.where(known[:, None], np.nan_to_num(labels), -1).astype(np.int64)
    columns = [
        doubtful_classes(np.column_stack([1.0 - share, share]), label)
        for share, label in zip(probabilities.T.astype(np.float64), classes.T, strict=True)
    ]
    return np.column_stack(columns)


def doubtful_numbers(answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    r"""The same for numbers: how far a label is from what models say, where that is unusually far.

    .. math:: r_i = y_i - \hat y_i, \qquad d_i = |r_i - \operatorname{median} r| \quad\text{where it exceeds}\quad
        3 \cdot 1.4826 \cdot \operatorname{median} |r - \operatorname{median} r|

    Args:
        answers: ``(rows,)``, the mean over the models.
        labels: ``(rows,)``; NaN for a row without one.

    Returns:
        ``(rows,)``, in the unit of the labels; 0 for a label that is not in doubt.

    Example:
        >>> doubtful_numbers(np.zeros(5), np.array([0.1, -0.1, 0.0, 0.1, 4.0])).round(2)
        array([0. , 0. , 0. , 0. , 3.9])
    """
    known = ~np.isnan(labels)
    apart = labels[known].astype(np.float64) - answers[known]
    far = np.abs(apart - np.median(apart)) if apart.size else apart
    bound = _FAR * _MAD * float(np.median(far)) if far.size else 0.0
    found = np.zeros(len(labels))
    found[known] = np.where(far > bound, far, 0.0)
    return found
