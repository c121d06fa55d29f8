"""Files as other programs write them are read with at most one flag, each row as it was written."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from understudy.data.readers.formats.reading import Reading
from understudy.data.readers.sources import load_splits, read_texts
from understudy.data.splits import Splits
from understudy.errors import DataError

ROWS = [
    (f"Ein schöner Film, Nummer {i}; sehr gut" if i % 2 else f"a “bad” film\t{i}", ("good", "bad")[i % 2])
    for i in range(24)
]
PLAIN = [(text.replace("\t", " ").replace(",", "").replace(";", ""), label) for text, label in ROWS]
TEST = [(f"another film {i}", ("good", "bad")[i % 2]) for i in range(6)]
Rows = list[tuple[str, str]]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


def delimited(rows: Rows, separator: str, *, header: bool = True) -> str:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=separator, lineterminator="\n")
    writer.writerows([("text", "label")] * header + rows)
    return stream.getvalue()


def objects(rows: Rows) -> list[dict[str, str]]:
    return [{"text": text, "label": label} for text, label in rows]


def columns(rows: Rows) -> dict[str, list[str]]:
    return {"text": [text for text, _ in rows], "label": [label for _, label in rows]}


def lines(rows: Rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in objects(rows))


def wrote(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def write_folders(folder: Path, rows: Rows) -> Path:
    for i, (text, label) in enumerate(rows):
        wrote(folder / label / f"{i:02}.txt", f"{text}\n")
    return folder


def write_saved(folder: Path) -> Path:
    import datasets

    made = {"train": datasets.Dataset.from_dict(columns(ROWS)), "test": datasets.Dataset.from_dict(columns(TEST))}
    datasets.DatasetDict(made).save_to_disk(str(folder))
    return folder


def write_arrow(path: Path) -> Path:
    table = pa.table(columns(ROWS))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as stream:  # as `datasets` does
        stream.write_table(table, max_chunksize=5)
    return path


def write_feather(path: Path) -> Path:
    pyarrow.feather.write_feather(pa.table(columns(ROWS)), str(path))
    return path


def write_zip(path: Path, members: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_parquet_in_zip(path: Path) -> Path:
    pq.write_table(pa.table(columns(ROWS)), path.with_name("rows.parquet"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path.with_name("rows.parquet"), "rows.parquet")
    return path


def write_parallel(folder: Path, text: str, label: str) -> Path:
    for split, rows in (("train", PLAIN), ("test", TEST)):
        wrote(folder / f"{split}{text}", "".join(f"{text}\n" for text, _ in rows))
        wrote(folder / f"{split}{label}", "".join(f"{label}\n" for _, label in rows))
    return folder


CP1252 = Reading(encoding="cp1252")
HEADLESS = Reading(columns=("text", "label"))
WRITTEN: dict[str, tuple[Callable[[Path], Path], Reading, Rows]] = {
    "semicolons": (lambda p: wrote(p / "a.csv", delimited(ROWS, ";")), Reading(), ROWS),
    "tabs in a csv": (lambda p: wrote(p / "a.csv", delimited(ROWS, "\t")), Reading(), ROWS),
    "vertical bars": (lambda p: wrote(p / "a.csv", delimited(ROWS, "|")), Reading(), ROWS),
    "commas in a tsv": (lambda p: wrote(p / "a.tsv", delimited(ROWS, ",")), Reading(), ROWS),
    "another sign": (lambda p: wrote(p / "a.csv", delimited(ROWS, "^")), Reading(separator="^"), ROWS),
    "a table in a txt": (lambda p: wrote(p / "a.txt", delimited(ROWS, "\t")), Reading(), ROWS),
    "cp1252": (lambda p: wrote(p / "a.csv", delimited(ROWS, ",").encode("cp1252")), CP1252, ROWS),
    "UTF-16": (lambda p: wrote(p / "a.csv", delimited(ROWS, ",").encode("utf-16")), Reading(), ROWS),
    "UTF-16 without a mark": (
        lambda p: wrote(p / "a.tsv", delimited(ROWS, "\t").encode("utf-16-be")),
        Reading(encoding="utf-16-be"),
        ROWS,
    ),
    "no header": (lambda p: wrote(p / "a.csv", delimited(ROWS, ",", header=False)), HEADLESS, ROWS),
    "no header, semicolons": (lambda p: wrote(p / "a.csv", delimited(ROWS, ";", header=False)), HEADLESS, ROWS),
    "JSON array": (lambda p: wrote(p / "a.json", json.dumps(objects(ROWS), indent=1)), Reading(), ROWS),
    "JSON array in a line": (lambda p: wrote(p / "a.json", json.dumps(objects(ROWS))), Reading(), ROWS),
    "JSON lines in a .json": (lambda p: wrote(p / "a.json", lines(ROWS)), Reading(), ROWS),
    "ndjson, gzipped": (lambda p: wrote(p / "a.ndjson.gz", gzip.compress(lines(ROWS).encode())), Reading(), ROWS),
    "JSON of columns": (lambda p: wrote(p / "a.json", json.dumps(columns(ROWS))), Reading(), ROWS),
    "JSON with its rows in a key": (
        lambda p: wrote(p / "a.json", json.dumps({"version": "1.0", "data": objects(ROWS)})),
        Reading(),
        ROWS,
    ),
    "JSON of splits": (
        lambda p: wrote(p / "a.json", json.dumps({"train": objects(ROWS), "test": objects(TEST)}, indent=2)),
        Reading(),
        ROWS,
    ),
    "JSON of splits of columns": (
        lambda p: wrote(p / "a.json", json.dumps({"train": columns(ROWS), "test": columns(TEST)})),
        Reading(),
        ROWS,
    ),
    "JSON array of arrays": (lambda p: wrote(p / "a.json", json.dumps(ROWS)), HEADLESS, ROWS),
    "fastText": (
        lambda p: wrote(p / "a.txt", "".join(f"__label__{label} {text}\n" for text, label in PLAIN)),
        Reading(),
        PLAIN,
    ),
    "a folder a class": (lambda p: write_folders(p / "reviews", ROWS), Reading(), sorted(ROWS, key=lambda r: r[1])),
    "a text and a label file": (lambda p: write_parallel(p / "a", "_text.txt", "_labels.txt"), Reading(), PLAIN),
    "texts and labels without .txt": (lambda p: write_parallel(p / "a", ".texts", ".labels"), Reading(), PLAIN),
    "zip of a csv": (
        lambda p: write_zip(p / "a.csv.zip", {"__MACOSX/._a.csv": "", "a.csv": delimited(ROWS, ",")}),
        Reading(),
        ROWS,
    ),
    "zip of splits": (
        lambda p: write_zip(p / "a.zip", {"b/train.csv": delimited(ROWS, ","), "b/test.csv": delimited(TEST, ",")}),
        Reading(),
        ROWS,
    ),
    "zip of a folder a class": (
        lambda p: write_zip(p / "a.zip", {f"a/{label}/{i:02}.txt": text for i, (text, label) in enumerate(ROWS)}),
        Reading(),
        sorted(ROWS, key=lambda r: r[1]),
    ),
    "zip of a parquet": (lambda p: write_parquet_in_zip(p / "a.zip"), Reading(), ROWS),
    "save_to_disk": (lambda p: write_saved(p / "a"), Reading(), ROWS),
    "Arrow": (lambda p: write_arrow(p / "a.arrow"), Reading(), ROWS),
    "Feather": (lambda p: write_feather(p / "a.feather"), Reading(), ROWS),
}


def as_read(splits: Splits) -> Rows:
    """Train and validation rows: together they are the file, in any order."""
    found: Rows = []
    for rows in (splits.train, splits.validation):
        found += [(text, splits.task.labels[label]) for (text,), label in zip(rows.texts, rows.labels.tolist())]
    return sorted(found)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_file_is_read_as_it_was_written(name: str, tmp_path: Path) -> None:
    write, reading, rows = WRITTEN[name]
    splits = load_splits(write(tmp_path), reading=reading)
    assert as_read(splits) == sorted(
        (text.strip(), label) if "folder" in name else (text, label) for text, label in rows
    )
    has_test = " of splits" in name or name == "save_to_disk" or "label" in name
    assert (splits.test is not None) == has_test
    if splits.test is not None:
        assert [text for (text,) in splits.test.texts] == [text for text, _ in TEST]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("semicolons", "a.csv: the columns are separated by semicolons: text, label."),
        ("a table in a txt", "a.txt: the columns are separated by tabs: text, label."),
        ("UTF-16", "a.csv: is read as UTF-16, as its byte-order mark says."),
        ("fastText", "a.txt: is read as fastText's: labels are the words that begin with __label__."),
        ("a folder a class", "reviews: each folder is a class: bad, good."),
        ("JSON with its rows in a key", "a.json: the rows are those of 'data'."),
        ("a text and a label file", "train_text.txt: the labels are the lines of"),
    ],
)
def test_what_was_understood_is_said_each_time(name: str, said: str, tmp_path: Path) -> None:
    write, reading, _ = WRITTEN[name]
    place = write(tmp_path)
    for _ in range(2):  # the second time from the cache
        assert sum(said in note for note in load_splits(place, reading=reading).notes) == 1


def test_what_needs_no_guess_is_not_said(tmp_path: Path) -> None:
    for separator, name in ((",", "a.csv"), ("\t", "a.tsv")):
        notes = load_splits(wrote(tmp_path / name, delimited(ROWS, separator))).notes
        assert [note for note in notes if "quote marks" not in note] == [
            "validation: 2 rows cut off the training split (seed 0)."
        ]


def test_one_hot_columns(tmp_path: Path) -> None:
    content = "text;toxic;insult\n" + "".join(f"a text {i};{i % 2};{i % 3 // 2}\n" for i in range(20))
    splits = load_splits(wrote(tmp_path / "a.csv", content), label=["toxic", "insult"])
    assert (splits.task.kind, splits.task.labels) == ("multi_label", ("toxic", "insult"))
    assert splits.train.labels.sum() + splits.validation.labels.sum() == 10 + 6


def test_fasttext_with_several_labels(tmp_path: Path) -> None:
    content = "".join(f"__label__a{' __label__b' * (i % 2)} text {i}\n" for i in range(20)) + "__label__b at the end\n"
    splits = load_splits(wrote(tmp_path / "a.txt", content))
    assert (splits.task.kind, splits.task.labels) == ("multi_label", ("a", "b"))
    assert sorted(as_dict(splits)["text 1"]) == ["a", "b"]
    assert as_dict(splits)["at the end"] == ["b"]


def as_dict(splits: Splits) -> dict[str, list[str]]:
    rows = [*zip(splits.train.texts, splits.train.labels), *zip(splits.validation.texts, splits.validation.labels)]
    return {text: [name for name, on in zip(splits.task.labels, hot) if on] for (text,), hot in rows}


def test_imdb_with_its_texts_without_labels(tmp_path: Path) -> None:
    for split, rows in (("train", PLAIN), ("test", TEST)):
        write_folders(tmp_path / "aclImdb" / split, rows)
    for i in range(5):
        wrote(tmp_path / "aclImdb" / "train" / "unsup" / f"{i}_0.txt", f"nobody knows {i}")
    wrote(tmp_path / "aclImdb" / "README", "Large Movie Review Dataset")
    data = tmp_path / "aclImdb"
    splits = load_splits(data, unlabeled=data / "train" / "unsup")
    assert splits.task.labels == ("bad", "good")
    assert (len(splits.train) + len(splits.validation), len(splits.test or ()), len(splits.unlabeled or ())) == (
        24,
        6,
        5,
    )
    assert any(
        "train/unsup: 5 texts without labels, not read. They can be a pool: --unlabeled" in n for n in splits.notes
    )


def test_a_folder_of_texts_names_its_files(tmp_path: Path) -> None:
    write_folders(tmp_path / "a", PLAIN)
    wrote(tmp_path / "a" / "good" / "empty.txt", " \n")
    wrote(tmp_path / "a" / "bad" / "old.txt", "caf\xe9".encode("latin-1"))
    with pytest.raises(DataError) as caught:
        load_splits(tmp_path / "a")
    assert "a/bad/old.txt: not UTF-8 (byte 0xe9). Name the encoding of the files with --encoding" in str(caught.value)
    assert "a/good/empty.txt: the text (text) is empty" in str(caught.value)


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.json", "a.jsonl"])
def test_texts_to_label_are_read_from_all_of_them(name: str, tmp_path: Path) -> None:
    content = {
        "a.txt": "".join(f"__label__{label} {text}\n" for text, label in PLAIN),
        "a.csv": delimited(PLAIN, "|"),
        "a.json": json.dumps([text for text, _ in PLAIN]),
        "a.jsonl": lines(PLAIN),
    }[name]
    assert list(read_texts(wrote(tmp_path / name, content))) == [(text,) for text, _ in PLAIN]


def test_class_names_come_through_arrow_and_save_to_disk(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    made = {"text": [f"text {i}" for i in range(20)], "label": [i % 2 for i in range(20)]}
    datasets.Dataset.from_dict(made, features=features).save_to_disk(str(tmp_path / "a"))
    assert load_splits(tmp_path / "a").task.labels == ("no", "yes")
    (file,) = (tmp_path / "a").glob("*.arrow")
    assert load_splits(file).task.labels == ("no", "yes")


def workbook(path: Path, sheets: dict[str, list[list[Any]]]) -> Path:
    openpyxl = pytest.importorskip("openpyxl", reason="the extra 'excel'")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_excel(tmp_path: Path) -> None:
    table = [["text", "label", None], *([text, label, None] for text, label in ROWS), [None, None]]
    assert as_read(load_splits(workbook(tmp_path / "a.xlsx", {"Sheet1": table, "empty": []}))) == sorted(ROWS)
    splits = load_splits(workbook(tmp_path / "b.xlsx", {"train": table, "Test": [["text", "label"], *map(list, TEST)]}))
    assert (as_read(splits), len(splits.test or ())) == (sorted(ROWS), 6)
    numbers = workbook(tmp_path / "c.xlsx", {"a": [["text", "score"], *([f"text {i}", i / 4] for i in range(20))]})
    found = load_splits(numbers)
    everything = [*found.train.labels, *found.validation.labels]
    assert sorted(everything) == pytest.approx(np.arange(20) / 4)
    with pytest.raises(DataError, match=r"has 2 sheets with rows \(a, b\)\. Call them train"):
        load_splits(workbook(tmp_path / "d.xlsx", {"a": table, "b": table}))
    wide = [["text", "label"], ["a film", "good", "stray"]]
    with pytest.raises(DataError, match=r"row 2: a cell in column 3, but there are 2 columns"):
        load_splits(workbook(tmp_path / "e.xlsx", {"a": wide}))
    headless = workbook(tmp_path / "f.xlsx", {"a": [list(row) for row in ROWS]})
    assert as_read(load_splits(headless, reading=HEADLESS)) == sorted(ROWS)
