"""From a file to record batches: csv, tsv and txt are parsed here, jsonl and parquet in `typed_formats`."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from understudy.data.readers.faults import Faults
from understudy.data.readers.parsed import BATCH_BYTES, BATCH_ROWS, Lines, Opener, Parsed
from understudy.data.readers.typed_formats import jsonl_batches, parquet_batches

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
    parsed.batches = lambda: readers[kind](parsed, lambda: open_file(path, zipped))
    return parsed


def open_file(path: Path, zipped: bool) -> BinaryIO:
    """A file as a stream of bytes, unzipped."""
    # The buffer around the unzipped stream makes iterating over its lines fast.
    return io.BufferedReader(gzip.GzipFile(path), 1 << 17) if zipped else path.open("rb")


def _csv(parsed: Parsed, opener: Opener) -> Iterator[pa.RecordBatch]:
    with opener() as stream:
        yield from _delimited(parsed, stream, ",", csv.QUOTE_MINIMAL)


def _tsv(parsed: Parsed, opener: Opener) -> Iterator[pa.RecordBatch]:
    with opener() as stream:
        quoted, joined = _is_quoted(stream)
    parsed.joined = 0 if quoted else joined
    with opener() as stream:
        yield from _delimited(parsed, stream, "\t", csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)


def _is_quoted(stream: BinaryIO) -> tuple[bool, int]:
    """Whether a tsv file quotes fields by the rules of csv. GLUE's files do not: their quote marks are plain text.

    Also, how many lines as wide as the header would be joined to others if it did.

    The whole file is read both ways, and the cheaper one is taken. As plain text, a line costs one if it is not as wide
    as the header. With quotes, so does a row that is not, a row that breaks the rules, and each line as wide as the
    header that a quoted field swallows. Where both cost the same, quote marks are plain text if some field opens a quote
    and does not close it.
    """
    plain = quoted = joined = tabs = whole = 0
    width: int | None = None
    opened = stray = False
    for line in stream:
        found = line.count(b"\t")
        if not line.strip() and not opened:
            continue
        width = found if width is None else width
        plain += bool(line.strip()) and found != width
        if not opened:
            tabs = whole = 0
        more, opened, broken = _scan(line.rstrip(b"\r\n"), opened)
        tabs, whole, stray = tabs + more, whole + (found == width), stray or opened or broken
        if not opened:
            quoted += broken or tabs != width
            joined += max(0, whole - 1)
    if opened:
        quoted, joined = quoted + 1, joined + max(0, whole - 1)
    return quoted + joined < plain or (quoted + joined == plain and not stray), joined


def _scan(line: bytes, opened: bool) -> tuple[int, bool, bool]:
    """The tabs of a line outside quotes; whether a quote is open at its end; whether it breaks the rules of quoting.

    Args:
        opened: whether a quote is open at its beginning.
    """
    at = tabs = 0
    while True:
        if not opened:
            if line[at : at + 1] != b'"':
                at = line.find(b"\t", at) + 1
                if not at:
                    return tabs, False, False
                tabs += 1
                continue
            at += 1
        end = line.find(b'"', at)
        if end < 0:
            return tabs, True, False
        at, opened = end + 1, line[end + 1 : end + 2] == b'"'
        if opened:
            at += 1
        elif at == len(line):
            return tabs, False, False
        elif line[at : at + 1] != b"\t":
            return tabs, False, True
        else:
            tabs, at = tabs + 1, at + 1


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
        way = "Quote the field that contains the separator."
        if quoting == csv.QUOTE_NONE:
            way = "Take the tab out of the text: quote marks are plain text in this file, so quoting does not help."
        faults.rows(
            origin,
            "with too many fields",
            range(len(wide)),
            lambda row: (
                f"{origin}, line {wide[row][0]}: too many fields, {wide[row][1]} where the header has {width} ({', '.join(parsed.names)}). {way}"
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
