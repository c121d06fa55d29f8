"""What reading data results in: rows with labels, and the splits of a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from understudy.data.class_weights import class_weights
from understudy.data.tasks import NO_LABEL, Task
from understudy.data.texts import Texts


@dataclass(frozen=True)
class Rows:
    """Texts and their labels.

    ``labels`` depend on the kind of task. Classes: indices, int64 ``(rows,)``, NO_LABEL for a row without one.
    Regression: float32 ``(rows,)``, NaN for a row without one. Multi-label: 0 and 1, float32 ``(rows, classes)``, NaN
    throughout for a row without labels.
    """

    texts: Texts
    labels: np.ndarray
    origin: str
    """The file that the rows come from, as the user named it."""

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def labelled(self) -> np.ndarray:
        """Which rows have a label: bool ``(rows,)``."""
        if self.labels.dtype.kind == "i":
            return self.labels != NO_LABEL
        return ~np.isnan(self.labels.reshape(len(self), -1)).any(axis=1)

    def take(self, indices: np.ndarray) -> Rows:
        """The rows with these numbers, in this order."""
        return Rows(self.texts.take(indices), self.labels[indices], self.origin)


@dataclass(frozen=True)
class Splits:
    """The data of a recipe.

    ``notes`` are sentences about what was cut, counted or dropped, and what looks odd. ``labelled`` are the training rows with a
    label that there are, drawn or not, those that validation rows were cut off included. ``class_weights`` say what a row of
    each class counts in training, in the order of the task's labels; None: all count alike.
    """

    task: Task
    train: Rows
    validation: Rows
    test: Rows | None
    unlabeled: Texts | None
    notes: tuple[str, ...]
    labelled: int
    class_weights: tuple[float, ...] | None = None

    def selected_by(self, metric: str | None) -> Splits:
        """The same splits with `metric` as the first metric of the task: it selects models and leads the reports."""
        known = self.task.metrics
        if metric not in known:
            return self
        return replace(self, task=replace(self.task, metrics=(metric, *(name for name in known if name != metric))))

    def weighted(self, asked: Sequence[str]) -> Splits:
        """The same splits with weights for the classes, see :func:`understudy.data.class_weights.class_weights`.

        Raises:
            ConfigError: if the task has no such classes.
        """
        return replace(self, class_weights=class_weights(asked, self.train.labels, self.task))

    def learning_faults(self) -> list[str]:
        """What keeps every model from learning anything: training rows that all have the same number."""
        known = self.train.labels[self.train.labelled]
        if self.task.kind != "regression" or len(known) < 2 or (known != known[0]).any():
            return []
        return [
            f"{self.train.origin}: every training row has the number {known.flat[0]:g} in column '{self.task.label}', so there is nothing to learn. Add rows with other numbers, or name another column with --label."
        ]

    def reporting(self) -> tuple[str, Rows]:
        """The name and the rows of the split that is reported on: test, or validation if there is no test split."""
        return ("test", self.test) if self.test is not None else ("validation", self.validation)

    def texts(self) -> dict[str, Texts]:
        """The texts of each part that exists: ``train``, ``validation``, ``test``, ``unlabeled``."""
        rows = {"train": self.train, "validation": self.validation, "test": self.test}
        parts = {name: part.texts for name, part in rows.items() if part is not None}
        return parts if self.unlabeled is None else {**parts, "unlabeled": self.unlabeled}
