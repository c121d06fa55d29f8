"""Gains of one task after another: which are clear, and how they are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from rich.console import Console

from understudy.evaluation.paired import paired_differences
from understudy.functional.scoring import score
from understudy.report.figures import transfer
from understudy.report.figures.transfer import gains_of, gains_table, transfer_map

RECORD: dict[str, Any] = {
    "models": [
        {"name": "a"},
        {"name": "b after a", "gain": {"task": "b", "after": "a", "value": 0.031, "interval": [0.01, 0.05]}},
        {"name": "a after b", "gain": {"task": "a", "after": "b", "value": -0.002, "interval": [-0.02, 0.018]}},
    ]
}


def test_gains_whose_interval_holds_zero_are_not_clear() -> None:
    gains = gains_of(RECORD)
    assert gains["b", "a"] == pytest.approx((3.1, 1.0, 5.0))
    assert [gains[pair].is_clear for pair in (("b", "a"), ("a", "b"))] == [True, False]


def test_the_table_shows_every_pair() -> None:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(gains_table(RECORD))
    said = capture.get()
    assert "+3.1" in said
    assert "-0.2" in said
    assert "after a" in said


def test_tasks_keep_the_order_in_which_they_were_given() -> None:
    names = ("rte", "stsb", "cola")
    pairs = [(task, after) for task in names for after in names if task != after]  # as a run puts them on the record
    gains = [{"task": task, "after": after, "value": 0.0, "interval": [0, 0]} for task, after in pairs]
    table = gains_table({"models": [{"name": f"{gain['task']} after {gain['after']}", "gain": gain} for gain in gains]})
    assert list(table.columns[0].cells) == list(names)
    assert [column.header for column in table.columns[1:]] == [f"after {name}" for name in names]


def test_the_map_greys_what_is_not_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(transfer, "save_figure", lambda figure, out: drawn.append(figure) or out)
    assert transfer_map(RECORD, tmp_path / "a.png") == tmp_path / "a.png"
    cells = [patch for patch in drawn[0].axes[0].patches if isinstance(patch, Rectangle)]
    faces = {(round(cell.get_x() + 0.5), round(cell.get_y() + 0.5)): cell.get_facecolor()[:3] for cell in cells}
    grey, green = faces[0, 1], faces[1, 0]
    if transfer._tasks(gains_of(RECORD)) == ["a", "b"]:  # the column is the task before, the row the one after
        grey, green = faces[1, 0], faces[0, 1]
    assert max(grey) - min(grey) < 0.06
    assert green[1] > green[0]
    monkeypatch.undo()
    assert transfer_map({"models": []}, tmp_path / "b.png") is None
    assert transfer_map(RECORD, tmp_path / "c.png").is_file()


def test_a_paired_gain_is_that_of_a_slow_loop() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=80)
    one, other = (np.eye(2)[np.where(rng.random(80) < share, labels, 1 - labels)] for share in (0.9, 0.7))
    metrics = ("accuracy", "f1")
    pair = paired_differences(metrics, {"a": one, "b": other}, labels, level=0.95)["a", "b"]
    gain, low, high = pair.difference, pair.low, pair.high
    number = lambda logits, rows: np.mean([score(metric, logits[rows], labels[rows]) for metric in metrics])  # noqa: E731
    whole = np.arange(80)
    assert gain == pytest.approx(number(one, whole) - number(other, whole))
    slow = [number(one, rows) - number(other, rows) for rows in rng.integers(80, size=(600, 80))]
    assert (low, high) == pytest.approx(tuple(np.percentile(slow, [2.5, 97.5])), abs=0.02)
    alone = np.percentile(
        [number(one, rows) - number(other, rng.integers(80, size=80)) for rows in rng.integers(80, size=(600, 80))],
        [2.5, 97.5],
    )
    assert high - low < alone[1] - alone[0] + 0.05
    numbers = rng.normal(size=50).astype(np.float32)
    twins = {"a": numbers[:, None], "b": numbers[:, None]}
    assert paired_differences(("pearson", "spearman"), twins, numbers)["a", "b"][:3] == (0.0, 0.0, 0.0)
