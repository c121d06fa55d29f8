"""Whether one model is better than another: differences on the same rows, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple, TypeVar

import numpy as np

from understudy.evaluation.intervals import affordable_resamples
from understudy.functional.metrics import decisions
from understudy.functional.resampling import Resampler, resample_counts, resampled_kinds, resampler
from understudy.functional.scoring import check_suits, scored_rows

LEVEL = 0.99
"""A verdict rests on up to four comparisons: at 99 % each, fewer than 5 in 100 verdicts are wrong by chance."""

Name = TypeVar("Name")
"""What a model goes by: its name, or its name and its seed."""
_OF_SCORES = ("average_precision", "pearson", "spearman", "mse")
"""Metrics that depend on more than what was decided for a row."""


class PairedDifference(NamedTuple):
    """How much higher one model's score is than another's on the same rows."""

    difference: float
    low: float
    high: float
    """The ends of the interval."""
    rows: int
    """The rows that have a label."""


def paired_differences(
    metric: str | Sequence[str],
    logits: Mapping[str, np.ndarray],
    labels: np.ndarray,
    *,
    level: float = LEVEL,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[tuple[str, str], PairedDifference]:
    r"""The difference of a metric between each two models, with its percentile interval over resampled rows.

    .. math:: \Delta^* = m(\hat y_{a, i^*}, y_{i^*}) - m(\hat y_{b, i^*}, y_{i^*})

    The rows :math:`i^*` are drawn with replacement, the same for all models. What makes a row hard is in both scores and
    leaves their difference, so the interval is much narrower than that of either score where models err alike.

    Args:
        metric: a name, see :data:`understudy.functional.metrics.METRICS`; several for their mean.
        logits: by model, ``(rows, outputs)``.
        labels: of the rows; those without one are left out.
        level: the share of resampled differences that the interval holds.
        resamples: number of times that all rows are drawn with replacement; fewer where average precision takes long.
        seed: of the draws.

    Returns:
        By pair of names, the one that comes first in `logits` first: its score less the other's.

    Raises:
        DataError: if no row has a label.
        ValueError: if the shapes do not fit, or a logit is not finite.

    Reference:
        Efron & Tibshirani 1993, "An introduction to the bootstrap", section 13.3; Koehn 2004, "Statistical significance
        tests for machine translation evaluation".

    Example:
        >>> right, half = np.array([[0.0, 1.0]] * 4), np.array([[0.0, 1.0], [1.0, 0.0]] * 2)
        >>> found = paired_differences("accuracy", {"one": right, "other": half}, np.array([1, 1, 1, 1]))
        >>> found["one", "other"].difference, found["one", "other"].rows
        (0.5, 4)
    """
    scored = {name: scored_rows(outputs, labels) for name, outputs in logits.items()}
    if len(scored) < 2:
        return {}
    metrics = [metric] if isinstance(metric, str) else list(metric)
    for outputs, known in scored.values():
        for name in metrics:
            check_suits(name, outputs, known)
    first, known = next(iter(scored.values()))
    drawn = resampled_scores(
        metrics,
        scored,
        resamples=min(affordable_resamples(name, first.size, resamples) for name in metrics),
        seed=seed,
    )
    once = np.ones((1, len(known)))
    scores = {name: float(measured(metrics, *rows)(once)[0]) for name, rows in scored.items()}
    outside = 50 * (1 - level)
    differences = {}
    for one, other in combinations(scored, 2):
        low, high = np.percentile(drawn[one] - drawn[other], [outside, 100 - outside])
        differences[one, other] = PairedDifference(scores[one] - scores[other], float(low), float(high), len(known))
    return differences


def measured(metrics: Sequence[str], logits: np.ndarray, labels: np.ndarray) -> Resampler:
    """Counts of the rows, ``(resamples, rows)``, to the mean of the metrics of each resample."""
    measures = [resampler(metric, logits, labels) for metric in metrics]
    return lambda counts: np.mean([measure(counts) for measure in measures], axis=0)


def resampled_scores(
    metrics: Sequence[str], scored: Mapping[Name, tuple[np.ndarray, np.ndarray]], *, resamples: int, seed: int
) -> dict[Name, np.ndarray]:
    """Each model's mean of the metrics of each resample of the rows, ``(resamples,)``, the same resamples for all.

    Args:
        metrics: names, see :data:`understudy.functional.metrics.METRICS`.
        scored: by model, the outputs and the labels of the rows that have one, see
            :func:`understudy.functional.scoring.scored_rows`.
        resamples: number of times that all rows are drawn with replacement.
        seed: of the draws.

    Example:
        >>> rows = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([1, 1])
        >>> sorted({float(value) for value in resampled_scores(["accuracy"], {"one": rows}, resamples=50, seed=0)["one"]})
        [0.0, 0.5, 1.0]
    """
    if not set(metrics) & set(_OF_SCORES):  # rows with one label and the same decisions of all models are of one kind
        labels = next(iter(scored.values()))[1]
        decided = [decisions(*rows).reshape(len(labels), -1) for rows in scored.values()]
        kinds = np.hstack([labels.reshape(len(labels), -1), *decided]).astype(np.int64)
        first, counts = resampled_kinds(kinds, resamples=resamples, seed=seed)
        return {
            name: measured(metrics, logits[first], known[first])(counts) for name, (logits, known) in scored.items()
        }
    measures = {name: measured(metrics, *rows) for name, rows in scored.items()}
    found: dict[Name, list[np.ndarray]] = {name: [] for name in scored}
    rows = len(next(iter(scored.values()))[1])
    for counts in resample_counts(rows, resamples=resamples, seed=seed):
        for name, measure in measures.items():
            found[name].append(measure(counts))
    return {name: np.concatenate(values) for name, values in found.items()}
