"""Objects, such as the lines of a jsonl file, as record batches: any of them may bring a new column."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pyarrow as pa

from understudy.data.readers.formats.parsed import BATCH_BYTES, BATCH_ROWS, Parsed, Unreadable
from understudy.data.readers.formats.values import as_strings
from understudy.errors import shortened

MOST_COLUMNS = 2_000
"""A table with more columns is no table: its names are values, different in each row."""


class Item(NamedTuple):
    """One row, as its file has it."""

    place: int
    """Its line or row number, from 1."""
    found: Any
    """A mapping of column names to values; anything else is a fault."""
    read: int
    """The bytes of the file that were read so far."""


def object_batches(
    parsed: Parsed, items: Callable[[], Iterator[Item]], fault: Callable[[Item], str]
) -> Iterator[pa.RecordBatch]:
    """Rows as record batches. They are read twice: the columns must be known for the first batch.

    Args:
        items: reads the rows from the beginning.
        fault: what is wrong with one that is no object.

    Raises:
        Unreadable: if the rows have ever new columns.
    """
    names: dict[str, None] = {}
    before = parsed.faults.count
    for item in items():
        if isinstance(item.found, dict):
            names.update(dict.fromkeys(item.found))
        else:
            parsed.faults.row(
                parsed.origin,
                "that are not JSON objects",
                f"{parsed.where(item.place)}: {fault(item)}.",
            )
        if len(names) > MOST_COLUMNS:
            last = next(reversed(names))
            raise Unreadable(
                f"{parsed.where(item.place)}: {shortened(last)} is column {len(names):,} of the table, which may have {MOST_COLUMNS:,}. Give every row the same names, and write what differs as a value."
            )
    if not names or not parsed.set_names([str(name) for name in names], 1) or parsed.faults.count > before:
        return
    parsed.blank = 0
    rows: list[dict[str, Any]] = []
    places: list[int] = []
    done = 0
    for item in items():
        rows.append(item.found)
        places.append(item.place)
        if len(rows) == BATCH_ROWS or item.read - done > BATCH_BYTES:
            yield _batch(parsed, list(names), rows, places)
            rows, places, done = [], [], item.read
    if rows:
        yield _batch(parsed, list(names), rows, places)


def _batch(parsed: Parsed, keys: list[str], rows: list[dict[str, Any]], places: list[int]) -> pa.RecordBatch:
    here = {key for row in rows for key in row}
    nothing = pa.nulls(len(rows), pa.large_string())
    columns = [
        as_strings(parsed, name, [row.get(key) for row in rows], places) if key in here else nothing
        for name, key in zip(parsed.names, keys)
    ]
    return parsed.batch(columns, places)
