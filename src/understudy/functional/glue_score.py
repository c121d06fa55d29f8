"""The scores of GLUE's table: one number a task, and their average."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Mapping

from understudy.functional.scoring import higher_is_better


def task_score(parts: Iterable[Mapping[str, float]]) -> float:
    r"""A task's one number: the mean over all its evaluations of those of its metrics where more is better.

    An error in squared units, which a regression may have too, cannot be averaged with them.

    .. math:: \frac{1}{n} \sum_{i=1}^{n} m_i

    Args:
        parts: the metrics of each evaluation. MNLI has two, matched and mismatched.

    Raises:
        ValueError: if there is none where more is better.

    Reference:
        Wang et al. 2018, "GLUE", arXiv 1804.07461, table 2: the average counts a task with several metrics by their mean.

    Example:
        >>> task_score([{"accuracy": 0.8, "f1": 0.9}]), task_score([{"accuracy": 0.5}, {"accuracy": 0.75}])
        (0.8500000000000001, 0.625)
        >>> task_score([{"pearson": 0.5, "mse": 80.0}])
        0.5
    """
    values = [value for part in parts for metric, value in part.items() if higher_is_better(metric)]
    if not values:
        raise ValueError("a task's score needs at least one metric, but there is none")
    return statistics.fmean(values)


def average(scores: Mapping[str, float], *, beside: Collection[str] = ()) -> float | None:
    """The mean of the tasks' numbers, each task once; None if none counts.

    Args:
        scores: by task.
        beside: tasks that are reported but not counted.

    Example:
        >>> average({"cola": 0.5, "sst2": 0.9, "wnli": 0.1}, beside=("wnli",))
        0.7
    """
    counted = [score for name, score in scores.items() if name not in beside]
    return statistics.fmean(counted) if counted else None
