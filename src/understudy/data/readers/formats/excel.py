"""Excel's sheets, through openpyxl (extra ``excel``)."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO
from zipfile import BadZipFile, ZipFile

import pyarrow as pa

from understudy.data.readers.formats.parsed import BATCH_ROWS, Parsed, Unreadable
from understudy.data.readers.formats.streams import MOST_TIMES, MOST_UNPACKED
from understudy.data.readers.formats.values import as_strings
from understudy.errors import UnderstudyError, require


def sheet_names(source: BinaryIO, origin: str) -> list[str]:
    """The names of the sheets of a workbook; none if there is a single sheet.

    Raises:
        Unreadable: if it is no workbook.
    """
    book = _workbook(source, origin)
    names = [str(name) for name in book.sheetnames]
    book.close()
    return names if len(names) > 1 else []


def excel_batches(
    parsed: Parsed, source: BinaryIO, *, part: str | None = None, columns: Sequence[str] = ()
) -> Iterator[pa.RecordBatch]:
    """The rows of a sheet as record batches. A cell with a formula has the value that was last computed.

    Args:
        part: the sheet; None: the only one that holds anything.
        columns: the names of its columns, where the first row is data.

    Raises:
        Unreadable: if it is no workbook, or several sheets hold rows.
    """
    book = _workbook(source, parsed.origin)
    try:
        sheet = book[part] if part is not None else _only_sheet(book, parsed)
        yield from _sheet(parsed, sheet, columns)
    finally:
        book.close()


def _workbook(source: BinaryIO, origin: str) -> Any:
    try:
        openpyxl = require("openpyxl", extra="excel")
        with ZipFile(source) as archive:
            unpacked, packed = (
                sum(size) for size in zip(*((i.file_size, i.compress_size) for i in archive.infolist()))
            )
        if unpacked > max(MOST_UNPACKED, MOST_TIMES * packed):
            raise Unreadable(
                f"{origin}: unpacks to {unpacked:,} bytes, over {MOST_TIMES} times its size, as no workbook does."
            )
        source.seek(0)
        return openpyxl.load_workbook(source, read_only=True, data_only=True)
    except UnderstudyError as error:
        raise Unreadable(f"{origin}: an Excel workbook; {error}, or save the sheet as .csv.") from None
    except (BadZipFile, KeyError, ValueError, OSError, EOFError) as error:
        raise Unreadable(
            f"{origin}: not an Excel workbook (.xlsx), or a damaged one ({error}). Save it as .xlsx or as .csv."
        ) from error


def _only_sheet(book: Any, parsed: Parsed) -> Any:
    filled = [
        sheet for sheet in book.worksheets if any(any(row) for row in sheet.iter_rows(max_row=3, values_only=True))
    ]
    if len(filled) > 1:
        raise Unreadable(
            f"{parsed.origin}: has {len(filled)} sheets with rows ({', '.join(sheet.title for sheet in filled[:5])}). Call them train, validation and test, or keep one sheet in the file."
        )
    return filled[0] if filled else book.worksheets[0]


def _sheet(parsed: Parsed, sheet: Any, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    parsed.headed = not columns
    width = len(columns)
    if columns and not parsed.set_names(list(columns), 1):
        return
    rows: list[tuple[Any, ...]] = []
    places: list[int] = []

    def flush() -> pa.RecordBatch:
        cells = [[_value(row[i]) for row in rows] for i in range(width)]
        return parsed.batch([as_strings(parsed, n, column, places) for n, column in zip(parsed.names, cells)], places)

    for place, found in enumerate(sheet.iter_rows(values_only=True), 1):
        filled = max((i for i, cell in enumerate(found, 1) if cell not in (None, "")), default=0)
        if not filled:
            parsed.blank += bool(width)
        elif not width:
            width = filled
            if not parsed.set_names(["" if cell is None else str(cell) for cell in found[:width]], place):
                return
        elif filled > width:
            parsed.faults.row(
                parsed.origin,
                "with too many cells",
                f"{parsed.origin}, row {place}: a cell in column {filled}, but there are {width} columns ({', '.join(parsed.names)}). Empty it, or give the column a name in the first row.",
            )
        else:
            rows.append((*found, *(None,) * width)[:width])
            places.append(place)
            if len(rows) == BATCH_ROWS:
                yield flush()
                rows, places = [], []
    if rows:
        yield flush()


def _value(cell: Any) -> Any:
    return cell.isoformat() if isinstance(cell, datetime.date | datetime.time) else cell
