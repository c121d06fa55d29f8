"""The curve of a learning-rate sweep, as a plot and as a CSV file."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from understudy import atomic
from understudy.report.look import FAINT, INK, looks_of, save_figure, style
from understudy.report.scores import STUDENT, TEACHER
from understudy.training.lr_finder.curve import Curve
from understudy.training.lr_finder.suggestion import Suggestion

_EXPLODED = 100
"""How many times the loss at the start the axis goes to at most: beyond that the rest would be flat."""


def sweep_csv(curve: Curve, out: Path) -> Path:
    """Write the curve as CSV: a row for each step, with ``step``, ``learning_rate``, ``loss`` and ``smoothed_loss``."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["step", "learning_rate", "loss", "smoothed_loss"])
    rows = zip(curve.rates.tolist(), curve.losses.tolist(), curve.smoothed.tolist())
    writer.writerows([step, *row] for step, row in enumerate(rows, start=1))
    atomic.write_bytes(out, buffer.getvalue().encode())
    return out


def sweep_plot(curve: Curve, suggestion: Suggestion | None, out: Path) -> Path:
    """Draw the loss over the learning rate; with a suggestion, also the two readings that it was made from."""
    looks = looks_of([TEACHER, STUDENT])
    colour, accent = looks[TEACHER][0], looks[STUDENT][0]
    with style():
        figure = Figure(figsize=(8, 4.6), layout="constrained")
        ax = figure.subplots()
        ax.set_xscale("log")
        ax.plot(curve.rates, curve.losses, color=colour, alpha=0.45, linewidth=0.9)
        ax.plot(curve.rates, curve.smoothed, color=colour, linewidth=2)
        above = _limit(ax, curve)
        ax.set_xlim(curve.rates[0], max(curve.rates[-1], curve.rates[0] * 10))
        if suggestion is not None:
            _mark(ax, curve, suggestion, colour=colour, accent=accent)
        ax.xaxis.set_major_locator(LogLocator(numticks=15))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}"))
        ax.set_title("Loss while the learning rate grows")
        ax.set_xlabel("learning rate of the highest group (log scale)")
        ax.set_ylabel("training loss")
        ended = "stopped: the loss diverged" if curve.diverged else "complete"
        ax.text(
            1,
            1.02,
            f"{len(curve.rates)} of {curve.planned} steps, {ended}{above}",
            transform=ax.transAxes,
            ha="right",
            va="bottom",
            color=FAINT,
            fontsize=8.5,
        )
        return save_figure(figure, out)


def _mark(ax: Axes, curve: Curve, suggestion: Suggestion, *, colour: str, accent: str) -> None:
    """Mark the two readings on the curve, the cap and the suggestion, with a legend."""
    marks = {"steepest descent": suggestion.steepest, "a tenth of the rate at the minimum": suggestion.tenth}
    for (name, rate), marker in zip(marks.items(), "vD"):
        height = float(np.interp(np.log(rate), np.log(curve.rates), curve.smoothed))
        ax.plot(
            rate,
            height,
            marker,
            color=colour,
            markersize=8,
            markeredgecolor="white",
            zorder=4,
            label=f"{name}: {rate:.1e}",
        )
    if suggestion.cap is not None:
        ax.axvspan(suggestion.cap, ax.get_xlim()[1], color=FAINT, alpha=0.08, linewidth=0)
        ax.plot([], [], color=FAINT, alpha=0.2, linewidth=8, label=f"above the cap: {suggestion.cap:.0e}")
    ax.axvline(suggestion.rate, color=accent, linewidth=1.8, zorder=3, label=f"suggested: {suggestion.rate:.1e}")
    ax.legend(loc="best", labelcolor=INK)


def _limit(ax: Axes, curve: Curve) -> str:
    """Let the loss axis hold the whole curve, logarithmic where it is steep; what is cut of an explosion, in words."""
    values = np.concatenate([curve.losses, curve.smoothed])
    low, top = float(values.min()), float(values.max())
    start = float(np.max(curve.smoothed[: max(1, curve.planned // 4)]))
    high = min(top, _EXPLODED * start) if start > 0 else top
    if low > 0 and high > 4 * start:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 50 * low else (1, 3)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.set_ylim(low / 1.15, high * 1.15)
    else:
        around = 0.06 * max(high - low, 1e-12)
        ax.set_ylim(low - around, high + around)
    return f"; losses up to {top:.0e} lie above" if high < top else ""
