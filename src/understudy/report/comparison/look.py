"""How models look in the pictures of a comparison: told apart by colour, marker, line and hatching, any of which is enough."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.figure import Figure
from matplotlib.text import Text

from understudy.report.look import save_figure

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#6b4226", "#1d2733")
"""Okabe and Ito's, the yellow darkened so that it can be read on white: told apart by most colour-blind people."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "*")
_LINES: tuple[str | tuple[int, tuple[int, ...]], ...] = (
    "-",
    (0, (5, 2)),
    (0, (1, 1)),
    (0, (6, 2, 1, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
)
GREY = "#98a2ad"
"""Of what is dominated."""


class Look(NamedTuple):
    """Colour, marker and line of a model."""

    colour: str
    marker: str
    line: str | tuple[int, tuple[int, ...]]


def looks(names: Sequence[str]) -> dict[str, Look]:
    """A look for each model; no two of the first 440 are the same, and none of the first 11 has another's marker."""
    return {
        name: Look(_COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)], _LINES[i % len(_LINES)])
        for i, name in enumerate(names)
    }


def save_both(figure: Figure, out: Path) -> list[Path]:
    """Write a figure as PNG and as SVG, whose text stays text; the same figure gives the same bytes.

    Args:
        out: without a suffix.
    """
    png, svg = out.with_name(f"{out.name}.png"), out.with_name(f"{out.name}.svg")
    save_figure(figure, png)
    for text in figure.findobj(Text):
        text.set_path_effects([])  # or it would be drawn as outlines
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "understudy"}):
        figure.savefig(svg, bbox_inches="tight", pad_inches=0.15, metadata={"Date": None, "Creator": "understudy"})
    return [png, svg]
