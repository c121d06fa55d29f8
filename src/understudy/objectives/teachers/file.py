"""A teacher whose answers come in a file: a large language model's, an annotator pool's, whatever can label text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from understudy.data.readers.columns import TextColumns, find_label, find_text, texts_of
from understudy.data.readers.faults import Faults, quoted
from understudy.data.readers.labels import Labels
from understudy.data.readers.tables import SourceTable, read_table
from understudy.data.tasks import NO_LABEL, Task
from understudy.data.texts import Texts
from understudy.objectives.teachers.label_store import places_of, sortable

_PREFIXES = ("probability_", "p_", "")
_SUM_TOLERANCE = 0.02


class FileTeacher:
    r"""Answers read from a csv, tsv, jsonl or parquet file, joined to the texts by exact equality.

    The file has the text, and either one column of probabilities a class (called as the class, or ``probability_`` or
    ``p_`` before it) or a label column. Several rows of one text are votes, which are averaged. Probabilities become
    logits that a student can be drawn to in the mean square as well as in divergence: they are kept off zero, put to
    sum one again, and their logarithms centred,

    .. math:: t_c = \log q_c - \frac1C \sum_{c'} \log q_{c'}, \qquad q_c \propto \max(p_c, \epsilon)

    so that with a floor :math:`\epsilon` of 0.001 a plain label between two classes stands 6.9 apart. In a multi-label
    task each probability becomes its own log-odds (kept off zero and one), in regression the number stays as it is.

    Args:
        path: the file.
        texts: the rows that will be asked for.
        task: names, kind and columns; a file with other columns is read by the usual names.
        text: the file's text columns, one entry a text, where they are neither the task's nor usual.
        label: the file's label column; names it also where there are probabilities too.
        floor: the smallest probability.

    Attributes:
        covered: how many of `texts` have an answer.
        uncovered: how many have none.
        notes: sentences on what was averaged, what has no answer and what was not used.

    Raises:
        DataError: with every fault of the file, or if none of the texts is in it.
    """

    def __init__(
        self,
        path: str | Path,
        texts: Texts,
        task: Task,
        *,
        text: Sequence[str] = (),
        label: str | None = None,
        floor: float = 1e-3,
    ) -> None:
        if not 0 < floor < 1 / max(task.outputs, 2):
            raise ValueError(f"floor must lie between 0 and {1 / max(task.outputs, 2):.3g}, but is {floor}")
        self.outputs = task.outputs
        self.forward_texts = 0
        faults = Faults()
        table = read_table(Path(path).expanduser(), str(path), faults)
        faults.check()
        assert table is not None
        table = _unfolded(table, task)
        columns = _text_columns(table, task, text, faults)
        answers = _answers(table, task, label, columns, faults)
        said_of = None if columns is None else texts_of(table, columns, faults)
        faults.check()
        assert answers is not None
        assert said_of is not None

        given = ~np.isnan(answers[:, 0])
        keys, place = np.unique(sortable(said_of.keys())[given], return_inverse=True)
        votes = np.bincount(place, minlength=len(keys))
        columns_sum = [
            np.bincount(place, answers[given, column], minlength=len(keys)) for column in range(self.outputs)
        ]
        means = np.stack(columns_sum, axis=1) / np.maximum(votes, 1)[:, None]
        at, found = (
            places_of(keys, sortable(texts.keys()))
            if len(keys)
            else (np.zeros(len(texts), np.int64), np.zeros(len(texts), bool))
        )
        self.covered = int(found.sum())
        self.uncovered = len(texts) - self.covered
        self.notes = _notes(
            table.origin,
            texts=len(texts),
            covered=self.covered,
            unused=len(keys) - len(np.unique(at[found])),
            empty=int((~given).sum()),
            repeated=int((votes > 1).sum()),
        )
        if len(texts) and not self.covered:
            shown = " | ".join(said_of[0])
            read = quoted([name for entry in columns or () for name in entry])
            other = "" if columns == task.text else f" {_rename_text(task)}, if that is the wrong one."
            faults.add(
                f"{table.origin}: answers for none of the {len(texts):,} texts, which must be equal to the letter. Its first text, from column {read}, is '{shown:.60}'.{other}"
            )
            faults.check()
        self._logits = np.concatenate([_as_logits(means, task, floor), np.full((1, self.outputs), np.nan)]).astype(
            np.float32
        )
        self._index = np.where(found, at, len(keys))

    def __call__(self, rows: np.ndarray) -> Tensor:
        """Logits of rows: float32 ``(rows, outputs)``; NaN for a text that the file does not answer for."""
        return torch.from_numpy(self._logits[self._index[rows]])


def _unfolded(table: SourceTable, task: Task) -> SourceTable:
    """A table whose rows hold their probabilities in one mapping, as ``understudy predict`` writes JSON lines, with a
    column for each class instead."""
    if "probabilities" not in table.names or not task.labels:
        return table
    try:
        mappings = [json.loads(cell) if cell else {} for cell in table.cells["probabilities"].to_pylist()]
    except ValueError:
        return table
    if not all(isinstance(mapping, dict) for mapping in mappings):
        return table
    cells = table.cells
    columns = {f"probability_{label}": label for label in task.labels if f"probability_{label}" not in table.names}
    for name, label in columns.items():
        values = [str(mapping.get(label, "")) for mapping in mappings]
        cells = cells.append_column(name, pa.array(values, cells["probabilities"].type))
    return replace(table, names=(*table.names, *columns), cells=cells)


def _text_columns(table: SourceTable, task: Task, wanted: Sequence[str], faults: Faults) -> TextColumns | None:
    """The columns that were named, else the task's own, else the usual ones."""
    if not wanted and all(name in table.names for entry in task.text for name in entry):
        return task.text
    return find_text(
        table.names,
        wanted,
        origin=table.origin,
        faults=faults,
        label=task.label,
        arity=len(task.text),
        remedy=_rename_text(task),
    )


def _rename_text(task: Task) -> str:
    """What to do where the texts stand in another column: --text names those of the data."""
    return (
        f"Rename the text column to {quoted([name for entry in task.text for name in entry])}, as in the training rows"
    )


def _answers(
    table: SourceTable, task: Task, label: str | None, text: TextColumns | None, faults: Faults
) -> np.ndarray | None:
    """What each row of the file says, float64 ``(rows, outputs)``: probabilities, or numbers; NaN where it says nothing."""
    if label is None and task.labels:
        columns = _probability_columns(table, task, text or (), faults)
        if columns:
            return _probabilities(table, columns, task, faults)
    if faults:
        return None
    if label is None and task.label in table.names:
        label = task.label
    rename = f"Rename the column of answers to '{task.label}', as in the training rows"
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
    whole = all(name.lstrip("-").isdigit() for name in task.labels)
    values = Labels(column, task.kind, task.labels, whole and task.kind != "regression").read(table, faults)
    if task.kind == "single_label":
        shares = np.where((values == NO_LABEL)[:, None], np.nan, np.zeros((1, task.outputs)))
        told = np.flatnonzero(values >= 0)
        shares[told, values[told]] = 1
        return shares
    return values.reshape(len(values), task.outputs).astype(np.float64)


def _probability_columns(table: SourceTable, task: Task, text: TextColumns, faults: Faults) -> list[str]:
    """The columns of the classes, in the task's order; empty if there are none. Some, but not all, are a fault."""
    taken = {name for entry in text for name in entry}
    for prefix in _PREFIXES:
        wanted = [prefix + name for name in task.labels]
        there = [name for name in wanted if name in table.names and name not in taken]
        if len(there) == len(wanted):
            return wanted
        if there and prefix:
            lacking = [name for name in wanted if name not in there]
            faults.add(
                f"{table.origin}: probabilities need a column for every class, but {quoted(lacking)} {'is' if len(lacking) == 1 else 'are'} missing. The columns are {quoted(table.names)}."
            )
            return []
    return []


def _probabilities(table: SourceTable, columns: Sequence[str], task: Task, faults: Faults) -> np.ndarray:
    """Columns of probabilities, checked; those of one row are put to sum exactly one."""
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
    """A column of numbers, float64, NaN where a cell is empty."""
    column = pc.utf8_trim_whitespace(table.cells.column(name))
    column = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.large_string()), column)
    try:
        return column.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        cells = column.to_pylist()
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


def _is_number(cell: str) -> bool:
    try:
        pa.array([cell], pa.large_string()).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _as_logits(means: np.ndarray, task: Task, floor: float) -> np.ndarray:
    """Averaged answers as logits, see :class:`FileTeacher`."""
    if task.kind == "regression":
        return means
    if task.kind == "multi_label":
        shares = means.clip(floor, 1 - floor)
        return np.log(shares) - np.log1p(-shares)
    logs = np.log(means.clip(min=floor))
    return logs - logs.mean(1, keepdims=True)


def _notes(origin: str, *, texts: int, covered: int, unused: int, empty: int, repeated: int) -> tuple[str, ...]:
    notes = [f"{origin}: answers for {covered:,} of {texts:,} texts."]
    if repeated:
        notes.append(f"{origin}: {repeated:,} texts stand there several times; their answers are averaged.")
    if empty:
        notes.append(f"{origin}: {empty:,} rows give no answer and are not used.")
    if unused:
        notes.append(f"{origin}: {unused:,} answers are for texts that are not asked for.")
    return tuple(notes)
