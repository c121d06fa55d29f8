"""The table at the end of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from understudy.report.metric_names import human_score, metric_name
from understudy.report.numbers import ABSENT
from understudy.report.scores import (
    Record,
    gap_sentence,
    interval_of,
    little_told,
    main_name,
    score_of,
    scored_count,
    selecting_metric,
    share_kept,
    shown_split,
)
from understudy.report.tables.cells import lines, plain_table
from understudy.report.tables.costs import Costs


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """One model's line in a table, every number written for people; :data:`understudy.report.numbers.ABSENT` where there is none."""

    name: str
    score: str
    interval: str
    others: dict[str, str]
    """The task's other metrics, by short name, without units."""
    kept: str
    costs: Costs


def model_rows(record: Record) -> Iterator[ModelRow]:
    """The record's models in their order, as table rows."""
    metric, *others = record["task"]["metrics"]
    for model in record["models"]:
        interval, kept = interval_of(record, model), share_kept(record, model)
        yield ModelRow(
            name=str(model["name"]),
            score=human_score(metric, score_of(record, model)),
            interval="–".join(human_score(metric, end, unit=False) for end in interval) if interval else ABSENT,
            others={
                metric_name(other, short=True): human_score(other, score_of(record, model, other), unit=False)
                for other in others
            },
            kept=ABSENT if kept is None else f"{100 * kept:.1f} %",
            costs=Costs.of(model),
        )


def models_table(record: Record) -> Table:
    """All models of a run side by side: quality with its 95 % interval, share of the teacher kept, size and speed.

    Each number stands on one line under its own heading, whole on a terminal of 80 columns: only the names of models wrap.
    That leaves room for the selecting metric alone; the others are in the card. Where a model has no speed and no interval,
    as a language model, they have columns here. A number that no model has (a share of the teacher in a run without one)
    gets no column.
    """
    rows, split, metric = list(model_rows(record)), shown_split(record), selecting_metric(record)
    scored = scored_count(record)
    title = f"Quality on the {split} split" + (f" ({scored:,} rows)" if scored is not None else "")
    said = [sentence for sentence in (little_told(record), gap_sentence(record)) if sentence]
    table = plain_table(title=title, caption=Text("\n".join(said)) if said else None)
    table.leading = 1
    has_kept = any(row.kept != ABSENT for row in rows)
    has_interval = any(row.interval != ABSENT for row in rows)
    has_speed = any(row.costs.rate != ABSENT or row.costs.p50 != ABSENT for row in rows)
    others = [] if has_interval or has_speed else record["task"]["metrics"][1:]
    table.add_column("model", overflow="fold")
    headings = [
        lines(metric_name(metric, short=True), *(["95 % CI"] if has_interval else [])),
        *(Text(metric_name(other, short=True)) for other in others),
        *([lines("kept of", "teacher")] if has_kept else []),
        Text("params"),
        Text("size"),
        *([Text("texts/s"), Text("p50"), Text("p99")] if has_speed else []),
    ]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    main = main_name(record)
    for row in rows:
        cells = [
            Text(row.name),
            lines(row.score, *([row.interval] if has_interval else [])),
            *(Text(row.others[metric_name(other, short=True)]) for other in others),
            *([Text(row.kept)] if has_kept else []),
            Text(row.costs.parameters),
            Text(row.costs.size),
            *([Text(row.costs.rate), Text(row.costs.p50), Text(row.costs.p99)] if has_speed else []),
        ]
        table.add_row(*cells, style="bold" if row.name == main and len(rows) > 1 else "")
    return table
