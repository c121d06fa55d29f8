"""What looks odd about labels: sentences for the user, and a question where the column is probably an id."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from understudy.data.readers.cached_tables import SourceTable
from understudy.data.readers.faults import Faults, counted, quoted
from understudy.data.readers.labels.cells import has_decimal_comma, labels_in_cell, number, printed_list, whole
from understudy.data.readers.labels.labels import Labels
from understudy.data.tasks import Kind

_NEARLY = 0.9
"""Which share of something is nearly all of it."""
_ID_CLASSES = 10
"""From so many classes on, a column in which nearly each has a single row is taken for an id."""


def note_cells(
    table: SourceTable, column: str, kind: Kind, values: Sequence[str], codes: np.ndarray, joints: str
) -> list[str]:
    """Notes on cells that may mean something else than they are taken for: numbers with a decimal comma, lists."""

    def first(chosen: Sequence[bool]) -> str:
        row = int(np.flatnonzero(np.isin(codes, np.flatnonzero(chosen)))[0])
        return f"(first: {table.where(row)}, '{values[codes[row]][:60]}')"

    where = f"{table.origin}: column '{column}'"
    commas = [has_decimal_comma(value) for value in values]
    numbers = [comma or number(value) == number(value) for comma, value in zip(commas, values)]
    if any(commas) and sum(numbers) >= _NEARLY * len(values) and kind != "regression":
        if kind == "single_label":
            return [
                f"{where} has {counted(sum(commas), 'label')} written like a number with a decimal comma {first(commas)}; each is a class. Write 3.5, with a point, if they are numbers."
            ]
        return []
    if kind == "regression":
        below = [number(value) == -1 for value in values]
        if any(below) and not all(below) and all(number(value) >= 0 for value in values if number(value) != -1):
            rows = int(np.isin(codes, np.flatnonzero(below)).sum())
            return [
                f"{where} has {counted(rows, 'row')} with the target -1, and no other below 0. Empty these cells, if it stands for rows without one."
            ]
    if kind == "single_label" and column not in table.lists:
        listed = [printed_list(value) is not None or len(labels_in_cell(value) or "") > 1 for value in values]
        if any(listed):
            return [
                f"{where} has {counted(sum(listed), 'label')} written like a list {first(listed)}; each is one class. Give --kind multi_label if they are several labels."
            ]
    if kind == "multi_label" and "," not in joints:
        commas = ["," in value and printed_list(value) is None for value in values]
        return [
            f"{where} has {counted(sum(commas), 'cell')} with a comma {first(commas)}; it is part of a name, because other cells separate their labels by | or ;."
        ]
    return []


def note_classes(
    table: SourceTable, labels: Labels, rows: np.ndarray, faults: Faults, notes: list[str], *, asked: bool
) -> bool:
    """Notes on names that are nearly the same and on classes of one row; False, and a fault, if the column looks like an id.

    Args:
        rows: the labels of the training rows, as numbers.
        asked: the user named the column, so that an id is a note.
    """
    if rows.ndim == 1:
        counts = np.bincount(rows[rows >= 0], minlength=len(labels.names))
    else:
        counts = np.nansum(rows, axis=0).astype(np.int64)
    single = np.flatnonzero(counts == 1)
    if labels.given and not counts.all():
        absent = [labels.names[i] for i in np.flatnonzero(counts == 0)]
        notes.append(f"{table.origin}: no row has the label {quoted(absent)}, so no model learns it.")
    where = f"{table.origin}: column '{labels.column}'"
    if not labels.hot and len(counts) >= _ID_CLASSES and len(single) >= _NEARLY * len(counts):
        said = f"{where} has {len(counts):,} classes in {counted(int(counts.sum()), 'labelled row')}, and {len(single):,} of them have a single row. Is it an id?"
        if not asked:
            faults.add(f"{said} Name the label column with --label (--label {labels.column}, if it is the right one).")
            return False
        notes.append(said)
    elif len(single):
        of = [labels.names[i] for i in single]
        notes.append(
            f"{where} has {counted(len(of), 'label')} with a single row ({quoted(of)}), too few to learn from."
        )
    if labels.kind == "single_label" and not labels.hot and _may_be_hidden(labels.names):
        kept_back = int(counts[labels.names.index("-1")])
        notes.append(
            f"{where} has {counted(kept_back, 'row')} with the label '-1', a class like the others. Empty these cells, if it stands for rows without a label."
        )
    for alike in _alike(labels.names):
        notes.append(
            f"{where} has labels that differ only in case, white space or form: {quoted(alike)}. Each is a class of its own."
        )
    if (
        labels.hot
        and labels.kind == "multi_label"
        and len(labels.names) > 1
        and (np.nansum(rows, axis=1)[~np.isnan(rows[:, 0])] == 1).all()
    ):
        notes.append(
            f"{where}: every row has exactly one of the labels. Give --kind single_label if they exclude each other."
        )
    return True


def _may_be_hidden(names: Sequence[str]) -> bool:
    """Whether -1 is among the names, and is not one of two or more negative ones, or the opposite of 1 alone."""
    negative = [name for name in names if name.startswith("-") and whole(name)]
    return negative == ["-1"] and set(names) != {"-1", "1"}


def _alike(names: Sequence[str]) -> list[list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        seen = "".join(sign for sign in unicodedata.normalize("NFKC", name) if unicodedata.category(sign) != "Cf")
        form = " ".join(seen.casefold().split())
        groups[whole(form) or form].append(name)
    return [group for group in groups.values() if len(group) > 1]
