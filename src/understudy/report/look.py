"""One look for all plots: colours and markers by role, fonts, and how names and scores are written."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names
from matplotlib.ticker import FuncFormatter

from understudy.report.metric_names import is_share
from understudy.report.scores import ALONE, PROBE, STUDENT, TEACHER, TFIDF

INK, FAINT, _GRID = "#1d2733", "#5d6b7a", "#e3e8ee"
_COLOURS = {TEACHER: "#22577a", STUDENT: "#d1495b", ALONE: "#e09f2d", TFIDF: "#8d99a6", PROBE: "#3a7d44"}
_MARKERS = {TEACHER: "s", STUDENT: "o", ALONE: "v", TFIDF: "D", PROBE: "X"}
_ROLES = {"model": TEACHER, "train": TEACHER}
"""A fine-tuned model and its phase of training look like a teacher: it is the next step that makes them one."""
_OTHER_COLOURS = ("#00798c", "#7b5ea7", "#3a7d44", "#c26dbc", "#6b4226", "#4f86c6")
_OTHER_MARKERS = ("P", "X", "^", "<", ">", "h")
BLUES = LinearSegmentedColormap.from_list("understudy", ["#ffffff", "#bcd4e3", "#5b93b5", "#22577a", "#123448"])
_MORE_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans Arabic", "Noto Sans Devanagari", "Noto Sans")
_DPI = 150


@contextmanager
def style() -> Iterator[None]:
    """One look for all plots, whatever the user's matplotlibrc says, with fonts for label names in any script."""
    fonts = ["DejaVu Sans", *(name for name in _MORE_FONTS if name in get_font_names())]
    look = {
        "font.family": fonts,
        "font.size": 9.5,
        "text.usetex": False,
        "text.color": INK,
        "axes.edgecolor": "#b4bfca",
        "axes.labelcolor": INK,
        "axes.titlesize": 10.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 9,
        "axes.facecolor": "white",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "grid.color": _GRID,
        "grid.linestyle": "-",
        "grid.linewidth": 0.8,
        "grid.alpha": 1.0,
        "xtick.color": "#b4bfca",
        "ytick.color": "#b4bfca",
        "xtick.labelcolor": FAINT,
        "ytick.labelcolor": FAINT,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
    }
    with matplotlib.rc_context(look), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # it is drawn as a box
        yield


def save_figure(figure: Figure, out: Path) -> Path:
    """Write a figure as PNG without its empty margins."""
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=_DPI, bbox_inches="tight", pad_inches=0.15, metadata={"Software": "understudy"})
    return out


def plain(text: object, limit: int = 28) -> str:
    """A name for matplotlib to draw: on one line, shortened in the middle, and its dollar signs escaped (they begin maths)."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    if len(line) > limit:
        line = f"{line[: limit * 2 // 3].rstrip()}…{line[-(limit // 3 - 1) :].lstrip()}"
    return line.replace("$", r"\$")


def looks_of(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker by name. Each known role always has the same ones; other names take the rest in turn."""
    roles = {name: _ROLES.get(name, name) for name in dict.fromkeys(names)}
    others = [name for name, role in roles.items() if role not in _COLOURS]
    looks = {name: (_COLOURS[role], _MARKERS[role]) for name, role in roles.items() if role in _COLOURS}
    for i, name in enumerate(others):
        looks[name] = (_OTHER_COLOURS[i % len(_OTHER_COLOURS)], _OTHER_MARKERS[i % len(_OTHER_MARKERS)])
    return looks


def score_axis(axis: Any, metric: str) -> None:
    """Label an axis of scores; shares between 0 and 1 as per cent, and none beyond 0 % and 100 %.

    Called when all is drawn and the margins are set: it fixes the limits. What is drawn at 100 % is not cut in half.
    """
    if not is_share(metric):
        return
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))
    low, high = axis.get_view_interval()
    if low < 0 or high > 1:
        name = axis.axis_name
        axis.axes.set(**{f"{name}lim": (max(low, 0.0), min(high, 1.0))})
        for line in axis.axes.lines:
            values = np.asarray(line.get_xdata() if name == "x" else line.get_ydata(), float)
            if not np.any((values < 0) | (values > 1)):
                line.set_clip_on(False)
