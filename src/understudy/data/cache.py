"""The cache folder, and the memory-mapped Arrow files in it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from understudy.atomic import CACHE, new_file
from understudy.checksums import seal, still_sound
from understudy.errors import OutputError


def cache_dir() -> Path:
    """The folder of encodings, tables and teacher outputs: ``$UNDERSTUDY_CACHE``, else the user's cache folder."""
    named = os.environ.get("UNDERSTUDY_CACHE")
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "understudy"


class _NotKept(Exception):
    """Leaves a file that is being written without giving it its name."""


def write_arrow(
    file: Path,
    batches: Iterable[pa.RecordBatch],
    *,
    about: Callable[[], dict[str, Any]] = dict,
    keep: Callable[[], bool] = lambda: True,
) -> tuple[pa.Table, dict[str, Any]] | None:
    """Stream record batches into an Arrow file, under a temporary name until it is complete.

    Args:
        about: called after the last batch; what belongs to the table beside its rows, for JSON.
        keep: called after the last batch. If it returns False, the table can be read, but no file is left.

    Returns:
        What :func:`map_arrow` returns for the file, or None if there were no rows.

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
            last = pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)
            # `about` is known only now, so it is stored with an empty last batch: one file, complete or absent.
            writer.write_batch(last, custom_metadata={"about": json.dumps(about())})
            writer.close()
        size = stream.tell()
        seal(stream)
        found = _mapped(Path(stream.name), size) if rows else None  # the mapping outlives the name
        if not (rows and keep()):
            raise _NotKept
    if rows and found is None:
        raise OutputError(f"{file}: was just written but cannot be read back. Empty the folder, or {CACHE}.")
    return found


def map_arrow(file: Path) -> tuple[pa.Table, dict[str, Any]] | None:
    """The memory-mapped table of an Arrow file and its `about`, see :func:`write_arrow`; None if there is no file.

    A damaged file is none, either; that is said.
    """
    size = still_sound(file)
    return None if size is None else _mapped(file, size)


def _mapped(file: Path, size: int) -> tuple[pa.Table, dict[str, Any]] | None:
    """The table in the first `size` bytes of a file."""
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(file)).read_buffer(size))
        metadata = reader.get_batch_with_custom_metadata(reader.num_record_batches - 1)[1]
        table = pa.Table.from_batches([reader.get_batch(i) for i in range(reader.num_record_batches - 1)])
        return table, json.loads(metadata[b"about"])
    except (OSError, ValueError, TypeError, KeyError):  # gone since, or of another layout: to be written again
        return None
