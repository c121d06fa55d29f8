"""A student cut from its teacher, as the settings describe it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from understudy.data.tasks import Task
from understudy.errors import ModelError
from understudy.models.files.classifiers import load_classifier
from understudy.models.files.multitask import is_multitask, load_tasks
from understudy.models.files.names import resolve
from understudy.models.files.pretrained import explained, read_pretrained
from understudy.models.files.stored_task import set_task, stored_task
from understudy.models.shrink.cut import choose_layers, cut_layers, layer_count, random_copy
from understudy.models.shrink.narrow import narrow
from understudy.models.structure.layers import output_layer
from understudy.objectives.teachers.labels import match_labels
from understudy.settings.student_options import LayersOptions


def cut_student(whole: Any, spec: str, layers: LayersOptions) -> Any:
    """The teacher with some of its layers, narrower if asked for, with its weights or random ones."""
    keep = layers.keep or choose_layers(layer_count(whole), int(spec.split(":")[1]), layers.choose)
    student = cut_layers(whole, keep)
    if layers.hidden is not None:
        return narrow(student, layers.hidden, start="units" if layers.start == "teacher" else layers.start)
    return random_copy(student) if layers.start == "random" else student


def whole_teacher(name: str, task: Task, *, of_several: str | None = None) -> tuple[Any, str | None]:
    """The teacher as a classifier for `task`: its head answers in the order of the task's labels.

    Args:
        name: a model folder or a hub id.
        of_several: of a model for several tasks, the one whose head is taken; by default the only one that fits.

    Returns:
        The model, and a note if its head is newly initialised, because the teacher has none for these labels.

    Raises:
        ModelError: if it cannot be loaded.
    """
    path = resolve(name)
    model, order = _of_several(path, task, of_several) if is_multitask(path) else _of_one(path, task)
    if model is not None and order is not None and in_order(model, order, task):
        model.keeps_head = True
        return model, None
    return load_classifier(name, task), new_head(name)


def new_head(name: str) -> str:
    """A note: nothing of the teacher's head is in the student."""
    return f"{name}: has no head for these labels that a student can take, so the student's head is new."


def order_of_labels(known: Task | None, task: Task) -> np.ndarray | None:
    """The outputs of a model for the task `known` in the order of `task`, int64 ``(outputs,)``; None if they do not fit."""
    if known is None or known.kind != task.kind:
        return None
    try:
        return match_labels(known.labels or (known.label,), task, name="the teacher")
    except ModelError:
        return None


def in_order(model: Any, order: np.ndarray, task: Task) -> bool:
    """Bring the outputs of a classifier into the order of `task`; False if its last layer is not found.

    Args:
        order: see :func:`order_of_labels`.
    """
    set_task(model.config, task)
    if (order == np.arange(len(order))).all():
        return True
    last = output_layer(model)
    if last is None or last.out_features != len(order):
        return False
    rows = torch.from_numpy(order)
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.copy_(parameter[rows])
    return True


def _of_one(path: str, task: Task) -> tuple[Any, np.ndarray | None]:
    _, config = read_pretrained(path)
    with explained(path):
        known = stored_task(config)
    order = order_of_labels(known, task)
    if known is None or order is None:
        return None, None
    model = load_classifier(path, replace(task, labels=known.labels))
    return (model, order) if model.keeps_head else (None, None)


def _of_several(path: str, task: Task, wanted: str | None) -> tuple[Any, np.ndarray | None]:
    trained = load_tasks(path)
    orders = {name: order_of_labels(known, task) for name, known in trained.tasks.items() if wanted in (None, name)}
    fitting = [
        name
        for name, order in orders.items()
        if order is not None and trained.tasks[name].is_pair == task.is_pair and trained.model.shared
    ]
    if len(fitting) != 1:
        return None, None
    model = trained.model.task(fitting[0])
    model.new_in_encoder = frozenset()
    return model, orders[fitting[0]]
