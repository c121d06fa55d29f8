"""The table must say what the record says, whole, on any usual terminal."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from understudy.report.scores import gap_closed, share_kept, shown_split, teacher_leads
from understudy.report.tables.costs import costs_table
from understudy.report.tables.models import model_rows, models_table


def rendered(table: Any, width: int) -> str:
    """What a terminal of that width shows."""
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


@pytest.mark.parametrize("width", [80, 100, 160])
def test_every_number_of_the_record_is_whole_in_the_table(record: dict[str, Any], width: int) -> None:
    text = rendered(models_table(record), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "test split (300 rows)" in text
    assert "MCC" not in text
    student = text[text.index("student  ") : text.index("83.2 %")]
    for value in (
        "87.1 %",
        "86.4–87.7",
        "99.3 %",
        "4.2M",
        "16.8 MB",
        "5,210",
        "0.84 ms",
        "1.68 ms",
    ):
        assert value in student, value


def test_rows_come_in_the_order_of_the_record_with_the_share_kept(record: dict[str, Any]) -> None:
    rows = list(model_rows(record))
    assert [row.name for row in rows] == [model["name"] for model in record["models"]]
    assert [row.kept for row in rows] == ["–", *(f"{100 * score / 0.877:.1f} %" for score in (0.871, 0.832, 0.802))]


def test_without_a_teacher_there_is_no_share(record: dict[str, Any]) -> None:
    del record["models"][0]
    assert "kept" not in rendered(models_table(record), 100)
    assert share_kept(record, record["models"][0]) is None
    assert gap_closed(record) is None


def test_gap_closed(record: dict[str, Any]) -> None:
    assert gap_closed(record) == pytest.approx((0.871 - 0.832) / (0.877 - 0.832))
    assert "87 %" in rendered(models_table(record), 100).replace("\n", " ")
    record["models"][0]["metrics"]["test"]["accuracy"] = 0.83  # a teacher that is no better leaves no gap
    assert gap_closed(record) is None


@pytest.mark.parametrize("longest", [{"accuracy": 1.0, "interval": [0.98, 1.0], "rate": 123456.0, "p50": 999.0}])
def test_numbers_of_any_length_stay_on_their_lines_at_80_columns(
    record: dict[str, Any], longest: dict[str, Any]
) -> None:
    for model in record["models"]:
        model["metrics"]["test"]["accuracy"] = longest["accuracy"]
        model["intervals"]["test"]["accuracy"] = longest["interval"]
        model |= {"texts_per_second": longest["rate"], "latency_ms": {"p50": 23.4, "p99": longest["p50"]}}
        model |= {"parameters": 999_000_000, "size_bytes": 999_000_000}
    record["models"].append(record["models"][1] | {"name": "student before training"})
    text = rendered(models_table(record), 80)
    above, heading, *_ = [line for line in text.splitlines() if "accuracy" in line or "95 % CI" in line]
    assert above.split() == ["accuracy"]
    assert heading.split() == ["model", "95", "%", "CI", "params", "size", "texts/s", "p50", "p99"]
    numbers = [line for line in text.splitlines() if "100.0 %" in line]
    for line in numbers:
        for value in ("100.0 %", "999M", "999 MB", "123,456", "23.4 ms", "999 ms"):
            assert value in line
    assert len(numbers) == len(record["models"])
    assert text.count("98.0–100.0") == len(numbers)


def differing(record: dict[str, Any], low: float, high: float) -> dict[str, Any]:
    """The record with the paired difference of teacher and student without teacher."""
    pair = {"model": "teacher", "other": "student without teacher", "rows": 300, "level": 0.99}
    return record | {"comparisons": [pair | {"difference": (low + high) / 2, "interval": [low, high]}]}


@pytest.mark.parametrize(("low", "high", "shown"), [(0.01, 0.08, True), (-0.01, 0.1, False)])
def test_a_share_is_kept_only_of_a_teacher_that_is_better_by_more_than_noise(
    record: dict[str, Any], low: float, high: float, shown: bool
) -> None:
    compared = differing(record, low, high)
    text = rendered(models_table(compared), 80)
    assert ("kept of" in text) is shown
    assert ("closes" in text) is shown
    swapped = compared["comparisons"][0] | {
        "model": "student without teacher",
        "other": "teacher",
        "interval": [-high, -low],
    }
    assert teacher_leads(record | {"comparisons": [swapped]}) is shown


def test_without_a_comparison_the_teacher_must_lie_beyond_the_interval(record: dict[str, Any]) -> None:
    assert teacher_leads(record)
    record["models"][2]["intervals"]["test"]["accuracy"] = [0.78, 0.88]
    assert not teacher_leads(record)
    assert share_kept(record, record["models"][1]) is None
    del record["models"][2]  # TF-IDF takes the place of the student without teacher
    assert teacher_leads(record)
    record["models"][2]["intervals"]["test"]["accuracy"] = [0.7, 0.9]
    assert not teacher_leads(record)


def test_a_line_says_how_little_few_rows_tell(record: dict[str, Any]) -> None:
    assert "tell little" not in rendered(models_table(record), 80)
    record["data"]["test"]["rows"] = 99
    text = " ".join(rendered(models_table(record), 80).split())
    said = "99 rows tell little: on many rows the accuracy of the student may be anywhere from 86.4 % to 87.7 %."
    assert said in text


def test_validation_is_shown_and_named_where_there_is_no_test_split(record: dict[str, Any]) -> None:
    for model in record["models"]:
        model["metrics"] = {"validation": model["metrics"].pop("test")}
        model["intervals"] = {}
    assert shown_split(record) == "validation"
    text = rendered(models_table(record), 100)
    assert "validation split" in text
    assert "87.1 %" in text


def test_missing_numbers_are_dashes_and_names_are_not_read_as_markup(record: dict[str, Any]) -> None:
    record["models"].append(
        {"name": "[red]outputs.csv[/]", "metrics": {"test": {"accuracy": None, "matthews": float("nan")}}}
    )
    text = rendered(models_table(record), 100)
    assert "[red]outputs" in text
    last = list(model_rows(record))[-1]
    assert {last.score, last.interval, last.kept, *last.others.values(), last.costs.size, last.costs.p99} == {"–"}


def test_a_language_model_gets_columns_only_for_what_it_has() -> None:
    scores = {"loss": 4.81234, "perplexity": 123.01, "accuracy": 0.2712}
    record = {
        "task": {"kind": "language_model", "metrics": list(scores)},
        "data": {"validation": {"rows": 40}},
        "models": [
            {"name": "model", "parameters": 3_600_000, "size_bytes": 14_400_000, "metrics": {"validation": scores}},
            {"name": "before training", "parameters": 3_600_000, "metrics": {"validation": scores | {"loss": 6.5}}},
        ],
    }
    text = rendered(models_table(record), 80)
    assert "…" not in text
    for value in ("validation split (40 rows)", "4.812", "123.0", "27.1", "6.500", "3.6M", "14.4 MB"):
        assert value in text
    for absent in ("CI", "texts/s", "p50", "kept"):
        assert absent not in text


def test_costs_alone(record: dict[str, Any]) -> None:
    text = rendered(costs_table(record["models"]), 80)
    assert "…" not in text
    for value in ("teacher", "22.7M", "10.8M", "90.8 MB", "16.8 ms"):
        assert value in text
