"""The picture and the table of a sweep."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from understudy.report.figures import sweep
from understudy.report.figures.sweep import sweep_csv, sweep_plot
from understudy.report.look import looks_of
from understudy.report.scores import STUDENT
from understudy.training.lr_finder.curve import Curve, smooth
from understudy.training.lr_finder.suggestion import Suggestion


def curve(explodes: bool) -> Curve:
    rates = np.geomspace(1e-7, 10, 100)
    losses = 3 - np.tanh(np.log10(rates) + 3) + 0.1 * np.sin(np.arange(100))
    losses[-5:] = [1e9, 1e12, 1e15, 1e18, 1e30] if explodes else 3
    return Curve(rates, losses, smooth(losses, 15), 100, explodes)


def test_the_table_is_the_curve(tmp_path: Path) -> None:
    drawn = curve(explodes=True)
    with open(sweep_csv(drawn, tmp_path / "lr_find.csv"), newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["step", "learning_rate", "loss", "smoothed_loss"]
    np.testing.assert_array_equal([float(row["learning_rate"]) for row in rows], drawn.rates)
    np.testing.assert_array_equal([float(row["smoothed_loss"]) for row in rows], drawn.smoothed)


def accent(path: Path) -> np.ndarray:
    """The share of every column of a picture that has the suggestion's colour."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        pixels = np.asarray(image.convert("RGB"))
    assert 400 < pixels.shape[0] < 2000 > pixels.shape[1] > 800
    return (np.abs(pixels - 255 * np.array(to_rgb(looks_of([STUDENT])[STUDENT][0]))).max(-1) < 12).mean(0)


def test_the_suggestion_is_marked_where_it_lies(tmp_path: Path) -> None:
    drawn = curve(explodes=True)
    columns = []
    for rate, cap in ((1e-6, None), (1e-3, None), (1.0, 1e-3)):
        share = accent(sweep_plot(drawn, Suggestion(rate, rate, cap), tmp_path / f"{rate}.png"))
        columns.append(int(share.argmax()))
        assert share.max() > 0.5  # a line from top to bottom
    assert columns[0] < columns[1]
    assert abs(columns[1] - columns[2]) < 6  # the cap is what is suggested
    assert sweep_plot(curve(explodes=False), Suggestion(1e-3, 1e-4), tmp_path / "whole.png").exists()


@pytest.mark.parametrize(("end", "scale"), [(3.6, "linear"), (90.0, "log")])
def test_the_raw_curve_is_whole(end: float, scale: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(sweep, "save_figure", lambda figure, out: figures.append(figure) or out)
    drawn = curve(explodes=False)
    drawn.losses[[10, -3]] = 0.5, end  # one batch far below the trend, and one far above
    sweep_plot(drawn, None, tmp_path / "a.png")
    (ax,) = figures[0].axes
    low, high = ax.get_ylim()
    assert low < drawn.losses.min() < drawn.losses.max() < high
    assert ax.get_yscale() == scale


def test_what_an_explosion_leaves_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(sweep, "save_figure", lambda figure, out: figures.append(figure) or out)
    sweep_plot(curve(explodes=True), None, tmp_path / "a.png")
    (ax,) = figures[0].axes
    assert ax.get_ylim()[1] < 1e3
    assert "losses up to 1e+30 lie above" in ax.texts[0].get_text()
