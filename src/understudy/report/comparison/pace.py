"""How fast a training was, and when it had come to its best score: read from the columns of ``progress.csv``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def training_pace(
    columns: Mapping[str, np.ndarray], metric: str, *, higher_is_better: bool, min_delta: float = 0.0
) -> dict[str, float]:
    """Rows a second while training, and the time and the steps to convergence.

    A training has converged at the first evaluation whose score is within ``min_delta`` of its best one.

    Args:
        columns: of one phase, see :func:`understudy.report.curves.read_progress`.
        metric: that of the validation scores.
        higher_is_better: whether more of it is better.
        min_delta: a difference that does not count.

    Returns:
        ``train_rows_per_second`` (the median of the reports, without evaluations), ``seconds_to_best``,
        ``steps_to_best`` and ``evaluations``; what the columns do not say is left out.

    Example:
        >>> columns = {"step": np.array([5.0, 10.0, 15.0]), "seconds": np.array([1.0, 2.0, 3.0])}
        >>> columns["validation_accuracy"] = np.array([0.5, 0.8, 0.81])
        >>> training_pace(columns, "accuracy", higher_is_better=True, min_delta=0.02)
        {'evaluations': 3.0, 'seconds_to_best': 2.0, 'steps_to_best': 10.0}
    """
    found: dict[str, float] = {}
    speeds = columns.get("rows_per_second", np.empty(0))
    if np.isfinite(speeds).any():
        found["train_rows_per_second"] = float(np.nanmedian(speeds))
    steps, seconds, scores = evaluations(columns, metric)
    if not steps.size:
        return found
    better = scores if higher_is_better else -scores
    first = int(np.flatnonzero(better >= better.max() - min_delta)[0])
    found["evaluations"] = float(steps.size)
    return found | {"seconds_to_best": float(seconds[first]), "steps_to_best": float(steps[first])}


def evaluations(columns: Mapping[str, np.ndarray], metric: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, seconds and validation scores of the evaluations, in their order."""
    if any(name not in columns for name in ("step", "seconds", f"validation_{metric}")):
        return np.empty(0), np.empty(0), np.empty(0)
    scores = columns[f"validation_{metric}"]
    there = np.isfinite(scores)
    return columns["step"][there], columns["seconds"][there], scores[there]


def evaluations_began(columns: Mapping[str, np.ndarray], metric: str) -> np.ndarray:
    """When each evaluation began, in seconds: at the report of its step, where there is one, else when it ended.

    Example:
        >>> columns = {"step": np.array([5.0, 5.0]), "seconds": np.array([1.0, 1.5]), "loss": np.array([0.7, np.nan])}
        >>> evaluations_began(columns | {"validation_accuracy": np.array([np.nan, 0.8])}, "accuracy")
        array([1.])
    """
    steps, seconds, _ = evaluations(columns, metric)
    losses = np.isfinite(columns.get("loss", np.full(len(columns["step"]), np.nan))) if steps.size else np.empty(0)
    found = []
    for step, second in zip(steps, seconds, strict=True):
        at = (columns["step"] == step) & (columns["seconds"] <= second) & losses
        found.append(float(columns["seconds"][at].max()) if at.any() else float(second))
    return np.array(found)
