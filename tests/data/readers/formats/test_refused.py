"""Where two readings are possible, or none, the message says how to go on; and it is right."""

from __future__ import annotations

import gzip
import json
import os
import zipfile
from pathlib import Path

import pytest

from understudy.data.readers.formats import streams
from understudy.data.readers.formats.objects import MOST_COLUMNS
from understudy.data.readers.formats.reading import Reading
from understudy.data.readers.sources import load_splits, read_texts
from understudy.errors import DataError


def refused(path: Path, content: bytes | str, reading: Reading = Reading()) -> str:  # noqa: B008
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught:
        load_splits(path, reading=reading)
    return str(caught.value)


def rows(form: str, number: int = 20) -> str:
    return "".join(form.format(i=i, label="ab"[i % 2]) + "\n" for i in range(number))


def test_two_separators(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    both = "text, in full;label\n" + rows("one {i}, two;{label}")
    said = refused(path, both)
    assert "semicolons and commas both divide its rows" in said
    assert "--separator semicolon or --separator comma" in said
    splits = load_splits(path, text=["text, in full"], label="label", reading=Reading.of("semicolon", [], None))
    assert splits.train.texts[0][0].endswith(", two")
    commas = Reading.of("comma", [], None)
    found = load_splits(path, text=["text"], label="in full;label", kind="single_label", reading=commas)
    assert found.train.texts[0][0].startswith("one")


def test_a_header_that_the_rows_do_not_fit(tmp_path: Path) -> None:
    said = refused(tmp_path / "a.csv", "text;label\n" + rows("one column {i}"))
    assert "line 1: semicolons separate 2 names (text, label), but not the fields of the rows below" in said
    assert "if it is the name of a single column, give --separator comma" in said
    texts = read_texts(tmp_path / "a.csv", text=["text;label"], reading=Reading(separator=","))
    assert texts[0] == ("one column 0",)


def test_no_header_offers_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    said = refused(path, rows("{label},some words {i}"))
    assert "as in --columns label text" in said
    assert len(load_splits(path, reading=Reading(columns=("label", "text"))).train) == 18
    assert "names the columns as --columns does. Leave --columns out." in refused(
        path, "label,text\n" + rows("{label},some words {i}"), Reading(columns=("label", "text"))
    )
    assert "too many fields, 2 where --columns names 1" in refused(path, rows("{label},x"), Reading(columns=("text",)))


def test_encodings(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    content = ("text,label\n" + rows("caf\xe9 {i},{label}")).encode("cp1252")
    assert "or name its encoding with --encoding, such as cp1252" in refused(path, content)
    assert load_splits(path, reading=Reading(encoding="cp1252")).train.texts[0][0].startswith("café")
    said = refused(path, content, Reading(encoding="utf-16"))
    assert "not utf-16" in said
    assert "line 3: not cp1252 (byte 0x81)" in refused(path, b"text,label\na,b\n\x81,c\n", Reading(encoding="cp1252"))
    assert "such as utf-16-le" in refused(path, ("text,label\n" + rows("a {i},{label}")).encode("utf-16-le"))


def test_a_mark_is_believed_before_the_user_and_said(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + rows("café {i},{label}"), encoding="utf-8-sig")
    splits = load_splits(path, reading=Reading(encoding="cp1252"))
    assert splits.train.texts[0][0].startswith("café")
    assert any("byte-order mark of UTF-8 and is read so, not as cp1252" in note for note in splits.notes)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", '{"a": [{"text": "x"}], "b": [{"text": "y"}]}', "several lists of rows (a, b)"),
        ("a.json", '{"a": {"b": 1}, "c": [1]}', "no list of rows and no columns"),
        ("a.json", '[{"text": "a", "label": 1}, {"text": oops}]', "broken JSON in row 2 (Expecting value)"),
        ("a.json", '[{"text": "a"} {"text": "b"}]', "broken JSON after row 1 (a comma or ']' is missing)"),
        ("a.json", '[{"text": "a", "label": 1}', "broken JSON after row 1"),
        ("a.json", '[{"text": "a"}, {"text": "b"}]\n[{"text": "c"}]', "something follows the array, after row 2"),
        ("a.json", '[{"text": "a", "label": 1}, 7]', "row 2: a JSON int, but an object is needed"),
        ("a.json", '[["a", 1], ["b", 2]]', "Or name the values of each row in order with --columns"),
        ("a.json", '{\n "text": oops\n}', "line 2: broken JSON"),
        ("a.json", "[]", "empty"),
        ("a.json", '{"train": [{"text": "caf\\ud800", "label": "a"}]}', "half a character"),
        ("a.txt", "just text\nand more\n", "a txt file holds texts without labels"),
        ("a.zip", b"PK no zip", "not a zip archive, or a damaged one"),
        ("a.arrow", b"ARROW1 no arrow", "not an Arrow file, or a damaged one"),
        ("a.csv", "text,label\n", "a header, but no rows"),
    ],
)
def test_broken_files(name: str, content: bytes | str, said: str, tmp_path: Path) -> None:
    assert said in refused(tmp_path / name, content)


def test_a_table_is_no_list_of_texts(tmp_path: Path) -> None:
    path = tmp_path / "pool.txt"
    path.write_text("text\tlabel\n" + rows("words {i}\t{label}"), encoding="utf-8")
    with pytest.raises(DataError, match=r"line 1: looks like the header of a table .* ends in \.tsv"):
        read_texts(path)
    assert len(read_texts(path.rename(tmp_path / "pool.tsv"))) == 20
    path.write_text("A text, label and all\nanother\n", encoding="utf-8")
    assert len(read_texts(path)) == 2


def test_texts_and_labels_of_different_length(tmp_path: Path) -> None:
    (tmp_path / "train_text.txt").write_text(rows("words {i}"), encoding="utf-8")
    (tmp_path / "train_labels.txt").write_text(rows("{label}", 19), encoding="utf-8")
    with pytest.raises(DataError, match=r"train_text\.txt: 20 lines of text, but .*train_labels\.txt has 19 labels"):
        load_splits(tmp_path)


@pytest.mark.parametrize("reading", [Reading(separator=";"), Reading(columns=("text",)), Reading(encoding="cp1252")])
def test_a_flag_that_suits_no_file_is_refused(reading: Reading, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a", "b"], "label": ["x", "y"]}), tmp_path / "a.parquet")
    with pytest.raises(
        DataError, match=rf"--{next(reading.given())} says how files of text are read, but .*a\.parquet"
    ):
        load_splits(tmp_path / "a.parquet", reading=reading)


def test_ever_new_keys_are_no_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    content = "".join(json.dumps({"text": "a", "label": "b", f"key {i}": i}) + "\n" for i in range(MOST_COLUMNS + 50))
    said = refused(path, content)
    assert f"line {MOST_COLUMNS - 1}: 'key {MOST_COLUMNS - 2}' is column {MOST_COLUMNS + 1:,} of the table" in said


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_UNPACKED", 1 << 20)
    bomb = gzip.compress(b"text,label\n" + b"a,b\n" * (1 << 20))
    assert "unpacks to more than" in refused(tmp_path / "a.csv.gz", bomb)
    assert "unpacks to more than" in refused(tmp_path / "line.jsonl.gz", gzip.compress(b"x" * (1 << 24)))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", b"text,label\n" + b"a,b\n" * (1 << 20))
    with pytest.raises(DataError, match="over 200 times its size"):
        load_splits(tmp_path / "a.zip")
    monkeypatch.undo()
    (tmp_path / "real.csv.gz").write_bytes(gzip.compress(("text,label\n" + rows("a film {i},{label}", 9000)).encode()))
    assert len(load_splits(tmp_path / "real.csv.gz").train) > 8000


def test_pipes_and_devices(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DataError, match=r"pipe\.csv: a pipe, which cannot be read twice"):
        load_splits(tmp_path / "pipe.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"zero\.csv: a device, which cannot be read twice"):
        load_splits(tmp_path / "zero.csv")


def test_archives_that_cannot_be_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w"):
        pass
    with pytest.raises(DataError, match="an empty archive"):
        load_splits(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("one.csv", "text,label\n")
        archive.writestr("two.csv", "text,label\n")
    with pytest.raises(DataError, match=r"b\.zip: a folder without a split.* found one\.csv, two\.csv"):
        load_splits(tmp_path / "b.zip")
    content = bytearray(Path(tmp_path / "b.zip").read_bytes())
    for sign in (b"PK\x01\x02", b"PK\x03\x04"):  # the bit that says: encrypted
        at = content.find(sign)
        while at >= 0:
            content[at + (8 if sign == b"PK\x01\x02" else 6)] |= 1
            at = content.find(sign, at + 1)
    (tmp_path / "c.zip").write_bytes(content)
    with pytest.raises(DataError, match="the archive needs a password"):
        load_splits(tmp_path / "c.zip")
