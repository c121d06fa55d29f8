"""The plots of a run. Figures are made as objects, without pyplot: no display is needed and no figure stays open."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from matplotlib.transforms import Bbox

from understudy.report.classes import confusion_matrix, reliability
from understudy.report.curves import learning_curves
from understudy.report.look import FAINT, looks_of, plain, save_figure, score_axis, style
from understudy.report.metric_names import metric_name
from understudy.report.numbers import human_bytes, number
from understudy.report.scores import (
    TEACHER,
    Record,
    interval_of,
    main_model,
    score_of,
    selecting_metric,
    shown_split,
)

__all__ = ["confusion_matrix", "draw_all", "learning_curves", "quality_against", "reliability"]


def quality_against(record: Record, out: Path, axis: Literal["latency", "size"] = "latency") -> Path | None:
    """Draw the score against p50 latency or size on disk, one point for each model, with its 95 % interval if it has one.

    Returns:
        `out`, or None if fewer than two models have both numbers.
    """
    cost = _latency if axis == "latency" else _size
    points = [
        (str(model["name"]), x, y, interval_of(record, model))
        for model in record["models"]
        if (x := cost(model)) is not None and x > 0 and (y := score_of(record, model)) is not None
    ]
    if len(points) < 2:
        return None
    metric, split = selecting_metric(record), shown_split(record)
    looks = looks_of([name for name, *_ in points])
    with style():
        figure = Figure(figsize=(8, 5), layout="constrained")
        ax = figure.subplots()
        bars = []
        drawn_at = set_apart([x for _, x, _, _ in points])
        points = [(name, x, y, interval) for (name, _, y, interval), x in zip(points, drawn_at)]
        for name, x, y, interval in points:
            colour, marker = looks[name]
            low, high = interval or (y, y)
            bars.append((x, low, high))
            if interval is not None:
                ax.plot([x, x], [low, high], color=colour, linewidth=2, alpha=0.75, solid_capstyle="butt")
                ax.plot([x, x], [low, high], color=colour, linestyle="", marker="_", markersize=9, markeredgewidth=2)
            ax.plot(x, y, marker=marker, color=colour, markersize=9.5, markeredgecolor="white", zorder=4)
            if name == TEACHER:
                ax.axhline(y, color=colour, linewidth=1, linestyle=(0, (2, 3)), zorder=1)
        xs = [x for _, x, _, _ in points]
        ax.set_xscale("log")
        ax.set_xlim(min(xs) / 2.5, max(xs) * 2.5)
        decades = math.log10(max(xs) / min(xs)) + 0.8
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1, 3) if decades < 4 else (1,)))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(
            FuncFormatter(
                lambda value, _: f"{value:g} ms" if axis == "latency" else human_bytes(value).replace(".0 ", " ")
            )
        )
        ax.margins(y=0.12)
        score_axis(ax.yaxis, metric)
        ax.set_ylabel(f"{metric_name(metric)}, {split} split")
        hardware = record.get("hardware") or {}
        if axis == "latency":
            ax.set_title("Quality against latency")
            threads = number(hardware.get("threads"))
            where = ", ".join(
                part
                for part in (
                    f"{threads:.0f} thread{'' if threads == 1 else 's'}" if threads else "",
                    plain(hardware.get("cpu") or "", 44),
                )
                if part
            )
            ax.set_xlabel(
                "median time for one text, tokenisation included (log scale)" + (f"\n{where}" if where else "")
            )
        else:
            ax.set_title("Quality against size")
            ax.set_xlabel("size on disk (log scale)")
        if any(interval is not None for *_, interval in points):
            place: dict[str, Any] = {"transform": ax.transAxes, "ha": "right", "va": "bottom"}
            ax.text(1, 1.02, "bars: 95 % intervals", color=FAINT, fontsize=8.5, **place)
        name_points(figure, ax, [(name, x, y, looks[name][0]) for name, x, y, _ in points], bars)
        return save_figure(figure, out)


def set_apart(costs: Sequence[float]) -> list[float]:
    """Where costs are drawn on a logarithmic axis, so that the bars of equal ones do not hide each other.

    What is nearer to its neighbours than a fortieth of the axis is spread evenly around the mean of the group.

    Example:
        >>> [round(value, 2) for value in set_apart([1.0, 10.0, 1.0])]
        [0.95, 10.0, 1.05]
    """
    logs = [math.log10(cost) for cost in costs]
    gap = (max(logs) - min(logs) + 0.8) / 40
    groups: list[list[int]] = []
    for i in sorted(range(len(logs)), key=logs.__getitem__):
        groups.append([i])
        while len(groups) > 1 and _span(groups[-2], logs, gap)[1] + gap > _span(groups[-1], logs, gap)[0]:
            last = groups.pop()
            groups[-1] += last
    places = list(costs)
    for group in groups:
        start, _ = _span(group, logs, gap)
        for place, i in enumerate(group if len(group) > 1 else []):
            places[i] = 10 ** (start + place * gap)
    return places


def _span(group: Sequence[int], logs: Sequence[float], gap: float) -> tuple[float, float]:
    """Where a group begins and ends that is spread around its mean."""
    middle, half = sum(logs[i] for i in group) / len(group), gap * (len(group) - 1) / 2
    return middle - half, middle + half


def _latency(model: Mapping[str, Any]) -> float | None:
    return number((model.get("latency_ms") or {}).get("p50"))


def _size(model: Mapping[str, Any]) -> float | None:
    return number(model.get("size_bytes"))


def name_points(
    figure: Figure,
    ax: Axes,
    points: Sequence[tuple[str, float, float, str]],
    bars: Sequence[tuple[float, float, float]],
) -> None:
    """Write each name beside its point, in the first place around it where it covers least."""
    figure.draw_without_rendering()  # fixes the layout, so that positions in pixels are known
    taken = []
    for x, low, high in bars:
        (left, bottom), (_, top) = ax.transData.transform([(x, low), (x, high)])
        taken.append(Bbox.from_extents(left - 8, bottom - 3, left + 8, top + 3))
    frame = ax.get_window_extent()
    for name, x, y, _ in points:
        left, bottom = ax.transData.transform((x, y))
        taken.append(Bbox.from_extents(left - 9, bottom - 9, left + 9, bottom + 9))
        if name == TEACHER:
            taken.append(Bbox.from_extents(frame.x0, bottom - 3, frame.x1, bottom + 3))
    places = [(dx, dy) for dy in (0, 11, -11, 22, -22, 36, -36, 52, -52) for dx in (11, -11, 0)]
    for name, x, y, colour in points:
        label = ax.annotate(plain(name), (x, y), places[0], textcoords="offset points", va="center", zorder=5)
        label.set(
            color=colour, fontweight="bold", in_layout=False, path_effects=[withStroke(linewidth=3, foreground="white")]
        )

        def covered(place: tuple[int, int], label: Annotation = label) -> float:
            _move(label, place)
            box = label.get_window_extent()
            outside = box.width * box.height - _overlap(box, frame)
            return sum(_overlap(box, other) for other in taken) + 4 * outside

        best = min(places, key=covered)
        _move(label, best)
        taken.append(label.get_window_extent())
        if abs(best[1]) > 20:  # a line joins a name that stands away from its point
            line = {"arrowstyle": "-", "color": colour, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 6}
            ax.annotate("", (x, y), best, textcoords="offset points", arrowprops=line, in_layout=False)


def _move(label: Annotation, place: tuple[int, int]) -> None:
    label.set_position(place)
    label.set_horizontalalignment("left" if place[0] > 0 else "right" if place[0] < 0 else "center")


def _overlap(a: Bbox, b: Bbox) -> float:
    width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    return float(max(width, 0) * max(height, 0))


def draw_all(folder: Path, record: Record) -> list[Path]:
    """Draw each plot that the record and ``progress.csv`` have data for into ``plots/`` of the run folder.

    Returns:
        The files that were written. A plot without data is not drawn, and an old file of it is removed.
    """
    plots, progress = Path(folder) / "plots", Path(folder) / "progress.csv"
    main, labels = main_model(record), record["task"].get("labels") or []
    chosen_by = (record.get("config") or {}).get("metric") or selecting_metric(record)
    kept = {phase: told["best_step"] for phase, told in (record.get("training") or {}).items() if told.get("best_step")}
    names = ("learning-curves", "quality-latency", "quality-size", "confusion", "reliability")
    curves, latency, size, matrix, diagram = (plots / f"{name}.png" for name in names)
    drawn = [
        learning_curves(progress, curves, metric=chosen_by, kept=kept) if progress.is_file() else None,
        quality_against(record, latency, "latency"),
        quality_against(record, size, "size"),
        confusion_matrix(main, labels, matrix),
        reliability(record["models"], diagram),
    ]
    for path, result in zip((curves, latency, size, matrix, diagram), drawn):
        if result is None:
            path.unlink(missing_ok=True)
    return [path for path in drawn if path is not None]
