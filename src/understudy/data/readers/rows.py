"""From a table to checked rows: a labelled split with all its faults, or the texts of a pool."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from understudy.data.readers.columns import TextColumns, blank_rows, find_label, find_text, has_columns, texts_of
from understudy.data.readers.duplicates import note_conflicts
from understudy.data.readers.faults import Faults, counted
from understudy.data.readers.files import format_of, is_txt
from understudy.data.readers.labels import Labels, missing_labels
from understudy.data.readers.tables import SourceTable
from understudy.data.splits import Rows
from understudy.data.tasks import Kind
from understudy.data.texts import Texts


def learn_columns(
    table: SourceTable, wanted: Sequence[str], label: str | None, kind: Kind | None, faults: Faults
) -> tuple[TextColumns | None, Labels | None]:
    """The text columns and the labels of a task, learnt from its training table; None for what has `faults`."""
    columns = find_text(table.names, wanted, origin=table.origin, faults=faults, label=label)
    taken = [name for entry in columns or () for name in entry]
    column = find_label(table.names, label, text=taken, origin=table.origin, faults=faults)
    if column is not None and format_of(Path(table.origin))[0] in ("csv", "tsv"):
        same = np.flatnonzero(pc.equal(table.cells.column(column), column).to_numpy().astype(bool))
        if len(same):
            faults.add(
                f"{table.where(int(same[0]))}: the label is '{column}', as the column is called. If the first line of the file is a row of data, put a line with the names of the columns above it; if this line repeats the header, remove it; else rename the column."
            )
    return columns, None if column is None else Labels.learn(table, column, kind, faults if table.whole else Faults())


def labelled_rows(
    table: SourceTable,
    split: str,
    columns: TextColumns,
    labels: Labels | None,
    faults: Faults,
    notes: list[str],
    *,
    allow_unlabelled: bool,
    may_be_bare: bool,
) -> Rows | None:
    """One labelled split, checked row by row.

    Args:
        labels: None to check the texts only.
        allow_unlabelled: a row without a label is no fault: it is kept in training and left out of the other splits.
        may_be_bare: a split without any label is no fault: it is left out.

    Returns:
        The rows; None if there are faults, or if no row has a label and that is allowed.
    """
    before = faults.count
    if not has_columns(table, columns, labels.column if labels else None, faults):
        return None
    texts = texts_of(table, columns, faults)
    named = " and ".join("+".join(entry) for entry in columns)
    faults.rows(
        table.origin,
        "with an empty text",
        blank_rows(table, columns),
        lambda row: f"{table.where(row)}: the text ({named}) is empty. Fill it in, or remove the row.",
    )
    if labels is None or texts is None:
        return None
    rows = Rows(texts, labels.read(table, faults), table.origin)
    # A value that cannot be read is a fault already. A missing label is a cell without any value.
    bare = missing_labels(table, labels)
    if len(bare) == len(rows) and split != "train" and (may_be_bare or allow_unlabelled):
        notes.append(f"{table.origin}: no row has a label, so it is not used as the {split} split.")
        return None
    if len(bare) and not allow_unlabelled:
        faults.rows(
            table.origin,
            "without a label",
            bare,
            lambda row: (
                f"{table.where(row)}: no label in column '{labels.column}'. Label the row or remove it (distill takes such training rows as unlabelled)."
            ),
        )
    if faults.count > before:
        return None
    if len(bare):
        fate = "taken as unlabelled" if split == "train" else "left out"
        notes.append(
            f"{table.origin}: {counted(len(bare), 'row')} without a label, {fate} (first: {table.where(int(bare[0]))})."
        )
    note_conflicts(rows, table, notes)
    return rows if split == "train" else rows.take(np.flatnonzero(rows.labelled))


def pool_texts(table: SourceTable, columns: TextColumns, faults: Faults, notes: list[str]) -> Texts | None:
    """The texts of an unlabelled table that are not empty; None if `faults` were added."""
    found: TextColumns | None = columns
    if is_txt(table.origin):
        found = txt_columns(table, faults, arity=len(columns))
    elif not has_columns(table, columns, None, faults):
        found = None
    texts = None if found is None else texts_of(table, found, faults)
    if found is None or texts is None:
        return None
    blank = blank_rows(table, found)
    if len(blank) == len(texts):
        faults.add(f"{table.origin}: every text is empty. Name another file with --unlabeled.")
        return None
    if len(blank):
        notes.append(
            f"{table.origin}: {counted(len(blank), 'row')} without text dropped (first: {table.where(int(blank[0]))})."
        )
        texts = texts.take(np.setdiff1d(np.arange(len(texts)), blank, assume_unique=True))
    return texts


def txt_columns(table: SourceTable, faults: Faults, *, arity: int) -> TextColumns | None:
    """The one column of a txt file; None, and a fault, if a row must have two texts."""
    if arity == 1:
        return (("text",),)
    faults.add(
        f"{table.origin}: a txt file has one text a line, but pairs of texts are needed. Give a csv, tsv, jsonl or parquet file with two text columns."
    )
    return None
