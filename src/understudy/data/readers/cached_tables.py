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
from understudy.data.readers import delimited as files
from understudy.data.readers.faults import Faults, quoted
from understudy.data.readers.parsed import BATCH_ROWS, Parsed, Unreadable
from understudy.data.readers.typed_formats import dataset_batches

_VERSION = b"2"
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
        return f"{origin}, {self.unit} {self.lines[row].as_py()}"


def read_table(path: Path, origin: str, faults: Faults, *, longest: int | None = None) -> SourceTable | None:
    """Read a csv, tsv, jsonl, parquet or txt file (or its ``.gz``), or map the table that an earlier run made of it.

    Args:
        longest: a line of a txt file with at least so many bytes is cut into several rows. None: lines stay whole.

    Returns:
        The table, or None if no rows could be read. It is not whole if `faults` were found.
    """
    if path.is_dir():
        faults.add(f"{origin}: a folder, but a file is needed. Name the file in it.")
        return None
    kind, zipped = files.format_of(path)
    if kind is None:
        faults.add(f"{origin}: not a format that can be read. Save it in one of these: {files.FORMAT_ENDINGS}.")
        return None
    longest = longest if kind == "txt" else None
    cut = [] if longest is None else [b"%d" % longest]
    parsed = files.parse_file(path, kind, zipped, origin, faults, longest=longest)
    return read_parsed(path, parsed, faults, layout=[kind.encode(), str(zipped).encode()], options=cut)


def read_parsed(
    path: Path, parsed: Parsed, faults: Faults, *, layout: Sequence[bytes], options: Sequence[bytes] = ()
) -> SourceTable | None:
    """A file in any layout as a table: parsed, or mapped from the cache.

    Args:
        parsed: what reads it.
        layout, options: how it is read: with the contents they are the key in the cache.
    """
    origin = parsed.origin
    try:
        content = _sha256(path)
    except OSError as error:
        faults.add(f"{origin}: cannot be read ({error.strerror or error}). Check the path and its permissions.")
        return None
    key = hashlib.sha256(b"\0".join([_VERSION, *layout, content, *options])).hexdigest()

    def unchanged() -> bool:
        with suppress(OSError):
            if _sha256(path) == content:
                return True
        faults.add(f"{origin}: was changed while it was read. Start again when it is complete.")
        return False

    return _build(key, origin, parsed, faults, unchanged)


def read_shards(
    paths: Sequence[Path], origin: str, faults: Faults, *, longest: int | None = None
) -> SourceTable | None:
    """Read several files as one table, as :func:`read_table` does; None if one of them has no rows or other columns."""
    folder = origin.rpartition("/")[0]
    tables = [read_table(path, f"{folder}/{path.name}", faults, longest=longest) for path in paths]
    whole = [table for table in tables if table is not None]
    return _joined(whole, origin, faults) if len(whole) == len(tables) else None


def read_dataset(dataset: Any, origin: str, faults: Faults) -> SourceTable | None:
    """Read one split of a ``datasets`` data set; class numbers become class names."""
    digest = hashlib.sha256(str(dataset.features).encode())
    for table in dataset.with_format("arrow").iter(batch_size=BATCH_ROWS):
        for batch in table.to_batches():
            digest.update(batch.serialize())
    key = hashlib.sha256(b"\0".join([_VERSION, b"hub", origin.encode(), digest.digest()])).hexdigest()
    return _build(key, origin, dataset_batches(dataset, origin, faults), faults)


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
        whole=all(table.whole for table in tables),
        shards=tuple((int(start), table.origin) for start, table in zip(starts, tables)),
    )


def _sha256(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _build(
    key: str, origin: str, batches: Parsed, faults: Faults, unchanged: Callable[[], bool] = lambda: True
) -> SourceTable | None:
    """The cached table under that key. If there is none, `batches` are written to the cache first.

    Args:
        unchanged: asked after reading, whether the source is still what the key was made of; if not, it adds a fault.
    """
    file = cache_dir() / "sources" / f"{key}.arrow"
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
    table, about = known
    whole = faults.count == before
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
        key=key if whole else f"{key}-part",
        whole=whole,
    )
