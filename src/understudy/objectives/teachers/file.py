"""A teacher whose answers come from a file: those of a large language model, of annotators, of anything that labels text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from understudy.data.readers.cached_tables import SourceTable, read_source
from understudy.data.readers.columns import TextColumns, pairs_unfolded, quoted, task_columns, texts_of
from understudy.data.readers.faults import Faults
from understudy.data.readers.formats.reading import AS_WRITTEN, Reading
from understudy.data.readers.places.in_python import named
from understudy.data.readers.places.locate import locate_file
from understudy.data.readers.places.source import How
from understudy.data.tasks import Task
from understudy.data.texts import Texts
from understudy.objectives.teachers.cache_files import places_of, sortable
from understudy.objectives.teachers.file_answers import read_answers, rename_text, unfolded

_FLOOR = 1e-3


class FileTeacher:
    r"""Answers read from a csv, tsv, jsonl or parquet file, joined to the texts by exact equality.

    The file has the text, and either a column of probabilities for each class (named like the class in whatever case, with
    or without ``probability_`` or ``p_`` before it) or a label column. Several rows with one text are votes, which are averaged.
    Probabilities become logits that suit the squared error as well as a divergence: they are kept above a floor, summed
    to one again, and their logarithms are centred,

    .. math:: t_c = \log q_c - \frac1C \sum_{c'} \log q_{c'}, \qquad q_c \propto \max(p_c, \epsilon)

    so that with a floor :math:`\epsilon` of 0.001 the logits of a plain label between two classes are 6.9 apart. In a
    multi-label task each probability becomes its log-odds (kept away from zero and one); in regression the number is
    kept.

    Args:
        path: the file, or the rows in Python.
        texts: the rows that will be asked for.
        task: its labels, kind and columns. In a file without these columns, the usual names are looked for.
        text: the file's text columns, one entry a text, where their names are neither the task's nor usual.
        label: the file's label column; it is read even where there are probabilities.
        floor: the smallest probability, :math:`\epsilon`; by default a thousandth, and with many classes a tenth of each one's even
            share.
        reading: how the file is read, where it cannot be read as it is: what suits the training rows need not suit the answers.

    Attributes:
        covered: how many of `texts` have an answer.
        uncovered: how many have none.
        notes: sentences that say what was averaged, what has no answer and what was not read or not used.

    Raises:
        DataError: with every fault of the file, or if none of the texts is in it.
    """

    def __init__(
        self,
        path: Any,
        texts: Texts,
        task: Task,
        *,
        text: Sequence[str] = (),
        label: str | None = None,
        floor: float | None = None,
        reading: Reading = AS_WRITTEN,
    ) -> None:
        floor = min(_FLOOR, 0.1 / max(task.outputs, 1)) if floor is None else floor
        if not 0 < floor < 1 / max(task.outputs, 2):
            raise ValueError(f"floor must lie between 0 and {1 / max(task.outputs, 2):.3g}, but is {floor}")
        self.outputs = task.outputs
        self.forward_texts = 0
        name = str(named(path, "teacher"))
        found = _read(name, task, text, label, AS_WRITTEN)
        if found.faults and any(reading.given()):
            found = _read(name, task, text, label, reading)
        table, columns, faults, notes = found
        if table is None:
            faults.check()
        assert table is not None
        answers = read_answers(table, task, label, columns, faults, notes)
        answered = None if columns is None else texts_of(table, columns, faults)
        faults.check()
        assert answers is not None
        assert answered is not None

        given = ~np.isnan(answers[:, 0])
        keys, votes, means = _averaged(sortable(answered.keys())[given], answers[given])
        at, known = (
            places_of(keys, sortable(texts.keys()))
            if len(keys)
            else (np.zeros(len(texts), np.int64), np.zeros(len(texts), bool))
        )
        self.covered = int(known.sum())
        self.uncovered = len(texts) - self.covered
        self.notes = (
            *notes,
            *_notes(
                table.origin,
                texts=len(texts),
                covered=self.covered,
                unused=len(keys) - len(np.unique(at[known])),
                empty=int((~given).sum()),
                repeated=int((votes > 1).sum()),
            ),
        )
        if len(texts) and not self.covered:
            shown = " | ".join(answered[0])
            read = quoted([name for entry in columns or () for name in entry])
            other = "" if columns == task.text else f" {rename_text(task)}, if that is the wrong one."
            faults.add(
                f"{table.origin}: answers for none of the {len(texts):,} texts: a text must be exactly the same in both. Its first text, from column {read}, is '{shown:.60}'.{other}"
            )
            faults.check()
        self._logits = np.concatenate([_as_logits(means, task, floor), np.full((1, self.outputs), np.nan)]).astype(
            np.float32
        )
        self._index = np.where(known, at, len(keys))

    def __call__(self, rows: np.ndarray) -> Tensor:
        """Logits of rows: float32 ``(rows, outputs)``; NaN for a text that the file does not answer for."""
        return torch.from_numpy(self._logits[self._index[rows]])


class _Found(NamedTuple):
    """A file of answers, its text columns, and what there is to say."""

    table: SourceTable | None
    columns: TextColumns | None
    faults: Faults
    notes: list[str]


def _read(name: str, task: Task, text: Sequence[str], label: str | None, reading: Reading) -> _Found:
    faults, notes = Faults(), list[str]()
    source = locate_file(name, faults, How(reading, table=True), role="teacher")
    table = None if source is None else read_source(source, faults)
    if table is None or faults:
        return _Found(None, None, faults, notes)
    table = pairs_unfolded(table)
    if label is None:
        table = unfolded(table, task, faults, notes)
    columns = task_columns(
        table.names,
        task.text,
        text,
        origin=table.origin,
        faults=faults,
        notes=notes,
        label=task.label,
        remedy=rename_text(task),
    )
    return _Found(table, columns, faults, notes)


def _averaged(keys: np.ndarray, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct keys in order, the number of rows of each, and the means of their answers ``(keys, outputs)``."""
    distinct, place = np.unique(keys, return_inverse=True)
    votes = np.bincount(place, minlength=len(distinct))
    sums = [np.bincount(place, column, minlength=len(distinct)) for column in answers.T]
    return distinct, votes, np.stack(sums, axis=1) / np.maximum(votes, 1)[:, None]


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
        notes.append(f"{origin}: {repeated:,} texts occur several times; their answers are averaged.")
    if empty:
        notes.append(f"{origin}: {empty:,} rows give no answer and are not used.")
    if unused:
        notes.append(f"{origin}: {unused:,} answers are for other texts and are not used.")
    return tuple(notes)
