"""Metrics by name: which labels each one suits, which way is better, and the score of the rows that have a label."""

from __future__ import annotations

import math

import numpy as np

from understudy.errors import ConfigError, DataError, nearest
from understudy.functional.metrics import AVERAGE, DISTANCE, LANGUAGE_MODEL_METRICS, METRICS


class NotFinite(ValueError):
    """Logits are infinite or not numbers: the weights are damaged, or training has gone wrong."""


_LOWER_IS_BETTER = {"mse", "loss", "perplexity", DISTANCE}

_SUITS: dict[str, tuple[str, ...]] = {
    "two classes": ("accuracy", "f1", "f1_macro", "f1_micro", "matthews", "average_precision"),
    "one class a row": ("accuracy", "f1_macro", "f1_micro", "matthews", "average_precision"),
    "several labels a row": ("accuracy", "f1_macro", "f1_micro", "average_precision"),
    "regression": ("pearson", "spearman", "mse"),
}
"""Kind of labels to the metrics that suit it."""
_CORRELATIONS = ("matthews", "pearson", "spearman")


def higher_is_better(metric: str) -> bool:
    """Whether a larger value of this metric is better.

    Args:
        metric: its name; one of several tasks has the task's in front, as in ``rte/accuracy``.

    Raises:
        ConfigError: if there is no such metric.

    Example:
        >>> higher_is_better("accuracy"), higher_is_better("mse"), higher_is_better("loss")
        (True, False, False)
    """
    metric = metric.rpartition("/")[2]
    if metric == AVERAGE:
        return True
    if metric not in (*LANGUAGE_MODEL_METRICS, DISTANCE):
        _check_known(metric)
    return metric not in _LOWER_IS_BETTER


def extent(metric: str) -> tuple[float, float]:
    """The least and the greatest value that a metric can have.

    Example:
        >>> extent("accuracy"), extent("matthews"), extent("mse")
        ((0.0, 1.0), (-1.0, 1.0), (0.0, inf))
    """
    _check_known(metric)
    if metric in _LOWER_IS_BETTER:
        return 0.0, math.inf
    return -1.0 if metric in _CORRELATIONS else 0.0, 1.0


def score(metric: str, logits: np.ndarray, labels: np.ndarray) -> float:
    """One metric by its name, over the rows that have a label.

    Args:
        metric: a key of :data:`understudy.functional.metrics.METRICS`.
        logits: ``(rows, outputs)``; for regression also ``(rows,)``. Log-probabilities are logits too.
        labels: as in :mod:`understudy.functional.metrics`.

    Raises:
        ConfigError: if there is no such metric, or it does not suit these labels.
        DataError: if no row has a label.
        ValueError: if the shapes do not fit, a logit is not finite or a class is not among the outputs.

    Example:
        >>> score("accuracy", np.array([[2.0, 1.0], [0.0, 1.0], [5.0, 5.0]]), np.array([0, 1, -100]))
        1.0
    """
    _check_known(metric)
    logits, labels = scored_rows(logits, labels)
    check_suits(metric, logits, labels)
    from sklearn import config_context

    with config_context(skip_parameter_validation=True):  # the parameters are ours; their check takes half of the time
        return METRICS[metric](logits, labels)


def scored_rows(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The logits and labels of the rows that have a label, checked.

    Raises:
        DataError: if no row has a label.
        ValueError: if the shapes do not fit, a logit is not finite or a class is not among the outputs.

    Example:
        >>> scored_rows(np.array([[1.0], [2.0]]), np.array([np.nan, 3.0]))[1]
        array([3.])
    """
    single = np.issubdtype(labels.dtype, np.integer)
    fits = logits.shape == labels.shape or (labels.ndim == 1 and logits.ndim == 2 and (single or logits.shape[1] == 1))
    if not fits or len(logits) != len(labels) or (single and labels.ndim != 1):
        raise ValueError(f"logits and labels must fit, but are {logits.shape} and {labels.shape} ({labels.dtype})")
    labelled = labels >= 0 if single else ~np.isnan(labels).reshape(len(labels), -1).any(1)
    if not labelled.any():
        raise DataError(f"there is nothing to score: none of the {len(labels)} rows carries a label.")
    logits, labels = logits[labelled], labels[labelled]
    if not np.isfinite(logits).all():
        broken = int((~np.isfinite(logits)).reshape(len(logits), -1).any(1).sum())
        raise NotFinite(f"logits must be finite, but {broken} of {len(logits)} rows hold NaN or infinity")
    if single and labels.max() >= logits.shape[-1]:
        raise ValueError(f"labels must be classes below {logits.shape[-1]}, but {labels.max()} is among them")
    return logits, labels


def check_suits(metric: str, logits: np.ndarray, labels: np.ndarray) -> None:
    """Check that `metric` has a meaning for such labels.

    Raises:
        ConfigError: if it has none; the message names the metrics that do.

    Example:
        >>> check_suits("f1", np.zeros((1, 2)), np.array([1]))
    """
    if labels.ndim == 2:
        kind = "several labels a row"
    elif not np.issubdtype(labels.dtype, np.integer):
        kind = "regression"
    else:
        kind = "two classes" if logits.shape[1] == 2 else "one class a row"
    if metric not in _SUITS[kind]:
        raise ConfigError(f"metric '{metric}' does not suit this task ({kind}). Use one of {', '.join(_SUITS[kind])}.")


def _check_known(metric: str) -> None:
    if metric not in METRICS:
        raise ConfigError(f"there is no metric '{metric}'.{nearest(metric, METRICS)} There are {', '.join(METRICS)}.")
