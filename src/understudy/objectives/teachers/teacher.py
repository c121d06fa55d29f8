"""What a teacher is: row numbers in, the logits of the texts in those rows out. No loop and no model knows more of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from understudy.data.tokens.encode import Encoded
from understudy.inference.logits import logits, outputs_of


class Teacher(Protocol):
    """Answers for rows of the texts it was made for."""

    @property
    def outputs(self) -> int:
        """The width of an answer."""
        ...

    @property
    def forward_texts(self) -> int:
        """Texts that have gone through a model so far to get these answers."""
        ...

    def __call__(self, rows: np.ndarray) -> Tensor:
        """Logits, float32 ``(rows, outputs)``; a row without an answer is NaN throughout."""
        ...


class OnlineTeacher:
    """Runs the texts through the model at every call. It is not a module, so that no objective can train or save it.

    Args:
        columns: the model's outputs in the task's order, see
            :func:`understudy.objectives.teachers.labels.match_labels`.
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


class NoAnswers:
    """Answers for no text: the teacher of students that learn from labels alone."""

    def __init__(self, outputs: int) -> None:
        self.outputs, self.forward_texts = outputs, 0

    def __call__(self, rows: np.ndarray) -> Tensor:
        """NaN throughout: float32 ``(rows, outputs)``."""
        return torch.full((len(rows), self.outputs), torch.nan)


class AveragedTeacher:
    r"""Several teachers as one: the weighted mean of their logits, over those that answer.

    .. math:: t = \sum_i w_i t_i \,/\, \sum_i w_i

    As probabilities, the mean of logits is the renormalised geometric mean of the teachers: a class that one of them
    rules out stays unlikely. Where only some teachers answer for a text, the weights of these are scaled up; a text
    without any answer stays NaN.

    Args:
        teachers: at least one, all for the same rows and outputs.
        weights: positive, one a teacher, on any scale; equal by default.

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
        """Texts that have gone through the teachers, summed over them."""
        return sum(teacher.forward_texts for teacher in self._teachers)

    def __call__(self, rows: np.ndarray) -> Tensor:
        """Averaged logits of rows: float32 ``(rows, outputs)``."""
        answers = torch.stack([teacher(rows) for teacher in self._teachers])
        answered = ~answers.isnan().any(-1, keepdim=True)
        weights = self._weights[:, None, None] * answered
        return (weights * answers.nan_to_num()).sum(0) / weights.sum(
            0
        )  # without any answer, 0 / 0 gives the NaN that is wanted
