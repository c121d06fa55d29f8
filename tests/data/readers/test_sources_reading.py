"""Formats: what independent writers wrote is read back unchanged, or refused with its line."""

from __future__ import annotations

import csv
import gzip
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from understudy.data.cache import cache_dir
from understudy.data.readers import cached_tables as tables
from understudy.data.readers.faults import Faults
from understudy.data.readers.formats import delimited, files
from understudy.data.readers.places.source import dataset_source
from understudy.data.readers.sources import read_texts
from understudy.errors import DataError, OutputError


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "os.fsync", lambda descriptor: None
    )  # hundreds of tiny files: syncing each would take most of the time


def fault(read: Callable[[], object]) -> str:
    with pytest.raises(DataError) as caught:
        read()
    return str(caught.value)


def write(path: Path, names: list[str], rows: list[tuple[str, ...]]) -> Path:
    """Write a table with an independent writer of the format the name says."""
    stem = path.name.removesuffix(".gz")
    plain = path.with_name(stem)
    if stem.endswith(".jsonl"):
        plain.write_text("".join(json.dumps(dict(zip(names, row))) + "\n" for row in rows), encoding="utf-8")
    elif stem.endswith(".parquet"):
        pq.write_table(pa.table(dict(zip(names, zip(*rows)))), plain, row_group_size=3)
    else:
        with plain.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, delimiter="\t" if stem.endswith(".tsv") else ",")
            writer.writerows([names, *rows])
    if path != plain:
        path.write_bytes(gzip.compress(plain.read_bytes()))
    return path


# A text cannot contain half characters or NUL; the csv module reads a bare carriage return in a quoted field.
cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10)
tricky = st.sampled_from(['a "quoted" word', '"', "two\nlines", "a,b\tc", "", " spaces ", "Ɛdeɛn", "\u2028", "\r\n"])
table_rows = st.lists(st.tuples(cells | tricky, cells | tricky), min_size=1, max_size=12)
endings = [f".{kind}{gz}" for kind in ("csv", "tsv", "jsonl", "parquet") for gz in ("", ".gz")]


@pytest.mark.parametrize("ending", endings)
@settings(deadline=None, derandomize=True, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=table_rows)
def test_round_trip(tmp_path: Path, ending: str, rows: list[tuple[str, str]]) -> None:
    path = write(tmp_path / f"table{ending}", ["one", "two"], rows)
    assert list(read_texts(path, text=["one", "two"])) == rows
    # The joined column by its rule: the parts that are not blank, with one space between them.
    joined = [" ".join(part for part in row if part.strip()) for row in rows]
    assert [row[0] for row in read_texts(path, text=["one+two"])] == joined


@settings(deadline=None, derandomize=True, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(cells.filter(lambda line: not {"\n", "\r"} & set(line)), min_size=1, max_size=9))
@pytest.mark.parametrize("ending", [".txt", ".txt.gz"])
def test_txt_is_one_text_a_line(tmp_path: Path, ending: str, rows: list[str]) -> None:
    content = "".join(row + "\n" for row in rows).encode()
    path = tmp_path / f"pool{ending}"
    path.write_bytes(gzip.compress(content) if ending.endswith("gz") else content)
    assert list(read_texts(path)) == [(row,) for row in rows]


def test_many_batches_keep_order_and_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "BATCH_ROWS", 7)
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"two\nlines",0\n' + "".join(f"row {i},{i}\n" for i in range(50)), encoding="utf-8")
    faults = Faults()
    table = tables.read_table(path, "a.csv", faults)
    assert table is not None
    assert len(table) == 51
    assert [table.where(i) for i in (0, 1, 50)] == ["a.csv, line 2", "a.csv, line 4", "a.csv, line 53"]
    assert table.cells.column("text").to_pylist()[1:] == [f"row {i}" for i in range(50)]
    assert table.cells.column("text").num_chunks > 5


def test_glue_style_tsv_keeps_its_quote_marks(tmp_path: Path) -> None:
    path = tmp_path / "dev.tsv"
    path.write_text('text\tlabel\n"a stray mark\t0\nan inner "word" here\t1\nplain\t0\n', encoding="utf-8")
    assert [text for (text,) in read_texts(path)] == ['"a stray mark', 'an inner "word" here', "plain"]


def test_byte_order_mark_windows_line_ends_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbftext,label\r\nhello,0\r\n\r\nworld,1\r\n")
    assert list(read_texts(path)) == [("hello",), ("world",)]
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfhello\r\n\r\nworld")
    assert list(read_texts(path)) == [("hello",), ("",), ("world",)]
    path.write_bytes(b"hello\rworld\r\nagain\r")  # line ends of the first Macs
    assert list(read_texts(path)) == [("hello",), ("world",), ("again",)]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "hello"}\r\n\r\n{"text": "world"}')
    assert list(read_texts(path)) == [("hello",), ("world",)]


def test_jsonl_keys_may_come_late_and_values_may_be_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": 1984}\n{"other": true, "text": "b"}\n{"other": null}\n', encoding="utf-8")
    assert list(read_texts(path, text=["text+other"])) == [("1984",), ("b true",), ("",)]


def test_a_very_long_line(tmp_path: Path) -> None:
    long = "word " * 100_000
    path = write(tmp_path / "a.csv", ["text", "label"], [(long, "0")])
    assert read_texts(path)[0] == (long,)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".txt"])
def test_not_utf8_is_named_by_line_and_byte(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    lines = ['{"text": "a"}', '{"text": "caf\xe9"}'] if ending == ".jsonl" else ["text", "caf\xe9"]
    path.write_bytes("\n".join(lines).encode("latin-1"))
    said = fault(lambda: read_texts(path))
    assert f"{path}, line 2: not UTF-8 (byte 0xe9 at position" in said
    assert "Save the file as UTF-8" in said


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".txt", ".parquet"])
def test_nul_bytes(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    if ending == ".txt":
        path.write_text("fine\nbro\0ken\n", encoding="utf-8")
    else:
        write(path, ["text"], [("fine",), ("bro\0ken",)])
    line = {".txt": "line 2", ".jsonl": "line 2", ".parquet": "row 2"}.get(ending, "line 3")
    assert f"{path}, {line}: a NUL byte in column 'text'" in fault(lambda: read_texts(path))


def test_rows_with_too_few_or_many_fields_are_all_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "short\n" * 12 + "a,b,c\n" + "fine,0\n", encoding="utf-8")
    said = fault(lambda: read_texts(path))
    assert f"{path}, line 2: too few fields, 1 where the header has 2 (text, label)" in said
    assert "7 more rows with too few fields" in said
    assert f"{path}, line 14: too many fields, 3 where the header has 2" in said
    assert "line 7:" not in said  # only the first five are shown


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", b"", "empty"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "empty"),
        ("a.jsonl", b"\n\n", "empty"),
        ("a.txt", b"", "empty"),
        ("a.csv", b"text,label\n", "a header, but no rows"),
        ("a.csv", b'text,label\n"open,0\nmore,1\n', "line 2: a quoted field begins here and never ends"),
        ("a.csv", b'text,label\n"he said "hi" to me",0\n', "line 2: a quote mark inside a quoted field is not doubled"),
        ("a.csv", b"text,label\ra,0\rb,1\r", "line 1: a bare carriage return"),
        ("a.csv", b"text,text\na,b\n", "two columns are called 'text'"),
        ("a.jsonl", b'{"text": "a"}\n{"text": oops}\n', "line 2: broken JSON (Expecting value at position 10)"),
        ("a.jsonl", b'{"text": "a"}\n["b"]\n', "line 2: a JSON list, but an object is needed"),
        ("a.jsonl", b'{"text": "half \\ud800"}\n', "line 1: half a character"),
        ("a.parquet", b"PAR1 but not really", "not a Parquet file"),
        ("a.csv.gz", gzip.compress(b"text,label\n" + b"a,0\n" * 9999, mtime=0)[:-30], "damaged or cut short"),
        ("a.csv.gz", b"text,label\na,0\n", "damaged or cut short"),
        ("a.doc", b"", "Save it in one of these: .csv, .tsv, .txt, .jsonl, .json, .parquet, .arrow or .xlsx"),
        ("a.csv", b"title,body text\na,b\n", "The columns are 'title', 'body text'"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    said = fault(lambda: read_texts(path, text=["body"] if b"body" in content else []))
    assert str(path) in said
    assert expected in said
    assert list(cache_dir().rglob("*.tmp")) == []  # nothing half-written stays


def test_parquet_with_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    offsets = pa.array([0, 1, 3], pa.int32()).buffers()[1]
    broken = pa.StringArray.from_buffers(2, offsets, pa.py_buffer(b"a\xff\xfe"))
    pq.write_table(pa.table({"text": broken}), tmp_path / "a.parquet")
    assert "row 2: column 'text' is not UTF-8" in fault(lambda: read_texts(tmp_path / "a.parquet"))


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "pool.csv", ["text"], [("a",)])
    assert "no such file. Did you mean 'pool.csv'?" in fault(lambda: read_texts(tmp_path / "pol.csv"))
    assert "There is no folder" in fault(lambda: read_texts(tmp_path / "no" / "pool.csv"))
    (tmp_path / "folder.csv").mkdir()
    assert "a folder, but a file is needed" in fault(lambda: read_texts(tmp_path / "folder.csv"))


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "a.csv", ["text"], [("hello",)])
    assert list(read_texts("~/a.csv")) == [("hello",)]


def test_a_file_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.csv", ["title", "description"], [("a", "b")])
    assert list(read_texts(path)) == [("a b",)]
    kept = sorted(cache_dir().rglob("*.arrow"))
    with monkeypatch.context() as patch:
        patch.setattr(csv, "reader", lambda *_, **__: pytest.fail("parsed again"))
        copy = tmp_path / "copy.csv"
        copy.write_bytes(path.read_bytes())
        assert list(read_texts(copy)) == [("a b",)]  # known by its contents
    for file in kept:
        file.write_bytes(b"damaged")
    assert list(read_texts(path)) == [("a b",)]
    write(path, ["title", "description"], [("c", "d")])
    assert list(read_texts(path)) == [("c d",)]


def test_a_file_that_changes_while_it_is_read_is_said_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.csv", ["text"], [("a",), ("b",)])
    with monkeypatch.context() as patch:
        known = files.open_bytes

        def too_late(path: Path, *, zipped: bool, origin: str) -> object:
            write(path, ["text"], [("c",), ("d",)])
            return known(path, zipped=zipped, origin=origin)

        patch.setattr(files, "open_bytes", too_late)
        assert "a.csv: was changed while it was read. Start again" in fault(lambda: read_texts(path))
    assert not list(cache_dir().rglob("*.arrow"))
    write(path, ["text"], [("a",), ("b",)])
    assert list(read_texts(path)) == [("a",), ("b",)]


def test_a_file_is_known_by_its_bytes_and_not_by_its_time(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["text"], [("a",), ("b",)])
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    assert list(read_texts(path)) == [("a",), ("b",)]
    write(path, ["text"], [("a",), ("c",)])
    os.utime(path, ns=times)
    assert list(read_texts(path)) == [("a",), ("c",)]


def test_a_hub_split_is_known_by_its_rows_and_class_names() -> None:
    import datasets

    def key(rows: list[int], classes: list[str]) -> str:
        features = datasets.Features({"label": datasets.ClassLabel(names=classes)})
        made = datasets.Dataset.from_dict({"label": rows}, features=features)
        made._fingerprint = "made of its place on disk"
        table = tables.read_source(dataset_source(made, "owner/name"), Faults())
        assert table is not None
        return table.key

    keys = {key([0, 1], ["bad", "good"]), key([1, 0], ["bad", "good"]), key([0, 1], ["good", "bad"])}
    assert len(keys) == 3
    assert key([0, 1], ["bad", "good"]) in keys


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    path = write(tmp_path / "a.csv", ["text"], [("a",)])
    with pytest.raises(OutputError, match=r"No space left on device.*UNDERSTUDY_CACHE"):
        read_texts(path)
    assert [file for file in cache_dir().rglob("*") if file.is_file()] == []


def test_an_unwritable_cache_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.csv", ["text"], [("a",)])
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(path / "below a file"))
    with pytest.raises(OutputError, match="UNDERSTUDY_CACHE"):
        read_texts(path)


def test_pairs_and_arity(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["premise", "hypothesis", "text"], [("p", "h", "t")])
    assert list(read_texts(path)) == [("p", "h")]
    assert list(read_texts(path, trained=(("text",),))) == [("t",)]
    assert "--text names 1 text (text), but a row has 2. Name two columns" in fault(
        lambda: read_texts(path, text=["text"], trained=(("p",), ("h",)))
    )
    (tmp_path / "a.txt").write_text("line\n", encoding="utf-8")
    assert "pairs of texts are needed" in fault(lambda: read_texts(tmp_path / "a.txt", trained=(("p",), ("h",))))


def test_memory_stays_flat_as_rows_grow(tmp_path: Path) -> None:
    peaks = []
    for rows in (40_000, 160_000):
        path = tmp_path / f"{rows}.txt"
        path.write_text(
            "".join(f"{i} some more words to fill the line with text, and then some\n" for i in range(rows)),
            encoding="utf-8",
        )
        before = pa.total_allocated_bytes()
        tracemalloc.start()
        texts = read_texts(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(texts) == rows
        assert pa.total_allocated_bytes() - before < 100_000  # mapped, not held
    assert peaks[1] < 1.3 * peaks[0]
