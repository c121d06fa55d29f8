"""A file of own tasks for ``understudy glue``: their data, columns, labels and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from understudy.errors import ConfigError, UnderstudyError
from understudy.settings.configuration import build
from understudy.settings.documents import read_documents


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
        try:
            found[str(name)] = _task(path, str(name), values)
        except UnderstudyError as error:
            faults += error.faults
    if faults:
        raise ConfigError(*faults)
    return found


def _task(path: str, name: str, values: Any) -> OwnTask:
    origin = f"{path}, task '{name}'"
    if "/" in name or name.startswith(".") or not name.strip():
        raise ConfigError(f"{origin}: a task's folder is called by its name, so it cannot be that. Rename it.")
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
    return made
