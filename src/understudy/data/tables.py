"""Source files as memory-mapped Arrow tables, read once and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from understudy.data import files
from understudy.data.faults import Faults
from understudy.data.parsed import Parsed, Unreadable
from understudy.data.structured import dataset_batches
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
    key: str
    """The name in the cache, made of the contents."""

    def __len__(self) -> int:
        return int(self.cells.num_rows)

    def where(self, row: int) -> str:
        """The place of a row, for messages: ``reviews.csv, line 318``."""
        return f"{self.origin}, {self.unit} {self.lines[row].as_py()}"


def read_table(path: Path, origin: str, faults: Faults) -> SourceTable | None:
    """Read a csv, tsv, jsonl, parquet or txt file (or its ``.gz``), or map what an earlier run has read.

    Returns:
        The table, or None if `faults` were found.
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
    key = hashlib.sha256(b"\0".join([_VERSION, kind.encode(), str(zipped).encode(), content])).hexdigest()
    return _build(key, origin, files.parse(path, kind, zipped, origin, faults), faults)


def read_dataset(dataset: Any, origin: str, faults: Faults) -> SourceTable | None:
    """Read one split of a ``datasets`` data set; class numbers become the names they stand for."""
    key = hashlib.sha256(b"\0".join([_VERSION, b"hub", origin.encode(), dataset._fingerprint.encode()])).hexdigest()
    return _build(key, origin, dataset_batches(dataset, origin, faults), faults)


def _build(key: str, origin: str, batches: Parsed, faults: Faults) -> SourceTable | None:
    """The cached table of that key, else what `batches` yields, written to the cache first."""
    file = cache_dir() / "sources" / f"{key}.arrow"
    known = map_file(file)
    if known is None:
        before = faults.count
        try:
            if not write_file(file, batches, keep=lambda: faults.count == before):
                if faults.count == before:
                    faults.add(
                        f"{origin}: {'a header, but no rows' if batches.names else 'empty'}. It needs at least one row."
                    )
                return None
        except Unreadable as error:
            faults.add(str(error))
            return None
        known = map_file(file)
        if known is None:
            raise OutputError(
                f"{file}: has just been written and cannot be read back. Empty the folder, or name another in UNDERSTUDY_CACHE."
            )
    table, about = known
    names = tuple(table.column_names[:-1])
    return SourceTable(
        origin=origin,
        names=names,
        cells=table.select(list(range(len(names)))),
        lines=table.column(len(names)),
        lists=frozenset(about["lists"]),
        unit=about["unit"],
        blank=about["blank"],
        key=key,
    )


def write_file(file: Path, batches: Parsed | Iterable[pa.RecordBatch], *, keep: Any = lambda: True) -> bool:
    """Stream record batches into an Arrow file, under a temporary name until it is complete.

    Returns:
        Whether there were rows and `keep()` was true in the end; else nothing is left behind.
    """
    rows = 0
    with _written(file) as (stream, commit):
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
        kept = rows > 0 and keep()
        if kept:
            commit()
    return kept


@contextmanager
def _written(file: Path) -> Iterator[tuple[BinaryIO, Any]]:
    """A stream to a temporary file beside `file`, and a function that puts it in place; otherwise it is removed."""
    said = "{}: the cache cannot be written ({}). Free some space there, or name another folder in the environment variable UNDERSTUDY_CACHE."
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f"{file.stem[:16]}-", suffix=".tmp")
    except OSError as error:
        raise OutputError(said.format(file.parent, error.strerror or error)) from error
    try:
        with os.fdopen(descriptor, "wb") as stream:

            def commit() -> None:
                stream.flush()
                os.fsync(stream.fileno())
                os.replace(name, file)

            yield stream, commit
    except OSError as error:
        raise OutputError(said.format(file.parent, error.strerror or error)) from error
    finally:
        Path(name).unlink(missing_ok=True)


def map_file(file: Path) -> tuple[pa.Table, dict[str, Any]] | None:
    """The table of an Arrow file, mapped and not copied, with what was noted at its end; None if it is not there."""
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(file)))
        metadata = reader.get_batch_with_custom_metadata(reader.num_record_batches - 1)[1]
        table = pa.Table.from_batches([reader.get_batch(i) for i in range(reader.num_record_batches - 1)])
        return table, json.loads(metadata[b"about"])
    except (OSError, ValueError, TypeError, KeyError):  # absent, or damaged: it is written anew
        return None
