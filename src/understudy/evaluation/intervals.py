"""How far a score would move with other test rows: bootstrap intervals."""

from __future__ import annotations

import numpy as np

from understudy.functional.resampling import resample_counts, resampler
from understudy.functional.scoring import check_suits, score, scored_rows

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


def paired_gain(
    metrics: tuple[str, ...],
    logits: np.ndarray,
    base: np.ndarray,
    labels: np.ndarray,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, tuple[float, float]]:
    r"""How much better one model is than another on the same rows, with the 95 % percentile interval of that.

    .. math:: \frac1n \sum_{i=1}^n m_i(\text{model}) - m_i(\text{base})

    Both are scored on the same resampled rows, so that what is hard for both does not widen the interval.

    Args:
        metrics: names; their mean is the score.
        logits, base: ``(rows, outputs)`` of the two models.
        labels: as in :func:`bootstrap`.
        resamples: number of times that all rows are drawn with replacement.
        seed: of the draws.

    Returns:
        The gain on the rows as they are, and the ends of its interval.

    Reference:
        Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.

    Example:
        >>> right, wrong = np.array([[1.0, 0.0]] * 4), np.array([[0.0, 1.0]] * 4)
        >>> paired_gain(("accuracy",), right, wrong, np.zeros(4, np.int64))
        (1.0, (1.0, 1.0))
    """
    sides = [scored_rows(side, labels) for side in (logits, base)]
    whole = [float(np.mean([score(metric, *side) for metric in metrics])) for side in sides]
    measures = [[resampler(metric, *side) for metric in metrics] for side in sides]
    found = []
    for counts in resample_counts(len(sides[0][1]), resamples=resamples, seed=seed):
        one, other = (np.mean([measure(counts) for measure in side], axis=0) for side in measures)
        found.append(one - other)
    low, high = np.percentile(np.concatenate(found), [2.5, 97.5])
    return whole[0] - whole[1], (float(low), float(high))
