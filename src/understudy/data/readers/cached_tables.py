"""Source files as memory-mapped Arrow tables: read once, then kept in the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from understudy.data.cache import cache_dir, map_arrow, write_arrow
from understudy.data.readers.faults import Faults, place_of, quoted
from understudy.data.readers.formats.parsed import Parsed, Unreadable
from understudy.data.readers.places.source import AS_IT_IS, How, Source, file_source

_VERSION = b"4"
"""To be raised when the layout of the cached tables changes, or how a format is read."""


@dataclass(frozen=True)
class SourceTable:
    """A file or a hub split: every column as strings, mapped from the cache, and the line number of every row."""

    origin: str
    """The name that the user gave; messages begin with it."""
    names: tuple[str, ...]
    cells: pa.Table
    lines: pa.ChunkedArray
    lists: frozenset[str]
    """Columns with list values; their cells are JSON."""
    objects: frozenset[str]
    """Columns with objects; their cells are JSON."""
    named: frozenset[str]
    """Columns whose values are class names from the schema of the file."""
    unit: str
    """What `lines` counts: ``line``, or ``row`` where the format has no lines."""
    blank: int
    """The number of empty lines between the rows; they are not rows."""
    long: int
    """The number of lines that were cut into several rows."""
    joined: int
    """The number of lines that quote marks would join to others, were they not plain text."""
    bare: bool
    """Whether the rows are lines of text without columns."""
    headed: bool
    """Whether the first line of the file names the columns."""
    said: tuple[str, ...]
    """What was understood without being told: the ends of sentences that begin with the origin."""
    key: str
    """The name in the cache, a hash of the contents."""
    whole: bool = True
    """False if some rows could not be read: faults were reported, and the other rows serve to find more of them."""
    shards: tuple[tuple[int, str], ...] = ()
    """The first row and the name of each file, if there are several."""

    def __len__(self) -> int:
        return int(self.cells.num_rows)

    def where(self, row: int) -> str:
        """The place of a row, for messages, such as ``reviews.csv, line 318``."""
        origin = next((name for first, name in reversed(self.shards) if row >= first), self.origin)
        if self.unit == "file":
            return f"{origin}/{self.cells.column('file')[row].as_py()}"
        return place_of(origin, self.unit, self.lines[row].as_py())


def read_source(source: Source, faults: Faults) -> SourceTable | None:
    """The rows of a source as a table, or the table that an earlier run made of them.

    Returns:
        The table, or None if no rows could be read. It is not whole if `faults` were found.
    """
    if source.parts:
        tables = [read_source(part, faults) for part in source.parts]
        whole = [table for table in tables if table is not None]
        return _joined(whole, source.origin, faults) if len(whole) == len(tables) else None
    if source.stored is not None:
        known = map_arrow(_file(source.stored))
        if known is None:
            faults.add(
                f"{source.origin}: was given in Python, and the cache does not hold it any more. Give it again, or write it to a file and name that."
            )
            return None
        return _table(known, source.stored, source.origin, whole=True)
    try:
        content = source.content()
    except Unreadable as error:
        faults.add(str(error))
        return None
    except OSError as error:
        faults.add(f"{source.origin}: cannot be read ({error.strerror or error}). Check the path and its permissions.")
        return None
    key = hashlib.sha256(b"\0".join([_VERSION, source.key, content])).hexdigest()

    def unchanged() -> bool:
        with suppress(OSError):
            if not source.changes or source.content() == content:
                return True
        faults.add(f"{source.origin}: was changed while it was read. Start again when it is complete.")
        return False

    return _build(key, source.origin, source.parse(faults), faults, unchanged)


def read_table(path: Path, origin: str, faults: Faults, how: How = AS_IT_IS) -> SourceTable | None:
    """Read a file in any format, see :func:`read_source`."""
    source = file_source(path, origin, faults, how)
    return None if source is None else read_source(source, faults)


def _joined(tables: Sequence[SourceTable], origin: str, faults: Faults) -> SourceTable | None:
    """The tables of several files as one; None, and a fault, if they have different columns.

    Args:
        origin: what the files are called together.
    """
    first, starts = tables[0], np.cumsum([0, *map(len, tables)])
    for table in tables[1:]:
        if set(table.names) != set(first.names):
            faults.add(
                f"{table.origin}: the columns are {quoted(table.names)}, but those of {first.origin} are {quoted(first.names)}. Files of one split need the same columns."
            )
            return None
    return replace(
        first,
        origin=origin,
        cells=pa.concat_tables([table.cells.select(first.names) for table in tables]),
        lines=pa.chunked_array([chunk for table in tables for chunk in table.lines.chunks]),
        lists=frozenset().union(*(table.lists for table in tables)),
        objects=frozenset().union(*(table.objects for table in tables)),
        named=frozenset().union(*(table.named for table in tables)),
        blank=sum(table.blank for table in tables),
        long=sum(table.long for table in tables),
        joined=sum(table.joined for table in tables),
        key=hashlib.sha256("".join(table.key for table in tables).encode()).hexdigest(),
        said=tuple(dict.fromkeys(what for table in tables for what in table.said)),
        whole=all(table.whole for table in tables),
        shards=tuple((int(start), table.origin) for start, table in zip(starts, tables)),
    )


def _file(key: str) -> Path:
    return cache_dir() / "sources" / f"{key}.arrow"


def _build(key: str, origin: str, batches: Parsed, faults: Faults, unchanged: Callable[[], bool]) -> SourceTable | None:
    """The cached table under that key. If there is none, `batches` are written to the cache first.

    Args:
        unchanged: asked after reading, whether the source is still what the key was made of; if not, it adds a fault.
    """
    file = _file(key)
    known = map_arrow(file)
    before = faults.count
    if known is None:
        try:
            known = write_arrow(file, batches, about=batches.about, keep=lambda: unchanged() and faults.count == before)
        except Unreadable as error:
            faults.add(str(error))
            return None
        if known is None:
            if faults.count == before:
                faults.add(
                    f"{origin}: {'a header, but no rows' if batches.names else 'empty'}. It needs at least one row."
                )
            return None
    return _table(known, key, origin, whole=faults.count == before)


def _table(known: tuple[pa.Table, dict[str, Any]], key: str, origin: str, *, whole: bool) -> SourceTable:
    table, about = known
    names = tuple(table.column_names[:-1])
    return SourceTable(
        origin=origin,
        names=names,
        cells=table.select(list(range(len(names)))),
        lines=table.column(len(names)),
        lists=frozenset(about["lists"]),
        objects=frozenset(about["objects"]),
        named=frozenset(about["named"]),
        unit=about["unit"],
        blank=about["blank"],
        long=about["long"],
        joined=about["joined"],
        bare=about["bare"],
        headed=about["headed"],
        said=tuple(about["said"]),
        key=key if whole else f"{key}-part",
        whole=whole,
    )
