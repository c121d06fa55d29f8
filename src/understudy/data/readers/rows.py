"""From a table to checked rows: a labelled split with all its faults, or the texts of a pool."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc

from understudy.data.arrow_columns import string_column, true_rows
from understudy.data.readers.cached_tables import SourceTable
from understudy.data.readers.columns import (
    TextColumns,
    blank_rows,
    find_labels,
    find_text,
    has_columns,
    texts_of,
)
from understudy.data.readers.duplicates import note_conflicts
from understudy.data.readers.faults import Faults, counted, quoted
from understudy.data.readers.formats.parsed import NAME_THE_COLUMNS
from understudy.data.readers.labels.labels import Labels
from understudy.data.readers.labels.learning import learn_labels
from understudy.data.readers.labels.values import with_label_column
from understudy.data.readers.usual_names import LABELS
from understudy.data.splits import Rows
from understudy.data.tasks import Kind
from understudy.data.texts import Texts
from understudy.errors import nearest


def learn_columns(
    table: SourceTable,
    wanted: Sequence[str],
    label: Sequence[str],
    kind: Kind | None,
    faults: Faults,
    notes: list[str],
    *,
    names: Sequence[str] = (),
) -> tuple[TextColumns | None, Labels | None]:
    """The text columns and the labels of a task, learnt from its training table; None for what has `faults`."""
    columns = find_text(table.names, wanted, origin=table.origin, faults=faults, label=label, headed=table.headed)
    taken = [name for entry in columns or () for name in entry]
    found = find_labels(table.names, label, text=taken, origin=table.origin, faults=faults)
    if not found:
        return columns, None
    others = [name for name in table.names if name.lower() in LABELS and name not in (*taken, *found)]
    if others and not label:
        notes.append(
            f"{table.origin}: {quoted(found)} is read as the label, not {quoted(others)}. Name what to read with --label, if that is wrong."
        )
    if len(found) == 1 and table.headed:
        same = true_rows(pc.equal(table.cells.column(found[0]), string_column(found)[0]))
        if len(same):
            faults.add(
                f"{table.where(int(same[0]))}: the label is '{found[0]}', as the column is called. If the first line of the file is a row of data, {NAME_THE_COLUMNS}; if this line repeats the header, remove it; else rename the column."
            )
    whole = with_label_column(table, found)
    heard = faults if table.whole else Faults()
    known = learn_labels(whole, found, kind, heard, notes, asked=bool(label), names=names)
    return columns, known


def labelled_rows(
    table: SourceTable,
    split: str,
    columns: TextColumns,
    labels: Labels | None,
    faults: Faults,
    notes: list[str],
    *,
    allow_unlabelled: bool,
) -> Rows | None:
    """One labelled split, checked row by row.

    Args:
        labels: None to check the texts only.
        allow_unlabelled: a row without a label is no fault: it is kept in training and left out of the other splits.

    Returns:
        The rows; None if there are faults, or if a split other than ``train`` has no labels.
    """
    before = faults.count
    label = [] if labels is None else list(labels.columns or (labels.column,))
    unused = f"so it is not used as the {split} split."
    if split != "train" and label and not _may_have(table, columns, label):
        notes.append(f"{table.origin}: no label column ({quoted(label)}), {unused}")
        return None
    if not has_columns(table, columns, label, faults):
        return None
    table = with_label_column(table, label)
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
    rows = Rows(texts, labels.read(table, faults, may_hide=split != "train"), table.origin)
    # A value that cannot be read is a fault already. A missing label is a cell without any value.
    values, codes = labels.cells(table, may_hide=split != "train")
    bare = np.flatnonzero(codes < 0)
    if len(bare) == len(rows) and split != "train":
        notes.append(f"{table.origin}: no row has a label, {unused}")
        return None
    if len(bare) and not allow_unlabelled:
        faults.rows(
            table.origin,
            "without a label",
            bare,
            lambda row: (
                f"{table.where(row)}: no label in column '{labels.column}'{_written(table, labels, row)}. Label the row or remove it (distill takes such training rows as unlabelled)."
            ),
        )
    if faults.count > before:
        return None
    if len(bare):
        fate = "taken as unlabelled" if split == "train" else "left out"
        first = f"first: {table.where(int(bare[0]))}{_written(table, labels, int(bare[0]))}"
        notes.append(f"{table.origin}: {counted(len(bare), 'row')} without a label, {fate} ({first}).")
    hidden = int((rows.labels == -1).sum()) if labels.kind == "regression" and labels.lowest >= 0 else 0
    if hidden and rows.labels is not None and split != "train":
        notes.append(
            f"{table.origin}: {counted(hidden, 'row')} with the target -1, below those of the training rows. Empty these cells, if it stands for rows without one."
        )
    if "" in values:
        none = int((codes == values.index("")).sum())
        notes.append(
            f"{table.origin}: {counted(none, 'row')} with an empty cell in '{labels.column}': none of the labels."
        )
    note_conflicts(rows, table, notes)
    return rows if split == "train" else rows.take(np.flatnonzero(rows.labelled))


def _may_have(table: SourceTable, text: TextColumns, label: Sequence[str]) -> bool:
    """Whether a table has label columns, or columns that are probably meant to be those."""
    others = {name for name in table.names if not any(name in entry for entry in text)}
    return any(name in label or name.lower() in LABELS or nearest(name, label) for name in others)


def _written(table: SourceTable, labels: Labels, row: int) -> str:
    """What stands in the cell of a row without a label."""
    cell = (table.cells.column(labels.column)[row].as_py() or "").strip()
    return f" ('{cell[:60]}' means that there is none; if it is a class, call it something else)" if cell else ""


def pool_texts(table: SourceTable, columns: TextColumns, faults: Faults, notes: list[str]) -> Texts | None:
    """The texts of an unlabelled table that are not empty; None if `faults` were added."""
    found: TextColumns | None = columns
    if table.bare:
        found = txt_columns(table, faults, arity=len(columns))
    elif not has_columns(table, columns, (), faults):
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
