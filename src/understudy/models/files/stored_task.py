"""The task of a model in its configuration: written as transformers knows it, and read back."""

from __future__ import annotations

from typing import Any

from understudy.data.tasks import Task
from understudy.functional.temperature import HIGHEST, LOWEST

_PROBLEMS = {
    "single_label": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}


def set_task(config: Any, task: Task) -> None:
    """Write a task's labels and kind into a configuration, in the fields of transformers."""
    labels = task.labels or (task.label,)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
    config.problem_type = _PROBLEMS[task.kind]


def stored_task(config: Any) -> Task | None:
    """The task that a checkpoint was trained for, or None if its configuration does not say.

    A checkpoint that was not written here tells its labels only: its task is given one text, in a column ``text``.

    Raises:
        ValueError: if it says something else.
    """
    own = getattr(config, "understudy", None)
    if isinstance(own, dict) and "task" in own:
        task = Task.from_dict(own["task"])
        if task.outputs != config.num_labels:
            raise ValueError(f"it names {len(task.labels)} labels, but its head has {config.num_labels} outputs")
        return task
    if not config.id2label or is_language_model(config):
        return None
    labels = tuple(str(config.id2label[index]) for index in sorted(config.id2label))
    kinds = {problem: kind for kind, problem in _PROBLEMS.items()}
    kind: Any = kinds.get(config.problem_type or "", "regression" if len(labels) == 1 else "single_label")
    return Task(text=(("text",),), label="label", kind=kind, labels=() if kind == "regression" else labels)


def stored_temperature(config: Any) -> float:
    """The temperature of a classifier's probabilities; 1 where its configuration names none, as before there was one.

    Raises:
        ValueError: if it is not a number from 0.001 to 1000.

    Example:
        >>> from types import SimpleNamespace
        >>> stored_temperature(SimpleNamespace(understudy={"temperature": 1.7})), stored_temperature(SimpleNamespace())
        (1.7, 1.0)
    """
    own = getattr(config, "understudy", None)
    return checked_temperature(own.get("temperature", 1.0) if isinstance(own, dict) else 1.0)


def checked_temperature(value: Any) -> float:
    """A temperature as it was read from a file.

    Raises:
        ValueError: if it is not a number from 0.001 to 1000.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not LOWEST <= value <= HIGHEST:
        raise ValueError(f"its temperature must be a number from {LOWEST:g} to {HIGHEST:g}, but is {value!r:.40}")
    return float(value)


def is_language_model(config: Any) -> bool:
    """Whether the configuration is that of a language model which :func:`understudy.models.files.save.save_model` wrote."""
    own = getattr(config, "understudy", None)
    return isinstance(own, dict) and str(own.get("kind")).endswith("language_model")
