"""The parts that all charts are drawn of. A chart is 400 units wide, so that its letters can be read on a phone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from understudy.report.page.charts.scales import Scale
from understudy.report.page.tables import PageTable

WIDTH = 400
COLOURS = 8
"""Series have the classes ``s0`` to ``s7``, whose colours are in the style sheet."""
DASHES = ("", "6 3", "2 3", "8 3 2 3", "4 2 1 2 1 2")
_MARKERS = (
    "M-4.6 0a4.6 4.6 0 1 0 9.2 0a4.6 4.6 0 1 0-9.2 0z",
    "M-4.2-4.2h8.4v8.4h-8.4z",
    "M0-5.4L5.2 3.8h-10.4z",
    "M0-5.8L5.8 0 0 5.8-5.8 0z",
    "M0 5.4L5.2-3.8h-10.4z",
    "M-1.8-5h3.6v3.2h3.2v3.6h-3.2v3.2h-3.6v-3.2h-3.2v-3.6h3.2z",
    "M0-5.6L5.3-1.7 3.3 4.5h-6.6l-2-6.2z",
)
"""Circle, square, triangle, diamond, triangle upside down, cross, pentagon: any is told from the others without colour."""


class Chart(NamedTuple):
    """A drawing, and the same values as a table."""

    title: str
    svg: Markup
    values: PageTable
    note: str = ""


class Mark(NamedTuple):
    """A value in a chart that can be reached."""

    x: float
    y: float
    text: str
    """What is read out and shown."""
    series: int
    drawn: Markup = Markup("")
    """What is drawn with it, in the chart's units."""
    hollow: bool = False
    grey: bool = False


def style_of(series: int) -> str:
    """The class that gives a series its colour."""
    return f"s{series % COLOURS}"


def marker(series: int) -> str:
    """The outline of the marker of a series, around 0, 0."""
    return _MARKERS[series % len(_MARKERS)]


def dash(series: int) -> str:
    """The dashes of its lines; empty for a whole line."""
    return DASHES[series % len(DASHES)]


def at(value: float) -> str:
    """A place, with as many digits as one can see.

    Example:
        >>> at(12.0), at(3.14159), at(-0.01)
        ('12', '3.1', '0')
    """
    return (
        f"{value:.1f}".rstrip("0").rstrip(".").replace("-0", "0")
        if abs(value) < 0.05
        else f"{value:.1f}".removesuffix(".0")
    )


def path(points: Iterable[tuple[float, float]], series: int, *, faint: bool = False, plain: bool = False) -> Markup:
    """A line through points in the colour of its series."""
    line = " ".join(f"{at(x)},{at(y)}" for x, y in points)
    dashes = "" if plain or not dash(series) else f' stroke-dasharray="{dash(series)}"'
    return Markup(f'<polyline class="line {style_of(series)}{" faint" if faint else ""}" points="{line}"{dashes}/>')


def whisker(x1: float, y1: float, x2: float, y2: float) -> Markup:
    """The line of an interval; its mark's colour is its own."""
    return Markup(f'<path class="whisker" d="M{at(x1)} {at(y1)}L{at(x2)} {at(y2)}"/>')


def drawn_marks(marks: Sequence[Mark], *, bare: bool = False) -> Markup:
    """All marks of a chart, of which the first can be reached with the tab key and the others with the arrows from there."""
    out = []
    for number, mark in enumerate(marks):
        grey = " grey" if mark.grey else ""
        shape = (
            ""
            if bare
            else f'<path class="dot{" hollow" if mark.hollow else ""}" d="{marker(mark.series)}" transform="translate({at(mark.x)} {at(mark.y)})"/>'
        )
        out.append(
            f'<g class="mark {style_of(mark.series)}{grey}" tabindex="{-1 if number else 0}" role="img" aria-label="{escape(mark.text)}"'
            f' data-x="{at(mark.x)}" data-y="{at(mark.y)}" data-s="{mark.series}">{mark.drawn}{shape}</g>'
        )
    return Markup("".join(out))


def frame(
    x: Scale,
    y: Scale,
    *,
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    x_text: Callable[[float], str],
    y_text: Callable[[float], str],
    x_name: str,
    y_name: str,
) -> Markup:
    """The grid, the ticks and the names of both axes. The name of the upright one stands above it."""
    left, right, top, bottom = x.start, x.end, y.end, y.start
    out = []
    for tick in y_ticks:
        place = at(y(tick))
        out.append(f'<path class="grid" d="M{at(left)} {place}H{at(right)}"/>')
        out.append(f'<text class="tick end" x="{at(left - 7)}" y="{at(y(tick) + 4)}">{escape(y_text(tick))}</text>')
    for tick in x_ticks:
        place = at(x(tick))
        out.append(f'<path class="grid" d="M{place} {at(top)}V{at(bottom)}"/>')
        out.append(f'<text class="tick mid" x="{place}" y="{at(bottom + 17)}">{escape(x_text(tick))}</text>')
    out.append(f'<path class="axis" d="M{at(left)} {at(bottom)}H{at(right)}"/>')
    out.append(f'<text class="name mid" x="{at((left + right) / 2)}" y="{at(bottom + 36)}">{escape(x_name)}</text>')
    if y_name:
        out.append(f'<text class="name" x="4" y="14">{escape(y_name)}</text>')
    return Markup("".join(out))


def svg(height: float, title: str, *parts: Markup) -> Markup:
    """A chart as an image of so many units of height."""
    inside = Markup("").join(parts)
    name = escape(f"{title}. The arrow keys move from value to value.")
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {at(height)}" role="group" aria-label="{name}">{inside}</svg>'
    )
