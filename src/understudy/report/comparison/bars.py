"""Bars and points of a comparison, a line a model: run time, steps to convergence, final scores with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from understudy.report.comparison.look import looks, save_both
from understudy.report.comparison.recommending import names_of, shipped
from understudy.report.look import FAINT, INK, plain, score_axis, style
from understudy.report.metric_names import LOWER_IS_BETTER, human_score, metric_name
from understudy.report.numbers import human_seconds, number
from understudy.report.scores import Record, selecting_metric, shown_split


def run_times(record: Record, out: Path) -> list[Path]:
    """Draw how long each model trained: pale and hatched in all, full up to the evaluation at which it had converged."""
    found = {name: (cost(record, name, "seconds"), cost(record, name, "seconds_to_best")) for name in names_of(record)}
    rows = {name: (total, best) for name, (total, best) in found.items() if total is not None}
    if not rows:
        return []
    figure, ax = _figure(list(rows), "Time of training")
    look = looks(names_of(record))
    for place, (name, (total, best)) in enumerate(rows.items()):
        ax.barh(place, total, color="white", edgecolor=look[name].colour, hatch="////", linewidth=1.2, height=0.62)
        if best is not None:
            ax.barh(place, best, color=look[name].colour, height=0.62)
        said = human_seconds(total) + (f" (converged after {human_seconds(best)})" if best is not None else "")
        ax.annotate(said, (total, place), (6, 0), textcoords="offset points", va="center", color=INK, fontsize=8.5)
    ax.set_xlabel("seconds, evaluations included; filled: up to convergence, hatched: in all")
    ax.margins(x=0.42)
    ax.set_xlim(left=0)
    return _saved(figure, out)


def steps_to_convergence(record: Record, out: Path) -> list[Path]:
    """Draw after how many optimizer steps each model had converged, and where its training ended."""
    rows = {
        name: (best, cost(record, name, "steps"))
        for name in names_of(record)
        if (best := cost(record, name, "steps_to_best")) is not None
    }
    if not rows:
        return []
    figure, ax = _figure(list(rows), "Steps to convergence")
    look = looks(names_of(record))
    for place, (name, (best, total)) in enumerate(rows.items()):
        ax.barh(place, best, color=look[name].colour, height=0.62)
        if total is not None:
            ax.plot([total, total], [place - 0.36, place + 0.36], color=INK, linewidth=1.6)
        said = f"{best:,.0f}" + (f" of {total:,.0f}" if total is not None else "")
        ax.annotate(
            said,
            (max(best, total or 0), place),
            (6, 0),
            textcoords="offset points",
            va="center",
            color=INK,
            fontsize=8.5,
        )
    ax.set_xlabel("optimizer steps up to the first evaluation with the best score; line: the end of training")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.margins(x=0.2)
    ax.set_xlim(left=0)
    return _saved(figure, out)


def final_scores(record: Record, out: Path) -> list[Path]:
    """Draw the mean scores with their 95 % intervals, the best one on top; that of the model to ship is filled."""
    metric, scores = selecting_metric(record), (record.get("findings") or {}).get("scores") or {}
    known: dict[str, float] = {}
    for name in names_of(record):
        mean = number((scores.get(name) or {}).get("mean"))
        if mean is not None:
            known[name] = mean
    if not known:
        return []
    rows = sorted(known, key=known.__getitem__, reverse=metric not in LOWER_IS_BETTER)
    figure, ax = _figure(rows, f"{metric_name(metric)} on the {shown_split(record)} split")
    look, chosen = looks(names_of(record)), shipped(record)
    for place, name in enumerate(rows):
        low, high = (number(end) for end in scores[name].get("interval") or (None, None))
        if low is not None and high is not None:
            ax.plot([low, high], [place, place], color=look[name].colour, linewidth=2.2, solid_capstyle="butt")
            ax.plot([low, high], [place, place], color=look[name].colour, linestyle="", marker="|", markersize=11)
        face = look[name].colour if name == chosen else "white"
        ax.plot(
            known[name],
            place,
            marker=look[name].marker,
            color=look[name].colour,
            markerfacecolor=face,
            markersize=9,
            markeredgewidth=1.8,
            zorder=4,
        )
        value = human_score(metric, known[name])
        ax.annotate(value, (known[name], place), (0, 10), textcoords="offset points", ha="center", fontsize=8.5)
    ax.margins(x=0.12, y=0.1)
    score_axis(ax.xaxis, metric)
    seeds = max((scores[name].get("n", 1) for name in rows), default=1)
    other = "other rows and seeds" if seeds > 1 else "other rows"
    ax.set_xlabel(f"bars: 95 % intervals for {other}; filled: the one to ship")
    return _saved(figure, out)


def cost(record: Record, name: str, what: str) -> float | None:
    """What a model's training cost, on average over the seeds."""
    model: Mapping[str, Mapping[str, float]] = next((m for m in record["models"] if m["name"] == name), {})
    return number((model.get("training") or {}).get(what))


def _figure(names: Sequence[str], title: str) -> tuple[Figure, Axes]:
    """A figure with a line a model, the first one on top."""
    with style():
        figure = Figure(figsize=(8, 1.3 + 0.5 * len(names)), layout="constrained")
        ax = figure.subplots()
        ax.set_yticks(range(len(names)), [plain(name) for name in names])
        ax.set_ylim(len(names) - 0.4, -0.6)
        ax.tick_params(axis="y", length=0, labelcolor=INK)
        ax.tick_params(axis="x", labelcolor=FAINT)
        ax.grid(visible=False, axis="y")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        ax.set_title(title)
    return figure, ax


def _saved(figure: Figure, out: Path) -> list[Path]:
    with style():
        return save_both(figure, out)
