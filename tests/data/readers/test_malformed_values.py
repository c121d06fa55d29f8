"""Values in data files that are no text, no number or no end: a sentence with the line, or the right value."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from understudy.data.readers.sources import load_splits
from understudy.data.tasks import Task
from understudy.data.texts import Texts
from understudy.errors import DataError
from understudy.models.vocabulary.word_vectors import read_vectors
from understudy.objectives.teachers.file import FileTeacher

DIGITS = "9" * 5000


def jsonl(path: Path, *odd: str) -> str:
    """20 sound rows of two classes, then odd lines."""
    sound = [json.dumps({"text": f"text {i}", "label": "ab"[i % 2], "score": i / 7}) for i in range(20)]
    path.write_text("\n".join([*sound, *odd]) + "\n", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('{"text": "x", "label": "a", "more": ' + DIGITS + "}", "more than 4,300 digits"),
        ('{"text": "x", "label": ' + "[" * 3000 + "]" * 3000 + "}", "nested too deeply"),
        ('{"text": "x", "label": "a", "b\\ud800": 1}', "half a character"),
        ('{"text": "x\\ud800", "label": "a"}', "half a character"),
        ('{"text": "x", "label": "a\\udfff"}', "half a character"),
        ('{"text": "x", "label": "a", "n\\u0000": 1}', "NUL"),
        ('{"text": "x", "label": "a", "more": {"\\ud800": 1}}', "half a character"),
    ],
)
def test_odd_json_is_refused(line: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        load_splits(train=jsonl(tmp_path / "a.jsonl", line))
    assert sentence in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path))


@pytest.mark.parametrize("value", ["Infinity", "-Infinity", "1e999", '"inf"', '"1e999"', f'"{DIGITS}"', '"-inf"'])
def test_a_score_is_a_finite_number(value: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 21: .*not a finite number"):
        load_splits(train=jsonl(tmp_path / "a.jsonl", f'{{"text": "x", "score": {value}}}'), label="score")


def test_a_number_of_5000_digits_is_a_name_as_any_other(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "".join(f"text {i},{(DIGITS, '1')[i % 2]}\n" for i in range(20)))
    assert load_splits(train=str(path)).task.labels == ("1", DIGITS)


def test_a_list_that_is_nested_too_deeply_is_no_list(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = "".join(f"text {i},{'ab'[i % 2]}|c\n" for i in range(20))
    path.write_text(f"text,label\n{rows}odd,{'[' * 5000}\n")
    with pytest.raises(DataError, match=r"line 22: .*not a list of labels"):
        load_splits(train=str(path), kind="multi_label")


@pytest.mark.parametrize("number", ["nan", "inf", "1e999", DIGITS, "-1e39"])
def test_word_vectors_are_finite(number: str, tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text(f"good 1 2\nbad 1 {number}\n")
    with pytest.raises(DataError, match=r"line 2: .*finite"):
        list(read_vectors(path, {"good": 0, "bad": 1}))


def test_a_damaged_archive_of_word_vectors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt.gz"
    content = bytearray(gzip.compress(b"".join(b"w%d %d 2\n" % (i, i * 7919 % 1000) for i in range(5000))))
    content[500:520] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be unpacked|not UTF-8|number"):
        list(read_vectors(path, {f"w{i}": i for i in range(5000)}))


@pytest.mark.parametrize(
    "cell", ["inf", "1e999", DIGITS, "-0.5", '{"a": 1e999, "b": 0}', '{"a": "inf", "b": 0}', "[" * 5000]
)
def test_a_teachers_answers_are_probabilities(cell: str, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    mapping = cell.startswith(("{", "["))
    row = {"text": "x", "probabilities": json.loads(cell) if mapping and cell[0] == "{" else cell}
    path.write_text(json.dumps(row if mapping else {"text": "x", "p_a": cell, "p_b": 0}) + "\n")
    task = Task(text=(("text",),), label="label", kind="single_label", labels=("a", "b"))
    with pytest.raises(DataError):
        FileTeacher(path, Texts.of(["x"]), task)
