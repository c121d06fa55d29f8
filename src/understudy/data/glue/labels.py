"""A label column of GLUE as numbers: one of the task's labels, or a score within its range."""

from __future__ import annotations

import numpy as np

from understudy.data.glue.tasks import GlueTask
from understudy.data.readers.cached_tables import SourceTable
from understudy.data.readers.faults import Faults, quoted
from understudy.data.readers.labels.cells import number, whole
from understudy.data.readers.labels.values import distinct_values
from understudy.data.tasks import NO_LABEL
from understudy.errors import nearest


def read_labels(table: SourceTable, column: str, task: GlueTask, faults: Faults) -> np.ndarray:
    """The label of every row; what is none of the task's is a fault with its line.

    Returns:
        Class indices, int64 ``(rows,)``, NO_LABEL for an empty cell; or scores, float32 ``(rows,)``, NaN for one.
    """
    values, codes = distinct_values(table, column)
    found: np.ndarray
    if task.score_range is None:
        places = {label: place for place, label in enumerate(task.labels)}
        names = [task.aliases.get(whole(value) or value) for value in values]
        found = np.array([-1 if name is None else places[name] for name in names] + [NO_LABEL], dtype=np.int64)
        bad = found[:-1] == -1
    else:
        low, high = task.score_range
        found = np.array([number(value) for value in values] + [np.nan], dtype=np.float32)
        bad = ~((found[:-1] >= low) & (found[:-1] <= high))
        found[:-1][bad] = low  # a score that cannot be read is a fault already, and no missing one
    rows = np.flatnonzero(np.isin(codes, np.flatnonzero(bad)))
    faults.rows(
        table.origin,
        f"with another label in '{column}'",
        rows,
        lambda row: f"{table.where(row)}: {_fault(values[codes[row]], column, task)}",
    )
    return found[codes]


def _fault(value: str, column: str, task: GlueTask) -> str:
    shown = value if len(value) <= 60 else f"{value[:57]}..."
    if task.score_range is not None:
        low, high = task.score_range
        return f"the score '{shown}' in column '{column}' is not between {low:g} and {high:g}, as {task.folder}'s are. Correct it, or remove the row."
    guess = "" if whole(value) else nearest(value, task.aliases)
    return f"label '{shown}' in column '{column}' is not one of {quoted(task.labels)}, the labels of {task.folder}.{guess or ' Correct it, or remove the row.'}"
