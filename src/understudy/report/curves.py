"""Learning curves, from ``progress.csv``."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from understudy.report.look import FAINT, looks_of, plain, save_figure, score_axis, style
from understudy.report.metric_names import LOWER_IS_BETTER, metric_name


def read_progress(progress_csv: Path) -> dict[str, dict[str, np.ndarray]]:
    """Read ``progress.csv``: for each phase, in order, its columns as floats, NaN where a cell is empty or not a number."""
    phases: dict[str, list[dict[str, str | None]]] = {}
    with open(progress_csv, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            phases.setdefault(row.get("phase") or "train", []).append(row)
    return {
        phase: {name: np.array([_float(row.get(name)) for row in rows]) for name in rows[0] if name and name != "phase"}
        for phase, rows in phases.items()
    }


def _float(cell: str | None) -> float:
    try:
        return float(cell or "nan")
    except ValueError:
        return math.nan


def _points(columns: Mapping[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of one column, from the rows that have both."""
    if name not in columns or "step" not in columns:
        return np.empty(0), np.empty(0)
    steps, values = columns["step"], columns[name]
    there = np.isfinite(steps) & np.isfinite(values)
    return steps[there], values[there]


def learning_curves(
    progress_csv: Path, out: Path, *, metric: str | None = None, kept: Mapping[str, int] | None = None
) -> Path | None:
    """Draw loss, validation score, learning rate and momentum by step, one colour for each phase.

    Args:
        progress_csv: the run's ``progress.csv``.
        out: the PNG to write.
        metric: the validation metric to draw; if it is None or not in the file, the first one in the file.
        kept: by phase, the step whose weights were kept; by default that of the best score.

    Returns:
        `out`, or None if the file holds nothing to draw.
    """
    phases = read_progress(progress_csv)
    columns = list(dict.fromkeys(name for values in phases.values() for name in values))
    scores = [name for name in columns if name.startswith("validation_") and name != "validation_loss"]
    score = f"validation_{metric}" if f"validation_{metric}" in scores else next(iter(scores), "")
    rates = [name for name in columns if name.startswith("learning_rate")]
    panels = [
        names
        for names in (["loss"], [score], rates, ["momentum"])
        if any(_points(values, name)[0].size for name in names for values in phases.values())
    ]
    if not panels:
        return None
    looks = looks_of(list(phases))
    with style():
        heights = [{"loss": 2.2, score: 2.2}.get(names[0], 1.0 if len(names) == 1 else 1.6) for names in panels]
        figure = Figure(figsize=(8, 1.0 + 1.25 * sum(heights)), layout="constrained")
        axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for ax, names in zip(axes, panels):
            if names == rates:
                _draw_rates(ax, phases, rates, looks)
            elif names == ["loss"]:
                _draw_loss(ax, phases, looks)
            elif names == ["momentum"]:
                _draw_momentum(ax, phases, looks)
            else:
                _draw_score(ax, phases, score, looks, kept or {})
        axes[-1].set_xlabel("optimizer step")
        axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        handles = [ax.plot([], [], color=looks[phase][0], linewidth=2.4)[0] for phase in phases]
        labels = [plain(phase) for phase in phases]
        figure.legend(handles, labels, loc="outside upper right", ncols=min(len(labels), 4))
        figure.align_ylabels(list(axes))
        return save_figure(figure, out)


def _draw_loss(ax: Axes, phases: Mapping[str, Mapping[str, np.ndarray]], looks: Mapping[str, tuple[str, str]]) -> None:
    seen = []
    for phase, columns in phases.items():
        steps, loss = _points(columns, "loss")
        colour = looks[phase][0]
        if steps.size > 40:  # the trend, and behind it the values
            ax.plot(steps, loss, color=colour, alpha=0.22, linewidth=0.9)
            ax.plot(steps, _smooth(loss, steps.size // 20), color=colour, linewidth=2)
        else:
            ax.plot(steps, loss, color=colour, linewidth=2, marker="o" if steps.size < 3 else "", markersize=4)
        seen.append(loss)
        steps, loss = _points(columns, "validation_loss")
        if steps.size:
            ax.plot(steps, loss, color=colour, linewidth=1.5, linestyle=(0, (4, 2)), marker="o", markersize=3)
            seen.append(loss)
    values = np.concatenate(seen)
    if values.size and values.min() > 0 and np.percentile(values, 95) > 20 * np.percentile(values, 5):
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.minorticks_off()
    dashed = any(_points(columns, "validation_loss")[0].size for columns in phases.values())
    ax.set_title("Training loss" + (" (dashed: validation)" if dashed else ""))
    ax.set_ylabel("loss")


def _smooth(values: np.ndarray, span: int) -> np.ndarray:
    """Centred moving average over fewer values at the ends."""
    kernel = np.ones(2 * max(span // 2, 1) + 1)
    smooth: np.ndarray = np.convolve(values, kernel, "same") / np.convolve(np.ones_like(values), kernel, "same")
    return smooth


def _draw_score(
    ax: Axes,
    phases: Mapping[str, Mapping[str, np.ndarray]],
    column: str,
    looks: Mapping[str, tuple[str, str]],
    kept: Mapping[str, int],
) -> None:
    metric = column.removeprefix("validation_")
    lower = metric in LOWER_IS_BETTER
    for phase, columns in phases.items():
        steps, values = _points(columns, column)
        if not steps.size:
            continue
        colour = looks[phase][0]
        ax.plot(steps, values, color=colour, linewidth=1.8, marker="o", markersize=3.5 if steps.size < 40 else 0)
        best = int(np.flatnonzero(values == (values.min() if lower else values.max()))[-1])  # the last of equal scores
        if (at := np.flatnonzero(steps == kept.get(phase))).size:
            best = int(at[-1])
        ax.plot(steps[best], values[best], "o", markersize=9, markerfacecolor="none", color=colour, markeredgewidth=1.6)
    ax.set_title(f"{metric_name(metric)} on the validation split (ring: the weights that were kept)")
    ax.set_ylabel(metric_name(metric, short=True))
    ax.margins(y=0.12)
    score_axis(ax.yaxis, metric)


def _draw_momentum(
    ax: Axes, phases: Mapping[str, Mapping[str, np.ndarray]], looks: Mapping[str, tuple[str, str]]
) -> None:
    for phase, columns in phases.items():
        ax.plot(*_points(columns, "momentum"), color=looks[phase][0], linewidth=1.6)
    ax.set_title("Momentum (Adam's first beta)")
    ax.yaxis.set_major_locator(MaxNLocator(3))


def _draw_rates(
    ax: Axes,
    phases: Mapping[str, Mapping[str, np.ndarray]],
    rates: Sequence[str],
    looks: Mapping[str, tuple[str, str]],
) -> None:
    """Draw the learning rate, or that of each group: paler colours are nearer to the input, and a frozen group leaves a gap."""
    groups = [rate for rate in rates if rate != "learning_rate"] or list(rates)
    shares = np.linspace(0.7, 0.0, len(groups)) if len(groups) > 1 else [0.0]
    seen = []
    for phase, columns in phases.items():
        for group, share in zip(groups, shares):
            steps, values = _with_gaps(columns, group, rates)
            values = np.where(values > 0, values, np.nan) if len(groups) > 1 else values
            colour = _paler(looks[phase][0], share)
            ax.plot(steps, values, color=colour, linewidth=1.6, marker="o", markersize=4, markevery=_alone(values))
            seen.append(values[np.isfinite(values)])
    values = np.concatenate(seen)
    ax.set_title("Learning rate" + (" of each layer (paler: nearer to the input)" if len(groups) > 1 else ""))
    if values.size and len(groups) > 1 and values.max() > 20 * values.min():
        ax.set_yscale("log")
        ax.minorticks_off()
    else:
        ax.set_ylim(bottom=0)
        ax.yaxis.set_major_locator(MaxNLocator(3))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2g}"))
    if len(groups) > 1:
        named = sorted({round(i) for i in np.linspace(0, len(groups) - 1, min(len(groups), 5))})
        handles = [ax.plot([], [], color=_paler(FAINT, shares[i]), linewidth=2.4)[0] for i in named]
        labels = [plain(groups[i].removeprefix("learning_rate_").replace("_", " ")) for i in named]
        ax.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.0, 1.03), handlelength=1.4)


def _alone(values: np.ndarray) -> list[int]:
    """The indices of single values between gaps: a line through one point would be invisible, so they get a marker."""
    there = np.isfinite(values)
    before, after = np.append(False, there[:-1]), np.append(there[1:], False)
    found: list[int] = np.flatnonzero(there & ~before & ~after).tolist()
    return found


def _with_gaps(columns: Mapping[str, np.ndarray], name: str, of: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of a column over the rows where any column of `of` has a value; NaN where this one has none."""
    there = np.any([np.isfinite(columns[other]) for other in of if other in columns], axis=0)
    return columns["step"][there], columns[name][there]


def _paler(colour: str, share: float) -> tuple[float, ...]:
    """A colour mixed with white."""
    return tuple(channel + (1 - channel) * share for channel in to_rgb(colour))
