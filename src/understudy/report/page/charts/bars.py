"""How often something occurs, as bars."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from understudy.report.page.charts.drawing import WIDTH, Chart, Mark, at, drawn_marks, frame, svg
from understudy.report.page.charts.scales import Scale, ticks
from understudy.report.page.tables import Cell, Column, PageTable

_BINS = 20


def lengths_chart(lengths: Sequence[int] | np.ndarray, *, title: str, unit: str) -> Chart | None:
    """How long texts are: bars up to the length that 99 % do not exceed, the longest ones in the last bar."""
    values = np.asarray(lengths)
    if not values.size:
        return None
    top = max(int(np.quantile(values, 0.99, method="higher")), 1)
    width = -(-(top + 1) // min(_BINS, top + 1))
    edges = np.arange(0, top + width + 1, width)
    counts = np.histogram(np.minimum(values, edges[-1] - 1), edges)[0]
    x = Scale(float(edges[0]), float(edges[-1]), 52, WIDTH - 12)
    y = Scale(0, float(counts.max()) * 1.08, 212, 30)
    marks, rows = [], []
    for i, count in enumerate(counts):
        low, high = int(edges[i]), int(edges[i + 1]) - 1
        last = i == len(counts) - 1 and int(values.max()) > high
        said = f"{low:,} or more" if last else f"{low:,}" if low == high else f"{low:,} to {high:,}"
        left, right, upper = x(edges[i]) + 0.8, x(edges[i + 1]) - 0.8, y(float(count))
        bar = Markup(f'<rect x="{at(left)}" y="{at(upper)}" width="{at(right - left)}" height="{at(212 - upper)}"/>')
        marks.append(Mark((left + right) / 2, upper, f"{said} {unit}: {count:,} rows", 0, bar))
        rows.append([Cell(said, low), Cell(f"{count:,}", float(count))])
    grid = frame(
        x,
        y,
        x_ticks=ticks(x.low, x.high, 6),
        y_ticks=[tick for tick in ticks(0, y.high, 4) if tick == int(tick)],
        x_text=lambda value: f"{value:,.6g}",
        y_text=lambda value: f"{value:,.6g}",
        x_name=unit.capitalize(),
        y_name="Rows",
    )
    columns = [Column(unit.capitalize()), Column("Rows")]
    table = PageTable(title, columns, rows)
    return Chart(title, svg(254, title, grid, drawn_marks(marks, bare=True)), table)
