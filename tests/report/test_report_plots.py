"""Plots are there, of a sensible size, show each model's colour, and survive names of any kind."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from PIL import Image

from understudy.report import curves, plots
from understudy.report.classes import merged_bins
from understudy.report.curves import read_progress
from understudy.report.look import looks_of

HOSTILE = ["<script>", "a|b", "`c`\nd", "$x$ and $\\frac$", "_under", "中文 and العربية", "", "very long " * 12]


def pixels(path: Path) -> np.ndarray:
    """A decoded PNG, ``(height, width, 3)``."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def share_of(colour: str, image: np.ndarray) -> float:
    """The share of an image's pixels that have about this colour."""
    return float((np.abs(image - 255 * np.array(to_rgb(colour))).max(-1) < 12).mean())


def test_draw_all_shows_every_model(record: dict[str, Any], progress: Path) -> None:
    drawn = plots.draw_all(progress.parent, record)
    names = ["learning-curves", "quality-latency", "quality-size", "confusion", "reliability"]
    assert [path.relative_to(progress.parent).as_posix() for path in drawn] == [f"plots/{name}.png" for name in names]
    looks = looks_of([model["name"] for model in record["models"]])
    for path in drawn:
        image = pixels(path)
        assert 500 < image.shape[0] < 3000
        assert 500 < image.shape[1] < 3000
        assert 0.4 < (image > 240).all(-1).mean() < 0.99 or path.stem == "confusion"
        of = {
            "quality-latency": looks,
            "quality-size": looks,
            "reliability": looks,
            "learning-curves": ["student", "student without teacher"],
        }
        for name in of.get(path.stem, []):
            assert share_of(looks[name][0], image) > 1e-4, (path.stem, name)


def test_what_has_no_data_is_not_drawn_and_an_old_drawing_of_it_goes(record: dict[str, Any], tmp_path: Path) -> None:
    stale = tmp_path / "plots" / "confusion.png"
    stale.parent.mkdir()
    stale.write_bytes(b"old")
    record["task"] |= {"kind": "regression", "labels": [], "metrics": ["pearson"]}
    for model in record["models"]:
        model |= {
            "metrics": {"test": {"pearson": 0.8}},
            "intervals": {},
            "confusion": None,
            "calibration": None,
            "size_bytes": None,
        }
    assert [path.stem for path in plots.draw_all(tmp_path, record)] == ["quality-latency"]
    assert not stale.exists()


def test_bars_are_drawn_and_named_where_there_are_intervals(
    record: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, out: figures.append(figure) or out)
    plots.quality_against(record, tmp_path / "with.png", "size")
    for model in record["models"]:
        model["intervals"] = {}
    plots.quality_against(record, tmp_path / "without.png", "size")
    named = [["bars: 95 % intervals" in {text.get_text() for text in figure.axes[0].texts}] for figure in figures]
    assert named == [[True], [False]]
    lines = [len(figure.axes[0].get_lines()) for figure in figures]
    assert lines[0] - lines[1] == 2 * len(record["models"])


def test_progress_is_read_by_phase_and_an_empty_cell_is_no_number(progress: Path) -> None:
    phases = read_progress(progress)
    assert list(phases)[:2] == ["student", "student without teacher"]
    student = phases["student"]
    np.testing.assert_allclose(student["loss"][::2], 1 / np.arange(10, 101, 10))
    assert np.isnan(student["loss"][1::2]).all()
    assert np.isnan(student["validation_accuracy"][::2]).all()


def test_learning_curves_of_several_rates_and_of_nothing(tmp_path: Path) -> None:
    progress = tmp_path / "progress.csv"
    progress.write_text(
        "phase,step,loss,learning_rate_head,learning_rate_body\na,1,9.5,0.1,0.01\na,2,0.1,0.2,0.02\n", encoding="utf-8"
    )
    assert plots.learning_curves(progress, tmp_path / "a.png") == tmp_path / "a.png"
    progress.write_text("phase,step,loss\n", encoding="utf-8")
    assert plots.learning_curves(progress, tmp_path / "b.png") is None
    assert not (tmp_path / "b.png").exists()


def drawn(progress: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> dict[str, Any]:
    """The panels of learning curves by the first words of their titles."""
    figures: list[Figure] = []
    monkeypatch.setattr(curves, "save_figure", lambda figure, out: figures.append(figure) or out)
    assert plots.learning_curves(progress, tmp_path / "a.png", **options) is not None
    return {ax.get_title(loc="left").partition(" of ")[0]: ax for ax in figures[0].axes}


def test_the_ring_is_at_the_weights_that_were_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    progress = tmp_path / "progress.csv"
    rows = "a,1,0.5,0.9\na,2,0.4,0.8\na,3,0.3,0.7\n"
    progress.write_text(f"phase,step,loss,validation_accuracy\n{rows}", encoding="utf-8")
    for kept, step in ((None, 1), ({"a": 3}, 3), ({"b": 3}, 1)):
        (panel,) = (ax for name, ax in drawn(progress, tmp_path, monkeypatch, kept=kept).items() if "ccuracy" in name)
        (ring,) = (line for line in panel.lines if line.get_markerfacecolor() == "none")
        assert ring.get_xdata() == [step]


def test_every_groups_rate_is_drawn_as_it_was_with_gaps_where_it_was_frozen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = tmp_path / "progress.csv"
    rows = ["phase,step,loss,learning_rate,learning_rate_embeddings,learning_rate_layer_0,learning_rate_head"]
    rows += ["train,1,1,0.1,,,0.1", "train,2,1,0.001,0.001,,", "train,2,,,,,", "train,3,1,0.2,0.002,0.02,0.2"]
    progress.write_text("\n".join(rows) + "\n", encoding="utf-8")
    rates = drawn(progress, tmp_path, monkeypatch)["Learning rate"]
    lines = [line for line in rates.get_lines() if len(line.get_xdata())]
    nan = np.nan
    expected = [[nan, 0.001, 0.002], [nan, nan, 0.02], [0.1, nan, 0.2]]
    for line, values in zip(lines, expected, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])  # the row of an evaluation makes no gap
        np.testing.assert_allclose(line.get_ydata(), values)
    # a line through a single value between gaps is invisible, so only such values have a dot
    assert [line.get_markevery() for line in lines] == [[], [2], [0, 2]]
    assert all(line.get_marker() == "o" for line in lines)
    lightness = [sum(line.get_color()) for line in lines]
    assert lightness == sorted(lightness, reverse=True)
    assert rates.get_yscale() == "log"
    assert [text.get_text() for text in rates.get_legend().get_texts()] == ["embeddings", "layer 0", "head"]


def test_one_rate_is_drawn_as_one_line_and_momentum_has_a_panel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = tmp_path / "progress.csv"
    progress.write_text(
        "phase,step,loss,learning_rate,momentum\ntrain,1,1,0,0.95\ntrain,2,1,0.1,0.85\n", encoding="utf-8"
    )
    panels = drawn(progress, tmp_path, monkeypatch)
    (line,) = [line for line in panels["Learning rate"].get_lines() if len(line.get_xdata())]
    np.testing.assert_allclose(line.get_ydata(), [0, 0.1])
    assert panels["Learning rate"].get_legend() is None
    (line,) = [line for line in panels["Momentum (Adam's first beta)"].get_lines() if len(line.get_xdata())]
    np.testing.assert_allclose(line.get_ydata(), [0.95, 0.85])


def test_the_ring_is_at_the_checkpoint_that_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    progress = tmp_path / "progress.csv"
    rows = ["train,1,1,0.5", "train,2,1,0.75", "train,3,1,0.75", "train,4,1,0.6"]
    progress.write_text("\n".join(["phase,step,loss,validation_accuracy", *rows]) + "\n", encoding="utf-8")
    panels = drawn(progress, tmp_path, monkeypatch)
    (panel,) = [ax for title, ax in panels.items() if "ring" in title]
    (ring,) = [line for line in panel.get_lines() if line.get_markerfacecolor() == "none"]
    assert (ring.get_xdata().item(), ring.get_ydata().item()) == (3, 0.75)  # the last of equal scores


def test_names_beside_points_cover_neither_each_other_nor_leave_the_frame(
    record: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, out: figures.append(figure) or out)
    template = record["models"][1]
    for i, latency in enumerate((0.8, 0.9, 1.0, 1.1)):
        record["models"].append(template | {"name": f"another student {i}", "latency_ms": {"p50": latency, "p99": 2.0}})
    assert plots.quality_against(record, tmp_path / "a.png") is not None
    (figure,) = figures
    (ax,) = figure.axes
    labels = [text for text in ax.texts if isinstance(text, Annotation) and text.get_text()]
    assert sorted(label.get_text() for label in labels) == sorted(model["name"] for model in record["models"])
    boxes = [label.get_window_extent() for label in labels]
    assert not [(a, b) for a, b in itertools.combinations(boxes, 2) if a.shrunk(0.98, 0.9).overlaps(b)]
    frame = ax.get_window_extent().padded(1)
    assert all(frame.contains(box.x0, box.y0) and frame.contains(box.x1, box.y1) for box in boxes)


def test_classes_of_any_name(record: dict[str, Any], tmp_path: Path) -> None:
    classes = len(HOSTILE)
    counts = np.arange(classes**2).reshape(classes, classes).tolist()
    out = tmp_path / "confusion.png"
    assert plots.confusion_matrix({"name": "a $\\student$", "confusion": counts}, HOSTILE, out) == out
    assert pixels(out).std() > 10
    assert plots.confusion_matrix({"name": "student", "confusion": counts}, HOSTILE[1:], out) is None


def test_one_point_is_no_comparison(record: dict[str, Any], tmp_path: Path) -> None:
    record["models"] = record["models"][:1]
    assert plots.quality_against(record, tmp_path / "a.png", "size") is None


def test_an_axis_of_shares_ends_at_100_per_cent(
    record: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, out: figures.append(figure) or out)
    monkeypatch.setattr(curves, "save_figure", lambda figure, out: figures.append(figure) or out)
    record["models"][0]["metrics"]["test"]["accuracy"] = 1.0
    record["models"][0]["intervals"]["test"]["accuracy"] = [0.98, 1.0]
    assert plots.quality_against(record, tmp_path / "a.png") is not None
    progress = tmp_path / "progress.csv"
    progress.write_text("phase,step,loss,validation_accuracy\ntrain,1,1,0.5\ntrain,2,1,1\n", encoding="utf-8")
    assert plots.learning_curves(progress, tmp_path / "b.png") is not None
    for ax in (figures[0].axes[0], figures[1].axes[1]):
        assert ax.get_ylim()[1] == 1.0
        at_the_end = [line for line in ax.get_lines() if np.max(line.get_ydata(), initial=0) == 1.0]
        assert at_the_end
        assert not any(line.get_clip_on() for line in at_the_end)  # a marker at 100 % is whole


@given(st.lists(st.sampled_from([0.5, 0.51, 1.0, 1.02, 3.0, 80.0]), min_size=1, max_size=8))
@settings(deadline=None, derandomize=True)
def test_bars_at_one_latency_are_set_apart(costs: list[float]) -> None:
    places = np.log10(plots.set_apart(costs))
    gap = (np.ptp(np.log10(costs)) + 0.8) / 40
    assert np.all(np.diff(np.sort(places)) >= gap - 1e-9)
    assert np.all(np.abs(places - np.log10(costs)) <= gap * len(costs))
    assert np.mean(places) == pytest.approx(np.mean(np.log10(costs)))
    far = [1.0, 10.0, 100.0]
    assert plots.set_apart(far) == far


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(1, 40)), min_size=1, max_size=15))
@settings(deadline=None, derandomize=True)
def test_merged_bins_have_ten_rows_and_keep_the_means(bins: list[tuple[float, float, int]]) -> None:
    given_bins = np.array(sorted(bins))
    merged = merged_bins(given_bins)
    assert merged[:, 2].sum() == given_bins[:, 2].sum()
    assert len(merged) == 1 or merged[:, 2].min() >= 10
    for column in (0, 1):
        means = [np.average(found[:, column], weights=found[:, 2]) for found in (merged, given_bins)]
        assert means[0] == pytest.approx(means[1])
    assert list(merged[:, 0]) == sorted(merged[:, 0])
    if given_bins[:, 2].min() >= 10:
        np.testing.assert_allclose(merged, given_bins)
