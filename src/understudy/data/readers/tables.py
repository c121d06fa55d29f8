"""Source files as memory-mapped Arrow tables, read once and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from understudy.atomic import CACHE, new_file
from understudy.data.readers import files
from understudy.data.readers.faults import Faults
from understudy.data.readers.parsed import Parsed, Unreadable
from understudy.data.readers.structured import dataset_batches
from understudy.errors import OutputError

_VERSION = b"1"
"""Raised when the layout of the cached tables or the reading of a format changes."""


def cache_dir() -> Path:
    """Where encodings, tables and teacher outputs are kept: ``$UNDERSTUDY_CACHE``, else the user's cache folder."""
    named = os.environ.get("UNDERSTUDY_CACHE")
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "understudy"


@dataclass(frozen=True)
class SourceTable:
    """A file or a hub split: every column as strings, mapped from the cache, and the line each row stands on."""

    origin: str
    """What the user calls it; messages begin with it."""
    names: tuple[str, ...]
    cells: pa.Table
    lines: pa.ChunkedArray
    lists: frozenset[str]
    """Columns with list values; their cells are JSON."""
    unit: str
    """What `lines` counts: ``line``, or ``row`` where the format has no lines."""
    blank: int
    """Empty lines between the rows, which are no rows."""
    long: int
    """Lines that were cut into several rows."""
    key: str
    """The name in the cache, made of the contents."""
    whole: bool = True
    """False where some rows could not be read: faults have been found, and the others are there to find more."""

    def __len__(self) -> int:
        return int(self.cells.num_rows)

    def where(self, row: int) -> str:
        """The place of a row, for messages: ``reviews.csv, line 318``."""
        return f"{self.origin}, {self.unit} {self.lines[row].as_py()}"


def read_table(path: Path, origin: str, faults: Faults, *, longest: int | None = None) -> SourceTable | None:
    """Read a csv, tsv, jsonl, parquet or txt file (or its ``.gz``), or map what an earlier run has read.

    Args:
        longest: bytes from which on a line of a txt file is cut into several rows; None for lines as they are.

    Returns:
        The table, or None if there are no rows to look at. It is not whole if `faults` were found.
    """
    kind, zipped = files.format_of(path)
    if kind is None:
        faults.add(f"{origin}: not a format that can be read. It must end in {files.FORMATS_SAID}.")
        return None
    if path.is_dir():
        faults.add(f"{origin}: a folder, where a file is needed. Name the file in it.")
        return None
    try:
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
        faults.add(f"{origin}: cannot be read ({error.strerror or error}). Check the path and its permissions.")
        return None
    longest = longest if kind == "txt" else None
    named = [_VERSION, kind.encode(), str(zipped).encode(), content, *([] if longest is None else [b"%d" % longest])]
    key = hashlib.sha256(b"\0".join(named)).hexdigest()
    return _build(key, origin, files.parse_file(path, kind, zipped, origin, faults, longest=longest), faults)


def read_dataset(dataset: Any, origin: str, faults: Faults) -> SourceTable | None:
    """Read one split of a ``datasets`` data set; class numbers become the names they stand for."""
    key = hashlib.sha256(b"\0".join([_VERSION, b"hub", origin.encode(), dataset._fingerprint.encode()])).hexdigest()
    return _build(key, origin, dataset_batches(dataset, origin, faults), faults)


def _build(key: str, origin: str, batches: Parsed, faults: Faults) -> SourceTable | None:
    """The cached table of that key, else what `batches` yields, written to the cache first."""
    file = cache_dir() / "sources" / f"{key}.arrow"
    known = map_file(file)
    before = faults.count
    if known is None:
        try:
            known = write_file(file, batches, keep=lambda: faults.count == before)
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
        unit=about["unit"],
        blank=about["blank"],
        long=about.get("long", 0),
        key=key if whole else f"{key}-part",
        whole=whole,
    )


class _NotKept(Exception):
    """Leaves a file that is being written without giving it its name."""


def write_file(
    file: Path, batches: Parsed | Iterable[pa.RecordBatch], *, keep: Callable[[], bool] = lambda: True
) -> tuple[pa.Table, dict[str, Any]] | None:
    """Stream record batches into an Arrow file, under a temporary name until it is complete.

    Returns:
        What :func:`map_file` says of it, or None if there were no rows. If `keep()` is false in the end, the table is
        there to be looked at, but no file is left.

    Raises:
        OutputError: if the cache cannot be written.
    """
    found = None
    rows = 0
    with suppress(_NotKept), new_file(file, remedy=CACHE) as stream:
        writer = None
        schema: pa.Schema | None = None
        for batch in batches:
            if writer is None:
                schema = batch.schema
                writer = pa.ipc.new_file(stream, schema)
            writer.write_batch(batch)
            rows += batch.num_rows
        if writer is not None:
            assert schema is not None
            about = batches.about() if isinstance(batches, Parsed) else {}
            last = pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
            # What is known only at the end travels with an empty last batch: one file, complete or absent.
            writer.write_batch(last, custom_metadata={"about": json.dumps(about)})
            writer.close()
        stream.flush()
        found = map_file(Path(stream.name)) if rows else None  # the mapping outlives the name
        if not (rows and keep()):
            raise _NotKept
    if rows and found is None:
        raise OutputError(f"{file}: has just been written and cannot be read back. Empty the folder, or {CACHE}.")
    return found


def map_file(file: Path) -> tuple[pa.Table, dict[str, Any]] | None:
    """The table of an Arrow file, mapped and not copied, with what was noted at its end; None if it is not there."""
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(file)))
        metadata = reader.get_batch_with_custom_metadata(reader.num_record_batches - 1)[1]
        table = pa.Table.from_batches([reader.get_batch(i) for i in range(reader.num_record_batches - 1)])
        return table, json.loads(metadata[b"about"])
    except (OSError, ValueError, TypeError, KeyError):  # absent, or damaged: it is written anew
        return None
