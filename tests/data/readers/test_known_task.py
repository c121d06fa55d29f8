"""Labelled rows for a task that is known: the order of the labels is the task's, whatever the file has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from understudy.data.readers.known_task import read_known_task
from understudy.data.tasks import Task
from understudy.errors import DataError

CLASSES = Task(text=(("text",),), label="label", kind="single_label", labels=("good", "bad", "fair"))
SEVERAL = Task(text=(("text",),), label="label", kind="multi_label", labels=("sad", "funny"))
NUMBERS = Task(text=(("a",), ("b",)), label="score", kind="regression")


def written(folder: Path, content: str) -> str:
    path = folder / "rows.csv"
    path.write_text(content, encoding="utf-8")
    return str(path)


def test_classes_are_in_the_order_of_the_task(tmp_path: Path) -> None:
    notes: list[str] = []
    rows = read_known_task(written(tmp_path, "text,label\nx,bad\ny,good\nz,\nw,bad\n"), CLASSES, notes=notes)
    assert "1 row without a label left out (first: " in notes[-1]
    assert rows.labels.tolist() == [1, 0, 1]
    assert [rows.texts[i] for i in range(3)] == [("x",), ("y",), ("w",)]


def test_another_label_column_than_that_of_the_task_is_said(tmp_path: Path) -> None:
    task = Task(text=(("text",),), label="mood", kind="single_label", labels=("good", "bad"))
    path, notes = written(tmp_path, "text,label\nx,bad\ny,good\n"), list[str]()
    assert read_known_task(path, task, notes=notes).labels.tolist() == [1, 0]
    assert notes == [
        f"{path}: there is no column 'mood', so 'label' is read. Name what to read with --label, if that is wrong."
    ]
    read_known_task(path, task, label=["label"], notes=notes)
    assert len(notes) == 1


def test_several_labels_as_lists_and_as_columns(tmp_path: Path) -> None:
    rows = read_known_task(written(tmp_path, 'text,label\nx,"funny"\ny,"funny|sad"\n'), SEVERAL)
    np.testing.assert_array_equal(rows.labels, [[0, 1], [1, 1]])
    columns = written(tmp_path, "text,funny,sad\nx,1,0\ny,1,1\nz,0,0\n")
    for label in ((), ("funny", "sad"), ("sad", "funny")):
        rows = read_known_task(columns, SEVERAL, label=label)
        np.testing.assert_array_equal(rows.labels, [[0, 1], [1, 1], [0, 0]])


def test_numbers_of_pairs_in_other_columns(tmp_path: Path) -> None:
    path = written(tmp_path, "left,right,how\nx,y,0.5\nz,w,-2\n")
    rows = read_known_task(path, NUMBERS, text=["left", "right"], label=["how"])
    np.testing.assert_array_equal(rows.labels, np.array([0.5, -2], np.float32))
    assert rows.texts[1] == ("z", "w")


@pytest.mark.parametrize(
    ("content", "task", "options", "message"),
    [
        ("text,label\nx,bda\n", CLASSES, {}, "Did you mean 'bad'"),
        ("text,label\nx,\n", CLASSES, {}, "no row has a label"),
        ("text,label\nx,bad\n,good\n", CLASSES, {}, "line 3: the text is empty"),
        ("text,rating\nx,1\n", CLASSES, {}, "no label column"),
        ("text,label\nx,bad\n", CLASSES, {"label": ["lable"]}, "Did you mean 'label'"),
        ("text,sad,dull\nx,1,0\n", SEVERAL, {"label": ["sad", "dull"]}, "the model's labels are sad, funny"),
        ("a,b,score\nx,y,high\n", NUMBERS, {}, "high"),
    ],
)
def test_faults_are_said(content: str, task: Task, options: dict[str, list[str]], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_known_task(written(tmp_path, content), task, **options)


def test_a_label_with_a_comma_is_one(tmp_path: Path) -> None:
    task = Task(text=(("text",),), label="label", kind="multi_label", labels=("Toys, Games", "Books"))
    rows = read_known_task(written(tmp_path, 'text,label\nx,"Toys, Games"\ny,Books\n'), task)
    np.testing.assert_array_equal(rows.labels, [[1, 0], [0, 1]])
