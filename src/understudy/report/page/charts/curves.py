"""Learning curves by step and by the clock, the loss of training, and quality against the number of labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from understudy.report.metric_names import human_score, is_share, metric_name
from understudy.report.numbers import human_seconds, number
from understudy.report.page.charts.comparing import cut, short_score
from understudy.report.page.charts.drawing import (
    WIDTH,
    Chart,
    Mark,
    Markup,
    drawn_marks,
    frame,
    path,
    svg,
    whisker,
)
from understudy.report.page.charts.scales import Scale, log_ticks, ticks, widened
from understudy.report.page.tables import Cell, Column, PageTable, headed
from understudy.report.scores import Record

MOST_POINTS = 40
"""Points of a curve that can be reached; of longer ones, so many at equal distances."""


class ModelCurve(NamedTuple):
    """One run's scores or losses."""

    name: str
    series: int
    steps: np.ndarray
    seconds: np.ndarray
    values: np.ndarray
    began: np.ndarray | None = None
    """Of evaluations: when each began, in seconds."""
    faint: bool = False
    """Whether it is a further seed of a model."""


def learning_chart(curves: Sequence[ModelCurve], metric: str, *, by: Literal["step", "time"]) -> Chart | None:
    """Validation scores of every run. By the clock a curve is flat while it is being evaluated."""
    return _chart(
        curves,
        title=f"Learning curves by {by}",
        by=by,
        name=f"{headed(metric)}, validation split",
        human=lambda value: human_score(metric, value),
        short=lambda value: short_score(metric, value),
        most=1.0 if is_share(metric) else None,
        note="Fainter: further seeds" if any(curve.faint for curve in curves) else "",
    )


def loss_chart(curves: Sequence[ModelCurve]) -> Chart | None:
    """The loss of training, by step."""
    return _chart(
        curves,
        title="Training loss by step",
        by="step",
        name="Loss",
        human=lambda value: f"{value:.4g}",
        short=lambda value: f"{value:.3g}",
        most=None,
        note="Losses of different objectives cannot be compared" if len({curve.series for curve in curves}) > 1 else "",
    )


def _chart(
    curves: Sequence[ModelCurve],
    *,
    title: str,
    by: Literal["step", "time"],
    name: str,
    human: Callable[[float], str],
    short: Callable[[float], str],
    most: float | None,
    note: str,
) -> Chart | None:
    curves = [curve for curve in curves if curve.values.size]
    if not curves or (by == "time" and not any(np.isfinite(curve.seconds).any() for curve in curves)):
        return None
    across = [curve.steps if by == "step" else curve.seconds for curve in curves]
    x = Scale(0, max(float(np.nanmax(values)) for values in across) * 1.02 or 1.0, 52, WIDTH - 12)
    y = Scale(
        *widened([float(value) for curve in curves for value in curve.values], least=0.0 if most else None, most=most),
        262,
        30,
    )
    unit = (lambda value: f"{value:,.6g}") if by == "step" else (lambda value: f"{value:,.6g} s")
    drawn, marks, rows = [], [], []
    for curve, places in zip(curves, across, strict=True):
        line = list(zip(places, curve.values, strict=True))
        if by == "time" and curve.began is not None:
            line = [
                point
                for start, end, value in zip(curve.began, places, curve.values)
                for point in ((start, value), (end, value))
            ]
        drawn.append(path(((x(a), y(b)) for a, b in line), curve.series, faint=curve.faint))
        for i in _reached(len(curve.values)):
            place, value = float(places[i]), float(curve.values[i])
            where = f"step {curve.steps[i]:,.0f}" if by == "step" else human_seconds(place)
            rows.append([Cell(curve.name), Cell(where.removeprefix("step "), place), Cell(human(value), value)])
            if not curve.faint:
                marks.append(Mark(x(place), y(value), f"{curve.name}: {human(value)} at {where}", curve.series))
    grid = frame(
        x,
        y,
        x_ticks=ticks(0, x.high, 6),
        y_ticks=ticks(y.low, y.high, 5),
        x_text=unit,
        y_text=short,
        x_name="Optimizer step" if by == "step" else "Time of training; flat parts are evaluation",
        y_name=name,
    )
    columns = [Column("Run", numeric=False), Column("Step" if by == "step" else "Time"), Column(name)]
    return Chart(title, svg(304, title, grid, *drawn, drawn_marks(marks)), PageTable(title, columns, rows), note)


def _reached(points: int) -> list[int]:
    """The numbers of the points that can be reached."""
    return sorted({round(i) for i in np.linspace(0, points - 1, min(points, MOST_POINTS))})


def labels_chart(record: Record, names: Sequence[str], shown: Sequence[str], metric: str) -> Chart | None:
    """The mean score of every model of a comparison against the number of labelled rows, with its interval.

    Args:
        names: of the models on the record, in their order.
        shown: how the page calls them.
    """
    found = {int(rows): scores for rows, scores in ((record.get("findings") or {}).get("labels") or {}).items()}
    sizes = sorted(found)
    if len(sizes) < 2:
        return None
    curves = [
        (
            place,
            [
                (rows, found[rows][name])
                for rows in sizes
                if number((found[rows].get(name) or {}).get("mean")) is not None
            ],
        )
        for place, name in enumerate(names)
    ]
    ends = [end for _, points in curves for _, score in points for end in (score["mean"], *score["interval"])]
    share = is_share(metric)
    x = Scale(sizes[0] / 1.15, sizes[-1] * 1.15, 52, WIDTH - 12, log=True)
    y = Scale(*widened(ends, least=0.0 if share else None, most=1.0 if share else None), 262, 30)
    drawn, marks, rows_of_table = [], [], []
    for place, points in curves:
        drawn.append(path(((x(rows), y(score["mean"])) for rows, score in points), place))
        for rows, score in points:
            mean, (low, high) = score["mean"], score["interval"]
            said = f"{human_score(metric, mean)} ({human_score(metric, low)} to {human_score(metric, high)})"
            text = f"{shown[place]}: {metric_name(metric, short=True)} {said} with {rows:,} labels"
            marks.append(Mark(x(rows), y(mean), text, place, whisker(x(rows), y(low), x(rows), y(high))))
            rows_of_table.append([Cell(cut(shown[place], 60)), Cell(f"{rows:,}", rows), Cell(said, mean)])
    grid = frame(
        x,
        y,
        x_ticks=sizes if len(sizes) <= 6 else log_ticks(x.low, x.high),
        y_ticks=ticks(y.low, y.high, 5),
        x_text=lambda value: f"{value:,.0f}",
        y_text=lambda value: short_score(metric, value),
        x_name="Labelled training rows (log scale)",
        y_name=headed(metric),
    )
    title = "Quality against labels"
    columns = [Column("Model", numeric=False), Column("Labels"), Column(headed(metric))]
    chart = svg(304, title, grid, Markup("").join(drawn), drawn_marks(marks))
    return Chart(title, chart, PageTable(title, columns, rows_of_table), "Bars: 95 % intervals")
