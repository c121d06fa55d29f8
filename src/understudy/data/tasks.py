"""A task: what is read from the data and what is predicted. It is a frozen record, not a class hierarchy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from understudy.errors import nearest

Kind = Literal["single_label", "multi_label", "regression"]

Text = str | tuple[str, ...]
"""What a row is for a model: a string, or the texts of a row."""

NO_LABEL = -100
"""The class index of a row without a label (the default ``ignore_index`` of torch). In float labels it is NaN."""

_METRICS: dict[str, tuple[str, ...]] = {
    "binary": ("accuracy", "f1", "f1_macro", "matthews", "average_precision"),
    "single_label": ("accuracy", "f1_macro", "matthews", "average_precision"),
    "multi_label": ("f1_macro", "f1_micro", "average_precision"),
    "regression": ("pearson", "spearman", "mse"),
}


@dataclass(frozen=True, kw_only=True)
class Task:
    """One supervised text task.

    ``text`` has one entry for each text of a row (one, or two for a pair): the names of the columns that are joined
    into it. ``labels`` are the names in the order of the model's outputs, empty for regression. ``metrics`` are
    computed and shown; the first one selects models.
    """

    text: tuple[tuple[str, ...], ...]
    label: str
    kind: Kind
    labels: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, but is {self.kind!r}")
        if not self.metrics:
            binary = self.kind == "single_label" and len(self.labels) == 2
            object.__setattr__(self, "metrics", _METRICS["binary" if binary else self.kind])

    @property
    def is_pair(self) -> bool:
        """Whether a row has two texts."""
        return len(self.text) == 2

    @property
    def outputs(self) -> int:
        """The width of the model's output: the number of labels, or 1 for regression."""
        return len(self.labels) or 1

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and strings, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> Task:
        """The inverse of :meth:`as_dict`.

        Raises:
            ValueError: if the row, which may come from a file, is no task.

        Example:
            >>> task = Task(text=(("text",),), label="label", kind="single_label", labels=("no", "yes"))
            >>> Task.from_dict(task.as_dict()) == task
            True
        """
        try:
            lists = [*row["text"], row["labels"], row["metrics"], [row["label"]]]
            sound = 1 <= len(row["text"]) <= 2 and len(set(row["labels"])) == len(row["labels"])
        except (LookupError, TypeError) as error:
            raise ValueError(f"no task: {error}") from None
        if not sound or not all(
            isinstance(part, list | tuple) and all(isinstance(name, str) for name in part) for part in lists
        ):
            raise ValueError("no task: names of one or two texts, of a label and of different classes are needed")
        return cls(
            text=tuple(tuple(columns) for columns in row["text"]),
            label=row["label"],
            kind=row["kind"],
            labels=tuple(row["labels"]),
            metrics=tuple(row["metrics"]),
        )


def metric_faults(metric: str | None, metrics: Sequence[str]) -> list[str]:
    """What is wrong with the metric that is to select models, now that those of the task are known."""
    if metric is None or metric in metrics:
        return []
    return [f"metric must be one of {', '.join(metrics)} for this task, but is {metric!r}.{nearest(metric, metrics)}"]
