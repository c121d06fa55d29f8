"""The table of a family shows every mean with its spread, on a terminal of 80 columns."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from understudy.report.family import family_table


def rendered(record: dict[str, Any]) -> str:
    """What a terminal of 80 columns shows."""
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(family_table(record))
    return capture.get()


def test_a_row_a_model_and_a_column_a_metric(family: dict[str, Any]) -> None:
    text = rendered(family)
    assert max(map(len, text.splitlines())) <= 80
    assert "Quality on the test split (mean ± standard deviation, n = 3)" in text
    cells = {line.split("  ")[0]: [cell for cell in line.split("  ")[1:] if cell] for line in text.splitlines()}
    assert [cell.strip() for cell in cells["student"]] == ["87.1 ± 0.4", "86.8 ± 0.4", "0.821 ± 0.004"]
    assert [cell.strip() for cell in cells["tfidf"]] == ["80.2", "–", "–"]
    assert text.count("n = ") == 2  # in the title, and below the model that not every run has
    assert text.index("tfidf") < text.index("n = 1")


def test_five_metrics_and_any_names_fit(family: dict[str, Any]) -> None:
    entry = {"mean": -0.987654, "sd": 0.123456, "n": 3}
    family["task"]["metrics"] = ["accuracy", "f1", "f1_macro", "matthews", "average_precision"]
    family["aggregate"] = {
        name: dict.fromkeys(family["task"]["metrics"], entry) for name in ("[red]student[/]", "before training")
    }
    text = rendered(family)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert text.count("-98.8 ± 12.3") == 8
    assert text.count("-0.988 ± 0.123") == 2
    assert "[red]" in text


def test_one_run_has_no_spread(family: dict[str, Any]) -> None:
    family["aggregate"] = {"model": {"loss": {"mean": 4.5, "sd": None, "n": 1}}}
    text = rendered(family)
    assert "Quality on the test split (n = 1)" in text
    assert "4.500" in text
    assert "±" not in text
