"""What a joint training is about: the rows of all tasks, and the scores that all of them have."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from understudy.data.glue.read import TaskData
from understudy.data.splits import Rows
from understudy.data.texts import Texts
from understudy.functional.metrics import AVERAGE
from understudy.recipes.train.glue.results import union_of_metrics
from understudy.report.scores import MULTI_TASK
from understudy.runs.subject import Subject


def subject_of(data: Mapping[str, TaskData]) -> Subject:
    """The subject of a run on several tasks, by name."""
    texts: dict[str, Texts] = {}
    labels: dict[str, np.ndarray] = {}
    notes: list[str] = []
    for name, task in data.items():
        for part, rows in (("train", task.splits.train), *dev_parts(task).items()):
            texts[f"{name}, {part}"], labels[f"{name}, {part}"] = rows.texts, rows.labels
        notes += task.splits.notes
    tasks = {name: task.splits.task for name, task in data.items()}
    about = {
        "kind": MULTI_TASK,
        "metrics": [AVERAGE, *union_of_metrics(list(tasks.values()))],
        "tasks": {name: task.as_dict() for name, task in tasks.items()},
    }
    metrics = [AVERAGE, *(f"{name}/{metric}" for name, task in tasks.items() for metric in task.metrics)]
    return Subject(about, texts, metrics, notes, labels)


def dev_parts(data: TaskData) -> dict[str, Rows]:
    """The parts of a task that everyone reports: the development set, of MNLI both."""
    others = {split: rows for split, rows in data.others.items() if split.startswith("validation")}
    return {"validation": data.splits.validation, **others}
