"""Linear models on fixed features: logistic regression (for multi-label tasks one a label), and ridge for regression."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from understudy.data.tasks import Task
from understudy.errors import DataError
from understudy.functional.scoring import higher_is_better, score
from understudy.models.folds import FOLDS, deal_folds, row_losses
from understudy.models.logistic import ClassWeights, Linear, fit_once

_GRID = (0.001, 0.01, 0.1, 1.0)
"""Inverse penalties for standardised dense features; the ridge penalty is one over each of them."""
_USUAL = 0.1
_ENOUGH_TO_CHOOSE, MOST_FOLDED = 100, 2_000
"""Labelled validation rows that can choose a penalty, and the rows up to which folds of the training rows choose instead of
fewer. Ten rows mostly tie, and a tie takes the strongest penalty: folds were 1.3 points better on ten sets with 100 labels."""
_DEAD = 1e-4
"""Columns whose spread is below this share of the widest one's count as constant."""


def fit_linear(
    features: np.ndarray,
    labels: np.ndarray,
    task: Task,
    *,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    strength: float = _USUAL,
    class_weights: ClassWeights = None,
    groups: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a head on dense features, such as the vectors of a frozen encoder.

    The features are standardised for the fit. The standardisation is folded into the result, so the logits are
    ``features @ weight.T + bias`` of the features as given.

    Args:
        features: ``(rows, dim)``.
        labels: as `task` describes them; rows without a label are left out.
        task: its first metric chooses the penalty.
        validation: features and labels to choose the penalty on.
        strength: the inverse penalty without them.
        class_weights: what a row of each class counts.
        groups: as in :func:`best_fit`.

    Returns:
        weight ``(outputs, dim)`` and bias ``(outputs,)``, float32. With two classes, those of the first class are 0.

    Raises:
        DataError: if no row has a label.

    Example:
        >>> task = Task(text=(("text",),), label="label", kind="single_label", labels=("no", "yes"))
        >>> weight, bias = fit_linear(np.array([[0.0], [1.0]]), np.array([0, 1]), task)
        >>> weight.shape, bool(weight[1, 0] > 0)
        ((2, 1), True)
    """
    features = features.astype(np.float64)
    mean, spread = standardisation(features)
    if validation is not None:
        validation = ((validation[0] - mean) / spread, validation[1])
    found = best_fit(
        (features - mean) / spread,
        labels,
        task,
        grid=_GRID,
        default=strength,
        validation=validation,
        class_weights=class_weights,
        groups=groups,
    )
    weight = found.weight / spread
    bias = found.bias - weight @ mean
    if task.outputs > len(bias):
        weight, bias = np.vstack([np.zeros_like(weight), weight]), np.append(0.0, bias)
    return weight.astype(np.float32), bias.astype(np.float32)


def standardisation(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column, float64 ``(columns,)``; 1 for columns that hardly vary.

    Some encoders have dead dimensions, whose values vary by 1e-30. Divided by that, they would get weights of 1e30, and a
    training that starts from them would learn nothing else.

    Example:
        >>> standardisation(np.array([[1.0, 0.0], [3.0, 1e-30]]))
        (array([2.e+00, 5.e-31]), array([1., 1.]))
    """
    mean, spread = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64)
    spread[spread <= _DEAD * spread.max(initial=0.0)] = 1.0
    return mean, spread


def best_fit(
    features: Any,
    labels: np.ndarray,
    task: Task,
    *,
    grid: Sequence[float],
    default: float,
    validation: tuple[Any, np.ndarray] | None = None,
    class_weights: ClassWeights = None,
    groups: np.ndarray | None = None,
) -> Linear:
    """The fit with the inverse penalty that scores best on the validation rows; of few, on folds of the training rows.

    Args:
        features: ``(rows, dim)``, float64, dense or sparse (CSR).
        labels: as `task` describes them; rows without a label are left out.
        task: its first metric is the score.
        grid: inverse penalties in rising order. If scores are equal, the stronger penalty is taken.
        default: the inverse penalty if there is no labelled validation row.
        validation: features and labels.
        class_weights: what a row of each class counts in the fit. The score counts all rows alike.
        groups: rows with one value are in one fold, ``(rows,)``, see :func:`understudy.models.folds.deal_folds`.

    Raises:
        DataError: if no row has a label.

    Example:
        >>> task = Task(text=(("text",),), label="score", kind="regression")
        >>> found = best_fit(np.array([[0.0], [1.0]]), np.array([0.0, 2.0]), task, grid=(), default=1e9)
        >>> round(float(found.weight[0, 0]), 3)
        2.0
    """
    known = labelled_rows(labels)
    if not known.any():
        raise DataError(f"there is nothing to learn from: none of the {len(labels)} training rows has a label.")
    features, labels = features[known], labels[known]
    if validation is None or not labelled_rows(validation[1]).any():
        return fit_once(features, labels, task, default, {}, class_weights)
    sign = 1 if higher_is_better(task.metrics[0]) else -1
    if labelled_rows(validation[1]).sum() < _ENOUGH_TO_CHOOSE and 1 < len(labels) <= MOST_FOLDED:
        kept = None if groups is None else groups[known]
        strength = _by_folds(features, labels, task, grid=grid, class_weights=class_weights, groups=kept)
        return fit_once(features, labels, task, strength, {}, class_weights)
    best, best_score = None, -np.inf
    for found in fit_path(features, labels, task, grid=grid, class_weights=class_weights):
        reached = sign * score(task.metrics[0], linear_logits(found, validation[0], task), validation[1])
        if best is None or reached > best_score:
            best, best_score = found, reached
    assert best is not None, "an empty grid chooses nothing"
    return best


def _by_folds(
    features: Any,
    labels: np.ndarray,
    task: Task,
    *,
    grid: Sequence[float],
    class_weights: ClassWeights,
    groups: np.ndarray | None,
) -> float:
    """The inverse penalty with the best score on held-out folds; of equal ones, that with the lowest loss.

    Of copies of one text alone it is the strongest.
    """
    sign = 1 if higher_is_better(task.metrics[0]) else -1
    reached = [
        (sign * score(task.metrics[0], logits, labels), -float(row_losses(logits, labels, task).mean()), strength)
        for strength, logits in held_out(
            features, labels, task, seed=0, grid=grid, class_weights=class_weights, groups=groups
        )
    ]
    return max(reached, key=lambda found: found[:2], default=(0.0, 0.0, grid[0]))[2]


def held_out(
    features: Any,
    labels: np.ndarray,
    task: Task,
    *,
    seed: int,
    grid: Sequence[float],
    standardise: bool = False,
    class_weights: ClassWeights = None,
    groups: np.ndarray | None = None,
) -> Iterator[tuple[float, np.ndarray]]:
    """For each inverse penalty the logits of all rows by the fits without their folds; nothing for a single row or group.

    Args:
        features: ``(rows, dim)``, float64, dense or sparse (CSR).
        labels: as `task` describes them; every row has one.
        seed: deals the rows into folds.
        grid: inverse penalties in rising order.
        standardise: by the mean and spread of the rows that are fitted; of dense features.
        class_weights: what a row of each class counts.
        groups: as in :func:`best_fit`.

    Example:
        >>> task = Task(text=(("text",),), label="score", kind="regression")
        >>> rows = np.array([[0.0], [1.0], [2.0]])
        >>> [(strength, logits[:, 0].round().tolist()) for strength, logits in held_out(rows, rows[:, 0], task, seed=0, grid=(1e9,))]
        [(1000000000.0, [0.0, 1.0, 2.0])]
    """
    folds = min(FOLDS, len(labels) if groups is None else len(np.unique(groups)))
    dealt = deal_folds(labels, folds, seed, groups=groups) if folds > 1 else np.zeros(0, np.int64)
    paths = []
    for fold in range(folds if folds > 1 else 0):
        inside, outside = np.flatnonzero(dealt != fold), np.flatnonzero(dealt == fold)
        fitted, rest = features[inside], features[outside]
        if standardise:
            centre, spread = standardisation(fitted)
            fitted, rest = (fitted - centre) / spread, (rest - centre) / spread
        path = fit_path(fitted, labels[inside], task, grid=grid, class_weights=class_weights)
        paths.append((outside, rest, path))
    for strength in grid if paths else ():
        logits = np.zeros((len(labels), task.outputs))
        for outside, rest, path in paths:
            logits[outside] = linear_logits(next(path), rest, task)
        yield strength, logits


def fit_path(
    features: Any, labels: np.ndarray, task: Task, *, grid: Sequence[float], class_weights: ClassWeights = None
) -> Iterator[Linear]:
    """The fit with each inverse penalty of a rising grid; each starts from the one before, so it is quick.

    Args:
        features: ``(rows, dim)``, float64.
        labels: as `task` describes them; every row has one.

    Example:
        >>> task = Task(text=(("text",),), label="score", kind="regression")
        >>> path = fit_path(np.array([[-1.0], [1.0]]), np.array([0.0, 2.0]), task, grid=(0.5, 1e9))
        >>> [round(float(found.weight[0, 0]), 3) for found in path]
        [0.5, 1.0]
    """
    models: dict[int, Any] = {}
    for strength in grid:
        yield fit_once(features, labels, task, strength, models, class_weights)


def linear_logits(linear: Linear, features: Any, task: Task) -> np.ndarray:
    """Logits of a fit, ``(rows, outputs)``. With two classes, the logit of the first class is 0.

    Example:
        >>> task = Task(text=(("text",),), label="label", kind="single_label", labels=("no", "yes"))
        >>> linear_logits(Linear(np.array([[2.0]]), np.array([1.0])), np.array([[3.0]]), task)
        array([[0., 7.]])
    """
    return spread_columns(features @ linear.weight.T + linear.bias, task)


def spread_columns(columns: np.ndarray, task: Task) -> np.ndarray:
    """Logits from columns: one column for two classes becomes two logits, whose softmax is its logistic function.

    Example:
        >>> task = Task(text=(("text",),), label="label", kind="single_label", labels=("no", "yes"))
        >>> spread_columns(np.array([[7.0]]), task)
        array([[0., 7.]])
    """
    if task.outputs == columns.shape[1]:
        return columns
    return np.hstack([np.zeros_like(columns), columns])


def labelled_rows(labels: np.ndarray) -> np.ndarray:
    """Which rows have a label: bool ``(rows,)``.

    Example:
        >>> labelled_rows(np.array([1, -100])), labelled_rows(np.array([[0.0, 1.0], [np.nan, np.nan]]))
        (array([ True, False]), array([ True, False]))
    """
    return labels >= 0 if np.issubdtype(labels.dtype, np.integer) else ~np.isnan(labels).reshape(len(labels), -1).any(1)
