"""The file ``progress.csv``: its columns, its rows, and how it is cut back to a checkpoint."""

from __future__ import annotations

import csv
import itertools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def progress_columns(
    terms: Iterable[str], metrics: Iterable[str] = (), *, groups: Iterable[str] = (), momentum: bool = False
) -> list[str]:
    """The columns of ``progress.csv`` for a run.

    Args:
        terms: names of the terms of its objectives.
        metrics: names of the scores of its evaluations.
        groups: names of the parameter groups, if they have learning rates of their own. ``learning_rate`` is the
            highest of them.
        momentum: whether the momentum changes during training.

    Example:
        >>> progress_columns(["label_loss"], ["accuracy"])[4:]
        ['loss', 'label_loss', 'learning_rate', 'rows_per_second', 'validation_accuracy']
    """
    validation = [f"validation_{name}" for name in metrics]
    rates = ["learning_rate", *map(rate_column, groups), *(["momentum"] if momentum else [])]
    return ["phase", "epoch", "step", "seconds", "loss", *terms, *rates, "rows_per_second", *validation]


def rate_column(group: str) -> str:
    """The column that holds the learning rate of a parameter group.

    Example:
        >>> rate_column("layer 0")
        'learning_rate_layer_0'
    """
    return f"learning_rate_{group.replace(' ', '_')}"


class ProgressLog:
    """``progress.csv``: one row a report, oldest first. The columns are fixed; cells may be empty.

    Args:
        path: the file. It gets its header now, unless it has one.
        columns: see :func:`progress_columns`.
        writes: False in all processes but the main one, where nothing is written.
    """

    def __init__(self, path: Path, columns: list[str], *, writes: bool = True) -> None:
        self.path = path
        self.columns = columns
        self.writes = writes
        if writes and not (path.exists() and path.stat().st_size):
            with open(path, "w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow(columns)

    def write(self, row: Mapping[str, Any]) -> None:
        """Append a row.

        Raises:
            ValueError: if a key is not a column.
        """
        if not self.writes:
            return
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns).writerow(row)

    def position(self) -> int:
        """The size of the file in bytes, for :meth:`cut`; 0 where nothing is written."""
        return self.path.stat().st_size if self.writes else 0

    def cut(self, position: int) -> None:
        """Delete the rows that were written after a checkpoint, given the :meth:`position` it was made at."""
        if self.writes and self.path.stat().st_size > position:
            os.truncate(self.path, position)

    def take_in(self, rows: Path, phase: str) -> None:
        """Append the rows of another file with the same columns, in place of the phase's own, if it has any.

        Args:
            rows: the other file.
            phase: whose rows they are; no phase comes after it.
        """
        self.forget(phase)
        content = rows.read_bytes().partition(b"\n")[2]
        with open(self.path, "ab") as file:
            file.write(content)

    def forget(self, phase: str) -> None:
        """Delete a phase's rows and all rows after them, because the phase starts again; an incomplete row too."""
        if not self.writes:
            return
        lines = self.path.read_bytes().splitlines(keepends=True)
        kept = itertools.takewhile(
            lambda line: line.endswith(b"\n") and not line.startswith(f"{phase},".encode()), lines
        )
        self.cut(sum(map(len, kept)))
