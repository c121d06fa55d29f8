"""How models of a record compare."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.report.scores import gap_closed, is_distilled, main_name, model_names, share_kept


def test_less_is_better_for_an_error(record: dict[str, Any]) -> None:
    record["task"]["metrics"] = ["mse"]
    for model, error in zip(record["models"], (0.1, 0.15, 0.2, 0.3)):
        model["metrics"] = {"test": {"mse": error}}
    assert gap_closed(record) == pytest.approx(0.5)
    assert share_kept(record, record["models"][1]) is None


def test_a_family_has_the_roles_of_its_models(record: dict[str, Any], family: dict[str, Any]) -> None:
    for shown in (record, family):
        assert sorted(model_names(shown)) == ["student", "student without teacher", "teacher", "tfidf"]
        assert main_name(shown) == "student"
        assert is_distilled(shown)
    del family["aggregate"]["student"], family["aggregate"]["student without teacher"]
    assert main_name(family) == "teacher"
    assert not is_distilled(family)
