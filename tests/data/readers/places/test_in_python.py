"""Rows that are objects in Python are read like files: the same rows, the same checks, each place named."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from understudy.data.cache import cache_dir
from understudy.data.readers.corpus import load_corpus
from understudy.data.readers.places.in_python import hold
from understudy.data.readers.places.names import is_held
from understudy.data.readers.sources import load_splits, read_texts
from understudy.errors import DataError

pandas: Any = pytest.importorskip("pandas", reason="pandas comes with datasets")
datasets: Any = pytest.importorskip("datasets")

ROWS = [(f"a text, number {i}", ("good", "bad")[i % 2]) for i in range(20)]
TEXTS, LABELS = [text for text, _ in ROWS], [label for _, label in ROWS]
COLUMNS = {"text": TEXTS, "label": LABELS}
FRAME = pandas.DataFrame(COLUMNS)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


def polars_frame() -> Any:
    return pytest.importorskip("polars").DataFrame(COLUMNS)


def views() -> Any:
    """An Arrow table as polars gives it: strings and categories are views."""
    label = pa.array([LABELS.index(label) for label in LABELS], pa.uint32())
    known = pa.array(LABELS[:2], pa.string_view())
    return pa.table({"text": pa.array(TEXTS, pa.string_view()), "label": pa.DictionaryArray.from_arrays(label, known)})


class Column:
    """A column that is no table, as a Series of polars is."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.chunked_array([pa.array(["a pool", "of texts"], pa.string_view())]).__arrow_c_stream__(
            requested_schema
        )


def test_a_column_of_arrow_is_a_list_of_texts() -> None:
    found = load_splits(FRAME, unlabeled=Column()).unlabeled
    assert found is not None
    assert [text for (text,) in found] == ["a pool", "of texts"]


FORMS: dict[str, Callable[[], Any]] = {
    "pandas": lambda: FRAME,
    "pandas, another index": lambda: FRAME.set_index(np.arange(100, 120)),
    "pandas, categories": lambda: FRAME.astype({"label": "category"}),
    "pandas, objects": lambda: FRAME.astype(object),
    "polars": polars_frame,
    "Arrow": lambda: pa.table(COLUMNS),
    "Arrow, views and categories": views,
    "Dataset": lambda: datasets.Dataset.from_dict(COLUMNS),
    "(text, label)": lambda: ROWS,
    "lists of two": lambda: [list(row) for row in ROWS],
    "dicts": lambda: [{"text": text, "label": label} for text, label in ROWS],
    "columns": lambda: COLUMNS,
    "columns of numpy": lambda: {name: np.array(column) for name, column in COLUMNS.items()},
    "columns of pandas": lambda: {name: FRAME[name] for name in COLUMNS},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_rows_of_a_file(form: str, tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "a.csv", index=False)
    of_file, found = load_splits(tmp_path / "a.csv"), load_splits(FORMS[form]())
    assert found.task == of_file.task
    for split in ("train", "validation"):
        one, other = getattr(found, split), getattr(of_file, split)
        assert one.texts.fingerprint == other.texts.fingerprint
        assert one.labels.tolist() == other.labels.tolist()


@pytest.mark.parametrize(
    "splits",
    [
        datasets.DatasetDict(
            {
                "train": datasets.Dataset.from_dict(COLUMNS),
                "dev": datasets.Dataset.from_dict({"text": ["a"], "label": ["bad"]}),
            }
        ),
        {"train": FRAME, "validation": [("a", "bad")]},
        {"train": ROWS, "valid": pandas.DataFrame({"text": ["a"], "label": ["bad"]})},
    ],
)
def test_splits(splits: Any) -> None:
    found = load_splits(splits)
    assert (len(found.train), list(found.validation.texts)) == (20, [("a",)])
    other = load_splits(splits, validation=FRAME)
    assert len(other.validation) == 20


def test_class_names_and_missing_values() -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    rows = {"text": TEXTS, "label": [i % 2 for i in range(19)] + [-1]}
    found = load_splits(datasets.Dataset.from_dict(rows, features=features), allow_unlabelled=True)
    assert found.task.labels == ("no", "yes")
    assert found.train.labelled.sum() + len(found.validation) == 19
    for missing in (None, float("nan"), pandas.NA, pandas.NaT, ""):
        frame = FRAME.astype(object)
        frame.loc[3, "label"] = missing
        assert any("1 row without a label" in note for note in load_splits(frame, allow_unlabelled=True).notes)


def test_class_names_are_no_missing_values_whatever_was_read_before() -> None:
    names = ["NA", "yes"]
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
    plain = datasets.Dataset.from_dict({"text": TEXTS, "label": [names[i % 2] for i in range(20)]})
    numbers = datasets.Dataset.from_dict({"text": TEXTS, "label": [i % 2 for i in range(20)]}, features=features)
    with pytest.raises(DataError, match="every label in column 'label' is 'yes'"):
        load_splits(plain)
    assert load_splits(numbers).task.labels == ("NA", "yes")
    with pytest.raises(DataError, match="every label in column 'label' is 'yes'"):
        load_splits(plain)


def test_numbers_lists_and_mixed_columns() -> None:
    scores = np.arange(20) / 4
    for values in (scores, scores.tolist(), list(scores), pandas.Series(scores)):
        found = load_splits({"text": TEXTS, "score": values})
        assert found.task.kind == "regression"
        assert sorted([*found.train.labels, *found.validation.labels]) == pytest.approx(scores)
    several = load_splits([{"text": text, "labels": ["a", "b"][: 1 + i % 2]} for i, text in enumerate(TEXTS)])
    assert (several.task.kind, several.task.labels) == ("multi_label", ("a", "b"))
    hot = load_splits({"text": TEXTS, "labels": list(np.eye(4, dtype=int)[np.arange(20) % 4])})
    assert (hot.task.kind, hot.task.labels) == ("multi_label", ("0", "1", "2", "3"))
    mixed = pandas.DataFrame({"text": TEXTS, "label": [1, "one"] * 10})
    assert load_splits(mixed).task.labels == ("1", "one")
    pairs = load_splits([((text, text[::-1]), label) for text, label in ROWS])
    assert pairs.task.text == (("text_a",), ("text_b",))


def test_conflicting_labels_name_both_rows() -> None:
    notes = load_splits([*ROWS, (TEXTS[3], "good")]).notes
    assert any("as in row 3 of the list and row 20 of the list; all are kept" in note for note in notes)


def test_texts_of_a_corpus_and_to_be_answered() -> None:
    corpus = load_corpus(TEXTS, validation=FRAME[:5])
    assert (len(corpus.train), len(corpus.validation)) == (20, 5)
    for rows in (TEXTS, FRAME, FRAME["text"], np.array(TEXTS)):
        assert list(read_texts(rows)) == [(text,) for text in TEXTS]


def test_faults_name_the_row_and_all_come_together() -> None:
    frame = FRAME.copy()
    frame.loc[3, "label"] = None
    frame.loc[5, "text"] = " "
    with pytest.raises(DataError) as caught:
        load_splits(ROWS, test=frame)
    said = str(caught.value)
    assert "row 5 of the test DataFrame: the text (text) is empty" in said
    assert frame.iloc[5]["text"] == " "  # rows are counted as Python counts them
    assert "row 3 of the test DataFrame: no label in column 'label'" in said
    with pytest.raises(DataError, match=r"row 1 of the validation list: label 'god' .* Did you mean 'good'"):
        load_splits({"train": ROWS}, validation=[("a", "bad"), ("b", "god")])


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (7, "the int given as data: not rows that can be read. Give a DataFrame"),
        ([], "the list given as data: empty"),
        ([1, 2], "a list of int"),
        ([("a", "b", "c")], "row 0 of the list given as data: ('a', 'b', 'c'), but a text, a (text, label)"),
        (iter(ROWS), "not rows that can be read"),
        ({"text": ["a"], "label": [1, 2]}, "a dict of columns of one length is needed, but they have text 1, label 2"),
        ({"a": FRAME}, "'a' hold tables, but a dict of tables has the keys train"),
        (pandas.DataFrame([["a", "b"]], columns=["text", "text"]), "two columns are called 'text'"),
        (pandas.DataFrame({("a", "b"): ["x"]}), "names of several levels"),
        (FRAME[:0], "no rows"),
        (
            FRAME.rename(columns={"text": "words"}),
            "the DataFrame: no text column with a usual name. The columns are 'words'",
        ),
        ([("nu\0l", "a"), ("b", "c")], "row 0 of the list given as data: a NUL byte in column 'text'"),
        ([("half \ud800", "a"), ("b", "c")], "row 0 of the list given as data: half a character"),
    ],
)
def test_what_are_no_rows(rows: Any, said: str) -> None:
    with pytest.raises(DataError) as caught:
        load_splits(rows)
    assert said in str(caught.value)
    assert "first line" not in str(caught.value)


def test_a_name_stands_for_the_rows_as_long_as_the_cache_has_them() -> None:
    name = hold(FRAME, "data")
    assert is_held(name)
    assert name.startswith("<DataFrame of 20 rows (text, label), ")
    assert hold(FRAME.copy(), "data") == name
    assert hold(FRAME[::-1], "data") != name
    assert len(hold(FRAME.rename(columns={"text": "a long name " * 40}), "data")) < 200
    assert len(
        load_splits(
            FRAME.rename(columns={"text": "a/long name " * 40}), text=["a/long name " * 39 + "a/long name"]
        ).train
    )
    assert hold(FRAME.assign(label="good"), "data") != name
    assert len(load_splits(name).train) == 18
    for file in cache_dir().rglob("*.arrow"):
        file.unlink()
    with pytest.raises(DataError, match="was given in Python, and the cache does not hold it any more"):
        load_splits(name)
    for file in cache_dir().rglob("held-*.json"):
        file.unlink()
    with pytest.raises(DataError, match="Give it again, or write it to a file"):
        load_splits(name)


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)


@settings(deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(cells, st.sampled_from(["x", "y", "z"])), min_size=1, max_size=30))
def test_any_text_is_read_as_it_is(monkeypatch: pytest.MonkeyPatch, rows: list[tuple[str, str]]) -> None:
    monkeypatch.setattr("understudy.data.readers.places.in_python.BATCH_ROWS", random.Random(len(rows)).randint(1, 40))
    expected = [(text,) for text, _ in rows]
    assert list(read_texts(rows)) == expected
    assert list(read_texts(pandas.DataFrame(rows, columns=["text", "label"]))) == expected
    assert list(read_texts(json.loads(json.dumps([{"text": text} for text, _ in rows])))) == expected
