"""Answers in a table: which columns hold them, and what each row says."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from understudy.data.readers.cached_tables import SourceTable
from understudy.data.readers.columns import TextColumns, find_label, said_of_label
from understudy.data.readers.faults import Faults, counted, quoted
from understudy.data.readers.labels.learning import known_labels
from understudy.data.tasks import NO_LABEL, Task

_PREFIXES = ("probability_", "p_", "")
"""What may stand before a class's name in the name of its column."""
_SUM_TOLERANCE = 0.02
"""How far the probabilities of a row may be from summing to 1, as rounded ones are."""


def unfolded(table: SourceTable, task: Task, faults: Faults, notes: list[str]) -> SourceTable:
    """A table with a column for each class where the rows have their probabilities in one mapping.

    ``understudy predict`` writes such mappings to JSON lines. Keys that differ from a class in case only are that class,
    unless that is ambiguous. Other tables are returned unchanged.

    Args:
        faults: are told of mappings without any class.
        notes: are told of keys that are no class.
    """
    if "probabilities" not in table.names or not task.labels:
        return table
    try:
        mappings = [json.loads(cell) if cell else {} for cell in table.cells["probabilities"].to_pylist()]
    except (ValueError, RecursionError):
        return table
    if not all(isinstance(mapping, dict) for mapping in mappings):
        return table
    kinds = {keys: _named_after(keys, task.labels) for keys in {tuple(mapping) for mapping in mappings}}
    found = [kinds[tuple(mapping)] for mapping in mappings]
    strange = [row for row, keys in enumerate(found) if mappings[row] and not keys]
    faults.rows(
        table.origin,
        "with probabilities of no class",
        strange,
        lambda row: (
            f"{table.where(row)}: none of its probabilities is of a class: the keys are {quoted(list(mappings[row]))}, but the classes are {quoted(task.labels)}. Rename the keys."
        ),
    )
    if others := [row for row, keys in enumerate(found) if 0 < len(keys) < len(mappings[row])]:
        unknown = dict.fromkeys(key for row in others for key in mappings[row] if key not in found[row].values())
        notes.append(
            f"{table.origin}: {counted(len(others), 'row')} with probabilities that are not read, because their keys are no class: {quoted(list(unknown))}."
        )
    cells = table.cells
    columns = {f"probability_{label}": label for label in task.labels if f"probability_{label}" not in table.names}
    for name, label in columns.items():
        values = [str(mapping[keys[label]]) if label in keys else "" for mapping, keys in zip(mappings, found)]
        cells = cells.append_column(name, pa.array(values, cells["probabilities"].type))
    return replace(table, names=(*table.names, *columns), cells=cells)


def _named_after(names: Sequence[str], labels: Sequence[str], prefix: str = "") -> dict[str, str]:
    """By label, the name that stands for it: its own, or the only one that differs from it, and from no other, in case alone."""
    there, alike = set(names), defaultdict[str, list[str]](list)
    for name in names:
        alike[name.casefold()].append(name)
    wanted = {label: prefix + label for label in labels}
    folds = Counter(name.casefold() for name in wanted.values())
    found = {}
    for label, name in wanted.items():
        near = alike.get(name.casefold(), [])
        if name in there:
            found[label] = name
        elif len(near) == folds[name.casefold()] == 1:
            found[label] = near[0]
    return found


def rename_text(task: Task) -> str:
    """The way out where the texts are in another column. --text cannot help: it names the columns of the data."""
    return (
        f"Rename the text column to {quoted([name for entry in task.text for name in entry])}, as in the training rows"
    )


def read_answers(
    table: SourceTable, task: Task, label: str | None, text: TextColumns | None, faults: Faults, notes: list[str]
) -> np.ndarray | None:
    """The answer of each row of a file, checked.

    Args:
        label: the label column; it is read even where there are probabilities.
        text: the text columns, which hold no answers.
        faults: where every fault is put.
        notes: are told of columns that look like probabilities and are not read.

    Returns:
        float64 ``(rows, outputs)``: probabilities, or numbers for regression; NaN for a row without an answer. None
        where a fault prevents reading.
    """
    if label is None and task.labels:
        columns = _probability_columns(table, task, text or (), faults)
        if columns:
            return _probabilities(table, columns, task, faults)
    if faults:
        return None
    named = label is not None
    if label is None and task.label in table.names:
        label = task.label
    rename = own = f"Rename the column of answers to '{task.label}', as in the training rows"
    if task.labels:
        rename += (
            f", or give a column of probabilities for each class ({quoted(['p_' + name for name in task.labels])})"
        )
    column = find_label(
        table.names,
        label,
        text=[name for entry in text or () for name in entry],
        origin=table.origin,
        faults=faults,
        remedy=f"{rename}.",
    )
    if column is None:
        return None
    if label is None:
        notes.append(said_of_label(table.origin, task.label, column, own))
    if task.labels and not named:
        read = {column, *(name for entry in text or () for name in entry)}
        notes += _said_of_shares(table, [name for name in table.names if name not in read], task)
    values = known_labels(table, column, task).read(table, faults)
    if task.kind == "single_label":
        shares = np.where((values == NO_LABEL)[:, None], np.nan, np.zeros((1, task.outputs)))
        told = np.flatnonzero(values >= 0)
        shares[told, values[told]] = 1
        return shares
    given = values.reshape(len(values), task.outputs).astype(np.float64)
    if task.kind == "multi_label":  # an empty cell is an answer that is missing; that no label fits is said by []
        cells = pc.fill_null(table.cells.column(column), "")
        given[pc.equal(pc.utf8_trim_whitespace(cells), "").to_numpy(zero_copy_only=False)] = np.nan
    return given


def _probability_columns(table: SourceTable, task: Task, text: TextColumns, faults: Faults) -> list[str]:
    """The columns of the classes, in the task's order; empty if there are none. It is a fault if some are missing."""
    taken = {name for entry in text for name in entry}
    names = [name for name in table.names if name not in taken]
    for prefix in _PREFIXES:
        there = _named_after(names, task.labels, prefix)
        if len(there) == len(task.labels):
            return [there[name] for name in task.labels]
        if there and prefix:
            lacking = [prefix + name for name in task.labels if name not in there]
            faults.add(
                f"{table.origin}: probabilities need a column for every class, but {quoted(lacking)} {'is' if len(lacking) == 1 else 'are'} missing. The columns are {quoted(table.names)}."
            )
            return []
    return []


def _said_of_shares(table: SourceTable, names: Sequence[str], task: Task) -> list[str]:
    """A sentence about columns that hold nothing but numbers from 0 to 1, where a label column teaches."""
    shares = [name for name in names if _holds_shares(table, name)]
    if not shares:
        return []
    many = len(shares) > 1
    partly = any(_named_after(shares, task.labels, prefix) for prefix in _PREFIXES)
    why = "not one for each class" if partly else "named after no class"
    return [
        f"{table.origin}: column{'s' * many} {quoted(shares)} {'are' if many else 'is'} not read ({why}); the label column teaches as hard decisions."
    ]


def _holds_shares(table: SourceTable, name: str) -> bool:
    if name in table.lists or name in table.objects:
        return False
    values = _as_numbers(table, name)
    given = np.empty(0) if values is None else values[~np.isnan(values)]
    return bool(len(given)) and bool(((given >= 0) & (given <= 1)).all())


def _probabilities(table: SourceTable, columns: Sequence[str], task: Task, faults: Faults) -> np.ndarray:
    """Columns of probabilities, checked; each row of a single-label task is divided by its sum."""
    values = np.stack([_numbers(table, name, faults) for name in columns], axis=1)
    empty = np.isnan(values)
    partly = np.flatnonzero(empty.any(1) & ~empty.all(1))
    faults.rows(
        table.origin,
        "with some probabilities missing",
        partly,
        lambda row: (
            f"{table.where(row)}: no probability in column '{columns[int(empty[row].argmax())]}', though others are given. Fill in all of a row, or none."
        ),
    )
    outside = ~empty & ~((values >= 0) & (values <= 1 + _SUM_TOLERANCE))

    def say_outside(row: int) -> str:
        column = int(outside[row].argmax())
        return f"{table.where(row)}: {values[row, column]:g} in column '{columns[column]}' is not a probability, which lies between 0 and 1."

    faults.rows(table.origin, "with values that are not probabilities", np.flatnonzero(outside.any(1)), say_outside)
    if task.kind == "multi_label":
        return np.minimum(values, 1)
    sums = values.sum(1)
    wrong = np.flatnonzero((np.abs(sums - 1) > _SUM_TOLERANCE) & ~outside.any(1))
    faults.rows(
        table.origin,
        "whose probabilities do not sum to 1",
        wrong,
        lambda row: (
            f"{table.where(row)}: the probabilities sum to {sums[row]:.4g}, but must sum to 1. Divide them by their sum, or correct the row."
        ),
    )
    return values if faults else values / sums[:, None]


def _numbers(table: SourceTable, name: str, faults: Faults) -> np.ndarray:
    """A column of numbers: float64, NaN where a cell is empty."""
    values = _as_numbers(table, name)
    if values is not None:
        return values
    cells = _filled(table, name).to_pylist()
    bad = [row for row, cell in enumerate(cells) if cell is not None and not _is_number(cell)]
    faults.rows(
        table.origin,
        "whose probabilities are not numbers",
        bad,
        lambda row: (
            f"{table.where(row)}: '{cells[row]:.60}' in column '{name}' is not a number, which a probability must be."
        ),
    )
    return np.full(len(cells), np.nan)


def _as_numbers(table: SourceTable, name: str) -> np.ndarray | None:
    """A column as float64, NaN where a cell is empty; None if a cell is no number."""
    try:
        found: np.ndarray = _filled(table, name).cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        return None
    return found


def _filled(table: SourceTable, name: str) -> pa.ChunkedArray:
    """The cells of a column without white space around them; null where nothing is left."""
    column = pc.utf8_trim_whitespace(table.cells.column(name))
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.large_string()), column)


def _is_number(cell: str) -> bool:
    try:
        pa.array([cell], pa.large_string()).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True
