"""The pictures, tables and card of a comparison."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compared import SCORES, comparison
from rich.console import Console

from understudy.report.card.write import write_card
from understudy.report.comparison.curves import Crossing, crossings, said_crossings
from understudy.report.comparison.look import looks
from understudy.report.comparison.pace import training_pace
from understudy.report.comparison.pictures import NAMES, draw_comparison
from understudy.report.comparison.tables import cost_table, quality_table

LABELS = {
    "100": {"tfidf": 0.70, "static": 0.68, "bert": 0.60},
    "1000": {"tfidf": 0.80, "static": 0.81, "bert": 0.90},
}


def labels() -> dict[str, Any]:
    """Scores by the number of labels."""
    return {
        rows: {name: {"mean": mean, "interval": [mean - 0.02, mean + 0.02], "n": 1} for name, mean in scores.items()}
        for rows, scores in LABELS.items()
    }


def write_progress(path: Path, scores: list[float]) -> None:
    """The file of a run that was evaluated every 10 steps; each evaluation takes a second."""
    path.parent.mkdir(parents=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["phase", "epoch", "step", "seconds", "loss", "rows_per_second", "validation_accuracy"])
        for place, score in enumerate(scores, start=1):
            writer.writerow(["train", 1, 10 * place, 5 * place - 1, 0.5, 100 + place, ""])
            writer.writerow(["train", 1, 10 * place, 5 * place, "", "", score])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A comparison's folder with the progress of some runs."""
    write_progress(tmp_path / "bert" / "progress.csv", [0.6, 0.9, 0.92])
    write_progress(tmp_path / "static" / "progress.csv", [0.7, 0.8, 0.85])
    return tmp_path


RUNS = {"bert": ["bert"], "static": ["static"], "tfidf": ["tfidf"]}


def test_every_picture_is_drawn_as_png_and_as_svg_with_its_text(folder: Path) -> None:
    record = comparison(labels=labels(), runs=RUNS)
    drawn = draw_comparison(folder, record)
    assert {path.name for path in drawn} == {f"{name}.{kind}" for name in NAMES for kind in ("png", "svg")}
    for name in NAMES:
        svg = (folder / "plots" / f"{name}.svg").read_text(encoding="utf-8")
        assert "static</text>" in svg or "static</tspan>" in svg, name
    first = {path: path.read_bytes() for path in drawn}
    draw_comparison(folder, record)
    assert {path: path.read_bytes() for path in drawn} == first


def test_a_picture_without_numbers_is_not_drawn_and_an_old_one_goes(folder: Path) -> None:
    draw_comparison(folder, comparison(labels=labels(), runs=RUNS))
    draw_comparison(folder, comparison())
    assert not (folder / "plots" / "labels.png").exists()
    assert not (folder / "plots" / "curves-steps.svg").exists()
    assert (folder / "plots" / "scores.svg").exists()


def test_models_are_told_apart_without_colours() -> None:
    names = [str(number) for number in range(30)]
    found = looks(names)
    assert len({(look.marker, look.line) for look in found.values()}) == 30
    assert len({look.marker for look in list(found.values())[:11]}) == 11


def test_dominated_models_are_grey(folder: Path) -> None:
    draw_comparison(folder, comparison())
    svg = (folder / "plots" / "front-size.svg").read_text(encoding="utf-8")
    assert "#98a2ad" in svg


def test_a_model_has_converged_at_the_first_score_within_min_delta_of_the_best() -> None:
    rng = np.random.default_rng(0)
    for higher in (True, False):
        scores = rng.random(30)
        columns = {
            "step": np.repeat(np.arange(30) + 1.0, 2),
            "seconds": np.arange(60) / 2.0,
            "rows_per_second": np.tile([5.0, math.nan], 30),
            "validation_mse": np.ravel([[math.nan, score] for score in scores]),
        }
        for delta in (0.0, 0.1):
            best = max(scores) if higher else min(scores)
            near = [score >= best - delta if higher else score <= best + delta for score in scores]
            found = training_pace(columns, "mse", higher_is_better=higher, min_delta=delta)
            assert found["steps_to_best"] == near.index(True) + 1
            assert found["seconds_to_best"] == near.index(True) + 0.5
            assert (found["train_rows_per_second"], found["evaluations"]) == (5.0, 30.0)
    assert training_pace({}, "mse", higher_is_better=True) == {}


def test_curves_cross_where_straight_lines_over_the_logarithm_do() -> None:
    record = comparison(labels=labels())
    found = {(crossing.below, crossing.above): crossing.rows for crossing in crossings(record)}
    assert found.keys() == {("tfidf", "bert"), ("static", "bert"), ("tfidf", "static")}
    for (below, above), rows in found.items():
        share = (math.log10(rows) - 2) / 1
        heights = [LABELS["100"][n] * (1 - share) + LABELS["1000"][n] * share for n in (below, above)]
        assert heights[0] == pytest.approx(heights[1])
    assert next(said_crossings(record)).startswith("From about ")


def test_curves_that_touch_cross_where_they_are_equal_if_another_one_leads_afterwards() -> None:
    means = {
        "50": (0.8, 0.6),
        "100": (0.8, 0.8),
        "150": (0.8, 0.8),
        "200": (0.8, 0.9),
        "400": (0.9, 0.9),
        "800": (0.9, 1.0),
    }
    found = {rows: {name: {"mean": mean} for name, mean in zip("ab", pair)} for rows, pair in means.items()}
    record = {
        "task": {"metrics": ["accuracy"]},
        "models": [{"name": "a"}, {"name": "b"}],
        "findings": {"labels": found},
    }
    assert crossings(record) == [Crossing("a", "b", 100.0)]


def printed(table: Any) -> str:
    console = Console(width=80, file=None, record=True)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_tables_fit_80_columns_and_say_everything() -> None:
    record = comparison()
    quality, cost = printed(quality_table(record)), printed(cost_table(record))
    for text in (quality, cost):
        assert max(map(len, text.splitlines())) <= 80
        assert all(name in text for name in SCORES)
    for number in ("93.0 ± 0.3", "92.0 to 94.0", "best", "0.80", "0.002"):
        assert number in quality, number
    for number in ("6 min 40 s", "150", "1.0 GB", "0.5", "10 W"):
        assert number in cost, number


def test_the_card_has_the_tables_the_tests_and_the_pictures(folder: Path) -> None:
    record = comparison(labels=labels(), runs=RUNS)
    draw_comparison(folder, record)
    card = write_card(folder, record).read_text(encoding="utf-8")
    assert "**Ship layers:3" in card
    assert "| bert − tfidf | +5.0 | +4.2 to +5.8 | 0.001 | 0.002 | 12 : 9, p = 0.001 |" in card.replace("\\", "")
    assert "| static (dominated by bilstm) |" in card
    assert "bert, layers:3 read the same tokens in the same batches" in card
    assert card.count("](plots/") == 2 * len(NAMES)
    assert "From about" in card
    assert "first evaluation whose score is its best;" in card


def test_a_model_with_fewer_seeds_is_shown_with_their_number(folder: Path) -> None:
    record = comparison(runs=RUNS)
    whole = write_card(folder, record).read_text(encoding="utf-8")
    assert "n = 2" not in printed(quality_table(record)) + whole
    assert "each with 3 seeds" in whole
    record["findings"]["scores"]["static"]["n"] = 2
    assert printed(quality_table(record)).count("n = 2") == 1
    card = write_card(folder, record).read_text(encoding="utf-8")
    assert "| static (n = 2) (dominated by bilstm) |" in card
    assert "| bert |" in card
    assert "each with at most 3 seeds" in card
    assert "over 3 seeds (fewer where n is given)" in card


def test_the_card_of_a_regression_speaks_of_no_right_answers(folder: Path) -> None:
    record = comparison(metric="mse")
    record["config"]["min_delta"] = 0.01
    for pair in record["comparisons"]:
        pair["mcnemar"] = []
    card = write_card(folder, record).read_text(encoding="utf-8")
    assert "McNemar" not in card
    assert "first evaluation whose score is its best, or within 0.01 of it;" in card
