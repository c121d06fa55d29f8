"""Several teachers as one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from understudy.objectives.teachers.teacher import AveragedTeacher


class Fixed:
    """A teacher with a table of answers."""

    def __init__(self, logits: list[list[float]], forward_texts: int = 0) -> None:
        self.logits = torch.tensor(logits)
        self.outputs = self.logits.shape[1]
        self.forward_texts = forward_texts

    def __call__(self, rows: np.ndarray) -> torch.Tensor:
        """From the table."""
        return self.logits[rows]


def test_an_average_over_those_that_answer() -> None:
    nan = float("nan")
    teachers = [Fixed([[1.0, 0.0], [nan, nan], [nan, nan]], 3), Fixed([[4.0, -3.0], [5.0, 6.0], [nan, nan]], 2)]
    average = AveragedTeacher(teachers, [2, 1])
    answer = average(np.arange(3))
    np.testing.assert_allclose(answer, [[2.0, -1.0], [5.0, 6.0], [nan, nan]], rtol=1e-6)
    assert (average.outputs, average.forward_texts) == (2, 5)
    np.testing.assert_allclose(AveragedTeacher(teachers)(np.array([0])), [[2.5, -1.5]])


@pytest.mark.parametrize(("widths", "weights"), [([2, 3], None), ([], None), ([2, 2], [1.0]), ([2, 2], [1.0, 0.0])])
def test_teachers_that_cannot_be_averaged(widths: list[int], weights: list[float] | None) -> None:
    with pytest.raises(ValueError, match=r"weight|width"):
        AveragedTeacher([Fixed([[0.0] * width]) for width in widths], weights)
