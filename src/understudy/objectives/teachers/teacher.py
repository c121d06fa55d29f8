"""Teachers: for row numbers, the logits of the texts in those rows. They stand apart from every loss and every model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from understudy.data.tasks import Task
from understudy.data.tokens.encode import Encoded
from understudy.errors import ModelError, nearest
from understudy.inference.logits import logits, outputs_of
from understudy.objectives.teachers.cached import CachedTeacher
from understudy.objectives.teachers.file import FileTeacher

__all__ = ["AveragedTeacher", "CachedTeacher", "FileTeacher", "OnlineTeacher", "Teacher", "match_labels"]


class Teacher(Protocol):
    """Answers for rows of the texts it was made for."""

    @property
    def outputs(self) -> int:
        """The width of an answer."""
        ...

    @property
    def forward_texts(self) -> int:
        """Texts that have gone through a network so far to get these answers."""
        ...

    def __call__(self, rows: np.ndarray) -> Tensor:
        """Logits, float32 ``(rows, outputs)``; a row without an answer is NaN throughout."""
        ...


class OnlineTeacher:
    """Runs the texts through the model at every call. It is not a module, so that it can be no part of an objective.

    Args:
        columns: the model's outputs in the task's order, see :func:`match_labels`.
    """

    def __init__(
        self,
        model: nn.Module,
        encoded: Encoded,
        names: Sequence[str],
        *,
        device: torch.device | str | None = None,
        columns: np.ndarray | None = None,
        max_tokens: int | None = None,
    ) -> None:
        self.outputs = outputs_of(model) if columns is None else len(columns)
        self.forward_texts = 0
        self._model, self._encoded, self._names = model, encoded, tuple(names)
        self._device, self._columns, self._max_tokens = device, columns, max_tokens

    def __call__(self, rows: np.ndarray) -> Tensor:
        """Logits of rows, computed now: float32 ``(rows, outputs)``."""
        out = logits(
            self._model, self._encoded, names=self._names, rows=rows, max_tokens=self._max_tokens, device=self._device
        )
        self.forward_texts += len(rows)
        return torch.from_numpy(out if self._columns is None else out[:, self._columns])


class AveragedTeacher:
    r"""Several teachers as one: the weighted mean of their logits, over those that answer.

    .. math:: t = \sum_i w_i t_i \,/\, \sum_i w_i

    The mean of logits is, as probabilities, the renormalised geometric mean of the teachers': a class that one of them
    rules out stays unlikely. For a text that some teachers leave unanswered, the weights of the others are scaled up;
    one that none of them answers stays NaN.

    Args:
        teachers: at least one, all for the same rows and outputs.
        weights: positive, one a teacher, in any scale; equal ones by default.

    Raises:
        ValueError: if the teachers' widths differ or the weights do not fit.
    """

    def __init__(self, teachers: Sequence[Teacher], weights: Sequence[float] | None = None) -> None:
        weights = [1.0] * len(teachers) if weights is None else weights
        if not teachers or len({teacher.outputs for teacher in teachers}) > 1:
            raise ValueError(
                f"teachers must be one or more with outputs of one width, but theirs are {[teacher.outputs for teacher in teachers]}"
            )
        if len(weights) != len(teachers) or not all(0 < weight < float("inf") for weight in weights):
            raise ValueError(
                f"each of the {len(teachers)} teachers needs a positive weight, but the weights are {list(weights)}"
            )
        self.outputs = teachers[0].outputs
        self._teachers = tuple(teachers)
        self._weights = torch.tensor(weights, dtype=torch.float32)

    @property
    def forward_texts(self) -> int:
        """Texts that have gone through any of the teachers' networks."""
        return sum(teacher.forward_texts for teacher in self._teachers)

    def __call__(self, rows: np.ndarray) -> Tensor:
        """Averaged logits of rows: float32 ``(rows, outputs)``."""
        answers = torch.stack([teacher(rows) for teacher in self._teachers])
        answered = ~answers.isnan().any(-1, keepdim=True)
        weights = self._weights[:, None, None] * answered
        return (weights * answers.nan_to_num()).sum(0) / weights.sum(0)  # where nobody answers, 0 / 0 is the NaN wanted


def match_labels(teacher_labels: Sequence[str], task: Task, *, name: str) -> np.ndarray:
    """Which of the teacher's outputs stands for which of the task's, found by the labels' names.

    Names that differ in case only are the same, unless that is ambiguous. ``LABEL_0``, ``LABEL_1`` ... (what
    transformers calls classes without names) fit a task whose labels are the numbers 0, 1 ...

    Args:
        teacher_labels: in the order of the teacher's outputs.
        name: of the teacher, for the message.

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
            raise ModelError(_mismatch(teacher_labels, theirs, ours, name))
        theirs, ours = folded
    return np.array([theirs.index(label) for label in ours], np.int64)


def _mismatch(given: Sequence[str], theirs: Sequence[str], ours: Sequence[str], name: str) -> str:
    """The message for labels that are not the same ones."""
    if len(set(theirs)) != len(theirs):
        return (
            f"{name}: two of its outputs have the same label ({_said(given)}). Correct 'id2label' in its config.json."
        )
    unknown = [label for label in theirs if label not in ours]
    guess = nearest(unknown[0], ours) if unknown else ""
    return f"{name}: its labels are {_said(given)}, but the data's are {_said(ours)}.{guess} Name a teacher that was trained on these labels, or rename the labels in 'id2label' of its config.json or in the data."


def _said(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - 10} more" if len(labels) > 10 else ""
    return ", ".join(f"'{label}'" for label in labels[:10]) + more
