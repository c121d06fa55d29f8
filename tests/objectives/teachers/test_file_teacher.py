"""Answers from files: probabilities, labels, votes, and every fault of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import scipy.special
import torch

from understudy.data.readers.formats.reading import Reading
from understudy.data.tasks import Task
from understudy.data.texts import Texts
from understudy.errors import DataError
from understudy.objectives.teachers.file import FileTeacher

TASK = Task(text=(("text",),), label="label", kind="single_label", labels=("bad", "fair", "good"))
MULTI = Task(text=(("text",),), label="label", kind="multi_label", labels=("funny", "sad"))
NUMBER = Task(text=(("text",),), label="score", kind="regression")
PAIR = Task(text=(("first",), ("second",)), label="label", kind="single_label", labels=("bad", "fair", "good"))


def write(path: Path, header: list[str], rows: list[list[object]]) -> str:
    """A file of answers in the format of its name."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(dict(zip(header, row))) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(pa.table({name: list(column) for name, column in zip(header, zip(*rows))}), path)
    else:
        with open(path, "w", newline="") as file:
            csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows([header, *rows])
    return str(path)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("prefix", ["", "p_", "probability_"])
def test_probabilities_from_a_file(suffix: str, prefix: str, tmp_path: Path) -> None:
    header = ["text", "label", prefix + "good", prefix + "bad", prefix + "fair"]
    rows: list[list[object]] = [["one, two", "good", 0.7, 0.1, 0.2], ["three", "bad", 0.0, 1.0, 0.0]]
    teacher = FileTeacher(
        write(tmp_path / f"answers.{suffix}", header, rows), Texts.of(["three", "four", "one, two", "three"]), TASK
    )
    logits = teacher(np.arange(4))
    assert logits.dtype == torch.float32
    assert logits[1].isnan().all()
    np.testing.assert_allclose(scipy.special.softmax(logits[2].numpy()), [0.1, 0.2, 0.7], atol=1e-6)
    np.testing.assert_allclose(logits[[0, 2, 3]].sum(1), 0, atol=1e-5)  # centred
    np.testing.assert_allclose(logits[0, 0] - logits[0, 1], np.log(1 / 1e-3), rtol=1e-5)  # the floor
    assert torch.equal(logits[0], logits[3])
    assert (teacher.covered, teacher.uncovered, teacher.forward_texts, teacher.outputs) == (3, 1, 0, 3)
    assert teacher.notes == (f"{tmp_path}/answers.{suffix}: answers for 3 of 4 texts.",)


def test_votes_are_averaged(tmp_path: Path) -> None:
    rows: list[list[object]] = [
        ["a", "good"],
        ["a", "bad"],
        ["b", "fair"],
        ["a", "good"],
        ["a", "good"],
        ["c", ""],
        ["z", "bad"],
    ]
    path = write(tmp_path / "votes.csv", ["text", "label"], rows)
    teacher = FileTeacher(path, Texts.of(["b", "a", "c"]), TASK, floor=0.01)
    votes = np.array([1, 0, 3]) / 4
    kept = np.maximum(votes, 0.01) / np.maximum(votes, 0.01).sum()
    np.testing.assert_allclose(scipy.special.softmax(teacher(np.array([1]))[0].numpy()), kept, atol=1e-6)
    assert teacher(np.array([2])).isnan().all()
    assert teacher.notes[1:] == (
        f"{path}: 1 texts occur several times; their answers are averaged.",
        f"{path}: 1 rows give no answer and are not used.",
        f"{path}: 1 answers are for other texts and are not used.",
    )


def test_pairs_several_labels_and_numbers(tmp_path: Path) -> None:
    pairs = FileTeacher(
        write(tmp_path / "pairs.csv", ["first", "second", "label"], [["a", "b", "good"]]),
        Texts.of([("b", "a"), ("a", "b")]),
        PAIR,
    )
    assert pairs(np.arange(2)).argmax(1)[1] == 2
    assert pairs(np.array([0])).isnan().all()

    several: list[list[object]] = [["a", 0.9, 0.2], ["b", 1.0, 0.0]]
    multi = FileTeacher(write(tmp_path / "multi.csv", ["text", "funny", "sad"], several), Texts.of(["a", "b"]), MULTI)
    np.testing.assert_allclose(
        scipy.special.expit(multi(np.arange(2)).numpy()), [[0.9, 0.2], [0.999, 0.001]], atol=1e-6
    )
    lists = FileTeacher(
        write(tmp_path / "lists.jsonl", ["text", "label"], [["a", ["sad"]], ["a", ["sad", "funny"]]]),
        Texts.of(["a"]),
        MULTI,
    )
    np.testing.assert_allclose(scipy.special.expit(lists(np.arange(1)).numpy()), [[0.5, 0.999]], atol=1e-6)

    missing = write(tmp_path / "missing.csv", ["text", "label"], [["a", "sad|funny"], ["b", ""], ["c", "[]"]])
    asked = FileTeacher(missing, Texts.of(["a", "b", "c"]), MULTI)
    assert (asked.covered, asked.uncovered) == (2, 1)  # an empty cell is an answer that failed, [] is one
    assert asked(np.array([1])).isnan().all()
    np.testing.assert_allclose(scipy.special.expit(asked(np.array([2])).numpy()), [[0.001, 0.001]], atol=1e-6)

    numbers = FileTeacher(
        write(tmp_path / "numbers.csv", ["text", "score"], [["a", 1.5], ["a", 2.0]]), Texts.of(["a"]), NUMBER
    )
    assert numbers(np.arange(1)).tolist() == [[1.75]]


def test_the_columns_can_be_named(tmp_path: Path) -> None:
    rows: list[list[object]] = [["x", "a", "good", 0.2, 0.2, 0.6], ["y", "b", "bad", 0.2, 0.2, 0.6]]
    path = write(tmp_path / "answers.csv", ["id", "prompt", "answer", "bad", "fair", "good"], rows)
    teacher = FileTeacher(path, Texts.of(["b"]), TASK, text=["prompt"], label="answer")
    assert teacher(np.arange(1)).argmax() == 0  # the label that was named, not the probabilities


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (
            ["text", "label"],
            ["a", "goood"],
            r"answers.csv, line 2: label 'goood' is not one of 'bad', 'fair', 'good'.*Did you mean 'good'",
        ),
        (
            ["text", "bad", "fair", "good"],
            ["a", 0.5, 0.1, 0.1],
            r"answers.csv, line 2: the probabilities sum to 0.7, but must sum to 1",
        ),
        (
            ["text", "bad", "fair", "good"],
            ["a", -0.1, 0.5, 0.6],
            r"answers.csv, line 2: -0.1 in column 'bad' is not a probability",
        ),
        (["text", "bad", "fair", "good"], ["a", "", 0.4, 0.6], r"answers.csv, line 2: no probability in column 'bad'"),
        (
            ["text", "bad", "fair", "good"],
            ["a", "high", 0.4, 0.6],
            r"answers.csv, line 2: 'high' in column 'bad' is not a number",
        ),
        (
            ["text", "p_bad", "p_good"],
            ["a", 0.4, 0.6],
            r"answers.csv: probabilities need a column for every class, but 'p_fair' is missing",
        ),
        (
            ["text", "bad", "fair", "good"],
            ["other", 0.2, 0.2, 0.6],
            r"answers.csv: answers for none of the 1 texts.*first text, from column 'text', is 'other'\.$",
        ),
        (
            ["content", "bad", "fair", "good"],
            ["other", 0.2, 0.2, 0.6],
            r"first text, from column 'content', is 'other'. Rename the text column to 'text', as in the training rows, if",
        ),
        (
            ["prompt", "label"],
            ["a", "good"],
            r"no text column with a usual name. The columns are 'prompt', 'label'. Rename the text column to 'text', as in",
        ),
        (
            ["content", "verdict"],
            ["a", "good"],
            r"answers.csv: no label column with a usual name. The columns are 'content', 'verdict'. Rename the column of answers to 'label', as in the training rows, or give a column of probabilities for each class \('p_bad', 'p_fair', 'p_good'\)",
        ),
    ],
)
def test_faults_of_a_file(header: list[str], row: list[object], message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "answers.csv", header, [row])
    with pytest.raises(DataError, match=message) as raised:
        FileTeacher(path, Texts.of(["a"]), TASK)
    assert "--" not in str(raised.value)  # the flags name the columns of the data


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        FileTeacher(tmp_path / "absent.csv", Texts.of(["a"]), TASK)


def test_what_predict_writes_is_the_same_teacher_in_either_format(tmp_path: Path) -> None:
    shares = {"good fun": (0.1, 0.2, 0.7), "dull": (0.6, 0.3, 0.1)}
    rows = [
        {"text": text, "label": "good", "probabilities": dict(zip(TASK.labels, values))}
        for text, values in shares.items()
    ]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with open(tmp_path / "own.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", *(f"probability_{name}" for name in TASK.labels)])
        writer.writerows([text, "good", *values] for text, values in shares.items())
    texts = Texts.of([(text,) for text in shares])
    logits = [FileTeacher(tmp_path / name, texts, TASK)(np.arange(2)) for name in ("own.jsonl", "own.csv")]
    assert torch.equal(*logits)
    np.testing.assert_allclose(logits[0].softmax(-1), list(shares.values()), atol=1e-6)
    del rows[1]["probabilities"]["fair"]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(DataError, match=r"own.jsonl, line 2: no probability in column 'probability_fair'"):
        FileTeacher(tmp_path / "own.jsonl", texts, TASK)


def test_thousands_of_classes_have_a_smaller_floor(tmp_path: Path) -> None:
    task = Task(text=(("text",),), label="label", kind="single_label", labels=tuple(f"c{i}" for i in range(2000)))
    found = FileTeacher(write(tmp_path / "many.csv", ["text", "label"], [["a", "c7"]]), Texts.of(["a"]), task)
    shares = scipy.special.softmax(found(np.arange(1)).numpy().astype(np.float64))
    assert shares.argmax() == 7
    assert shares.max() > 0.85


@pytest.mark.parametrize("prefix", ["", "p_", "probability_"])
def test_columns_are_the_classes_in_whatever_case(prefix: str, tmp_path: Path) -> None:
    header = ["text", "label", prefix + "GOOD", prefix + "Bad", prefix + "fair"]
    path = write(tmp_path / "answers.csv", header, [["a", "fair", 0.7, 0.1, 0.2]])
    found = FileTeacher(path, Texts.of(["a"]), TASK)
    np.testing.assert_allclose(scipy.special.softmax(found(np.arange(1))[0].numpy()), [0.1, 0.2, 0.7], atol=1e-6)
    assert len(found.notes) == 1


def test_classes_that_differ_in_case_alone_are_not_mixed_up(tmp_path: Path) -> None:
    task = Task(text=(("text",),), label="label", kind="single_label", labels=("us", "US"))
    path = write(tmp_path / "exact.csv", ["text", "p_US", "p_us"], [["a", 0.9, 0.1]])
    exact = FileTeacher(path, Texts.of(["a"]), task)
    np.testing.assert_allclose(scipy.special.softmax(exact(np.arange(1))[0].numpy()), [0.1, 0.9], atol=1e-6)
    unclear = write(tmp_path / "unclear.csv", ["text", "p_Us", "p_us"], [["a", 0.9, 0.1]])
    with pytest.raises(DataError, match=r"a column for every class, but 'p_US' is missing"):
        FileTeacher(unclear, Texts.of(["a"]), task)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (["p_b", "p_f", "p_g"], "columns 'p_b', 'p_f', 'p_g' are not read (named after no class)"),
        (["line", "share", "note"], "column 'share' is not read (named after no class)"),
        (["line", "good", "note"], "column 'good' is not read (not one for each class)"),
        (["line", "rank", "note"], None),
    ],
)
def test_shares_beside_a_label_column_are_not_passed_over_in_silence(
    columns: list[str], said: str | None, tmp_path: Path
) -> None:
    values = {"line": [1, 2], "rank": [0, 3], "note": ["", "late"]}
    rows = [["a", "good", 0.2, 0.3, 0.5], ["b", "bad", 1, "", 0]]
    for place, name in enumerate(columns, 2):
        for row, value in zip(rows, values.get(name, [0.2, 1])):
            row[place] = value  # type: ignore[call-overload]
    path = write(tmp_path / "answers.csv", ["text", "label", *columns], rows)
    notes = FileTeacher(path, Texts.of(["a", "b"]), TASK).notes
    end = "; the label column teaches as hard decisions."
    assert notes[:-1] == (() if said is None else (f"{path}: {said}{end}",))
    assert not [note for note in FileTeacher(path, Texts.of(["a"]), TASK, label="label").notes if "not read" in note]


def of_mappings(path: Path, *mappings: dict[str, float]) -> str:
    """JSON lines as ``understudy predict`` writes them."""
    rows = [{"text": chr(97 + i), "label": "good", "probabilities": known} for i, known in enumerate(mappings)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_keys_are_the_classes_in_whatever_case(tmp_path: Path) -> None:
    path = of_mappings(tmp_path / "own.jsonl", {"Bad": 0.1, "FAIR": 0.2, "good": 0.7}, {})
    found = FileTeacher(path, Texts.of(["a", "b"]), TASK)
    np.testing.assert_allclose(scipy.special.softmax(found(np.arange(1))[0].numpy()), [0.1, 0.2, 0.7], atol=1e-6)
    assert (found.covered, found.uncovered) == (1, 1)


def test_probabilities_of_no_class_are_a_fault_of_their_row(tmp_path: Path) -> None:
    known = {"bad": 0.1, "fair": 0.2, "good": 0.7}
    path = of_mappings(tmp_path / "own.jsonl", known, {"b": 0.1, "g": 0.9})
    with pytest.raises(DataError) as raised:
        FileTeacher(path, Texts.of(["a", "b"]), TASK)
    assert str(raised.value) == (
        f"{path}, line 2: none of its probabilities is of a class: the keys are 'b', 'g', but the classes are 'bad', 'fair', 'good'. Rename the keys."
    )


def test_keys_that_are_no_class_are_said(tmp_path: Path) -> None:
    path = of_mappings(tmp_path / "own.jsonl", {"funny": 0.1, "sad": 0.2, "angry": 0.7}, {"funny": 1, "Sad": 0})
    found = FileTeacher(path, Texts.of(["a", "b"]), MULTI)
    np.testing.assert_allclose(scipy.special.expit(found(np.arange(1))[0].numpy()), [0.1, 0.2], atol=1e-6)
    assert found.notes[0] == (
        f"{path}: 1 row with probabilities that are not read, because their keys are no class: 'angry'."
    )


def test_flags_on_reading_serve_a_file_that_cannot_be_read_as_it_is(tmp_path: Path) -> None:
    texts, told = Texts.of(["un café", "un thé"]), Reading(columns=("label", "text"), encoding="cp1252")
    (tmp_path / "old.csv").write_text("good,un café\nbad,un thé\n", encoding="cp1252")
    old = FileTeacher(tmp_path / "old.csv", texts, TASK, reading=told)
    (tmp_path / "new.csv").write_text("text,label\nun café,good\nun thé,bad\n", encoding="utf-8")
    new = FileTeacher(
        tmp_path / "new.csv", texts, TASK, reading=told
    )  # as `predict` writes, whatever the rows are like
    assert (old.covered, new.covered) == (2, 2)
    assert torch.equal(old(np.arange(2)), new(np.arange(2)))
    with pytest.raises(DataError, match="name its encoding with --encoding"):
        FileTeacher(tmp_path / "old.csv", texts, TASK)


def test_another_label_column_than_that_of_the_task_is_said(tmp_path: Path) -> None:
    task = Task(text=(("text",),), label="mood", kind="single_label", labels=("bad", "good"))
    path = write(tmp_path / "a.csv", ["text", "label"], [["a", "good"], ["b", "bad"]])
    assert FileTeacher(path, Texts.of(["a", "b"]), task).notes[0] == (
        f"{path}: there is no column 'mood', so 'label' is read. Rename the column of answers to 'mood', as in the training rows, if that is wrong."
    )
    assert len(FileTeacher(path, Texts.of(["a", "b"]), task, label="label").notes) == 1
