"""Mean and spread of the scores of several runs that differ in their seed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from understudy.report.numbers import number
from understudy.report.scores import Record, shown_split, split_scores


def reporting_split(records: Sequence[Record]) -> str:
    """The split that a family reports: test if any model of any run has a test score, else validation."""
    return shown_split({"models": [model for record in records for model in record["models"]]})


def aggregate(records: Sequence[Record]) -> dict[str, dict[str, dict[str, Any]]]:
    r"""Mean and sample standard deviation of each model's scores over runs, on :func:`reporting_split`.

    .. math:: \bar{x} = \frac{1}{n} \sum_i x_i, \qquad s = \sqrt{\frac{1}{n - 1} \sum_i (x_i - \bar{x})^2}

    Args:
        records: the parsed ``record.json`` of each run. A run without models (one that failed) adds nothing.

    Returns:
        For each model and each of its metrics (see :func:`understudy.report.scores.split_scores`) ``mean``, ``sd`` and ``n``, the number of runs that have this score.
        ``sd`` is None where n is 1. Models and metrics stand in the order in which the records first name them; a
        metric that no run has a finite number for is left out.

    Example:
        >>> runs = [{"models": [{"name": "student", "metrics": {"test": {"accuracy": score}}}]} for score in (0.25, 0.5, 0.75)]
        >>> aggregate(runs)["student"]["accuracy"]
        {'mean': 0.5, 'sd': 0.25, 'n': 3}
    """
    split = reporting_split(records)
    found: dict[str, dict[str, list[float]]] = {}
    for record in records:
        for model in record["models"]:
            scores = found.setdefault(str(model["name"]), {})
            for metric, value in split_scores(record, model, split).items():
                if (score := number(value)) is not None:
                    scores.setdefault(metric, []).append(score)
    return {
        name: {metric: _spread(values) for metric, values in scores.items()} for name, scores in found.items() if scores
    }


def _spread(values: Sequence[float]) -> dict[str, Any]:
    sd = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "sd": sd, "n": len(values)}
