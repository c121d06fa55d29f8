"""Means and spreads of families are NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.report.aggregate import aggregate, reporting_split

SCORES = st.lists(st.floats(-1e3, 1e3).filter(lambda x: x == 0 or abs(x) > 1e-6), min_size=1, max_size=6)


def run(split: str = "test", **scores: object) -> dict[str, Any]:
    """The record of a run with these models' accuracies."""
    models = [{"name": name, "metrics": {split: {"accuracy": value}}} for name, value in scores.items()]
    return {"models": models}


@settings(deadline=None, derandomize=True)
@given(SCORES)
def test_mean_and_sample_deviation(scores: list[float]) -> None:
    entry = aggregate([run(student=score) for score in scores])["student"]["accuracy"]
    assert entry["n"] == len(scores)
    np.testing.assert_allclose(entry["mean"], np.mean(scores), rtol=1e-9, atol=1e-9)
    if len(scores) == 1:
        assert entry["sd"] is None
    else:
        np.testing.assert_allclose(entry["sd"], np.std(scores, ddof=1), rtol=1e-6, atol=1e-9)


def test_equal_scores_have_no_spread_at_all() -> None:
    assert aggregate([run(student=0.1)] * 3)["student"]["accuracy"]["sd"] == 0


def test_only_the_split_that_reports_counts_and_only_numbers() -> None:
    records = [run(teacher=0.9, student=0.8), run(teacher=0.9, student=None), run("validation", student=0.1), run()]
    assert reporting_split(records) == "test"
    found = aggregate(records)
    assert list(found) == ["teacher", "student"]
    assert (found["teacher"]["accuracy"]["n"], found["student"]["accuracy"]["n"]) == (2, 1)
    assert found["student"]["accuracy"]["mean"] == 0.8
    assert reporting_split(records[2:]) == "validation"
    assert aggregate(records[2:])["student"]["accuracy"]["mean"] == pytest.approx(0.1)
    assert aggregate([run()]) == {}
