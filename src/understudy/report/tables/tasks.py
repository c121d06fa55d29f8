"""The table of several tasks: GLUE's, a task a row, with the average below."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from understudy.functional.glue_score import task_score
from understudy.functional.metrics import AVERAGE
from understudy.functional.scoring import higher_is_better
from understudy.report.metric_names import human_score, metric_name
from understudy.report.numbers import ABSENT, number
from understudy.report.scores import MULTI_TASK, Record
from understudy.report.tables.cells import plain_table
from understudy.report.tables.models import models_table


@dataclass(frozen=True, kw_only=True)
class TaskRow:
    """One task's line, every number times 100 as in GLUE's table; errors as they are."""

    name: str
    metrics: str
    """The names of the metrics, with strokes between them."""
    values: str
    """Their values in the same order."""
    score: str
    """The mean of the values, without errors."""
    is_average: bool
    has_errors: bool
    """Whether some metric is an error, which is shown as it is and does not count in the score."""


def task_rows(record: Record) -> Iterator[TaskRow]:
    """The entries of a record of several tasks, as table rows."""
    for model in record["models"]:
        parts = {
            split: scores for split, scores in (model.get("metrics") or {}).items() if split.startswith("validation")
        }
        names = [metric for scores in parts.values() for metric in scores if higher_is_better(metric)]
        marked = len(parts) > 1
        average = str(model["name"]).partition(",")[0] == AVERAGE  # ", fine-tuned" and the like may follow
        yield TaskRow(
            name=str(model["name"]),
            metrics=ABSENT
            if average
            else " / ".join(_named(metric, split, marked) for split, scores in parts.items() for metric in scores),
            values=ABSENT
            if average
            else " / ".join(_value(*item) for scores in parts.values() for item in scores.items()),
            score=_hundredfold(task_score(parts.values())) if names else ABSENT,
            is_average=average,
            has_errors=not all(higher_is_better(metric) for scores in parts.values() for metric in scores),
        )


def _named(metric: str, split: str, marked: bool) -> str:
    if not marked:
        return metric_name(metric, short=True)
    return f"{metric_name(metric, short=True)} {'mm' if split.endswith('mismatched') else 'm'}"


def _value(metric: str, value: Any) -> str:
    return _hundredfold(value) if higher_is_better(metric) else human_score(metric, value)


def _hundredfold(value: Any) -> str:
    score = number(value)
    return ABSENT if score is None else f"{100 * score:.1f}"


def result_table(record: Mapping[str, Any]) -> Table:
    """The table at the end of a run: of its models, or of its tasks where there are several."""
    return tasks_table(record) if record["task"]["kind"] == MULTI_TASK else models_table(record)


def tasks_table(record: Mapping[str, Any]) -> Table:
    """A task a row: its metrics, their values and their mean, all but errors times 100; the average is bold."""
    rows = list(task_rows(record))
    errors = "; errors as they are" if any(row.has_errors for row in rows) else ""
    table = plain_table(title=f"Scores on the development sets (times 100{errors})")
    for heading in ("task", "metric", "value", "score"):
        table.add_column(heading, justify="left" if heading in ("task", "metric") else "right", overflow="fold")
    for row in rows:
        table.add_row(row.name, row.metrics, row.values, row.score, style="bold" if row.is_average else "")
    return table
