"""Which files of a folder and which splits of the hub are read, and that the others are named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from understudy.data.readers.corpus import load_corpus
from understudy.data.readers.sources import load_splits
from understudy.data.splits import Splits
from understudy.errors import DataError


def write(path: Path, first: int, rows: int = 4, head: str = "text,label") -> None:
    content = head + "\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(first, first + rows))
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())


def folder(path: Path, *names: str, rows: int = 4) -> str:
    for place, name in enumerate(names):
        write(path / name, 100 * place, rows)
    return str(path)


def firsts(splits: Splits) -> list[str | None]:
    """The first text of the training, the validation and the test split."""
    parts = (splits.train, splits.validation, splits.test)
    return [None if part is None else min(text for (text,) in part.texts) for part in parts]


@pytest.mark.parametrize("name", ["val", "valid", "validation", "dev", "devel", "eval", "Val", "sts-dev", "my.dev.v2"])
@pytest.mark.parametrize("train", ["train", "sts-train", "train_2016", "reviews.training", "trainData"])
def test_splits_by_a_word_of_their_name(tmp_path: Path, name: str, train: str) -> None:
    found = load_splits(folder(tmp_path, f"{train}.csv", f"{name}.csv.gz", "x_test.csv"))
    assert firsts(found) == ["text 0", "text 100", "text 200"]
    assert found.notes == ()


def test_eval_is_the_test_split_beside_another_validation_split(tmp_path: Path) -> None:
    assert firsts(load_splits(folder(tmp_path, "train.csv", "dev.csv", "eval.csv"))) == [
        "text 0",
        "text 100",
        "text 200",
    ]
    found = load_splits(folder(tmp_path, "train.csv", "dev.csv", "eval.csv", "test.csv"))
    assert firsts(found) == ["text 0", "text 100", "text 300"]
    assert found.notes == (f"{tmp_path}: files that are not read as a split: eval.csv.",)


def test_files_that_are_not_read_are_named(tmp_path: Path) -> None:
    data = folder(tmp_path, "train.csv", "dev.csv", "train_old.csv", "traindev.csv", "dev-test.csv", "contest.csv")
    for name in ("train.doc", "notes.txt", "README.md", "LICENSE", ".hidden.csv"):
        (tmp_path / name).write_text("a\n", encoding="utf-8")
    idle = "contest.csv, dev-test.csv, notes.txt, train.doc, train_old.csv, traindev.csv"
    assert load_splits(data).notes == (f"{data}: files that are not read as a split: {idle}.",)
    used = load_splits(data, test=f"{data}/contest.csv", unlabeled=f"{data}/notes.txt")
    assert "contest.csv" not in used.notes[0]
    assert "notes.txt" not in used.notes[0]
    other = load_splits(f"{data}/train.csv", train=f"{data}/dev.csv")
    assert other.notes[0] == f"{data}/train.csv: not read, because --train names the training split."
    assert "not read as a split" in load_corpus(data).notes[0]


def test_folders_that_are_called_like_splits_are_named(tmp_path: Path) -> None:
    data = folder(tmp_path, "train.csv", rows=20)
    for name in ("validation", "my-test", "figures", "dev"):
        (tmp_path / name).mkdir()
        if name != "dev":
            write(tmp_path / name / "part.csv", 500)
    notes = load_splits(data).notes
    assert f"{data}: folders that are not read as a split: validation/, my-test/." in notes


def test_what_stands_twice_is_settled_by_the_flag_that_the_message_names(tmp_path: Path) -> None:
    data = folder(tmp_path, "train.csv", "dev_a.csv", "dev_b.csv")
    with pytest.raises(DataError, match=r"dev_a\.csv and dev_b\.csv are both the validation split"):
        load_splits(data)
    found = load_splits(data, validation=f"{data}/dev_b.csv")
    assert firsts(found) == ["text 0", "text 200", None]
    assert found.notes == (f"{data}: files that are not read as a split: dev_a.csv.",)


def test_shards_are_one_split(tmp_path: Path) -> None:
    data = folder(tmp_path, "train-00001-of-00002.csv", "train-00000-of-00002.csv", "test-00000-of-00001.csv")
    splits = load_splits(data, validation=f"{data}/test-00000-of-00001.csv")
    texts = [text for (text,) in splits.train.texts]
    assert texts == [f"text {i}" for i in (100, 101, 102, 103, 0, 1, 2, 3)]
    assert splits.train.origin == f"{data}/train-*-of-00002.csv"
    (tmp_path / "train-00001-of-00002.csv").write_text("text,label\na,a\nb,\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"train-00001-of-00002\.csv, line 3: no label"):
        load_splits(data)
    write(tmp_path / "train-00001-of-00002.csv", 0, head="words,label")
    with pytest.raises(DataError, match="Files of one split need the same columns"):
        load_splits(data)
    (tmp_path / "train-00001-of-00002.csv").unlink()
    with pytest.raises(DataError, match="the train split has 2 files, but number 1 is missing"):
        load_splits(data)


def test_shards_of_texts(tmp_path: Path) -> None:
    for place in range(2):
        (tmp_path / f"train-{place}-of-2.txt").write_text(f"one {place}\ntwo {place}\n\n", encoding="utf-8")
    corpus = load_corpus(str(tmp_path))
    assert len(corpus.train) + len(corpus.validation) == 4
    assert "2 empty lines left out" in corpus.notes[0]


def test_splits_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def made(first: int) -> datasets.Dataset:
        return datasets.Dataset.from_dict({"text": [f"text {first + i}" for i in range(4)], "label": ["a", "b"] * 2})

    found = {"train": made(0), "validation_matched": made(100), "validation_mismatched": made(200), "extra": made(300)}
    monkeypatch.setattr(datasets, "load_dataset", lambda name: datasets.DatasetDict(found))
    splits = load_splits("owner/name")
    assert firsts(splits) == ["text 0", "text 100", None]
    assert "owner/name: splits that are not read as a split: validation_mismatched, extra." in splits.notes


def tables(*names: str) -> dict[str, dict[str, list[str]]]:
    return {name: {"text": [f"{name} {i}" for i in range(4)], "label": ["a", "b"] * 2} for name in names}


def written(form: str, path: Path, *names: str) -> object:
    """One source that holds several tables."""
    import datasets

    if form == "json":
        path = path / "a.json"
        path.write_text(
            json.dumps({name: [dict(zip(t, row)) for row in zip(*t.values())] for name, t in tables(*names).items()})
        )
    elif form == "xlsx":
        path = path / "a.xlsx"
        book = pytest.importorskip("openpyxl", reason="the extra 'excel'").Workbook()
        book.remove(book.active)
        for name, table in tables(*names).items():
            sheet = book.create_sheet(name)
            for row in (list(table), *zip(*table.values())):
                sheet.append(row)
        book.save(path)
    else:
        made = datasets.DatasetDict({name: datasets.Dataset.from_dict(t) for name, t in tables(*names).items()})
        if form == "python":
            return made
        path = path / "a"
        made.save_to_disk(str(path))
    return path


@pytest.mark.parametrize("form", ["json", "xlsx", "disk", "python"])
def test_of_two_tables_of_one_split_none_is_dropped_unsaid(form: str, tmp_path: Path) -> None:
    data = written(form, tmp_path, "train_a", "train_b", "test")
    with pytest.raises(DataError, match="train_a and train_b are both the train split"):
        load_splits(data)
    if form != "python":
        write(tmp_path / "other.csv", 0)
        assert firsts(load_splits(data, train=tmp_path / "other.csv"))[::2] == ["text 0", "test 0"]
    (tmp_path / "more").mkdir()
    splits = load_splits(written(form, tmp_path / "more", "train", "train_extra", "test"))
    assert len(splits.train) + len(splits.validation) == 4
    assert any(note.endswith("that are not read as a split: train_extra.") for note in splits.notes)


@pytest.mark.parametrize("form", ["json", "xlsx", "disk", "python"])
def test_of_mnlis_validation_rows_the_matched_ones_are_read(form: str, tmp_path: Path) -> None:
    splits = load_splits(written(form, tmp_path, "train", "validation_matched", "validation_mismatched"))
    assert firsts(splits) == ["train 0", "validation_matched 0", None]
    assert any(note.endswith("that are not read as a split: validation_mismatched.") for note in splits.notes)


def _copies(rows: int, every: int) -> str:
    return "text,label\n" + "".join(f"text {i // every},{'ab'[i // every % 2]}\n" for i in range(rows))


@pytest.mark.parametrize("seed", range(5))
def test_copies_of_a_text_are_on_one_side_of_the_cut(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "a.csv"
    path.write_text(_copies(60, 3), encoding="utf-8")
    splits = load_splits(str(path), seed=seed)
    assert not {*splits.train.texts} & {*splits.validation.texts}
    assert (len(splits.train), len(splits.validation)) == (54, 6)
    assert (
        "train: 40 rows repeat the text of another one; the cut keeps all copies of a text on one side." in splits.notes
    )
    path.write_text(_copies(60, 3) + "text 5,\nfree,\n", encoding="utf-8")
    splits = load_splits(str(path), seed=seed, allow_unlabelled=True)
    assert not {*splits.train.texts} & {*splits.validation.texts}
    assert splits.validation.labelled.all()
    lines = tmp_path / "a.txt"
    lines.write_text("".join(f"line {i % 20}\n" for i in range(60)), encoding="utf-8")
    corpus = load_corpus(str(lines), seed=seed)
    assert not {*corpus.train} & {*corpus.validation}
    assert len(corpus.validation) == 6
    assert any("all copies of a text on one side" in note for note in corpus.notes)


def test_training_rows_in_a_validation_file_are_counted(tmp_path: Path) -> None:
    data = folder(tmp_path, "train.csv")
    write(tmp_path / "dev.csv", 2)
    (note,) = load_splits(data).notes
    assert "2 training rows also in the validation split" in note
