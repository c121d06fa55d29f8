"""Learning curves of a comparison, by steps and by the clock, and quality against the number of labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from understudy.report.comparison.look import looks, save_both
from understudy.report.comparison.pace import evaluations, evaluations_began
from understudy.report.comparison.recommending import names_of
from understudy.report.curves import read_progress
from understudy.report.look import INK, plain, score_axis, style
from understudy.report.metric_names import LOWER_IS_BETTER, metric_name
from understudy.report.numbers import number
from understudy.report.scores import Record, selecting_metric, shown_split


class Crossing(NamedTuple):
    """Where the curve of one model passes that of another."""

    below: str
    """The model that is worse to the right of it."""
    above: str
    rows: float


def learning_curves_of_all(
    record: Record, runs: Mapping[str, Sequence[Path]], out: Path, *, by: Literal["step", "seconds"]
) -> list[Path]:
    """Draw the validation score of every run: the first seed of a model as a line, the others fainter.

    By the clock, a curve is flat while it is being evaluated.

    Args:
        runs: of each model, the ``progress.csv`` of its runs.
    """
    metric = selecting_metric(record)
    curves = {
        name: [found for path in paths if (found := _curve(path, metric, by)) is not None]
        for name, paths in runs.items()
    }
    if not any(curves.values()):
        return []
    look = looks(names_of(record))
    with style():
        figure = Figure(figsize=(8, 4.8), layout="constrained")
        ax = figure.subplots()
        ends = []
        for name, of_seeds in curves.items():
            for place, (x, y, dots) in enumerate(of_seeds):
                alpha, width, size = (0.35, 1.0, 4.0) if place else (1.0, 1.9, 6.0)
                colour, marker, line = look[name]
                ax.plot(x, y, color=colour, linestyle=line, alpha=alpha, linewidth=width)
                ax.plot(*dots, marker, color=colour, markersize=size, alpha=alpha)
            if of_seeds:
                ends.append((name, float(of_seeds[0][0][-1]), float(of_seeds[0][1][-1])))
        _name_ends(ax, ends, {name: look[name].colour for name in curves})
        score_axis(ax.yaxis, metric)
        ax.set_ylabel(f"{metric_name(metric)}, validation split")
        ax.set_xlabel("optimizer step" if by == "step" else "seconds of training; flat parts are evaluation")
        ax.set_title(f"Learning curves by {'step' if by == 'step' else 'time'}")
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=by == "step"))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        ax.set_xlim(left=0)
        return save_both(figure, out)


def _curve(path: Path, metric: str, by: str) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]] | None:
    """The line of a run, and the points at which it was evaluated."""
    columns = next(iter(read_progress(path).values()), None) if path.is_file() else None
    if columns is None:
        return None
    steps, seconds, scores = evaluations(columns, metric)
    if not steps.size:
        return None
    if by == "step":
        return steps, scores, (steps, scores)
    x = np.column_stack([evaluations_began(columns, metric), seconds]).ravel()
    return x, np.repeat(scores, 2), (seconds, scores)


def quality_by_labels(record: Record, out: Path) -> list[Path]:
    """Draw the mean score of every model against the number of labelled rows, with its interval, and where curves cross."""
    metric, found = selecting_metric(record), _by_labels(record)
    if len(found) < 2:
        return []
    look = looks(names_of(record))
    with style():
        figure = Figure(figsize=(8, 4.8), layout="constrained")
        ax = figure.subplots()
        ends = []
        for name in names_of(record):
            points = [(rows, scores[name]) for rows, scores in found.items() if name in scores]
            if not points:
                continue
            rows, means = [row for row, _ in points], [score["mean"] for _, score in points]
            low, high = ([score["interval"][end] for _, score in points] for end in (0, 1))
            ax.fill_between(rows, low, high, color=look[name].colour, alpha=0.10, linewidth=0)
            ax.plot(
                rows, means, color=look[name].colour, linestyle=look[name].line, marker=look[name].marker, markersize=6
            )
            ends.append((name, rows[-1], means[-1]))
        ax.set_xscale("log")
        for crossing in crossings(record):
            height = _at(found, crossing.above, crossing.rows)
            ax.plot(crossing.rows, height, "o", markersize=12, markerfacecolor="none", color=INK, markeredgewidth=1.2)
        ax.set_xticks(list(found), [f"{rows:,}" for rows in found])
        ax.xaxis.set_minor_locator(NullLocator())
        _name_ends(ax, ends, {name: look[name].colour for name, *_ in ends})
        score_axis(ax.yaxis, metric)
        ax.set_ylabel(f"{metric_name(metric)}, {shown_split(record)} split")
        ax.set_xlabel("labelled training rows (log scale); bands: 95 % intervals; rings: where two curves cross")
        ax.set_title("How many labels do I need?")
        return save_both(figure, out)


def crossings(record: Record) -> list[Crossing]:
    """Where the mean scores of two models cross as labels are added, between two of the numbers that were tried.

    Between them a curve is straight over the logarithm of the rows. Models that are equal at one of the numbers, and of which
    one leads before and the other after it, cross there.

    Example:
        >>> labels = {"100": {"a": {"mean": 0.8}, "b": {"mean": 0.6}}, "10000": {"a": {"mean": 0.8}, "b": {"mean": 1.0}}}
        >>> record = {"task": {"metrics": ["accuracy"]}, "models": [{"name": "a"}, {"name": "b"}]}
        >>> crossings(record | {"findings": {"labels": labels}})
        [Crossing(below='a', above='b', rows=1000.0)]
    """
    sign = -1 if selecting_metric(record) in LOWER_IS_BETTER else 1
    found, names = _by_labels(record), names_of(record)
    sizes = list(found)
    crossed = []
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            both = [rows for rows in sizes if one in found[rows] and other in found[rows]]
            leads = [sign * (found[rows][one]["mean"] - found[rows][other]["mean"]) for rows in both]
            apart = [place for place, lead in enumerate(leads) if lead]
            for place, next_place in pairwise(apart):
                before, after = leads[place], leads[next_place]
                if before * after > 0:
                    continue
                rows = float(both[place + 1])  # the first number at which they are equal
                if next_place == place + 1:
                    share = before / (before - after)
                    rows = math.exp((1 - share) * math.log(both[place]) + share * math.log(both[next_place]))
                below, above = (one, other) if after < 0 else (other, one)
                crossed.append(Crossing(below, above, round(rows, 6)))
    return sorted(crossed, key=lambda crossing: crossing.rows)


def said_crossings(record: Record) -> Iterator[str]:
    """A sentence for every crossing.

    Example:
        >>> labels = {"100": {"a": {"mean": 0.8}, "b": {"mean": 0.6}}, "10000": {"a": {"mean": 0.8}, "b": {"mean": 1.0}}}
        >>> record = {"task": {"metrics": ["accuracy"]}, "models": [{"name": "a"}, {"name": "b"}]}
        >>> list(said_crossings(record | {"findings": {"labels": labels}}))
        ['From about 1,000 labels on, b is above a.']
    """
    for crossing in crossings(record):
        rounded = float(f"{crossing.rows:.2g}")
        how = "better than" if selecting_metric(record) in LOWER_IS_BETTER else "above"
        yield f"From about {rounded:,.0f} labels on, {crossing.above} is {how} {crossing.below}."


def _by_labels(record: Record) -> dict[int, Mapping[str, Any]]:
    labels = (record.get("findings") or {}).get("labels") or {}
    return {
        int(rows): {name: score for name, score in scores.items() if number(score.get("mean")) is not None}
        for rows, scores in sorted(labels.items(), key=lambda entry: int(entry[0]))
    }


def _at(found: Mapping[int, Mapping[str, Any]], name: str, rows: float) -> float:
    """A model's score at a number of rows, between those that were tried."""
    known = [(size, scores[name]["mean"]) for size, scores in found.items() if name in scores]
    return float(np.interp(math.log(rows), [math.log(size) for size, _ in known], [mean for _, mean in known]))


def _name_ends(ax: Axes, ends: Sequence[tuple[str, float, float]], colours: Mapping[str, str]) -> None:
    """Write each name at the end of its curve, moved up or down so that none covers another."""
    ax.margins(x=0.02, y=0.08)
    low, high = ax.get_ylim()
    room = (high - low) / 19
    taken: list[float] = []
    for name, x, y in sorted(ends, key=lambda end: end[2]):
        height = max(y, taken[-1] + room) if taken else y
        taken.append(height)
        ax.annotate(
            plain(name),
            (x, y),
            (1.015, (height - low) / (high - low)),
            textcoords="axes fraction",
            va="center",
            color=colours[name],
            fontweight="bold",
            fontsize=8.5,
            arrowprops={"arrowstyle": "-", "color": colours[name], "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3},
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )
