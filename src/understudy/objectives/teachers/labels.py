"""A teacher's outputs matched to the task's, by the names of the labels."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from understudy.data.tasks import Task
from understudy.errors import ModelError, nearest


def match_labels(
    teacher_labels: Sequence[str], task: Task, *, name: str, written_in: str = "'id2label' of its config.json"
) -> np.ndarray:
    """Which of the teacher's outputs stands for which of the task's, found by the labels' names.

    Names that differ in case only are the same, unless that is ambiguous. ``LABEL_0``, ``LABEL_1`` ... (transformers'
    names for classes without names) fit a task whose labels are the numbers 0, 1 ...

    Args:
        teacher_labels: in the order of the teacher's outputs.
        name: the teacher's name, for the message.
        written_in: where the teacher's labels can be renamed, for the message.

    Returns:
        int64 ``(outputs,)``: ``teacher_logits[:, match_labels(...)]`` is in the task's order.

    Raises:
        ModelError: if the labels are not the same ones.

    Example:
        >>> task = Task(text=(("text",),), label="label", kind="single_label", labels=("bad", "good"))
        >>> match_labels(["GOOD", "BAD"], task, name="runs/teacher").tolist()
        [1, 0]
    """
    if task.kind == "regression":
        if len(teacher_labels) != 1:
            raise ModelError(
                f"{name}: has {len(teacher_labels)} outputs, but the task is regression, which has one. Name a teacher that was trained on it."
            )
        return np.zeros(1, np.int64)
    theirs = [re.sub(r"^LABEL_(\d+)$", r"\1", label) if label not in task.labels else label for label in teacher_labels]
    ours = list(task.labels)
    if sorted(theirs) != sorted(ours):
        folded = [label.casefold() for label in theirs], [label.casefold() for label in ours]
        if sorted(folded[0]) != sorted(folded[1]) or len(set(folded[1])) != len(ours):
            raise ModelError(_mismatch(teacher_labels, theirs, ours, name, written_in))
        theirs, ours = folded
    return np.array([theirs.index(label) for label in ours], np.int64)


def _mismatch(given: Sequence[str], theirs: Sequence[str], ours: Sequence[str], name: str, written_in: str) -> str:
    """The message for labels that are not the same ones."""
    if len(set(theirs)) != len(theirs):
        return f"{name}: two of its outputs have the same label ({_listed(given)}). Correct {written_in}."
    unknown = [label for label in theirs if label not in ours]
    guess = nearest(unknown[0], ours) if unknown else ""
    return f"{name}: its labels are {_listed(given)}, but the data's are {_listed(ours)}.{guess} Name a teacher that was trained on these labels, or rename the labels in {written_in} or in the data."


def _listed(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - 10} more" if len(labels) > 10 else ""
    return ", ".join(f"'{label}'" for label in labels[:10]) + more
