"""Labels as people write them: lists, joined names, one-hot columns, missing values, class names of a schema."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.data.readers.labels.cells import labels_in_cell, printed_list
from understudy.data.readers.sources import load_splits
from understudy.data.splits import Splits
from understudy.errors import DataError


def table(path: Path, head: list[str], rows: list[tuple]) -> str:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([head, *rows])
    return str(path)


def jsonl(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def labelled(path: Path, cells: list[Any], **options: Any) -> Splits:
    """The splits of a csv (or jsonl) file with these label cells, used as training and as validation rows."""
    if path.suffix == ".jsonl":
        name = jsonl(path, [{"text": f"text {i}", "label": cell} for i, cell in enumerate(cells)])
    else:
        name = table(path, ["text", "label"], [(f"text {i}", cell) for i, cell in enumerate(cells)])
    return load_splits(name, validation=name, **options)


def refused(*args: Any, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        load_splits(*args, **options)
    return "\n".join(caught.value.faults)


def said(splits: Splits) -> str:
    return "\n".join(splits.notes)


names = (
    st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=8).map(str.strip).filter(bool)
)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(items=st.lists(names | st.integers(-5, 99).map(str), max_size=5))
def test_lists_are_read_as_they_are_printed(items: list[str]) -> None:
    assert printed_list(json.dumps(items)) == items
    assert printed_list(repr(items)) == items
    if items:
        assert printed_list(str(tuple(items))) == items
        assert printed_list(str(np.array(items, dtype=object))) == items
        assert printed_list(repr([np.str_(item) for item in items])) == items


@settings(deadline=None, derandomize=True, max_examples=100)
@given(items=st.lists(st.integers(0, 1), min_size=1, max_size=30), form=st.sampled_from([int, float, bool]))
def test_numbers_are_read_as_numpy_prints_them(items: list[int], form: type) -> None:
    array = np.array(items, dtype=form)
    cells = [str(array), repr(array), str(array.tolist()), json.dumps(array.tolist()), repr(list(array))]
    for cell in cells:
        found = printed_list(cell)
        assert found is not None, cell
        assert [float({"True": 1, "False": 0, "true": 1, "false": 0}.get(part, part)) for part in found] == items


@pytest.mark.parametrize(
    "cell", ["a", "a|b", "[a, b]", "[oops", "(none)", "[1, 2 ... 9]", '[["a"]]', '{"a": 1}', "[null]", "[" * 9999]
)
def test_what_is_no_printed_list(cell: str) -> None:
    assert printed_list(cell) is None
    assert labels_in_cell("[1 2 ... 9]") is None


@pytest.mark.parametrize("joint", [",", ", ", ";", "|"])
def test_joined_names(tmp_path: Path, joint: str) -> None:
    cells = [joint.join(parts) for parts in (["joy", "fear"], ["fear"], [], ["anger", "joy"])]
    splits = labelled(tmp_path / "a.csv", cells, kind="multi_label")
    assert splits.task.labels == ("anger", "fear", "joy")
    assert splits.train.labels.tolist() == [[0, 1, 1], [0, 1, 0], [0, 0, 0], [1, 0, 1]]
    assert "1 row with an empty cell in 'label': none of the labels" in said(splits)
    plain = labelled(tmp_path / "b.csv", [cells[0], cells[1], cells[3]] * 2)
    assert plain.task.kind == "single_label"
    assert "2 labels written like a list" in said(plain)
    assert "--kind multi_label" in said(plain)


def test_commas_in_names_beside_another_joint(tmp_path: Path) -> None:
    splits = labelled(tmp_path / "a.csv", ["Toys, Games|Books", "Books", "Toys, Games"], kind="multi_label")
    assert splits.task.labels == ("Books", "Toys, Games")
    assert "2 cells with a comma" in said(splits)


@pytest.mark.parametrize(
    "cells",
    [
        [[0, 1, 0], [1, 1, 0], [0, 0, 0]],
        [[0.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]],
        [[False, True, False], [True, True, False], [False, False, False]],
        ["[0 1 0]", "[1 1 0]", "[0 0 0]"],
        ["[0. 1. 0.]", "[1. 1. 0.]", "[0. 0. 0.]"],
        ["[0, 1, 0]", "[1, 1, 0]", "[0, 0, 0]"],
        ["(0, 1, 0)", "(1, 1, 0)", "(0, 0, 0)"],
        ["array([0, 1, 0])", "array([1, 1, 0])", "array([0, 0, 0])"],
        ["[ True False]"[:0] + "[False True False]", "[ True  True False]", "[False False False]"],
    ],
)
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_lists_of_0_and_1_are_positions(tmp_path: Path, cells: list[Any], ending: str) -> None:
    splits = labelled(tmp_path / f"a.{ending}", cells)
    assert (splits.task.kind, splits.task.labels) == ("multi_label", ("0", "1", "2"))
    assert splits.train.labels.tolist() == [[0, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert "3 times 0 or 1" in said(splits)


def test_lists_of_0_and_1_that_are_none(tmp_path: Path) -> None:
    ids = labelled(tmp_path / "a.jsonl", [[0], [1], [0, 1], []])
    assert ids.task.labels == ("0", "1")
    assert ids.train.labels.tolist() == [[1, 0], [0, 1], [1, 1], [0, 0]]
    rows = [{"text": "a", "label": [0, 1, 1]}, {"text": "b", "label": [1, 0]}]
    assert "differ in length (2 to 3)" in refused(jsonl(tmp_path / "b.jsonl", rows))
    train = jsonl(tmp_path / "c.jsonl", [{"text": f"{i}", "label": [i % 2, 1, 0]} for i in range(4)])
    test = jsonl(tmp_path / "d.jsonl", [{"text": "x", "label": [0, 1]}, {"text": "y", "label": [0, 2, 1]}])
    found = refused(train, validation=train, test=test)
    assert "d.jsonl, line 1: '[0, 1]' in column 'label' is not a list of 3 numbers" in found
    assert "d.jsonl, line 2: '[0, 2, 1]'" in found
    exclusive = [[1, 0], [0, 1], [0, 1]]
    assert "Give --kind single_label" in said(labelled(tmp_path / "e.jsonl", exclusive))
    classes = labelled(tmp_path / "e.jsonl", exclusive, kind="single_label")
    assert (classes.task.kind, classes.train.labels.tolist()) == ("single_label", [0, 1, 1])


@pytest.mark.parametrize("no", ["0", "0.0", "False"])
def test_one_hot_columns(tmp_path: Path, no: str) -> None:
    yes = {"0": "1", "0.0": "1.0", "False": "True"}[no]
    head = ["text", "toxic", "insult", "threat"]
    train = table(
        tmp_path / "train.csv", head, [("a", yes, no, no), ("b", yes, yes, no), ("c", no, no, no), ("d", no, no, yes)]
    )
    hidden = table(tmp_path / "test.csv", head, [("e", "-1", "-1", "-1"), ("f", "-1", "-1", "-1")])
    splits = load_splits(train, validation=train, test=hidden, label=["toxic", "insult", "threat"])
    assert (splits.task.kind, splits.task.labels) == ("multi_label", ("toxic", "insult", "threat"))
    assert splits.train.labels.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert splits.test is None
    bad = table(
        tmp_path / "bad.csv", head, [("a", yes, "2", no), ("b", yes, "", no), ("c", "", "", ""), ("d", "NA", "", "")]
    )
    found = refused(train, validation=bad, label=["toxic", "insult", "threat"])
    assert "bad.csv, line 2: the label columns 'toxic', 'insult', 'threat' hold" in found
    assert "bad.csv, line 3" in found
    assert "bad.csv, line 4: no label" in found
    assert "bad.csv, line 5: no label" in found
    assert "no column 'thread'" in refused(train, label=["toxic", "thread"])
    assert "2 labels written like" not in said(splits)
    assert "a single 1 among them" in refused(train, validation=train, kind="single_label", label=head[1:])


MISSING = ["NaN", "nan", "NA", "N/A", "NULL", "null", "None", "<NA>", "", " "]


@pytest.mark.parametrize("cell", [None, float("nan"), *MISSING])
@pytest.mark.parametrize("others", [["good", "bad"], ["0", "1"], [0, 1], ["0.5", "1.5"]])
def test_missing_values_are_no_labels(tmp_path: Path, cell: Any, others: list) -> None:
    files = [tmp_path / "a.jsonl"]
    if isinstance(cell, str):
        files.append(tmp_path / "a.csv")
    for path in files:
        splits = labelled(path, [*others, cell, *others, cell], allow_unlabelled=True)
        assert splits.train.labelled.tolist() == [True, True, False] * 2
        assert len(splits.task.labels) in (0, 2)
        assert "2 rows without a label, taken as unlabelled" in said(splits)
        found = refused(str(path))
        assert found.count(": no label in column 'label'") == 2


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_typed_missing_values(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    texts, labels = ["a", "b", float("nan"), "d"], [1.0, 0.0, 1.0, float("nan")]
    if ending == "jsonl":
        jsonl(path, [{"text": text, "label": label} for text, label in zip(texts, labels)])
    else:
        pq.write_table(pa.table({"text": ["a", "b", None, "d"], "label": labels}), path)
    found = refused(str(path))
    place = "line" if ending == "jsonl" else "row"
    assert f"{place} 3: the text (text) is empty" in found
    assert f"{place} 4: no label in column 'label'" in found


@pytest.mark.parametrize("others", [["good", "bad"], ["0", "1"], ["0.5", "4.5"]])
@pytest.mark.parametrize("hidden", ["-1", "-1.0", "", "NA"])
def test_a_split_without_labels_is_left_out(tmp_path: Path, others: list[str], hidden: str) -> None:
    train = table(tmp_path / "train.csv", ["text", "label"], [(f"text {i}", others[i % 2]) for i in range(20)])
    table(tmp_path / "test.csv", ["text", "label"], [("x", hidden), ("y", hidden)])
    splits = load_splits(str(tmp_path))
    assert splits.test is None
    assert "test.csv: no row has a label, so it is not used as the test split." in said(splits)
    table(tmp_path / "test.csv", ["id", "text"], [("1", "x"), ("2", "y")])
    splits = load_splits(str(tmp_path), validation=train)
    assert splits.test is None
    assert "test.csv: no label column ('label'), so it is not used as the test split." in said(splits)
    table(tmp_path / "test.csv", ["text", "lable"], [("x", others[0])])
    assert "Did you mean 'lable'?" in refused(str(tmp_path))


def test_minus_one_that_is_a_label(tmp_path: Path) -> None:
    train = table(tmp_path / "train.csv", ["text", "label"], [("a", -1), ("b", 0), ("c", 1)])
    test = table(tmp_path / "test.csv", ["text", "label"], [("x", -1), ("y", -1)])
    splits = load_splits(train, validation=train, test=test)
    assert splits.test is not None
    assert splits.test.labels.tolist() == [0, 0]
    some = table(tmp_path / "some.csv", ["text", "label"], [("x", 1), ("y", 7)])
    found = refused(train, validation=train, test=some)
    assert "label '7' is not one of '-1', '0', '1'" in found
    assert "Did you mean" not in found


def _parquet(path: Path, columns: dict, features: dict) -> str:
    found = pa.table(columns)
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(found.replace_schema_metadata(metadata), path)
    return str(path)


CLASSES = {"names": ["neg", "NA", "pos"], "_type": "ClassLabel"}


def test_class_names_of_a_schema(tmp_path: Path) -> None:
    path = _parquet(tmp_path / "a.parquet", {"text": ["a", "b", "c", "d"], "label": [0, 2, 1, -1]}, {"label": CLASSES})
    splits = load_splits(path, validation=path, allow_unlabelled=True)
    assert splits.task.labels == ("NA", "neg", "pos")  # a class may be called NA where the schema says so
    assert splits.train.labels.tolist() == [1, 2, 0, -100]
    for feature in ({"feature": CLASSES, "_type": "List"}, {"feature": CLASSES, "_type": "Sequence"}, [CLASSES]):
        columns = {"text": ["a", "b", "c"], "label": [[0, 2], [1], []]}
        path = _parquet(tmp_path / "b.parquet", columns, {"label": feature})
        splits = load_splits(path, validation=path)
        assert (splits.task.kind, splits.task.labels) == ("multi_label", ("NA", "neg", "pos"))
        assert splits.train.labels.tolist() == [[0, 1, 1], [1, 0, 0], [0, 0, 0]]


def test_class_names_as_datasets_writes_them(tmp_path: Path) -> None:
    import datasets

    classes = datasets.ClassLabel(names=["neg", "neu", "pos"])
    for feature, cells in ((classes, [0, 2, 1]), (datasets.Sequence(classes), [[0, 2], [1], [2]])):
        features = datasets.Features({"text": datasets.Value("string"), "label": feature})
        made = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": cells}, features=features)
        made.to_parquet(tmp_path / "a.parquet")
        path = str(tmp_path / "a.parquet")
        assert load_splits(path, validation=path).task.labels == ("neg", "neu", "pos")


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_objects_are_no_texts(tmp_path: Path, ending: str) -> None:
    rows = [{"text": {"en": "a"}, "plain": "b", "label": "x"}, {"text": {"en": "c"}, "plain": "d", "label": "y"}]
    path = tmp_path / f"a.{ending}"
    if ending == "jsonl":
        jsonl(path, rows)
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    assert "column 'text' holds objects, not text. Name another with --text" in refused(str(path), validation=str(path))
    assert len(load_splits(str(path), validation=str(path), text=["plain"]).train) == 2
    assert "column 'text' holds objects, not labels" in refused(str(path), text=["plain"], label="text")


def test_an_id_is_asked_about(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", ["label", "sentence", "topic"], [(i, f"text {i}", i % 3) for i in range(50)])
    found = refused(path)
    assert "50 classes in 50 labelled rows, and 50 of them have a single row. Is it an id?" in found
    assert load_splits(path, label="topic").task.labels == ("0", "1", "2")
    asked = load_splits(path, validation=path, label="label")  # the remedy, to the letter
    assert "Is it an id?" in said(asked)
    assert "no class has a second text" in refused(path, label="label")


def test_what_looks_odd_about_classes(tmp_path: Path) -> None:
    cells = ["Good", "good", "bad", "bad", "very  bad", "very bad", "True", "true", "odd"]
    notes = said(labelled(tmp_path / "a.csv", cells * 2 + ["once"]))
    for alike in ("'Good', 'good'", "'very  bad', 'very bad'", "'True', 'true'"):
        assert f"labels that differ only in case, white space or form: {alike}" in notes
    assert "1 label with a single row ('once')" in notes
    assert "'bad'," not in notes
    decimal = labelled(tmp_path / "b.csv", ["3,5", "4,0", "3,5", "4"])
    assert decimal.task.kind == "single_label"
    assert "3 labels written like a number with a decimal comma" not in said(decimal)
    assert "2 labels written like a number with a decimal comma (first:" in said(decimal)
    name = table(tmp_path / "c.csv", ["text", "label"], [("a", "3,5"), ("b", "4")])
    assert "Write 3.5." in refused(name, validation=name, kind="regression")
    table(tmp_path / "c.csv", ["text", "label"], [("a", "3.5"), ("b", "4")])
    assert load_splits(name, validation=name, kind="regression").train.labels.tolist() == [3.5, 4]


def test_a_number_of_many_digits_is_a_name(tmp_path: Path) -> None:
    long = "9" * 5000
    assert labelled(tmp_path / "a.csv", [long, "1", long, "1"]).task.labels == ("1", long)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize(
    "odd",
    [
        [[0.9, 0.1], [0.2, 0.8], [0, 1]],
        [[0.5, 0.5, 0], [1, 0, 0], [0, 0.5, 0.5]],
        [[3, 3, 2], [1, 2, 3], [1, 1, 1]],
        [[0, 1, -1], [1, 0, 0], [0, 0, 1]],
        [[0, -1], [0, 1], [1, 0]],
        [[None, 1], [0, 1], [1, 0]],
        [[float("nan"), 0, 1], [0, 1, 0], [1, 0, 0]],
    ],
)
def test_other_numbers_for_each_label_are_asked_about(tmp_path: Path, odd: list[list[Any]], ending: str) -> None:
    cells = odd * 5 if ending == "jsonl" else [str(cell) for cell in odd] * 5
    with pytest.raises(DataError, match="neither a 0 or 1 for each label nor different class numbers"):
        labelled(tmp_path / f"a.{ending}", cells)


def test_lists_of_class_numbers_and_of_numbers_as_names_stay(tmp_path: Path) -> None:
    assert labelled(tmp_path / "a.jsonl", [[0, 2], [1], [2, 1, 0]] * 4).task.labels == ("0", "1", "2")
    assert labelled(tmp_path / "b.jsonl", [[3.5], [4.0, 3.5], [2]] * 4).task.labels == ("2", "3.5", "4.0")


def test_numbers_with_spaces_are_lists(tmp_path: Path) -> None:
    splits = labelled(tmp_path / "a.csv", ["0 1 1", "1 0 0", "0 0 1"] * 4, kind="multi_label")
    assert splits.task.labels == ("0", "1", "2")
    assert splits.train.labels[:3].tolist() == [[0, 1, 1], [1, 0, 0], [0, 0, 1]]
    assert labelled(tmp_path / "b.csv", ["3 17", "17", "3"] * 4, kind="multi_label").task.labels == ("3", "17")
    splits = labelled(tmp_path / "c.csv", ["0 1 1", "1 0 0", "0 0 1"] * 4)
    assert "3 labels written like a list" in said(splits)


@pytest.mark.parametrize("cell", ["[NaN, NaN]", "[null]", "[None, None]", "[nan nan]", "array([nan, nan])"])
def test_a_list_of_missing_values_is_no_label(tmp_path: Path, cell: str) -> None:
    cells = [cell, *["[0, 1]", "[1, 0]", "[1, 1]"] * 4]
    splits = labelled(tmp_path / "a.csv", cells, allow_unlabelled=True)
    assert splits.train.labelled.tolist() == [False] + [True] * 12
    assert "1 row without a label, taken as unlabelled" in said(splits)
    with pytest.raises(DataError, match="line 2: no label in column 'label'"):
        labelled(tmp_path / "a.csv", cells)


def test_lists_in_lists_are_no_labels(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'\[\[0, 1\]\]' in column 'label' is not a list of labels"):
        labelled(tmp_path / "a.jsonl", [[[0, 1]], [[1, 0]]] * 4)


def test_a_minus_one_among_other_classes_is_said(tmp_path: Path) -> None:
    note = "4 rows with the label '-1', a class like the others. Empty these cells"
    for others in (["a", "b"], [0, 1], [1, 2]):
        assert note in said(labelled(tmp_path / "a.csv", [-1, *others] * 4))
    for others in ([1, 1], [-2, 0, 1, 2], ["a", "-a"]):
        cells = [-1, *others] * 4 if others[0] != "a" else others * 4
        assert "a class like the others" not in said(labelled(tmp_path / "a.csv", cells))
    note = "4 rows with the target -1, and no other below 0. Empty these cells"
    assert note in said(labelled(tmp_path / "a.csv", [-1, 0.5, 2] * 4))
    assert "Empty these cells" not in said(labelled(tmp_path / "a.csv", [-1, -0.5, 2] * 4))


def test_some_targets_of_minus_one_in_a_split_are_said(tmp_path: Path) -> None:
    train = table(tmp_path / "train.csv", ["text", "label"], [(f"text {i}", i / 4) for i in range(20)])
    test = table(tmp_path / "test.csv", ["text", "label"], [("a", -1), ("b", 0.5), ("c", -1)])
    splits = load_splits(train, test=test)
    assert "test.csv: 2 rows with the target -1, below those of the training rows" in said(splits)


def test_one_hot_columns_with_empty_cells_are_named(tmp_path: Path) -> None:
    rows = [(f"text {i}", i % 2 or "", "", 1) for i in range(8)]
    name = table(tmp_path / "a.csv", ["text", "a", "b", "c"], rows)
    assert "line 3: the label columns 'a', 'b', 'c' hold [1, , 1]" in refused(name, label=["a", "b", "c"])


def test_names_that_differ_in_a_sign_that_nobody_sees(tmp_path: Path) -> None:
    splits = labelled(tmp_path / "a.csv", ["pos", "pos\u200b", "neg", "neg"] * 4)
    assert "differ only in case, white space or form: 'pos', 'pos" in said(splits)
