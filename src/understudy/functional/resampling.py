"""Metrics of many bootstrap resamples at once.

A resample is a row of counts: how often each test row was drawn. This module computes each metric of
:mod:`understudy.functional.metrics` from such counts, without a loop over the resamples. Accuracy, F1 and Matthews
need only weighted sums of correct answers, predictions and labels. Average precision and Spearman need cumulative
counts in one order, which is the same for all resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from understudy.functional.metrics import decisions, ranked_columns

Resampler = Callable[[np.ndarray], np.ndarray]
"""Counts ``(resamples, rows)`` to the metric of each resample, ``(resamples,)``."""

_BLOCK_CELLS = 2**18
"""Counts in a block: two megabytes, small enough for a processor's caches."""


def resample_counts(rows: int, *, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Draw `rows` rows with replacement, `resamples` times.

    Yields:
        Blocks of counts, float64 ``(resamples in the block, rows)``. They depend on the arguments only.

    Example:
        >>> blocks = list(resample_counts(4, resamples=3, seed=0))
        >>> sum(len(block) for block in blocks), blocks[0].sum(1)
        (3, array([4., 4., 4.]))
    """
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK_CELLS // rows)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = rng.integers(rows, size=(size, rows)) + rows * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows).astype(np.float64)


def resampled_kinds(rows: np.ndarray, *, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    r"""Draw rows with replacement where equal rows need not be told apart: much faster where there are few kinds.

    How often each kind is drawn is multinomial, with the kinds' shares of the rows for probabilities.

    Args:
        rows: what each row is, ``(rows, columns)``.
        resamples: number of times that all rows are drawn.
        seed: of the draws.

    Returns:
        The number of the first row of each kind, ``(kinds,)``; and how often each kind was drawn, float64
        ``(resamples, kinds)``.

    Example:
        >>> first, counts = resampled_kinds(np.array([[1], [0], [1], [1]]), resamples=3, seed=0)
        >>> first, counts.shape, counts.sum(1)
        (array([1, 0]), (3, 2), array([4., 4., 4.]))
    """
    kinds = np.zeros(len(rows), np.int64)
    for column in rows.T:  # numbered column by column: sorting whole rows takes many times as long
        _, values = np.unique(column, return_inverse=True)
        _, kinds = np.unique(kinds * (values.max() + 1) + values, return_inverse=True)
    _, first, counts = np.unique(kinds, return_index=True, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(rows), counts / len(rows), size=resamples)
    return first, drawn.astype(np.float64)


def resampler(metric: str, logits: np.ndarray, labels: np.ndarray) -> Resampler:
    """The metric of that name as a function of resamples of these rows, all of which have a label.

    The result equals :func:`understudy.functional.scoring.score` on the rows repeated as often as they are counted,
    also where the metric is 0/0.

    Example:
        >>> accuracy = resampler("accuracy", np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]))
        >>> accuracy(np.array([[2.0, 0.0], [1.0, 1.0]]))
        array([1. , 0.5])
    """
    if metric in ("pearson", "spearman", "mse"):
        return _regression(metric, logits.reshape(len(logits)).astype(np.float64), labels.astype(np.float64))
    if metric == "average_precision":
        return _average_precision(*ranked_columns(logits, labels))
    predicted = decisions(logits, labels)
    if metric == "accuracy":
        right = (predicted == labels).reshape(len(labels), -1).all(1).astype(np.float64)
        return lambda counts: counts @ right / counts.sum(1)
    return _counting(metric, _indicator(predicted, logits.shape[1]), _indicator(labels, logits.shape[1]))


def _indicator(values: np.ndarray, classes: int) -> np.ndarray:
    return values.astype(np.float64) if values.ndim == 2 else (values[:, None] == np.arange(classes)).astype(np.float64)


def _counting(metric: str, predicted: np.ndarray, actual: np.ndarray) -> Resampler:
    from scipy.sparse import csr_array

    columns = csr_array(np.hstack([predicted * actual, predicted, actual]))

    def measure(counts: np.ndarray) -> np.ndarray:
        right, answered, there = np.split(counts @ columns, 3, axis=1)
        if metric == "matthews":
            return _matthews(counts.sum(1), right, answered, there)
        if metric == "f1_micro":
            right, answered, there = (part.sum(1, keepdims=True) for part in (right, answered, there))
        each = _divide(2 * right, answered + there)
        if metric == "f1":
            return each[:, 1]
        occurs = answered + there > 0
        return _divide((each * occurs).sum(1), occurs.sum(1))

    return measure


def _matthews(rows: np.ndarray, right: np.ndarray, answered: np.ndarray, there: np.ndarray) -> np.ndarray:
    """The Matthews coefficient from the margins of the confusion matrix (Gorodkin 2004, equation 8)."""
    covariance = right.sum(1) * rows - (answered * there).sum(1)
    variances = (rows**2 - (answered**2).sum(1)) * (rows**2 - (there**2).sum(1))
    return _divide(covariance, np.sqrt(variances))


def _average_precision(scores: np.ndarray, truth: np.ndarray) -> Resampler:
    orders, ends = [], []
    for column in scores.T:
        order = np.argsort(-column, kind="stable")
        orders.append(order)
        ends.append(np.flatnonzero(np.append(np.diff(column[order]) != 0, True)))

    def measure(counts: np.ndarray) -> np.ndarray:
        total, occurring = np.zeros(len(counts)), np.zeros(len(counts))
        for order, end, positive in zip(orders, ends, truth.T, strict=True):
            drawn = counts[:, order]
            above = np.cumsum(drawn, axis=1)[:, end]
            found = np.cumsum(drawn * positive[order], axis=1)[:, end]
            positives = found[:, -1]
            area = (np.diff(found, axis=1, prepend=0) * _divide(found, above)).sum(1)
            total += _divide(area, positives)
            occurring += positives > 0
        return _divide(total, occurring)

    return measure


def _regression(metric: str, predicted: np.ndarray, wanted: np.ndarray) -> Resampler:
    if metric == "mse":
        return lambda counts: counts @ (predicted - wanted) ** 2 / counts.sum(1)
    if metric == "pearson":
        return lambda counts: _correlation(counts, predicted[None], wanted[None])
    one, other = _Ranks(predicted), _Ranks(wanted)
    return lambda counts: _correlation(counts, one(counts), other(counts))


class _Ranks:
    """Ranks within each resample; ties, and copies of a row, share their mean rank."""

    def __init__(self, values: np.ndarray) -> None:
        _, self._group = np.unique(values, return_inverse=True)
        self._order = np.argsort(self._group, kind="stable")
        self._starts = np.flatnonzero(np.diff(self._group[self._order], prepend=-1))

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        held = np.add.reduceat(counts[:, self._order], self._starts, axis=1)
        return (np.cumsum(held, axis=1) - (held - 1) / 2)[:, self._group]


def _correlation(counts: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    rows = counts.sum(1, keepdims=True)
    # Rounding leaves the variance of a constant slightly above 0. `metrics` uses the same threshold.
    tiny = [1e-24 * rows[:, 0] * np.square(side).max() for side in (one, other)]
    one, other = (side - (counts * side).sum(1, keepdims=True) / rows for side in (one, other))
    variances = [(counts * side**2).sum(1) for side in (one, other)]
    varies = (variances[0] > tiny[0]) & (variances[1] > tiny[1])
    return _divide(np.where(varies, (counts * one * other).sum(1), 0.0), np.sqrt(variances[0] * variances[1]))


def _divide(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    """A quotient that is 0 where the divisor is 0."""
    return np.divide(over, under, out=np.zeros(np.broadcast_shapes(over.shape, under.shape)), where=under > 0)
