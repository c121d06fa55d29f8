"""From a file to record batches: csv, tsv and txt are parsed here, jsonl and parquet in `structured`."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from understudy.data.readers.faults import Faults
from understudy.data.readers.parsed import BATCH_BYTES, BATCH_ROWS, Lines, Opener, Parsed
from understudy.data.readers.structured import jsonl_batches, parquet_batches

FORMATS = ("csv", "tsv", "jsonl", "parquet", "txt")
FORMAT_ENDINGS = ".csv, .tsv, .jsonl, .parquet or .txt, each also with .gz"
"""For messages."""


def format_of(path: Path) -> tuple[str | None, bool]:
    """The format according to the name of a file (None if unknown), and whether the file is gzipped.

    Example:
        >>> format_of(Path("train.csv.gz")), format_of(Path("notes.doc"))
        (('csv', True), (None, False))
    """
    name = path.name.lower()
    zipped = name.endswith(".gz")
    kind = name.removesuffix(".gz").rpartition(".")[2]
    return (kind if kind in FORMATS else None), zipped


def is_txt(name: str) -> bool:
    """Whether a file is a txt file by its name: one text a line and no columns.

    Example:
        >>> is_txt("pool.txt.gz"), is_txt("pool.csv")
        (True, False)
    """
    return format_of(Path(name))[0] == "txt"


def parse_file(
    path: Path, kind: str, zipped: bool, origin: str, faults: Faults, *, longest: int | None = None
) -> Parsed:
    """Prepare to read a file; it is opened when the first batch is asked for.

    Args:
        longest: a line of a txt file with at least so many bytes is cut into several rows. None: lines stay whole.
    """
    parsed = Parsed(origin, faults, unit="row" if kind == "parquet" else "line")
    readers: dict[str, Callable[[Parsed, Opener], Iterator[pa.RecordBatch]]]
    readers = {"csv": _csv, "tsv": _tsv, "jsonl": jsonl_batches, "parquet": parquet_batches}
    readers["txt"] = partial(_txt, longest=longest)
    parsed.batches = lambda: readers[kind](parsed, lambda: _open(path, zipped))
    return parsed


def _open(path: Path, zipped: bool) -> BinaryIO:
    # The buffer around the unzipped stream makes iterating over its lines fast.
    return io.BufferedReader(gzip.GzipFile(path), 1 << 17) if zipped else path.open("rb")


def _csv(parsed: Parsed, opener: Opener) -> Iterator[pa.RecordBatch]:
    with opener() as stream:
        yield from _delimited(parsed, stream, ",", csv.QUOTE_MINIMAL)


def _tsv(parsed: Parsed, opener: Opener) -> Iterator[pa.RecordBatch]:
    with opener() as stream:
        quoted = _is_quoted(stream)
    with opener() as stream:
        yield from _delimited(parsed, stream, "\t", csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)


def _is_quoted(stream: BinaryIO) -> bool:
    """Whether a tsv file quotes fields by the rules of csv. GLUE's files do not: their quote marks are plain text.

    Quote marks are plain text if every line has as many fields as the header and some field opens a quote without closing
    it.
    """
    width = None
    stray = False
    for line in stream:
        tabs = line.count(b"\t")
        width = tabs if width is None else width
        if line.strip() and tabs != width:
            return True
        if not stray and b'"' in line:
            fields = line.rstrip(b"\r\n").split(b"\t")
            stray = any(field.startswith(b'"') and not re.fullmatch(rb'"([^"]|"")*"', field) for field in fields)
    return not stray


_CSV_FAULTS = {
    "unexpected end of data": "a quoted field begins here and never ends. Close the quote, and double the quote marks inside a quoted field",
    "expected after": "a quote mark inside a quoted field is not doubled. Write it twice",
    "new-line character": "a bare carriage return outside quotes. Remove it, or quote the field; if all lines end with one, save the file with line feeds",
}

_SHORT_HEADER = "Put a name for the first column (R and pandas write row numbers there) before the others."
_SEPARATOR_AT_END = "The last field is always empty: put a separator at the end of the header too."
_SEPARATORS = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "vertical bars"}
_ENDINGS = {"\t": "tsv", ",": "csv"}
"""What a file with these separators must be called."""


def _delimited(parsed: Parsed, stream: BinaryIO, delimiter: str, quoting: Any) -> Iterator[pa.RecordBatch]:
    csv.field_size_limit(2**31 - 1)  # a text may be longer than the default limit of 128 kB
    origin, faults = parsed.origin, parsed.faults
    lines = Lines(stream, parsed)
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    rows: list[list[str]] = []
    places: list[int] = []
    width = 0
    done = 0
    wide: list[tuple[int, int]] = []  # the rows with too many fields: their lines and numbers of fields
    last = False  # whether something stands in the last field of one of them
    others = False  # whether there are rows with the right number of fields, or too few

    def flush() -> pa.RecordBatch:
        return parsed.batch([pa.array(column, pa.large_string()) for column in zip(*rows)], places)

    while True:
        place = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            said = next((text for sign, text in _CSV_FAULTS.items() if sign in str(error)), str(error))
            faults.row(origin, "with broken quoting", f"{origin}, line {place}: {said}.")
            continue
        if not row:
            parsed.blank += bool(width)
        elif not width:
            if said := _other_separator(row, delimiter):
                faults.add(f"{origin}, line {place}: {said}")
            if said or not parsed.set_names(row, place):
                return
            width = len(row)
        elif len(row) > width:
            wide.append((place, len(row)))
            last = last or bool(row[-1])
        elif len(row) < width:
            others = True
            faults.row(
                origin,
                "with too few fields",
                f"{origin}, line {place}: too few fields, {len(row)} where the header has {width} ({', '.join(parsed.names)}). Add what is missing.",
            )
        else:
            others = True
            rows.append(row)
            places.append(place)
            if len(rows) == BATCH_ROWS or lines.bytes - done > BATCH_BYTES:
                yield flush()
                rows, places, done = [], [], lines.bytes
    if wide and not others and {fields for _, fields in wide} == {width + 1}:
        way = _SHORT_HEADER if last else _SEPARATOR_AT_END
        faults.add(f"{origin}, line 1: every row has one field more than the header ({', '.join(parsed.names)}). {way}")
    else:
        faults.rows(
            origin,
            "with too many fields",
            range(len(wide)),
            lambda row: (
                f"{origin}, line {wide[row][0]}: too many fields, {wide[row][1]} where the header has {width} ({', '.join(parsed.names)}). Quote the field that contains the separator."
            ),
        )
    if rows:
        yield flush()


def _other_separator(header: list[str], delimiter: str) -> str:
    """What is to be said of a header of one column whose name has another separator in it; nothing of another header."""
    found = next((sign for sign in _SEPARATORS if sign in header[0]), None) if len(header) == 1 else None
    if found is None or found == delimiter:
        return ""
    way = (
        f"Give the file a name that ends in .{_ENDINGS[found]}"
        if found in _ENDINGS
        else f"Save the file with {_SEPARATORS[delimiter]} between its columns"
    )
    return f"the columns are separated by {_SEPARATORS[found]}, but here {_SEPARATORS[delimiter]} separate them. {way}; if it is a single column, take them out of its name."


def _txt(parsed: Parsed, opener: Opener, *, longest: int | None) -> Iterator[pa.RecordBatch]:
    with opener() as stream:
        rows: list[str] = []
        places: list[int] = []
        done = 0
        lines = Lines(stream, parsed, longest=longest)
        for line in lines:
            parsed.names = ("text",)
            found = line.removesuffix("\n").removesuffix("\r").split("\r")  # a bare carriage return also ends a line
            rows += found
            places += [lines.number] * len(found)
            if len(rows) >= BATCH_ROWS or lines.bytes - done > BATCH_BYTES:
                yield parsed.batch([pa.array(rows, pa.large_string())], places)
                rows, places, done = [], [], lines.bytes
        if rows:
            yield parsed.batch([pa.array(rows, pa.large_string())], places)
