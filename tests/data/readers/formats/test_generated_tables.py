"""Tables of every separator, encoding, header and line end are read as pandas reads them when it is told the format."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from understudy.data.readers.formats.reading import Reading
from understudy.data.readers.sources import load_splits
from understudy.errors import DataError

pandas: Any = pytest.importorskip("pandas", reason="pandas comes with datasets")

ODD = [
    "a",
    "b",
    "é",
    "ß",
    "€",
    "1",
    " ",
    '"',
    "'",
    ",",
    ", ",
    ";",
    "|",
    "\t",
    "\n",
    "\r\n",
    "[",
    "#",
    "\\",
    "NA",
    "__label__",
]
texts = st.lists(st.sampled_from(ODD), min_size=1, max_size=7).map("".join).filter(lambda text: bool(text.strip()))
labels = st.sampled_from(["good", "bad", "so so"])
MARKED = {"utf-8": b"", "utf-8-sig": b"", "cp1252": b"", "utf-16": b"", "utf-16-le": b""}


class Table(NamedTuple):
    """A table as some program writes it."""

    ending: str
    separator: str
    encoding: str
    header: bool
    content: bytes


@st.composite
def tables(draw: st.DrawFn) -> Table:
    separator = draw(st.sampled_from([",", ";", "\t", "|"]))
    header = draw(st.booleans())
    encoding = draw(st.sampled_from(sorted(MARKED)))
    rows = draw(st.lists(st.tuples(texts, labels), min_size=5, max_size=9))
    rows += [("the first", "good"), ("the second", "bad")]
    if separator == "\t":  # a line of a quoted text that is as wide as the header looks like a row
        rows = [(text.replace("\t", " ") if "\n" in text else text, label) for text, label in rows]
    ends = draw(st.sampled_from(["\n", "\r\n"]))
    stream = io.StringIO(newline="")
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    writer = csv.writer(stream, delimiter=separator, quoting=quoting, lineterminator=ends)
    writer.writerows([("text", "label")] * header + rows)
    content = stream.getvalue()
    if draw(st.booleans()):
        content = content.removesuffix(ends)
    ending = draw(st.sampled_from(["csv", "tsv", "txt"]))
    return Table(ending, separator, encoding, header, content.encode(encoding))


def as_pandas_reads(path: Path, table: Table) -> list[tuple[str, str]]:
    names = {"header": 0} if table.header else {"header": None, "names": ["text", "label"]}
    frame = pandas.read_csv(
        path, sep=table.separator, encoding=table.encoding, dtype=str, keep_default_na=False, **names
    )
    return list(zip(frame["text"], frame["label"]))


def as_understudy_reads(path: Path, reading: Reading) -> list[tuple[str, str]]:
    splits = load_splits(path, validation=path, kind="single_label", reading=reading)
    return [(text, splits.task.labels[label]) for (text,), label in zip(splits.train.texts, splits.train.labels)]


@settings(
    deadline=None, derandomize=True, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(table=tables())
def test_tables_are_read_as_pandas_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: Table) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    path = tmp_path / f"a.{table.ending}"
    path.write_bytes(table.content)
    expected = as_pandas_reads(path, table)
    named = () if table.header else ("text", "label")
    encoding = None if table.encoding in ("utf-8", "utf-8-sig", "utf-16") else table.encoding
    told = Reading(separator=table.separator, columns=named, encoding=encoding)
    assert as_understudy_reads(path, told) == expected
    found, refused = None, ""
    try:  # the separator is found, or asked for: there is never another reading
        found = as_understudy_reads(path, Reading(columns=named, encoding=encoding))
    except DataError as error:
        refused = str(error)
    assert found == expected or "--separator" in refused
