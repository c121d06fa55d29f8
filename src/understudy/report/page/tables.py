"""The tables of a page: cells that are shown as text and sorted by number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from understudy.report.comparison.recommending import ALARM, human_p
from understudy.report.metric_names import (
    LOWER_IS_BETTER,
    capitalised,
    human_score,
    human_spread,
    is_share,
    metric_name,
)
from understudy.report.numbers import (
    ABSENT,
    human_bytes,
    human_count,
    human_milliseconds,
    human_rate,
    human_seconds,
    number,
)
from understudy.report.page.models import ModelLine
from understudy.report.page.runs import PageRun
from understudy.report.scores import shown_split
from understudy.report.searching.sentences import budget_words, human_share

Human = Callable[[object], str]


class Cell(NamedTuple):
    """What is shown, and what it is sorted by where that is a number."""

    text: str
    value: float | None = None
    more: str = ""
    """Said below it, in small letters."""
    share: float | None = None
    """Drawn below it as a bar, between 0 and 1."""
    bad: bool = False
    """Whether it should be looked at."""


class Column(NamedTuple):
    """A heading."""

    name: str
    help: str = ""
    numeric: bool = True
    descending: bool = False
    """Whether the largest comes first when it is first sorted by."""


class PageTable(NamedTuple):
    """A table that sorts. The first cell of a row names it."""

    caption: str
    columns: list[Column]
    rows: list[list[Cell]]
    marks: list[str] = []
    """For each row empty, ``chosen`` or ``dominated``."""
    note: str = ""


def measured(value: float | None, human: Human) -> Cell:
    """A number as people write it."""
    return Cell(human(value), number(value))


def without_empty(table: PageTable) -> PageTable:
    """The table without the columns in which nobody has anything; the first one stays."""
    kept = [
        place
        for place in range(len(table.columns))
        if place == 0 or any(row[place].text not in ("", ABSENT) for row in table.rows)
    ]
    return table._replace(
        columns=[table.columns[place] for place in kept], rows=[[row[place] for place in kept] for row in table.rows]
    )


def quality_table(lines: Sequence[ModelLine], runs: Sequence[PageRun], *, against: Sequence[str] = ()) -> PageTable:
    """What the models are worth, on the split that reports.

    Args:
        against: metrics to show, the first of which selects; default: those of the first run.
    """
    metrics = list(against) or (runs[0].metrics if runs else [])
    first = metrics[0] if metrics else "score"
    columns = [
        Column("Model", numeric=False),
        Column(headed(first), "The metric that selects models", descending=first not in LOWER_IS_BETTER),
        Column("95 % interval", "For other rows; of a comparison with several seeds, for other seeds too"),
        *(Column(headed(other), descending=other not in LOWER_IS_BETTER) for other in metrics[1:]),
        Column("Runs", "Seeds that the mean is over"),
    ]
    rows = []
    for line in lines:
        ends = line.interval
        written = (
            ABSENT
            if ends is None
            else f"{human_score(first, ends[0], unit=False)} to {human_score(first, ends[1], unit=False)}"
        )
        rows.append(
            [
                _name(line),
                Cell(human_spread(first, line.score, line.sd), line.score),
                Cell(written, None if ends is None else ends[0]),
                *(
                    Cell(human_score(other, line.others.get(other), unit=False), line.others.get(other))
                    for other in metrics[1:]
                ),
                Cell(str(line.seeds) if line.seeds > 1 else "", float(line.seeds)),
            ]
        )
    splits = list(dict.fromkeys(f"{split_of(run)}" for run in runs))
    return without_empty(
        PageTable(
            f"Quality on the {' and the '.join(splits)} split",
            columns,
            rows,
            _marks(lines),
            _said_of_marks(lines, "the smaller one that is no worse is named"),
        )
    )


def cost_table(lines: Sequence[ModelLine], *, watts: float | None = None) -> PageTable:
    """What the models cost: to keep, to ask, to train."""
    kinds: list[tuple[Column, str, Human]] = [
        (Column("Size", "Of the model's files"), "size_bytes", human_bytes),
        (Column("Parameters"), "parameters", human_count),
        (Column("p50", "Median time for one text, tokenisation included"), "p50", human_milliseconds),
        (Column("p99", "One text in a hundred takes longer"), "p99", human_milliseconds),
        (Column("Texts/s", "In batches", descending=True), "texts_per_second", human_rate),
        (Column("Training"), "seconds", human_seconds),
        (
            Column("To best", "Time to the first evaluation that is as good as the best"),
            "seconds_to_best",
            human_seconds,
        ),
        (Column("Steps to best"), "steps_to_best", _counted),
        (Column("Rows/s", "In training", descending=True), "train_rows_per_second", human_rate),
        (Column("Peak memory"), "peak_memory_bytes", human_bytes),
        (Column("Wh", f"Watt-hours of training, if a busy thread draws {watts or 0:g} W"), "energy_wh", _watt_hours),
    ]
    rows = [[_name(line), *(measured(line.costs.get(key), human) for _, key, human in kinds)] for line in lines]
    return without_empty(
        PageTable("Cost", [Column("Model", numeric=False), *(column for column, _, _ in kinds)], rows, _marks(lines))
    )


def pairs_table(run: PageRun) -> PageTable | None:
    """Every two models that were compared on the same rows; None where none were."""
    entries = run.record.get("comparisons") or []
    if not entries:
        return None
    metric = run.metrics[0]
    scale, digits, unit = (100, 1, "points") if is_share(metric) else (1, 3, metric_name(metric, short=True))
    rows = []
    for entry in entries:
        middle, low, high = (number(value) or 0.0 for value in (entry["difference"], *entry["interval"]))
        p, p_holm = number(entry.get("p")), number(entry.get("p_holm"))
        tests = entry.get("mcnemar") or []
        rows.append(
            [
                Cell(f"{entry['model']} − {entry['other']}"),
                Cell(f"{scale * middle:+.{digits}f}", middle),
                Cell(f"{scale * low:+.{digits}f} to {scale * high:+.{digits}f}", low),
                _p(p),
                _p(p_holm),
                Cell("; ".join(f"{test['only_first']} : {test['only_second']}" for test in tests)),
            ]
        )
    level = number(entries[0].get("level")) or 0.95
    columns = [
        Column("Pair", numeric=False),
        Column(f"Difference ({unit})", descending=True),
        Column(f"{100 * level:g} % interval", "Over the same rows"),
        Column("p"),
        Column("p after Holm", "Corrected for the number of pairs: this one decides"),
        Column("Only one right", "Rows that only the first or only the second model has right, for each seed"),
    ]
    marks = ["" if _is_clear(entry) else "dominated" for entry in entries]
    corrected = any(entry.get("p_holm") is not None for entry in entries)
    what = f"p after Holm is not below {ALARM}" if corrected else "0 lies in the interval"
    note = f"Grey: {what}, so the difference may be chance."
    return without_empty(PageTable("Models in pairs", columns, rows, marks, note))


def _is_clear(entry: Mapping[str, Any]) -> bool:
    """Whether a difference is significant; without a test, whether its whole interval lies on one side of 0."""
    if (p_holm := number(entry.get("p_holm"))) is not None:
        return p_holm < ALARM
    low, high = (number(value) or 0.0 for value in entry["interval"])
    return low > 0 or high < 0


def headed(metric: str) -> str:
    """A metric as a heading, with its unit."""
    return capitalised(metric_name(metric, short=True)) + (" (%)" if is_share(metric) else "")


def split_of(run: PageRun) -> str:
    """The split that a run reports."""
    return shown_split(run.record)


def _name(line: ModelLine) -> Cell:
    return Cell(
        line.shown, None, f"{line.dominated['size']} is smaller and no worse" if line.dominated.get("size") else ""
    )


def _marks(lines: Sequence[ModelLine]) -> list[str]:
    return ["chosen" if line.chosen else "dominated" if line.dominated.get("size") else "" for line in lines]


def _said_of_marks(lines: Sequence[ModelLine], why: str) -> str:
    return f"Grey: dominated; {why}." if any(line.dominated.get("size") for line in lines) else ""


def _p(p: float | None) -> Cell:
    return Cell("", None) if p is None else Cell(human_p(p).removeprefix("= "), p)


def _counted(value: object) -> str:
    known = number(value)
    return ABSENT if known is None else f"{known:,.0f}"


def _watt_hours(value: object) -> str:
    known = number(value)
    return ABSENT if known is None else f"{known:.2g}"


def search_table(run: PageRun) -> PageTable:
    """The students of a search, with what they are worth on the validation split and what they cost."""
    findings = run.record["findings"]
    metric: str = findings["metric"]
    columns = [
        Column("Student", numeric=False),
        Column(headed(metric), "On the validation split", descending=metric not in LOWER_IS_BETTER),
        Column("Of the teacher", descending=True),
        Column("For one text, median"),
        Column("Size"),
        Column("Format", numeric=False),
        Column("Rung", "The last one that it was trained on", descending=True),
        Column("Training"),
        Column("What became of it", numeric=False),
    ]
    rows, trials = [], findings.get("trials") or []
    for row in trials:
        rows.append(
            [
                Cell(str(row["name"]), more=str(row.get("why") or "")),
                Cell(human_score(metric, row.get("score"), unit=False), number(row.get("score"))),
                Cell(human_share(row.get("share")), number(row.get("share"))),
                measured(row.get("latency_ms"), human_milliseconds),
                measured(row.get("size_bytes"), human_bytes),
                Cell(str(row.get("format") or ABSENT)),
                Cell(str(row.get("rung") or ABSENT), number(row.get("rung"))),
                measured(row.get("seconds"), human_seconds),
                Cell(str(row["state"])),
            ]
        )
    marks = ["chosen" if row["state"] == "chosen" else "" for row in trials]
    return PageTable(f"Students for {budget_words(findings['budget'])}", columns, rows, marks)
