"""Plots of a classifier's answers: which classes it confuses, and how well its confidence matches its accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from understudy.report.look import BLUES, FAINT, INK, looks_of, plain, save_figure, style
from understudy.report.numbers import number


def confusion_matrix(model: Mapping[str, Any], labels: Sequence[str], out: Path) -> Path | None:
    """Draw which classes a model confuses: rows are true classes, columns predicted ones, colours shares of the row.

    Args:
        model: a model's entry in the record.
        labels: the names of the classes, in the order of the matrix.
        out: the PNG to write.

    Returns:
        `out`, or None if the model has no confusion matrix of that size.
    """
    counts = np.asarray(model.get("confusion") or [], dtype=float)
    classes = len(labels)
    if not classes or counts.shape != (classes, classes):
        return None
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(max(0.62 * classes, 3.2), 12.5)
    cell = side / classes  # inches
    names = [plain(label, 26) for label in labels]
    with style(), matplotlib.rc_context({"axes.grid": False, "axes.spines.left": False, "axes.spines.bottom": False}):
        figure = Figure(figsize=(side + 2.6, side + 2.0), layout="constrained")
        ax = figure.subplots()
        image = ax.imshow(shares, cmap=BLUES, vmin=0, vmax=1, interpolation="nearest")
        if cell > 0.2:
            ax.set_xticks(np.arange(classes + 1) - 0.5, minor=True)
            ax.set_yticks(np.arange(classes + 1) - 0.5, minor=True)
            ax.grid(which="minor", color="white", linewidth=1.2)
        ax.tick_params(which="both", length=0)
        every = max(1, math.ceil(0.1 / cell))  # with very many classes only every second, third ... is named
        size = min(9.5, max(5.5, 72 * cell * every * 0.62))
        shown = range(0, classes, every)
        upright = max(len(name) for name in names) * size / 72 * 0.62 < cell
        ax.set_xticks(shown, [names[i] for i in shown], fontsize=size, color=INK)
        if not upright:
            ax.tick_params(axis="x", labelrotation=90 if classes > 8 else 40)
            for tick in ax.get_xticklabels():
                tick.set(ha="center" if classes > 8 else "right", rotation_mode="default" if classes > 8 else "anchor")
        ax.set_yticks(shown, [names[i] for i in shown], fontsize=size, color=INK)
        if cell > 0.3:
            _write_cells(ax, counts, shares, cell)
        ax.set_xlabel("predicted")
        ax.set_ylabel("true")
        right = np.trace(counts) / max(counts.sum(), 1)
        ax.set_title(f"Confusion of the {plain(model['name'])}: {100 * right:.1f} % of {counts.sum():,.0f} right")
        bar = figure.colorbar(image, ax=ax, shrink=0.6, aspect=18, pad=0.02)
        bar.outline.set_visible(False)
        bar.set_ticks([0, 0.5, 1], labels=["0 %", "50 %", "100 %"])
        bar.ax.tick_params(length=0, labelsize=8.5)
        bar.set_label("share of the true class", color=FAINT, fontsize=8.5)
        return save_figure(figure, out)


def _write_cells(ax: Axes, counts: np.ndarray, shares: np.ndarray, cell: float) -> None:
    both = cell > 0.55  # room for the count under the share
    for i, j in np.argwhere(counts > 0):
        share = shares[i, j]
        colour = "white" if share > 0.5 else INK
        text = (f"{100 * share:.0f}" if share >= 0.005 else "<1") + (" %" if both else "")
        size = min(11, 23 * cell)
        at: dict[str, Any] = {"ha": "center", "va": "center", "color": colour, "textcoords": "offset points"}
        ax.annotate(text, (j, i), (0, 4 if both else 0), fontsize=size, **at)
        if both:
            ax.annotate(f"{counts[i, j]:,.0f}", (j, i), (0, -9), fontsize=7, alpha=0.75, **at)


def merged_bins(bins: np.ndarray, fewest: int = 10) -> np.ndarray:
    """Bins of a reliability diagram in the order of confidence, none with fewer rows than `fewest` unless it is the only one.

    Args:
        bins: ``(bins, 3)``: mean confidence, share of right answers, rows.
        fewest: a bin with less is merged with the next one, the last one with the one before.

    Example:
        >>> merged_bins(np.array([[0.5, 0.0, 1], [0.6, 0.5, 9], [0.9, 1.0, 40], [1.0, 0.0, 1]])).round(3).tolist()
        [[0.59, 0.45, 10.0], [0.902, 0.976, 41.0]]
    """
    groups: list[list[np.ndarray]] = []
    rows = float(fewest)
    for entry in bins:
        if rows >= fewest:
            groups.append([])
            rows = 0.0
        groups[-1].append(entry)
        rows += entry[2]
    if rows < fewest and len(groups) > 1:
        last = groups.pop()
        groups[-1] += last
    merged = [np.array(group) for group in groups]
    return np.array([[*np.average(group[:, :2], axis=0, weights=group[:, 2]), group[:, 2].sum()] for group in merged])


def reliability(models: Sequence[Mapping[str, Any]], out: Path) -> Path | None:
    """Draw accuracy by confidence, and how many rows had each confidence.

    On the diagonal the confidence equals the accuracy; below it the model is overconfident. The expected calibration
    error (ECE) in the legend is the mean distance from the diagonal, weighted by rows. Bins below 10 rows are merged: a
    point of a single row is right or wrong and says nothing.

    Returns:
        `out`, or None if no model has calibration data.
    """
    curves = []
    for model in models:
        calibration = model.get("calibration") or {}
        filled = [
            (confidence, accuracy, rows)
            for entry in calibration.get("bins") or []
            if (rows := number(entry.get("rows"))) is not None
            and rows > 0
            and (confidence := number(entry.get("confidence"))) is not None
            and (accuracy := number(entry.get("accuracy"))) is not None
        ]
        if filled:
            curves.append((str(model["name"]), number(calibration.get("ece")), merged_bins(np.array(sorted(filled)))))
    if not curves:
        return None
    looks = looks_of([name for name, *_ in curves])
    low = math.floor(10 * min(bins[:, :2].min() for _, _, bins in curves)) / 10
    with style():
        figure = Figure(figsize=(6.4, 7.4), layout="constrained")
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
        figure.align_ylabels([top, bottom])
        top.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        handles, labels = [], []
        for name, ece, bins in curves:
            colour, marker = looks[name]
            sizes = 14 + 90 * bins[:, 2] / bins[:, 2].max()
            top.plot(bins[:, 0], bins[:, 1], color=colour, linewidth=1.8)
            top.scatter(
                bins[:, 0], bins[:, 1], s=sizes, color=colour, marker=marker, edgecolor="white", linewidth=0.7, zorder=3
            )
            bottom.plot(bins[:, 0], bins[:, 2], color=colour, linewidth=1.6, marker=marker, markersize=3.5)
            handles.append(Line2D([], [], color=colour, linewidth=1.8, marker=marker, markersize=6))
            labels.append(plain(name) + (f", ECE {100 * ece:.1f} %" if ece is not None else ""))
        margin = 0.02 * (1 - low)
        top.set_xlim(low - margin, 1 + margin)
        top.set_ylim(low - margin, 1 + margin)
        top.set_title("Reliability: accuracy by confidence")
        top.set_ylabel("share of rows that are right")
        top.text(
            0.03,
            0.96,
            "above the line: underconfident\nbelow the line: overconfident",
            va="top",
            transform=top.transAxes,
            color=FAINT,
            fontsize=8.5,
        )
        figure.legend(handles, labels, loc="outside upper left", ncols=2)
        bottom.set_yscale("log")
        bottom.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        bottom.yaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=8))
        bottom.yaxis.set_minor_locator(NullLocator())
        bottom.set_ylabel("rows (log scale)")
        bottom.set_xlabel("confidence: probability of the predicted class")
        for ax in (top.xaxis, top.yaxis, bottom.xaxis):
            ax.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
        return save_figure(figure, out)
