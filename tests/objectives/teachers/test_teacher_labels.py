"""A teacher's outputs found by the names of the labels."""

from __future__ import annotations

import numpy as np
import pytest

from understudy.data.tasks import Task
from understudy.errors import ModelError
from understudy.objectives.teachers.labels import match_labels

TASK = Task(text=(("text",),), label="label", kind="single_label", labels=("bad", "fair", "good"))
NUMBER = Task(text=(("text",),), label="score", kind="regression")


def test_labels_are_matched_by_name() -> None:
    logits = np.array([[10, 20, 30]])
    assert logits[:, match_labels(["good", "bad", "fair"], TASK, name="t")].tolist() == [[20, 30, 10]]
    assert match_labels(["Good", "BAD", "fair"], TASK, name="t").tolist() == [1, 2, 0]
    numbers = Task(text=(("text",),), label="label", kind="single_label", labels=("0", "1"))
    assert match_labels(["LABEL_1", "LABEL_0"], numbers, name="t").tolist() == [1, 0]
    assert match_labels(["anything"], NUMBER, name="t").tolist() == [0]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            ["good", "bad", "fairr"],
            r"runs/t: its labels are 'good', 'bad', 'fairr', but the data's are 'bad', 'fair', 'good'. Did you mean 'fair'\?",
        ),
        (["good", "bad"], r"its labels are 'good', 'bad', but"),
        (["LABEL_0", "LABEL_1", "LABEL_2"], r"its labels are 'LABEL_0'.*id2label"),
        (["good", "good", "bad"], r"two of its outputs have the same label"),
    ],
)
def test_labels_that_do_not_match(labels: list[str], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        match_labels(labels, TASK, name="runs/t")


def test_a_classifier_is_no_teacher_for_regression() -> None:
    with pytest.raises(ModelError, match="2 outputs, but the task is regression"):
        match_labels(["a", "b"], NUMBER, name="t")
