"""How far a score would move with other test rows: bootstrap intervals."""

from __future__ import annotations

import numpy as np

from understudy.functional.resampling import resample_counts, resampler
from understudy.functional.scoring import check_suits, scored_rows

_RANKED_CELLS = 100_000_000
"""Rows times columns times resamples that average precision may rank: about two seconds."""
_FEWEST_RESAMPLES = 100


def bootstrap(
    metrics: tuple[str, ...], logits: np.ndarray, labels: np.ndarray, *, resamples: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals over resampled test rows, the same resamples for all metrics.

    They say how far the score would move with other test rows, not with another training seed. Average precision over
    many rows and classes takes fewer resamples, as many as about two seconds allow, but at least a hundred.

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
        >>> bootstrap(("accuracy",), np.array([[1.0, 0.0]] * 4), np.array([0, 0, 0, 0]))
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
    return {metric: (float(low), float(high)) for metric, (low, high) in ends.items()}


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
