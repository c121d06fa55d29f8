"""The task of a model in its configuration: written as transformers knows it, and read back."""

from __future__ import annotations

from typing import Any

from understudy.data.tasks import Task

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


def is_language_model(config: Any) -> bool:
    """Whether the configuration is that of a language model which :func:`understudy.models.files.save.save_model` wrote."""
    own = getattr(config, "understudy", None)
    return isinstance(own, dict) and str(own.get("kind")).endswith("language_model")
