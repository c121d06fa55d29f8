"""A file of own tasks for ``understudy glue``: their data, columns, labels and metrics."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from understudy.data.glue.tasks import ALL
from understudy.errors import ConfigError, UnderstudyError, gathered
from understudy.functional.metrics import AVERAGE
from understudy.settings.configuration import build
from understudy.settings.documents import read_documents

_TAKEN = {ALL: "stands for every task of GLUE", AVERAGE: "is the average over all tasks"}
"""Names that no task can have."""
_FLAG = re.compile(
    r"--(data|train|validation|test|text|label|kind)\b(?: (single_label|multi_label|regression|\w+\+\w+|[^,]+(?=, if it is)))?"
)

_NO_KEY = re.compile(r",? [oO]r name [^,.;]* with --(?:columns|encoding)(?:,? (?:such )?as [^.;]*)?")
"""A second way out of a fault that a file of tasks has not."""


@dataclass(kw_only=True)
class OwnTask:
    """One task of the file, under the names that ``finetune`` has."""

    data: str | None = None
    train: str | None = None
    validation: str | None = None
    test: str | None = None
    text: list[str] = field(default_factory=list)
    label: list[str] | None = None
    kind: Literal["single_label", "multi_label", "regression"] | None = None
    labels: list[str] = field(default_factory=list)
    """The classes in the order of the model's outputs; those of the training rows by default, sorted."""
    metrics: list[str] = field(default_factory=list)
    """The first one selects; the usual ones of its kind by default."""

    def data_read(self) -> list[str]:
        """The names of the data that are read."""
        return [name for name in (self.data, self.train, self.validation, self.test) if name is not None]


def read_task_file(path: str) -> dict[str, OwnTask]:
    """The tasks of a YAML file, in its order, with every unknown key and wrong value reported together.

    Raises:
        ConfigError: with one sentence a fault.
    """
    documents = read_documents(path)
    if len(documents) > 1:
        raise ConfigError(f"{path}: holds {len(documents)} documents, but the tasks must be in one. Join them.")
    found: dict[str, OwnTask] = {}
    faults: list[str] = []
    for name, values in documents[0].items():
        with gathered(faults):
            found[str(name)] = _task(path, str(name), values)
    faults += [
        f"{path}: the tasks {' and '.join(alike)} differ only in case, and each has a folder of its name. Rename one of them."
        for alike in alike_in_case(map(str, documents[0]))
    ]
    if faults:
        raise ConfigError(*faults)
    return found


def alike_in_case(names: Iterable[str]) -> list[list[str]]:
    """The names that differ from another one only in case.

    Example:
        >>> alike_in_case(["rte", "mood", "RTE", "mood"])
        [['rte', 'RTE']]
    """
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(name.casefold(), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def in_keys(sentence: str) -> str:
    """A sentence of those who read data, with the keys of the file in the place of the flags of ``finetune``.

    Example:
        >>> in_keys("a.csv: no text column. Name what to read with --text, as in --text title+body.")
        "a.csv: no text column. Name what to read with 'text:', as in 'text: title+body'."
        >>> in_keys("a.csv: not UTF-8. Save the file as UTF-8, or name its encoding with --encoding, such as cp1252.")
        'a.csv: not UTF-8. Save the file as UTF-8.'
    """
    said = _NO_KEY.sub("", sentence)
    return _FLAG.sub(lambda found: f"'{found[1]}: {found[2]}'" if found[2] else f"'{found[1]}:'", said)


def _label_faults(task: OwnTask) -> Iterator[str]:
    """What is wrong with the classes that a task names."""
    named = task.labels
    if not named:
        return
    if task.kind == "regression":
        yield "labels are classes, but kind is regression. Leave one of them out."
    if len(task.label or ()) > 1:
        yield "label names several columns, which are the labels. Leave labels out."
    if len(named) < 2:
        yield f"labels must be two or more, but is {named[0]!r} alone. Name them all, or leave labels out."
    for name in dict.fromkeys(named):
        if named.count(name) > 1 or not name.strip():
            yield f"labels must be different names, but {name!r} is {'there twice' if name.strip() else 'empty'}. Correct it."


def _task(path: str, name: str, values: Any) -> OwnTask:
    origin = f"{path}, task '{name}'"
    if "/" in name or name.startswith(".") or not name.strip():
        raise ConfigError(f"{origin}: a task's folder is called by its name, so it cannot be that. Rename it.")
    if name.lower() in _TAKEN:
        raise ConfigError(
            f"{origin}: '{name.lower()}' {_TAKEN[name.lower()]}, so no task can be called that. Rename it."
        )
    if not isinstance(values, Mapping):
        raise ConfigError(f"{origin}: must hold settings such as 'data: reviews.csv', but holds {values!r}.")
    try:
        made = build(OwnTask, values, origin=origin)
    except UnderstudyError as error:
        raise ConfigError(*(fault if origin in fault else f"{origin}: {fault}" for fault in error.faults)) from None
    if made.data is None and made.train is None:
        raise ConfigError(
            f"{origin}: has no data. Name a file, a folder or a hub data set with data (or a file with train)."
        )
    if faults := list(_label_faults(made)):
        raise ConfigError(*(f"{origin}: {fault}" for fault in faults))
    return made
