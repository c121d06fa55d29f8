"""Final scores with their intervals, and quality against cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup, escape

from understudy.evaluation.front import dominated, pareto_front
from understudy.report.metric_names import LOWER_IS_BETTER, human_score, is_share, metric_name
from understudy.report.numbers import human_bytes, human_milliseconds
from understudy.report.page.charts.drawing import (
    WIDTH,
    Chart,
    Mark,
    at,
    drawn_marks,
    frame,
    style_of,
    svg,
    whisker,
)
from understudy.report.page.charts.scales import Scale, log_ticks, ticks, widened
from understudy.report.page.models import ModelLine
from understudy.report.page.tables import Cell, Column, PageTable, headed

_ROW = 38


def scores_chart(lines: Sequence[ModelLine], metric: str) -> Chart | None:
    """The score of every model, the best on top, each with its interval or its spread; None for fewer than two."""
    known = [(place, line) for place, line in enumerate(lines) if line.score is not None]
    if len(known) < 2:
        return None
    sign = 1 if metric in LOWER_IS_BETTER else -1
    known.sort(key=lambda entry: sign * (entry[1].score or 0.0))
    ends = [end for _, line in known for end in (line.score or 0.0, *(_reach(line) or ()))]
    x = Scale(*_score_ends(ends, metric), 12, WIDTH - 12)
    bottom = 12 + _ROW * len(known)
    marks, names = [], []
    for row, (place, line) in enumerate(known):
        score = line.score or 0.0
        middle, reach = 12 + _ROW * row + 27, _reach(line)
        bar = whisker(x(reach[0]), middle, x(reach[1]), middle) if reach else Markup("")
        marks.append(Mark(x(score), middle, said_score(line, metric), place, bar, hollow=not line.chosen))
        names.append(
            Markup(
                f'<text class="label{" strong" if line.chosen else ""}" x="12" y="{at(middle - 12)}">{escape(cut(line.shown, 46))}</text>'
            )
        )
    grid = frame(
        x,
        Scale(0, 1, bottom, 8),
        x_ticks=ticks(x.low, x.high, 6),
        y_ticks=[],
        x_text=lambda value: short_score(metric, value),
        y_text=str,
        x_name=headed(metric),
        y_name="",
    )
    rows = [
        [Cell(line.shown), Cell(human_score(metric, line.score), line.score), *_ends_of(line, metric)]
        for _, line in known
    ]
    columns = [Column("Model", numeric=False), Column(headed(metric)), Column("from"), Column("to")]
    title = "Final scores"
    note = _whiskers(lines)
    return Chart(
        title, svg(bottom + 44, title, grid, *names, drawn_marks(marks)), PageTable(title, columns, rows), note
    )


def front_chart(lines: Sequence[ModelLine], metric: str, *, axis: str) -> Chart | None:
    """Quality against ``size`` or ``latency``, over a logarithmic axis, with the front; None for fewer than two models."""
    key, human, what = {
        "size": ("size_bytes", _bytes, "Size of the files (log scale)"),
        "latency": ("p50", _milliseconds, "Median time for one text (log scale)"),
    }[axis]
    known = [
        (place, line, cost)
        for place, line in enumerate(lines)
        if (cost := line.costs.get(key)) and line.score is not None and cost > 0
    ]
    if len(known) < 2:
        return None
    costs = [cost for _, _, cost in known]
    ends = [end for _, line, _ in known for end in (line.score or 0.0, *(_reach(line) or ()))]
    room = max(1.6, (max(costs) / min(costs)) ** 0.12)
    x = Scale(min(costs) / room, max(costs) * room, 52, WIDTH - 14, log=True)
    y = Scale(*_score_ends(ends, metric), 262, 30)
    sign = -1 if metric in LOWER_IS_BETTER else 1
    priced = {line.shown: cost for _, line, cost in known}
    quality = {line.shown: sign * (line.score or 0.0) for _, line, _ in known}
    marks, places = [], dict[str, tuple[float, float]]()
    worse, front = dominated(priced, quality), pareto_front(priced, quality)
    for place, line, cost in known:
        score, reach = line.score or 0.0, _reach(line)
        bar = whisker(x(cost), y(reach[0]), x(cost), y(reach[1])) if reach else Markup("")
        text = f"{said_score(line, metric)}; {human(cost)}"
        text += f"; dominated by {worse[line.shown]}" if line.shown in worse else ""
        grey = line.shown in worse
        marks.append(Mark(x(cost), y(score), text, place, bar, hollow=not line.chosen, grey=grey))
        places[line.shown] = (x(cost), y(score))
    joined = " ".join(f"{at(a)},{at(b)}" for a, b in (places[name] for name in front))
    line_of_front = Markup(f'<polyline class="front" points="{joined}"/>') if len(front) > 1 else Markup("")
    grid = frame(
        x,
        y,
        x_ticks=log_ticks(x.low, x.high, 6),
        y_ticks=ticks(y.low, y.high, 5),
        x_text=human,
        y_text=lambda value: short_score(metric, value),
        x_name=what,
        y_name=headed(metric),
    )
    bars = [
        (x(cost) - 2, y(reach[1]), x(cost) + 2, y(reach[0]))
        for _, line, cost in known
        if (reach := _reach(line)) is not None
    ]
    names = _named([(mark, line.shown) for mark, (_, line, _) in zip(marks, known, strict=True)], bars)
    title = f"Quality against {axis}"
    rows = [
        [Cell(line.shown), Cell(human(cost), cost), Cell(human_score(metric, line.score), line.score)]
        for _, line, cost in sorted(known, key=lambda entry: entry[2])
    ]
    columns = [Column("Model", numeric=False), Column(axis.capitalize()), Column(headed(metric))]
    said = ["dashes: the front, models that no other one dominates"] if len(front) > 1 else []
    said += ["grey: dominated"] if any(mark.grey for mark in marks) else []
    note = ". ".join(part for part in ("; ".join(said), _whiskers(lines)) if part)
    chart = svg(304, title, grid, line_of_front, names, drawn_marks(marks))
    return Chart(title, chart, PageTable(title, columns, rows), note[:1].upper() + note[1:])


def said_score(line: ModelLine, metric: str) -> str:
    """A model's score in words, with its interval."""
    said = f"{line.shown}: {metric_name(metric, short=True)} {human_score(metric, line.score)}"
    if line.interval:
        return (
            f"{said} (95 % interval {human_score(metric, line.interval[0])} to {human_score(metric, line.interval[1])})"
        )
    return f"{said} ± {human_score(metric, line.sd)}" if line.sd is not None else said


def short_score(metric: str, value: float) -> str:
    """A score on an axis."""
    return f"{100 * value:.4g} %" if is_share(metric) else f"{value:.4g}"


def cut(name: str, most: int) -> str:
    """A name that fits, shortened in the middle.

    Example:
        >>> cut("a name that is too long", 11)
        'a name…long'
    """
    return name if len(name) <= most else f"{name[: most * 2 // 3 - 1].rstrip()}…{name[-(most // 3 + 1) :].lstrip()}"


def _reach(line: ModelLine) -> tuple[float, float] | None:
    """The ends of what is drawn beside a score: its interval, or else one standard deviation."""
    if line.interval is None and line.sd is not None and line.score is not None:
        return line.score - line.sd, line.score + line.sd
    return line.interval


def _whiskers(lines: Sequence[ModelLine]) -> str:
    kinds = ["95 % intervals"] if any(line.interval for line in lines) else []
    kinds += (
        ["one standard deviation over the seeds"]
        if any(line.sd is not None and not line.interval for line in lines)
        else []
    )
    return f"Bars: {' or '.join(kinds)}" if kinds else ""


def _ends_of(line: ModelLine, metric: str) -> list[Cell]:
    return [Cell(human_score(metric, end), end) for end in _reach(line) or ()] or [Cell("–"), Cell("–")]


def _score_ends(values: Sequence[float], metric: str) -> tuple[float, float]:
    return widened(values, 0.1, least=0.0 if is_share(metric) else None, most=1.0 if is_share(metric) else None)


def _bytes(value: float) -> str:
    return human_bytes(value).replace(".0 ", " ")


def _milliseconds(value: float) -> str:
    return (
        human_milliseconds(value)
        if value not in (10.0 ** math.floor(math.log10(value)) * k for k in (1, 2, 3, 5))
        else f"{value:g} ms"
    )


_Box = tuple[float, float, float, float]
_SIDES: tuple[Callable[[float, float, float], tuple[float, float]], ...] = (
    lambda x, y, width: (x + 9, y + 4),
    lambda x, y, width: (x - 9 - width, y + 4),
    lambda x, y, width: (x - width / 2, y - 10),
    lambda x, y, width: (x - width / 2, y + 18),
)
"""Where a name of some width begins that stands to the right of, to the left of, above and below a place."""


def _named(marks: Sequence[tuple[Mark, str]], bars: Sequence[_Box]) -> Markup:
    """Names beside their marks, each on the side where it covers no mark, no other name and, if it can be, no bar; without room, none.

    Args:
        bars: the boxes of what else is drawn: left, upper, right and lower end.
    """
    taken = [(mark.x - 6, mark.y - 6, mark.x + 6, mark.y + 6) for mark, _ in marks]
    out = []
    for mark, name in sorted(marks, key=lambda entry: entry[0].y):
        written = cut(name, 24)
        width = 7.2 * len(written)
        places = [side(mark.x, mark.y, width) for side in _SIDES]
        boxes = [(x, y - 11, x + width, y + 3) for x, y in places]
        inside = [box for box in boxes if box[0] >= 50 and box[2] <= WIDTH - 2 and box[1] >= 18 and box[3] <= 262]
        free = [box for box in inside if not any(_overlap(box, other) for other in taken)]
        if not free:
            continue
        box = next((box for box in free if not any(_overlap(box, bar) for bar in bars)), free[0])
        taken.append(box)
        grey = " grey" if mark.grey else ""
        out.append(
            f'<text class="label {style_of(mark.series)}{grey}" x="{at(box[0])}" y="{at(box[1] + 11)}">{escape(written)}</text>'
        )
    return Markup("".join(out))


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
