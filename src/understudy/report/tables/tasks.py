"""The table of several tasks: GLUE's, a task a row, with the average below."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from understudy.functional.metrics import AVERAGE
from understudy.report.family import averaged_words, family_table, fewer_runs
from understudy.report.metric_names import LOWER_IS_BETTER, MISMATCHED, human_spread, metric_name
from understudy.report.numbers import ABSENT, number
from understudy.report.scores import MULTI_TASK, TASK_SCORE, Record, split_scores
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
    """The entries of a record of several tasks as table rows; of a family of such runs, means with their spread."""
    for name, scores in _scores_of(record).items():
        average = name.partition(",")[0] == AVERAGE  # ", fine-tuned" and the like may follow
        own = [metric for metric in scores if metric != TASK_SCORE]
        marked = any(metric.endswith(MISMATCHED) for metric in own)
        yield TaskRow(
            name=name,
            metrics=ABSENT if average else " / ".join(_named(metric, marked) for metric in own),
            values=ABSENT if average else " / ".join(_value(metric, scores[metric]) for metric in own),
            score=_hundredfold(scores[TASK_SCORE]) if TASK_SCORE in scores else ABSENT,
            is_average=average,
            has_errors=any(metric in LOWER_IS_BETTER for metric in own),
        )


def _scores_of(record: Record) -> dict[str, dict[str, dict[str, Any]]]:
    """The mean and the deviation of each entry's scores on the development set; a single run has no deviation."""
    if not record.get("aggregate"):
        return {
            str(model["name"]): {
                metric: {"mean": value, "sd": None}
                for metric, value in split_scores(record, model, "validation").items()
            }
            for model in record["models"]
        }
    fewer = fewer_runs(record)
    return {name + f" ({fewer[name]})" * bool(fewer[name]): scores for name, scores in record["aggregate"].items()}


def _named(metric: str, marked: bool) -> str:
    return metric_name(metric, short=True) + " m" * (marked and not metric.endswith(MISMATCHED))


def _value(metric: str, spread: Mapping[str, Any]) -> str:
    errors = metric in LOWER_IS_BETTER
    return human_spread(metric, spread["mean"], spread["sd"]) if errors else _hundredfold(spread)


def _hundredfold(spread: Mapping[str, Any]) -> str:
    found = (number(spread[part]) for part in ("mean", "sd"))
    return " ± ".join(f"{100 * value:.1f}" for value in found if value is not None) or ABSENT


def result_table(record: Mapping[str, Any]) -> Table:
    """The table at the end of a run or a family of runs: of its models, or of its tasks where there are several."""
    if record["task"]["kind"] == MULTI_TASK:
        return tasks_table(record)
    return family_table(record) if record.get("aggregate") else models_table(record)


def tasks_table(record: Mapping[str, Any]) -> Table:
    """A task a row: its metrics, their values and their mean, all but errors times 100; the average is bold."""
    rows = list(task_rows(record))
    said = ["times 100", *(["errors as they are"] if any(row.has_errors for row in rows) else [])]
    said += averaged_words(record) if record.get("aggregate") else []
    table = plain_table(title=f"Scores on the development sets ({'; '.join(said)})")
    for heading in ("task", "metric", "value", "score"):
        table.add_column(heading, justify="left" if heading in ("task", "metric") else "right", overflow="fold")
    for row in rows:
        table.add_row(row.name, row.metrics, row.values, row.score, style="bold" if row.is_average else "")
    return table
