"""What the reading of data ends in: rows with labels, and the splits of a task."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from understudy.data.tasks import NO_LABEL, Task
from understudy.data.texts import Texts


@dataclass(frozen=True)
class Rows:
    """Texts and their labels.

    ``labels`` are class indices ``(rows,)`` int64 with NO_LABEL where there is none; for regression ``(rows,)`` float32
    with NaN; for multi-label ``(rows, classes)`` float32 of 0 and 1, a row of NaN where there is none.
    """

    texts: Texts
    labels: np.ndarray
    origin: str
    """The file they come from, as the user named it."""

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def labelled(self) -> np.ndarray:
        """Which rows have a label, ``(rows,)`` bool."""
        if self.labels.dtype.kind == "i":
            return self.labels != NO_LABEL
        return ~np.isnan(self.labels.reshape(len(self), -1)).any(axis=1)

    def take(self, indices: np.ndarray) -> Rows:
        """The rows with these numbers, in this order."""
        return Rows(self.texts.take(indices), self.labels[indices], self.origin)


@dataclass(frozen=True)
class Splits:
    """Everything a recipe is given to work on. ``notes`` are sentences: what was cut, counted, dropped or looks odd."""

    task: Task
    train: Rows
    validation: Rows
    test: Rows | None
    unlabeled: Texts | None
    notes: tuple[str, ...]

    def selected_by(self, metric: str | None) -> Splits:
        """The same with a metric of the task put first, where it selects models and heads the reports."""
        known = self.task.metrics
        if metric not in known:
            return self
        return replace(self, task=replace(self.task, metrics=(metric, *(name for name in known if name != metric))))

    def reporting(self) -> tuple[str, Rows]:
        """The rows whose scores are shown: the test split, or the validation split where there is no test split."""
        return ("test", self.test) if self.test is not None else ("validation", self.validation)

    def texts(self) -> dict[str, Texts]:
        """What there is of each part, labels aside: ``train``, ``validation``, ``test``, ``unlabeled``."""
        rows = {"train": self.train, "validation": self.validation, "test": self.test}
        parts = {name: part.texts for name, part in rows.items() if part is not None}
        return parts if self.unlabeled is None else {**parts, "unlabeled": self.unlabeled}
