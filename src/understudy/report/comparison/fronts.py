"""Quality against cost: the front, its knee, and in grey what it makes superfluous."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from understudy.report.comparison.look import GREY, looks, save_both
from understudy.report.comparison.recommending import mean_score, names_of, shipped
from understudy.report.look import FAINT, score_axis, style
from understudy.report.metric_names import metric_name
from understudy.report.numbers import human_bytes, number
from understudy.report.plots import name_points
from understudy.report.scores import Record, model_named, selecting_metric, shown_split


def front_of(record: Record, out: Path, *, axis: Literal["size", "latency"]) -> list[Path]:
    """Draw the mean score against size or latency; a line joins the models that no other one dominates."""
    findings = record.get("findings") or {}
    points = {}
    for name in names_of(record):
        cost, score = _cost(record, name, axis), mean_score(record, name)
        if cost is not None and cost > 0 and score is not None:
            points[name] = cost, score
    if len(points) < 2:
        return []
    dominated = (findings.get("dominated") or {}).get(axis) or {}
    front = [name for name in (findings.get("front") or {}).get(axis) or [] if name in points]
    metric, chosen = selecting_metric(record), shipped(record)
    with style():
        figure = Figure(figsize=(8, 5), layout="constrained")
        ax = figure.subplots()
        ax.plot(
            *zip(*(points[name] for name in front), strict=True),
            color=FAINT,
            linewidth=1.2,
            linestyle=(0, (4, 2)),
            zorder=1,
        )
        colours = {name: GREY if name in dominated else look.colour for name, look in looks(names_of(record)).items()}
        bars = []
        for name, (x, y) in points.items():
            low, high = (findings.get("scores") or {}).get(name, {}).get("interval") or (y, y)
            bars.append((x, low, high))
            ax.plot([x, x], [low, high], color=colours[name], linewidth=1.8, alpha=0.75, solid_capstyle="butt")
            face = colours[name] if name == chosen else "white"
            marker = looks(names_of(record))[name].marker
            ax.plot(
                x,
                y,
                marker=marker,
                color=colours[name],
                markerfacecolor=face,
                markersize=9.5,
                markeredgewidth=1.8,
                zorder=4,
            )
        xs = [x for x, _ in points.values()]
        ax.set_xscale("log")
        ax.set_xlim(min(xs) / 2.5, max(xs) * 2.5)
        decades = math.log10(max(xs) / min(xs)) + 0.8
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1, 3) if decades < 4 else (1,)))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _written(value, axis)))
        ax.margins(y=0.14)
        score_axis(ax.yaxis, metric)
        ax.set_ylabel(f"{metric_name(metric)}, {shown_split(record)} split")
        ax.set_title(f"Quality against {axis}")
        what = "size on disk" if axis == "size" else "median time for one text, tokenisation included"
        knee = findings.get("knee") if axis == "size" else None
        bend = f"; knee: {knee}" if knee is not None else ""
        ax.set_xlabel(
            f"{what} (log scale)\nline: the front{bend}; grey: dominated; filled: the one to ship; bars: 95 % intervals"
        )
        name_points(figure, ax, [(name, x, y, colours[name]) for name, (x, y) in points.items()], bars)
        return save_both(figure, out)


def _cost(record: Record, name: str, axis: str) -> float | None:
    model: Mapping[str, Any] = model_named(record, name) or {}
    return number(model.get("size_bytes") if axis == "size" else (model.get("latency_ms") or {}).get("p50"))


def _written(value: float, axis: str) -> str:
    return human_bytes(value).replace(".0 ", " ") if axis == "size" else f"{value:g} ms"
