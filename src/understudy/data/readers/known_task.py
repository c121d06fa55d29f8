"""Labelled rows for a task that is known already, from one file: what a trained model is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from understudy.data.readers.cached_tables import SourceTable, read_source
from understudy.data.readers.columns import (
    blank_rows,
    find_labels,
    pairs_unfolded,
    said_of_label,
    task_columns,
    texts_of,
)
from understudy.data.readers.faults import Faults, counted
from understudy.data.readers.formats.parsed import NAME_THE_COLUMNS
from understudy.data.readers.formats.reading import AS_WRITTEN, Reading
from understudy.data.readers.labels.learning import known_labels
from understudy.data.readers.labels.values import label_name, with_label_column
from understudy.data.readers.places.locate import locate_file
from understudy.data.readers.places.source import How, check_use
from understudy.data.splits import Rows
from understudy.data.tasks import Task
from understudy.errors import DataError


def read_known_task(
    path: str,
    task: Task,
    *,
    text: Sequence[str] = (),
    label: Sequence[str] = (),
    notes: list[str] | None = None,
    reading: Reading = AS_WRITTEN,
) -> Rows:
    """The rows of a file that have a label, in the order of the task's labels.

    Args:
        path: a file in any format.
        task: gives the names of the labels, and the columns that are read where the file has them.
        text, label: columns to read instead, as in :func:`understudy.data.readers.sources.load_splits`.
        notes: is told what was understood of the file.
        reading: how the file is read, where it does not say it.

    Raises:
        DataError: with every fault of the file.
    """
    faults, said = Faults(), [] if notes is None else notes
    source = locate_file(path, faults, How(reading))
    check_use(reading, [] if source is None else [source], faults)
    table = None if source is None else read_source(source, faults)
    faults.check()
    assert table is not None
    said += [f"{table.origin}: {what}" for what in table.said]
    table = pairs_unfolded(table)
    if table.bare:
        raise DataError(
            f"{table.origin}: holds texts without labels, so nothing can be measured on it. Name a file with a label column, or {NAME_THE_COLUMNS}."
        )
    columns = task_columns(
        table.names, task.text, tuple(text), origin=table.origin, faults=faults, notes=said, headed=table.headed
    )
    named = _labels(table, task, label, [name for entry in columns or () for name in entry], faults, said)
    faults.check()
    assert columns is not None
    whole = with_label_column(table, named)
    labels = known_labels(whole, label_name(named), task)
    if len(named) > 1:
        labels = replace(labels, hot=True, columns=named)
    texts, values = texts_of(whole, columns, faults), labels.read(whole, faults)
    faults.check()
    assert texts is not None
    rows = Rows(texts, values, table.origin)
    if not rows.labelled.any():
        raise DataError(
            f"{table.origin}: no row has a label in column '{label_name(named)}', so nothing can be measured on it. Name another file, or another column with --label."
        )
    faults.rows(
        table.origin,
        "with an empty text",
        blank_rows(whole, columns),
        lambda row: f"{whole.where(row)}: the text is empty. Fill it in, or remove the row.",
    )
    faults.check()
    bare = np.flatnonzero(~rows.labelled)
    if len(bare):
        said.append(
            f"{table.origin}: {counted(len(bare), 'row')} without a label left out (first: {whole.where(int(bare[0]))})."
        )
    return rows.take(np.flatnonzero(rows.labelled))


def _labels(
    table: SourceTable, task: Task, wanted: Sequence[str], text: Sequence[str], faults: Faults, notes: list[str]
) -> tuple[str, ...]:
    """The columns of the labels: those that were asked for, else the task's own, else the one with a usual name."""
    if not wanted and task.label in table.names:
        return (task.label,)
    if not wanted and task.kind == "multi_label" and set(task.labels) <= set(table.names):
        return task.labels
    found = find_labels(table.names, wanted, text=text, origin=table.origin, faults=faults)
    if found and not wanted:
        notes.append(said_of_label(table.origin, task.label, found[0]))
    if len(found) > 1 and set(found) != set(task.labels):
        faults.add(
            f"{table.origin}: --label names {', '.join(found)}, but the model's labels are {', '.join(task.labels) or 'numbers'}. Name one column, or the column of each label."
        )
    return task.labels if len(found) > 1 else found
