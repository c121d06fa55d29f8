"""The report and the evaluation agree on the metrics."""

from __future__ import annotations

from understudy.functional.metrics import DISTANCE, LANGUAGE_MODEL_METRICS, METRICS
from understudy.functional.scoring import higher_is_better
from understudy.report.metric_names import LOWER_IS_BETTER, metric_name


def test_every_metric_has_a_name_and_one_direction() -> None:
    for metric in {*METRICS, *LANGUAGE_MODEL_METRICS, DISTANCE}:
        assert (metric in LOWER_IS_BETTER) != higher_is_better(metric)
        assert "_" not in metric_name(metric)
