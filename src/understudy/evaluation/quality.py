"""Logits and labels in; metrics, their intervals, the confusion matrix and the calibration out: what a model is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from understudy.data.tasks import Task
from understudy.evaluation.intervals import bootstrap
from understudy.functional.scoring import score, scored_rows

_BINS = 15


@dataclass(frozen=True)
class Evaluation:
    """What a model is worth on one split, in plain numbers for JSON. A language model has metrics only."""

    metrics: dict[str, float]
    """By name, the metric that selects models first."""
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    """The 95 % intervals of the metrics, where they were asked for."""
    confusion: list[list[int]] | None = None
    """See :func:`confusion`; of a single-label task."""
    calibration: dict[str, Any] | None = None
    """See :func:`calibration`; of a classifier. With the temperature, and as ``ece_before`` the error without it, where
    one was asked for."""


def as_entry(scores: Mapping[str, Evaluation]) -> dict[str, Any]:
    """What an entry of the record's ``models`` says of a model's quality, whatever kind of model it is.

    Args:
        scores: by split. At most one of them has a confusion matrix and a calibration; of several the last one counts.

    Returns:
        ``metrics`` by split. Only where they are known: ``intervals`` by split (lists of two numbers), ``confusion``
        and ``calibration``.

    Example:
        >>> as_entry({"validation": Evaluation({"loss": 2.0})})
        {'metrics': {'validation': {'loss': 2.0}}}
        >>> as_entry({"test": Evaluation({"mse": 2.0}, intervals={"mse": (1.0, 3.0)})})
        {'metrics': {'test': {'mse': 2.0}}, 'intervals': {'test': {'mse': [1.0, 3.0]}}}
    """
    entry: dict[str, Any] = {"metrics": {split: dict(found.metrics) for split, found in scores.items()}}
    intervals = {
        split: {metric: list(ends) for metric, ends in found.intervals.items()}
        for split, found in scores.items()
        if found.intervals
    }
    if intervals:
        entry["intervals"] = intervals
    for found in scores.values():
        if found.confusion is not None:
            entry["confusion"] = found.confusion
        if found.calibration is not None:
            entry["calibration"] = found.calibration
    return entry


def evaluate(
    logits: np.ndarray,
    labels: np.ndarray,
    task: Task,
    *,
    intervals: bool = False,
    temperature: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Score a model's outputs on the rows that have a label.

    Args:
        logits: ``(rows, outputs)``.
        labels: as :class:`understudy.data.tasks.Task` describes them.
        task: gives the metrics and the kind.
        intervals: whether to add intervals, see :func:`understudy.evaluation.intervals.bootstrap`.
        temperature: of the model's probabilities: the calibration is that after it. The metrics are of the logits as they
            are.
        resamples: number of bootstrap resamples.
        seed: of the resamples.

    Raises:
        DataError: if no row has a label.
        ConfigError: if a metric is unknown or does not suit the task.
        ValueError: if the shapes do not fit, or a logit is not finite.

    Reference:
        Efron 1979, "Bootstrap methods", Annals of Statistics 7 (1); Guo et al. 2017, arXiv 1706.04599.

    Example:
        >>> task = Task(text=(("text",),), label="label", kind="single_label", labels=("no", "yes"))
        >>> found = evaluate(np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), np.array([0, 1, 0]), task)
        >>> round(found.metrics["accuracy"], 4), found.confusion
        (0.6667, [[1, 1], [0, 1]])
    """
    logits, labels = scored_rows(logits, labels)
    single = task.kind == "single_label"
    return Evaluation(
        metrics={metric: score(metric, logits, labels) for metric in task.metrics},
        intervals=bootstrap(task.metrics, logits, labels, resamples=resamples, seed=seed) if intervals else {},
        confusion=confusion(logits, labels) if single else None,
        calibration=None if task.kind == "regression" else _calibration(logits, labels, temperature),
    )


def _calibration(logits: np.ndarray, labels: np.ndarray, temperature: float | None) -> dict[str, Any]:
    if temperature is None:
        return calibration(logits, labels)
    before, after = calibration(logits, labels), calibration(logits / temperature, labels)
    return {**after, "temperature": temperature, "ece_before": before["ece"]}


def confusion(logits: np.ndarray, labels: np.ndarray) -> list[list[int]]:
    """Rows with a label, counted by true class (outer) and predicted class (inner).

    Example:
        >>> confusion(np.array([[0.0, 1.0], [0.0, 1.0]]), np.array([0, 1]))
        [[0, 1], [0, 1]]
    """
    logits, labels = scored_rows(logits, labels)
    classes = logits.shape[1]
    pairs = np.bincount(labels * classes + logits.argmax(1), minlength=classes * classes)
    return [[int(rows) for rows in row] for row in pairs.reshape(classes, classes)]


def calibration(logits: np.ndarray, labels: np.ndarray, *, bins: int = _BINS) -> dict[str, Any]:
    r"""Expected calibration error, and the bins that a reliability diagram shows.

    .. math:: \mathrm{ECE} = \sum_b \frac{n_b}{n} \, | \mathrm{accuracy}_b - \mathrm{confidence}_b |

    over bins of equal width, open below and closed above, of the probability of the predicted class. With several labels a
    row, every label of a row counts as a row: its answer is that the text has the label, or has not.

    Returns:
        ``{"ece": float, "bins": [{"confidence": mean, "accuracy": share, "rows": count}, ...]}``, in order of
        confidence; bins without rows are left out.

    Reference:
        Guo et al. 2017, arXiv 1706.04599, equation 3.

    Example:
        >>> calibration(np.log([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1]))["bins"][0]["accuracy"]
        0.5
    """
    from scipy.special import expit, softmax

    logits, labels = scored_rows(logits, labels)
    if labels.ndim == 2:
        confidence, right = expit(np.abs(logits.astype(np.float64))).ravel(), ((logits > 0) == (labels == 1)).ravel()
    else:
        confidence, right = softmax(logits.astype(np.float64), axis=1).max(1), logits.argmax(1) == labels
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    found = [
        {"confidence": float(confidence[here].mean()), "accuracy": float(right[here].mean()), "rows": int(here.sum())}
        for here in (bin_of == number for number in np.unique(bin_of))
    ]
    ece = sum(row["rows"] * abs(row["accuracy"] - row["confidence"]) for row in found) / len(right)
    return {"ece": float(ece), "bins": found}


def agreement(one_logits: np.ndarray, other_logits: np.ndarray) -> float:
    """Share of rows for which two models predict the same class.

    Args:
        one_logits, other_logits: ``(rows, classes)``, of the same rows in the same order of classes.

    Raises:
        ValueError: if the shapes differ or there are no rows.

    Example:
        >>> agreement(np.array([[0.0, 1.0], [0.0, 1.0]]), np.array([[2.0, 3.0], [1.0, 0.0]]))
        0.5
    """
    if one_logits.shape != other_logits.shape or one_logits.ndim != 2 or not len(one_logits):
        raise ValueError(f"both must be (rows, classes), but are {one_logits.shape} and {other_logits.shape}")
    return float(np.mean(one_logits.argmax(1) == other_logits.argmax(1)))
