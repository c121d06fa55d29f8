"""The table of several tasks: GLUE's, a task a row, with the average below."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from understudy.functional.metrics import AVERAGE
from understudy.report.family import family_size, family_table
from understudy.report.metric_names import LOWER_IS_BETTER, MISMATCHED, human_score, human_spread, metric_name
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
            score=_hundredfold(scores.get(TASK_SCORE)),
            is_average=average,
            has_errors=any(metric in LOWER_IS_BETTER for metric in own),
        )


def _scores_of(record: Record) -> Mapping[str, Mapping[str, Any]]:
    """The scores of each entry on the development set: numbers, or of a family their means and deviations."""
    if not record.get("aggregate"):
        return {str(model["name"]): split_scores(record, model, "validation") for model in record["models"]}
    runs = family_size(record)
    least = {name: max(entry["n"] for entry in scores.values()) for name, scores in record["aggregate"].items()}
    return {
        name + f" (n = {least[name]})" * (least[name] < runs): scores for name, scores in record["aggregate"].items()
    }


def _named(metric: str, marked: bool) -> str:
    return metric_name(metric, short=True) + " m" * (marked and not metric.endswith(MISMATCHED))


def _value(metric: str, value: Any) -> str:
    if metric not in LOWER_IS_BETTER:
        return _hundredfold(value)
    return (
        human_spread(metric, value["mean"], value["sd"]) if isinstance(value, Mapping) else human_score(metric, value)
    )


def _hundredfold(value: Any) -> str:
    found = [value["mean"], value["sd"]] if isinstance(value, Mapping) else [value]
    return " ± ".join(f"{100 * score:.1f}" for score in map(number, found) if score is not None) or ABSENT


def result_table(record: Mapping[str, Any]) -> Table:
    """The table at the end of a run or a family of runs: of its models, or of its tasks where there are several."""
    if record["task"]["kind"] == MULTI_TASK:
        return tasks_table(record)
    return family_table(record) if record.get("aggregate") else models_table(record)


def tasks_table(record: Mapping[str, Any]) -> Table:
    """A task a row: its metrics, their values and their mean, all but errors times 100; the average is bold."""
    rows = list(task_rows(record))
    said = ["times 100", *(["errors as they are"] if any(row.has_errors for row in rows) else [])]
    if record.get("aggregate"):
        runs = family_size(record)
        said += [*(["mean ± standard deviation"] if runs > 1 else []), f"n = {runs}"]
    table = plain_table(title=f"Scores on the development sets ({'; '.join(said)})")
    for heading in ("task", "metric", "value", "score"):
        table.add_column(heading, justify="left" if heading in ("task", "metric") else "right", overflow="fold")
    for row in rows:
        table.add_row(row.name, row.metrics, row.values, row.score, style="bold" if row.is_average else "")
    return table
