"""Delimited files: csv, tsv and their relatives, row by row with their faults."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence

import pyarrow as pa

from understudy.data.arrow_columns import string_column
from understudy.data.readers.formats.dialects import Dialect
from understudy.data.readers.formats.parsed import BATCH_BYTES, BATCH_ROWS, Lines, Opener, Parsed

_CSV_FAULTS = {
    "unexpected end of data": "a quoted field begins here and never ends. Close the quote, and double the quote marks inside a quoted field",
    "expected after": "a quote mark inside a quoted field is not doubled. Write it twice",
    "new-line character": "a bare carriage return outside quotes. Remove it, or quote the field; if all lines end with one, save the file with line feeds",
}

_SHORT_HEADER = "Put a name for the first column (R and pandas write row numbers there) before the others."
_SEPARATOR_AT_END = "The last field is always empty: put a separator at the end of the header too."


def delimited_batches(
    parsed: Parsed, opener: Opener, dialect: Dialect, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """The rows of a delimited file as record batches.

    Args:
        columns: their names, where the first line is a row of data. Empty: the first line names them.
    """
    with opener() as stream:
        yield from _batches(parsed, Lines(stream, parsed), dialect, columns)


def _batches(parsed: Parsed, lines: Lines, dialect: Dialect, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    csv.field_size_limit(2**31 - 1)  # a text may be longer than the default limit of 128 kB
    origin, faults = parsed.origin, parsed.faults
    delimiter, quoting = dialect
    parsed.headed = not columns
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    rows: list[list[str]] = []
    places: list[int] = []
    width = len(columns)
    if columns and not parsed.set_names(list(columns), 1):
        return
    done = 0
    wide: list[tuple[int, int]] = []  # the rows with too many fields: their lines and numbers of fields
    last = False  # whether something stands in the last field of one of them
    others = False  # whether there are rows with the right number of fields, or too few

    names = "--columns names" if columns else "the header has"

    def flush() -> pa.RecordBatch:
        return parsed.batch([string_column(column) for column in zip(*rows)], places)

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
        elif columns and not rows and not done and [cell.strip() for cell in row] == list(columns):
            faults.add(f"{origin}, line {place}: names the columns as --columns does. Leave --columns out.")
            return
        elif not width:
            if not parsed.set_names(row, place):
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
                f"{origin}, line {place}: too few fields, {len(row)} where {names} {width} ({', '.join(parsed.names)}). Add what is missing.",
            )
        else:
            others = True
            rows.append(row)
            places.append(place)
            if len(rows) == BATCH_ROWS or lines.bytes - done > BATCH_BYTES:
                yield flush()
                rows, places, done = [], [], lines.bytes
    if wide and not others and not columns and {fields for _, fields in wide} == {width + 1}:
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
                f"{origin}, line {wide[row][0]}: too many fields, {wide[row][1]} where {names} {width} ({', '.join(parsed.names)}). {way}"
            ),
        )
    if rows:
        yield flush()
