"""A card shows the main settings, and no setting that was given is left out."""

from __future__ import annotations

from typing import Any

from understudy.report.shown_settings import HIDDEN, shown_settings


def test_main_settings_come_first_in_reading_order_and_then_what_was_given() -> None:
    record = {
        "config": {
            "seed": 0,
            "epochs": 3,
            "student": "layers:2",
            "layers": {"choose": "evenly", "hidden": None, "keep": []},
            "static": {"hidden": 256},
            "freeze": [],
            "max_length": None,
            "pool_rest": False,
            "data": "/home/ada/reviews",
            "mlm_weight": 2.0,
        },
        "given": {"cosine_weight": 0.5, "layers.choose": "evenly", "output": "runs/a", "epochs": 3, "baseline": False},
    }
    assert shown_settings(record) == [
        ("data", "reviews"),
        ("student", "layers:2"),
        ("layers.choose", "evenly"),
        ("mlm_weight", "2.0"),
        ("cosine_weight", "0.5"),
        ("epochs", "3"),
        ("seed", "0"),
        ("baseline", "False"),
    ]


def test_whatever_is_given_is_shown_even_if_it_is_nothing() -> None:
    values: list[Any] = [None, False, "", [], 0, ["a", "/home/ada/b"]]
    for value in values:
        given = dict.fromkeys(("freeze", "pooling", "bilstm.hidden", "a_new_one", *HIDDEN), value)
        shown = dict(shown_settings({"given": given}))
        assert set(shown) == set(given) - set(HIDDEN)
        assert set(shown.values()) <= {"none", "False", "0", "a b"}


def test_older_records_have_nothing_given() -> None:
    assert shown_settings({"config": {"epochs": 3, "output": "runs/a"}}) == [("epochs", "3")]
    assert shown_settings({}) == []
