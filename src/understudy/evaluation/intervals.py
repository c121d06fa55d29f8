"""How far a score would move with other test rows: bootstrap intervals."""

from __future__ import annotations

import math

import numpy as np

from understudy.functional.resampling import resample_counts, resampler
from understudy.functional.scoring import check_suits, score, scored_rows

_RANKED_CELLS = 100_000_000
"""Rows times columns times resamples that average precision may rank: about two seconds."""
_FEWEST_RESAMPLES = 100
_FEW_ROWS = 100
"""Below, resampled rows say too little: 30 right answers of 30 would leave no doubt at all."""
_TWO_SIDED_95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


def bootstrap(
    metrics: tuple[str, ...], logits: np.ndarray, labels: np.ndarray, *, resamples: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals over resampled test rows, the same resamples for all metrics.

    They say how far the score would move with other test rows, not with another training seed. Average precision over
    many rows and classes takes fewer resamples, as many as about two seconds allow, but at least a hundred. Below a hundred
    rows the accuracy's interval is Wilson's (:func:`wilson`), because resampling hides how little they tell.

    Args:
        metrics: names, see :data:`understudy.functional.metrics.METRICS`.
        logits: ``(rows, outputs)``.
        labels: as :class:`understudy.data.tasks.Task` describes them; rows without one are left out.
        resamples: number of times that all rows are drawn with replacement.
        seed: of the draws.

    Returns:
        For each metric the ends of its interval.

    Reference:
        Efron 1979, "Bootstrap methods", Annals of Statistics 7 (1).

    Example:
        >>> bootstrap(("accuracy",), np.array([[1.0, 0.0]] * 100), np.zeros(100, int))
        {'accuracy': (1.0, 1.0)}
    """
    logits, labels = scored_rows(logits, labels)
    for metric in metrics:
        check_suits(metric, logits, labels)
    measures = {metric: resampler(metric, logits, labels) for metric in metrics}
    enough = dict.fromkeys(metrics, resamples)
    if "average_precision" in enough:
        enough["average_precision"] = affordable_resamples("average_precision", logits.size, resamples)
    values: dict[str, list[np.ndarray]] = {metric: [] for metric in metrics}
    done = 0
    for counts in resample_counts(len(labels), resamples=resamples, seed=seed):
        for metric, measure in measures.items():
            if done < enough[metric]:
                values[metric].append(measure(counts[: enough[metric] - done]))
        done += len(counts)
    ends = {metric: np.percentile(np.concatenate(found), [2.5, 97.5]) for metric, found in values.items()}
    intervals = {metric: (float(low), float(high)) for metric, (low, high) in ends.items()}
    if "accuracy" in intervals and len(labels) < _FEW_ROWS:
        right = round(score("accuracy", logits, labels) * len(labels))
        intervals["accuracy"] = wilson(right, len(labels))
    return intervals


def wilson(right: int, rows: int) -> tuple[float, float]:
    r"""The 95 % interval of a share of rows, also where it is 0 or 1.

    .. math:: \frac{p + z^2 / 2n \pm z \sqrt{p (1 - p) / n + z^2 / 4 n^2}}{1 + z^2 / n}

    Args:
        right: how many of the rows count.
        rows: n > 0.

    Reference:
        Wilson 1927, "Probable inference, the law of succession, and statistical inference", JASA 22 (158).

    Example:
        >>> low, high = wilson(30, 30)
        >>> round(low, 4), round(high, 4)
        (0.8865, 1.0)
    """
    share, doubt = right / rows, _TWO_SIDED_95**2 / rows
    middle = share + doubt / 2
    reach = math.sqrt(doubt * share * (1 - share) + doubt**2 / 4)
    low, high = (middle - reach) / (1 + doubt), (middle + reach) / (1 + doubt)
    return 0.0 if right == 0 else low, 1.0 if right == rows else high  # the ends are known without rounding


def affordable_resamples(metric: str, cells: int, resamples: int) -> int:
    """How many resamples of a metric take about two seconds, at most `resamples` and at least a hundred of them.

    Args:
        cells: the number of logits.

    Example:
        >>> affordable_resamples("accuracy", 10**7, 1000), affordable_resamples("average_precision", 10**6, 1000)
        (1000, 100)
    """
    if metric != "average_precision":
        return resamples
    return min(resamples, max(_FEWEST_RESAMPLES, _RANKED_CELLS // max(cells, 1)))
