"""Logits and labels in; metrics, their intervals, the confusion matrix and the calibration out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from understudy.data.tasks import Task
from understudy.functional.resampling import resample_counts, resampler
from understudy.functional.scoring import check_suits, score, scored_rows

_BINS = 15
_RANKED_CELLS = 100_000_000
"""Rows times columns times resamples that average precision may rank: about two seconds."""
_FEWEST_RESAMPLES = 100


@dataclass(frozen=True)
class Evaluation:
    """What a model is worth on one split. Plain numbers throughout, ready for JSON."""

    metrics: dict[str, float]
    """The task's metrics by name, the selecting one first."""
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Their 95 % intervals, where they were asked for."""
    confusion: list[list[int]] | None = None
    """Rows of the test split by true class (outer) and answer (inner); of a single-label task."""
    calibration: dict[str, Any] | None = None
    """See :func:`calibration`; of a single-label task."""


def evaluate(
    logits: np.ndarray,
    labels: np.ndarray,
    task: Task,
    *,
    intervals: bool = False,
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Score a model's outputs on the rows that carry a label.

    Args:
        logits: ``(rows, outputs)``.
        labels: as :class:`understudy.data.tasks.Task` describes them.
        task: names the metrics and the kind.
        intervals: whether to bootstrap, see :func:`bootstrap`.
        resamples: how often to.
        seed: of the resamples.

    Raises:
        DataError: if no row carries a label.
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
        calibration=calibration(logits, labels) if single else None,
    )


def bootstrap(
    metrics: tuple[str, ...], logits: np.ndarray, labels: np.ndarray, *, resamples: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals over resampled test rows, the same resamples for all metrics.

    They say how far the score would move with other test rows, not how far with another training seed. Average
    precision over many rows and classes takes fewer resamples, never below a hundred: as many as fit into the time
    that all else takes.

    Args:
        metrics: names, see :data:`understudy.functional.metrics.METRICS`.
        logits: ``(rows, outputs)``.
        labels: rows without one are left out.
        resamples: how often as many rows as there are get drawn with replacement.
        seed: of the draws.

    Example:
        >>> bootstrap(("accuracy",), np.array([[1.0, 0.0]] * 4), np.array([0, 0, 0, 0]))
        {'accuracy': (1.0, 1.0)}
    """
    logits, labels = scored_rows(logits, labels)
    for metric in metrics:
        check_suits(metric, logits, labels)
    measures = {metric: resampler(metric, logits, labels) for metric in metrics}
    enough = dict.fromkeys(metrics, resamples)
    if "average_precision" in enough:
        affordable = _RANKED_CELLS // max(logits.size, 1)
        enough["average_precision"] = min(resamples, max(_FEWEST_RESAMPLES, affordable))
    values: dict[str, list[np.ndarray]] = {metric: [] for metric in metrics}
    done = 0
    for counts in resample_counts(len(labels), resamples=resamples, seed=seed):
        for metric, measure in measures.items():
            if done < enough[metric]:
                values[metric].append(measure(counts[: enough[metric] - done]))
        done += len(counts)
    ends = {metric: np.percentile(np.concatenate(found), [2.5, 97.5]) for metric, found in values.items()}
    return {metric: (float(low), float(high)) for metric, (low, high) in ends.items()}


def confusion(logits: np.ndarray, labels: np.ndarray) -> list[list[int]]:
    """How often each class (outer) was answered as each class (inner), over the rows with a label.

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

    over equally wide bins, open below and closed above, of the probability of the answered class.

    Returns:
        ``{"ece": float, "bins": [{"confidence": mean, "accuracy": share, "rows": count}, ...]}``, from the least
        confident bin up; bins without rows are left out.

    Reference:
        Guo et al. 2017, arXiv 1706.04599, equation 3.

    Example:
        >>> calibration(np.log([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1]))["bins"][0]["accuracy"]
        0.5
    """
    from scipy.special import softmax

    logits, labels = scored_rows(logits, labels)
    confidence = softmax(logits.astype(np.float64), axis=1).max(1)
    right = logits.argmax(1) == labels
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    found = [
        {"confidence": float(confidence[here].mean()), "accuracy": float(right[here].mean()), "rows": int(here.sum())}
        for here in (bin_of == number for number in np.unique(bin_of))
    ]
    ece = sum(row["rows"] * abs(row["accuracy"] - row["confidence"]) for row in found) / len(labels)
    return {"ece": float(ece), "bins": found}


def agreement(one_logits: np.ndarray, other_logits: np.ndarray) -> float:
    """Share of rows that two models answer alike: the same likeliest class.

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
