"""Splits: where they are found, how labels are read, and what is drawn, cut, dropped and reported."""

from __future__ import annotations

import collections
import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from understudy.data.readers.sources import load_splits, read_texts
from understudy.data.splits import Splits
from understudy.data.tasks import NO_LABEL
from understudy.errors import DataError

REAL = Path(__file__).parents[3].parent / "shared" / "data"


def write(path: Path, names: list[str], rows: list[tuple]) -> str:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([names, *rows])
    return str(path)


def jsonl(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def reviews(rows: int, start: int = 0) -> list[tuple[str, str]]:
    return [(f"review {i}", ("bad", "good")[i % 2]) for i in range(start, start + rows)]


def faults(*args: object, **options: object) -> tuple[str, ...]:
    with pytest.raises(DataError) as caught:
        load_splits(*args, **options)  # type: ignore[arg-type]
    return caught.value.faults


def names(splits: Splits, split: str) -> list[str]:
    """The label of each row of a split, by name."""
    rows = getattr(splits, split)
    return [splits.task.labels[i] for i in rows.labels]


def test_a_file_is_cut_into_train_and_validation(tmp_path: Path) -> None:
    rows = reviews(40)
    splits = load_splits(write(tmp_path / "a.csv", ["text", "label"], rows), seed=3)
    assert splits.task.text == (("text",),)
    assert (splits.task.kind, splits.task.label, splits.task.labels) == ("single_label", "label", ("bad", "good"))
    assert (len(splits.train), len(splits.validation), splits.test, splits.unlabeled) == (36, 4, None, None)
    assert "validation: 4 rows cut off the training split (seed 3)." in splits.notes
    for split in ("train", "validation"):
        texts = [text for (text,) in getattr(splits, split).texts]
        assert dict(zip(texts, names(splits, split))).items() <= dict(rows).items()
    assert {*splits.train.texts} | {*splits.validation.texts} == {(text,) for text, _ in rows}
    again = load_splits(str(tmp_path / "a.csv"), seed=3)
    assert list(again.validation.texts) == list(splits.validation.texts)
    other = load_splits(str(tmp_path / "a.csv"), seed=4)
    assert list(other.validation.texts) != list(splits.validation.texts)


@pytest.mark.parametrize("name", ["validation.csv", "valid.csv", "dev.csv"])
def test_a_folder_of_splits(tmp_path: Path, name: str) -> None:
    write(tmp_path / "train.csv", ["text", "label"], reviews(8))
    write(tmp_path / name, ["text", "label"], reviews(4, 10))
    plain = Path(write(tmp_path / "plain.csv", ["text", "label"], reviews(6, 20)))
    (tmp_path / "test.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    (tmp_path / "README.md").write_text("ignored", encoding="utf-8")
    (tmp_path / "train").mkdir()
    splits = load_splits(str(tmp_path))
    assert splits.test is not None
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (8, 4, 6)
    assert splits.test.origin == f"{tmp_path}/test.csv.gz"
    assert splits.notes == (f"{tmp_path}: files that are not read as a split: plain.csv.",)
    other = write(tmp_path / "other.csv", ["text", "label"], reviews(10, 50))
    assert len(load_splits(str(tmp_path), validation=other).validation) == 10
    assert len(load_splits(train=other, test=str(plain)).train) == 9


def test_a_split_that_stands_twice(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", ["text", "label"], reviews(8))
    write(tmp_path / "valid.csv", ["text", "label"], reviews(8))
    write(tmp_path / "dev.csv", ["text", "label"], reviews(8))
    (fault,) = faults(str(tmp_path))
    assert "dev.csv and valid.csv are both the validation split" in fault


def test_nothing_to_train_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no training data" in faults()[0]
    assert "Looked for train, validation (or valid, val, dev, eval) and test" in faults(str(tmp_path))[0]
    write(tmp_path / "test.csv", ["text", "label"], reviews(8))
    assert "no training split, only test" in faults(str(tmp_path))[0]
    write(tmp_path / "reviews.csv", ["text", "label"], reviews(8))
    assert faults("revews.csv") == ("revews.csv: no such file. Did you mean 'reviews.csv'?",)
    assert "no such file" in faults(f"{tmp_path}/elsewhere")[0]
    assert "nor the name of a hub data set" in faults("what is this?")[0]
    (tmp_path / "train.txt").write_text("a line\n", encoding="utf-8")
    assert "a txt file holds texts without labels" in faults("train.txt")[0]
    both = faults("none.csv", validation="nope.csv", unlabeled="nil.txt")
    assert [fault.split(":")[0] for fault in both] == ["none.csv", "nope.csv", "nil.txt"]


def test_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    made = {
        "train": datasets.Dataset.from_dict(
            {"sentence": ["a", "b", "c", "d"], "label": [0, 1, 0, 1]}, features=features
        ),
        "validation": datasets.Dataset.from_dict({"sentence": ["e", "f"], "label": [1, 0]}, features=features),
        "test": datasets.Dataset.from_dict({"sentence": ["g"], "label": [-1]}, features=features),
        "unsupervised": datasets.Dataset.from_dict({"sentence": ["h"], "label": [-1]}, features=features),
    }
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda name: asked.append(name) or datasets.DatasetDict(made))
    splits = load_splits("owner/name")
    assert asked == ["owner/name"]
    assert splits.task.text == (("sentence",),)
    assert names(splits, "train") == ["bad", "good", "bad", "good"]
    assert list(splits.validation.texts) == [("e",), ("f",)]
    assert splits.test is None  # its labels are hidden
    assert "owner/name[test]: no row has a label, so it is not used as the test split." in splits.notes

    def offline(name: str) -> None:
        raise ConnectionError("Couldn't reach the hub.\nmore")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    assert (
        "'imdb': no file or folder here, and the hub has no data set of that name (Couldn't reach the hub)"
        in faults("imdb")[0]
    )


def test_text_columns(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv",
        ["label", "title", "description"],
        [("x", "T", "D"), ("y", "", "only D"), ("x", " ", "E"), ("y", "U", "")],
    )
    dev = {"validation": path}
    assert list(load_splits(path, **dev).train.texts) == [("T D",), ("only D",), ("E",), ("U",)]
    assert load_splits(path, text=["title+description"], **dev).task.text == (("title", "description"),)
    assert load_splits(path, text=["description+title"], **dev).train.texts[0] == ("D T",)
    wide = write(tmp_path / "b.csv", ["Label", "Premise", "hypothesis"], [("x", "p", "h"), ("y", "q", "i")])
    pair = load_splits(wide, validation=wide)
    assert pair.task.text == (("Premise",), ("hypothesis",))
    assert pair.task.is_pair
    assert list(pair.train.texts) == [("p", "h"), ("q", "i")]
    odd = faults(path, text=["titel", "description"], label="lable", **dev)
    assert "no column 'titel'. The columns are 'label', 'title', 'description'. Did you mean 'title'?" in odd[0]
    assert "no column 'lable'" in odd[1]
    assert "Did you mean 'label'?" in odd[1]
    assert "--text names 3 texts" in faults(path, text=["label", "title", "description"], **dev)[0]
    strange = write(tmp_path / "c.csv", ["a", "b"], [("x", "y")])
    assert ["--text" in faults(strange)[0], "--label" in faults(strange)[1]] == [True, True]


def test_another_label_column_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["text", "score", "label"], [("a", "0.5", "x"), ("b", "2", "y"), ("c", "1", "x")])
    said = f"{path}: 'label' is read as the label, not 'score'. Name what to read with --label, if that is wrong."
    assert said in load_splits(path, validation=path).notes
    for label in ("label", "score"):
        assert not any("is read as the label" in note for note in load_splits(path, validation=path, label=label).notes)


def test_integers_sort_as_numbers_and_names_as_words(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["text", "label"], [(f"t{i}", i) for i in (10, 9, 2)])
    assert load_splits(path, validation=path).task.labels == ("2", "9", "10")
    path = jsonl(tmp_path / "a.jsonl", [{"text": f"t{v}", "label": v} for v in (1.0, 0.0, 10.0)])
    splits = load_splits(path, validation=path)
    assert splits.task.labels == ("0", "1", "10")
    assert splits.train.labels is not None
    assert splits.train.labels.tolist() == [1, 0, 2]
    pq.write_table(pa.table({"text": ["a", "b", "c"], "label": [1.0, 0.0, None]}), tmp_path / "a.parquet")
    path = str(tmp_path / "a.parquet")
    splits = load_splits(path, validation=path, allow_unlabelled=True)
    assert splits.train.labels is not None
    assert splits.train.labels.tolist() == [1, 0, NO_LABEL]


def test_regression(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["text", "label"], [("a", "0.5"), ("b", "2"), ("c", "-1e-2")])
    splits = load_splits(path, validation=path)
    assert (splits.task.kind, splits.task.labels, splits.task.outputs) == ("regression", (), 1)
    assert splits.train.labels is not None
    np.testing.assert_array_equal(splits.train.labels, np.array([0.5, 2, -0.01], dtype=np.float32))
    whole = write(tmp_path / "b.csv", ["text", "score"], [("a", "1"), ("b", "2")])
    assert load_splits(whole, validation=whole).task.kind == "regression"
    assert load_splits(whole, validation=whole, kind="single_label").task.labels == ("1", "2")
    bad = write(
        tmp_path / "c.csv", ["text", "score"], [("a", "1.5"), ("b", "3,5"), ("c", "inf"), ("d", "many"), ("e", "1e99")]
    )
    found = faults(bad, validation=path, label="score")
    assert [fault.split("'")[0].strip() for fault in found[-4:]] == [f"{bad}, line {i}:" for i in (3, 4, 5, 6)]
    assert "'3,5' in column 'score' is not a finite number, which a regression target must be. Write 3.5." in found[-4]


def test_multi_label(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "a.jsonl",
        [
            {"text": "1", "labels": ["b", "a"]},
            {"text": "2", "labels": []},
            {"text": "3", "labels": ["c"]},
            {"text": "4", "labels": None},
        ],
    )
    splits = load_splits(path, validation=path, allow_unlabelled=True)
    assert (splits.task.kind, splits.task.labels) == ("multi_label", ("a", "b", "c"))
    nan = float("nan")
    np.testing.assert_array_equal(
        splits.train.labels, np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1], [nan] * 3], dtype=np.float32)
    )
    np.testing.assert_array_equal(splits.train.labelled, [True, True, True, False])
    assert len(splits.validation) == 3
    table = write(tmp_path / "a.csv", ["text", "label"], [("1", "b|a"), ("2", "c; b"), ("3", '["a", "c"]')])
    splits = load_splits(table, validation=table, kind="multi_label")
    np.testing.assert_array_equal(splits.train.labels, [[1, 1, 0], [0, 1, 1], [1, 0, 1]])
    assert load_splits(table, validation=table).task.kind == "single_label"
    pq.write_table(pa.table({"text": ["1", "2"], "label": [[3, 20], [3]]}), tmp_path / "a.parquet")
    splits = load_splits(str(tmp_path / "a.parquet"), validation=str(tmp_path / "a.parquet"))
    assert splits.task.labels == ("3", "20")
    odd = write(tmp_path / "odd.csv", ["text", "label"], [("1", "a|bb"), ("2", "[oops")])
    found = faults(table, validation=odd, kind="multi_label")
    assert f"{odd}, line 2: label 'bb' is not one of 'a', 'b', 'c'" in found[0]
    assert "is not a list of labels" in found[1]
    assert "holds lists" in faults(path, kind="single_label")[0]


def test_labels_that_training_lacks(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", ["text", "label"], [("a", "negative"), ("b", "positive")])
    test = write(tmp_path / "test.csv", ["text", "label"], [("c", "positive"), ("d", "postive"), ("e", "neutral")])
    found = faults(train=train, validation=train, test=test)
    assert found == (
        f"{test}, line 3: label 'postive' is not one of 'negative', 'positive', the labels of the training rows. Did you mean 'positive'?",
        f"{test}, line 4: label 'neutral' is not one of 'negative', 'positive', the labels of the training rows. Correct it, or add training rows with this label.",
    )


def test_one_class_only(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["text", "label"], [("a", "x"), ("b", "x")])
    assert "every label in column 'label' is 'x', but a classifier needs at least two classes" in faults(path)[0]
    path = write(tmp_path / "b.csv", ["text", "label"], [("a", ""), ("b", " ")])
    assert "no row has a label" in faults(path, allow_unlabelled=True)[0]


def test_missing_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["text", "label"], [*reviews(20), *[(f"bare {i}", "") for i in range(7)]])
    found = faults(path)
    assert f"{path}, line 22: no label in column 'label'" in found[0]
    assert found[-1] == f"{path}: 2 more rows without a label."
    splits = load_splits(path, allow_unlabelled=True)
    assert (len(splits.train), len(splits.validation)) == (25, 2)
    assert splits.train.labels is not None
    assert (splits.train.labels == NO_LABEL).sum() == 7
    assert (~splits.train.labelled).sum() == 7
    assert splits.validation.labelled.all()
    assert f"{path}: 7 rows without a label, taken as unlabelled (first: {path}, line 22)." in splits.notes
    given = load_splits(path, validation=path, test=path, allow_unlabelled=True)
    assert given.test is not None
    assert (len(given.train), len(given.validation), len(given.test)) == (27, 20, 20)
    assert any("left out" in note for note in given.notes)


def test_unlabelled_training_rows_do_not_stand_in_test(tmp_path: Path) -> None:
    train = write(tmp_path / "a.csv", ["text", "label"], [*reviews(20), ("held out", ""), ("free", "")])
    test = write(tmp_path / "b.csv", ["text", "label"], [("held out", "good"), ("review 0", "bad")])
    splits = load_splits(train, validation=train, test=test, allow_unlabelled=True)
    texts = [text for (text,) in splits.train.texts]
    assert "held out" not in texts
    assert {"free", "review 0"} <= {*texts}
    assert any("1 unlabelled row also in the test split" in note for note in splits.notes)


def test_empty_texts(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv", ["sentence1", "sentence2", "label"], [("a", "b", "x"), ("c", "  ", "y"), ("", "d", "x")]
    )
    found = faults(path)
    assert [fault.split(": ")[0] for fault in found] == [f"{path}, line 3", f"{path}, line 4"]
    assert "the text (sentence1 and sentence2) is empty" in found[0]
    train = write(tmp_path / "t.csv", ["text", "label"], reviews(20))
    pool = tmp_path / "pool.txt"
    pool.write_text("one\n\n  \ntwo\n", encoding="utf-8")
    splits = load_splits(train, unlabeled=str(pool))
    assert splits.unlabeled is not None
    assert list(splits.unlabeled) == [("one",), ("two",)]
    assert f"{pool}: 2 rows without text dropped (first: {pool}, line 2)." in splits.notes
    pool.write_text("\n\n", encoding="utf-8")
    assert "every text is empty" in faults(train, unlabeled=str(pool))[0]


def test_faults_of_all_files_come_together(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", ["text", "label"], [("a", "x"), ("", "y"), ("c", "")])
    validation = write(tmp_path / "dev.csv", ["txt", "label"], [("a", "x")])
    test = tmp_path / "test.csv"
    test.write_bytes(b"text,label\ncaf\xe9,x\nshort\n")
    found = "\n".join(faults(train=train, validation=validation, test=str(test), unlabeled="none.txt"))
    for part in (
        "train.csv, line 3: the text",
        "train.csv, line 4: no label",
        "no text column 'text'",
        "Did you mean 'txt'?",
        "line 2: not UTF-8",
        "line 3: too few fields",
        "none.txt: no such file",
    ):
        assert part in found


def test_conflicting_duplicates_are_counted(tmp_path: Path) -> None:
    rows = [
        ("same", "x"),
        ("other", "y"),
        ("same", "y"),
        ("twin", "x"),
        ("twin", "x"),
        ("third", "x"),
        ("third", "y"),
        ("third", "y"),
    ]
    path = write(tmp_path / "a.csv", ["text", "label"], rows)
    splits = load_splits(path, validation=path)
    assert any("2 texts occur more than once with different labels" in note for note in splits.notes)
    assert any("lines 2 and 4" in note or "lines 7 and 8" in note for note in splits.notes)
    assert len(splits.train) == 8


def test_pool_is_cleaned_and_leaks_are_counted(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", ["text", "label"], [*reviews(20), ("leak", "bad")])
    test = write(tmp_path / "test.csv", ["text", "label"], [("leak", "bad"), ("held out", "good")])
    pool = write(
        tmp_path / "pool.csv",
        ["text", "noise"],
        [(t, 1) for t in ("new", "held out", "review 3", "new", "newer", "leak")],
    )
    splits = load_splits(train=train, test=test, unlabeled=pool)
    assert splits.unlabeled is not None
    assert list(splits.unlabeled) == [("new",), ("newer",)]
    said = " ".join(splits.notes)
    assert "1 training row also in the test split" in said
    assert f"{train}, line 22" in said
    assert "2 rows dropped: the text is in the test split" in said
    assert "1 row dropped: the text is in the training or validation rows" in said
    assert "1 row dropped: the text repeats another one in the pool" in said
    assert ("leak",) in {*splits.train.texts, *splits.validation.texts}
    only = write(tmp_path / "only.csv", ["text"], [("leak",)])
    assert load_splits(train=train, test=test, unlabeled=only).unlabeled is None
    wrong = write(tmp_path / "wrong.csv", ["sentence"], [("a",)])
    assert "no text column 'text'" in faults(train=train, unlabeled=wrong)[0]


def test_validation_rows_that_report_too_are_counted(tmp_path: Path) -> None:
    for name, rows in (("train", "a,1\nb,0\n"), ("validation", "c,1\nd,0\n"), ("test", "c,1\ne,0\n")):
        (tmp_path / f"{name}.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    (note,) = [note for note in load_splits(str(tmp_path)).notes if "1 validation row also in the test split" in note]
    assert note.endswith("Test scores may be too good.")


def test_limit_train_is_balanced_and_holds_the_cut(tmp_path: Path) -> None:
    rows = [(f"row {i}", "rare" if i < 4 else ("a", "b")[i % 2]) for i in range(200)]
    path = write(tmp_path / "a.csv", ["text", "label"], rows)
    splits = load_splits(path, limit_train=40, pool_rest=True, seed=1)
    assert (len(splits.train), len(splits.validation)) == (36, 4)
    drawn = collections.Counter(names(splits, "train") + names(splits, "validation"))
    assert drawn == {"rare": 4, "a": 18, "b": 18}
    assert splits.unlabeled is not None
    everything = [*splits.train.texts, *splits.validation.texts, *splits.unlabeled]
    assert sorted(everything) == sorted((text,) for text, _ in rows)
    assert any("hold 40 labels together" in note for note in splits.notes)
    assert any("160 training rows that were not drawn join the pool" in note for note in splits.notes)
    assert load_splits(path, limit_train=40, seed=1).unlabeled is None
    assert list(load_splits(path, limit_train=40, seed=1).train.texts) == list(splits.train.texts)
    assert list(load_splits(path, limit_train=40, seed=2).train.texts) != list(splits.train.texts)
    assert len(load_splits(path, limit_train=40, validation=path).train) == 40
    assert len(load_splits(path, limit_train=999, validation=path).train) == 200
    assert "fewer rows than there are classes (3)" in faults(path, limit_train=2)[0]
    assert "at least 2" in faults(path, limit_train=0)[0]
    few = write(tmp_path / "few.csv", ["text", "label"], [("a", "x"), ("b", "y")])
    assert "no class has a second text, so none can be spared for a validation split" in faults(few)[0]


def test_importing_needs_no_torch() -> None:
    code = "import sys, understudy.data.readers.sources; print(sorted({'torch', 'transformers', 'datasets', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(
    not REAL.is_dir(), reason="the shared data sets lie beside the repository only where it is developed"
)
@pytest.mark.parametrize(
    ("name", "kind", "pair", "outputs", "sizes"),
    [
        ("ag_news", "single_label", False, 4, (24_132, 2_681, 7_600)),
        ("sst2", "single_label", False, 2, (67_349, 872, 1_821)),
        ("stsb", "regression", True, 1, (5_749, 1_500, 1_379)),
        ("sick", "single_label", True, 3, (4_500, 500, 4_927)),
    ],
)
def test_real_data(name: str, kind: str, pair: bool, outputs: int, sizes: tuple[int, int, int]) -> None:
    splits = load_splits(str(REAL / name))
    assert splits.test is not None
    assert (splits.task.kind, splits.task.is_pair, splits.task.outputs) == (kind, pair, outputs)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == sizes


def test_lines_that_are_left_out_of_an_input_are_said(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("text\na\n\nb\n", encoding="utf-8")
    notes: list[str] = []
    assert len(read_texts(str(path), notes=notes)) == 2
    assert any("empty line" in note for note in notes)
