"""Rows that are objects in Python: data frames, data sets, lists and dicts. They are written to the cache once, and from
then on a name stands for them, in settings and records as a path does for a file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from understudy.atomic import CACHE, write_bytes
from understudy.data.cache import cache_dir
from understudy.data.readers.cached_tables import SourceTable, read_source
from understudy.data.readers.faults import Faults, quoted
from understudy.data.readers.formats.arrow import arrow_batches, dataset_batches, typed_cells
from understudy.data.readers.formats.objects import Item, object_batches
from understudy.data.readers.formats.parsed import BATCH_ROWS, Parsed
from understudy.data.readers.formats.values import as_strings
from understudy.data.readers.places.names import HELD
from understudy.data.readers.places.source import Source
from understudy.data.readers.places.split_names import note_idle, said_of_several, splits_of
from understudy.errors import DataError, shortened

_TAKEN = "a DataFrame, a data set of `datasets`, a list of (text, label), of dicts or of texts, or a dict of columns"
Batches = Callable[[Parsed], Iterator[pa.RecordBatch]]


def hold(rows: Any, setting: str) -> str:
    """Write rows to the cache and make a name for them; equal rows have equal names.

    Args:
        rows: a DataFrame of pandas or polars, a ``datasets.Dataset`` or ``DatasetDict``, an Arrow table, a list of
            ``(text, label)``, of dicts or of texts, a dict of columns, or a dict of splits.
        setting: what they were given for, for messages.

    Raises:
        DataError: with every fault of the rows, or if they are none.
        OutputError: if the cache cannot be written.
    """
    faults = Faults()
    kind = type(rows).__name__
    splits, idle = _splits(rows)
    found: dict[str, SourceTable] = {}
    for split, part in (splits or {"": rows}).items():
        origin = f"the {kind}[{split}]" if split else f"the {kind} given as {setting}"
        batches = _batches(part, origin)
        table = read_source(_source(origin, kind, batches), faults)
        if table is not None:
            found[split] = table
    faults.check()
    keys = {split: table.key for split, table in found.items()}
    about = json.dumps({"kind": kind, "keys": keys, "idle": idle}).encode()
    short = hashlib.sha256(about).hexdigest()[:16]
    write_bytes(_sidecar(short), about, remedy=CACHE)
    names = next(iter(found.values())).names
    counts = ", ".join(f"{split} {len(table):,}" for split, table in found.items())
    size = f"{kind} of {counts} rows" if splits else f"{kind} of {len(found['']):,} rows"
    shown = ", ".join(name.replace("<", "").replace(">", "") for name in names[:4]) + ", …" * (len(names) > 4)
    # a longer name is none for a file system, and whoever asks whether there is such a path would get an error
    return f"<{size} ({shown if len(shown) <= 60 else shown[:60] + '…'}), {short}>"


def named(rows: Any, setting: str) -> str | None:
    """The name of data: of a path or a hub id as it is, of rows in Python as :func:`hold` makes it.

    Example:
        >>> from pathlib import Path
        >>> named("a.csv", "data"), named(Path("a.csv"), "data"), named(None, "data")
        ('a.csv', 'a.csv', None)
    """
    if rows is None or isinstance(rows, str):
        return rows
    return os.fspath(rows) if isinstance(rows, os.PathLike) else hold(rows, setting)


def held_sources(name: str, faults: Faults, notes: list[str], *, role: str = "") -> dict[str, Source]:
    """The splits that a name of :func:`hold` stands for; one table is the training split.

    Args:
        faults: is told if the cache does not have them any more.
        notes: is told of splits that are not read.
        role: what they are given for besides, for messages.
    """
    match = HELD.fullmatch(name)
    assert match is not None
    try:
        about = json.loads(_sidecar(match[1]).read_bytes())
        keys, kind = dict(about["keys"]), str(about["kind"])
        idle = list(about.get("idle", ()))
    except (OSError, ValueError, KeyError, TypeError):
        faults.add(
            f"{name}: was given in Python, and the cache does not hold it any more. Give it again, or write it to a file and name that."
        )
        return {}
    note_idle(f"the {kind}", "splits", idle, notes)
    whole = f"the {role} {kind}" if role else f"the {kind}"
    return {
        split or "train": Source(
            f"the {kind}[{split}]" if split else whole, bytes, _never, b"", changes=False, stored=str(key)
        )
        for split, key in keys.items()
    }


def _never(faults: Faults) -> Parsed:
    raise AssertionError("rows in the cache are not parsed")


def _sidecar(short: str) -> Any:
    return cache_dir() / "sources" / f"held-{short}.json"


def _source(origin: str, kind: str, batches: Batches) -> Source:
    def parse(faults: Faults) -> Parsed:
        parsed = Parsed(origin, faults, unit="position")
        parsed.batches = lambda: batches(parsed)
        return parsed

    def content() -> bytes:
        digest, parsed = hashlib.sha256(), parse(Faults())
        for batch in parsed:
            digest.update(batch.serialize())
            digest.update(repr(batch.schema.names).encode())
        # equal cells mean something else where they are class names of a schema
        digest.update(json.dumps(parsed.about(), sort_keys=True).encode())
        return digest.digest()

    return Source(origin, content, parse, b"python\0" + kind.encode(), changes=False)


def _splits(rows: Any) -> tuple[dict[str, Any], list[str]]:
    """The splits of a ``DatasetDict`` or a dict of splits, and the names of those that are not read; empty for rows of one."""
    if not isinstance(rows, Mapping) or not rows:
        return {}, []
    names = {str(key): str(key) for key in rows}
    found = splits_of(names)
    of_tables = all(
        not isinstance(part, list) or not part or isinstance(part[0], list | tuple | dict) for part in rows.values()
    )
    if type(rows).__name__ != "DatasetDict" and (sum(map(len, found.values())) < len(names) or not of_tables):
        return {}, []
    if not found:
        raise DataError(
            f"the {type(rows).__name__} has no train, validation or test split, only {quoted(list(names))}."
        )
    for split, keys in found.items():
        if said := said_of_several(keys, split):
            raise DataError(f"the {type(rows).__name__}: {said}. Leave one out.")
    chosen = {split: keys[0] for split, keys in found.items()}
    return {split: rows[key] for split, key in chosen.items()}, [n for n in names if n not in chosen.values()]


def _batches(rows: Any, origin: str) -> Batches:
    """What makes record batches of an object.

    Raises:
        DataError: if it holds no rows that can be read.
    """
    library = type(rows).__module__.partition(".")[0]
    if library == "pandas" and hasattr(rows, "columns"):
        return lambda parsed: _of_pandas(parsed, rows)
    if library == "pandas" and hasattr(rows, "to_frame"):
        rows = rows.tolist()
    if library == "datasets" and hasattr(rows, "with_format") and hasattr(rows, "num_rows"):
        return lambda parsed: dataset_batches(parsed, rows)
    if hasattr(rows, "__arrow_c_stream__"):
        try:
            table = pa.table(rows)
        except pa.ArrowInvalid:  # one column, such as a Series of polars
            return _of_list(pa.chunked_array(rows).to_pylist(), origin)
        return lambda parsed: arrow_batches(parsed, table.schema, table.to_batches(BATCH_ROWS), first=0)
    if library == "numpy" and hasattr(rows, "tolist"):
        rows = rows.tolist()
    if isinstance(rows, Mapping):
        return _of_columns(rows, origin)
    if isinstance(rows, Sequence) and not isinstance(rows, str | bytes):
        return _of_list(rows, origin)
    raise DataError(f"{origin}: not rows that can be read. Give {_TAKEN}; or a path.")


def _of_pandas(parsed: Parsed, frame: Any) -> Iterator[pa.RecordBatch]:
    if getattr(frame.columns, "nlevels", 1) > 1:
        raise DataError(f"{parsed.origin}: its columns have names of several levels. Give each column one name.")
    if not parsed.set_names([str(name) for name in frame.columns], 0):
        return
    for first in range(0, len(frame), BATCH_ROWS):
        part = frame.iloc[first : first + BATCH_ROWS]
        places = range(first, first + len(part))
        columns = [_cells(parsed, name, part.iloc[:, i], places) for i, name in enumerate(parsed.names)]
        yield parsed.batch(columns, places)


def _cells(parsed: Parsed, name: str, column: Any, places: range) -> pa.Array:
    """One column of pandas; what holds values of several types becomes strings value by value."""
    try:
        array = pa.Array.from_pandas(column)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return as_strings(parsed, name, column.tolist(), places)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return typed_cells(parsed, name, array, None, places)


def _of_columns(columns: Mapping[Any, Any], origin: str) -> Batches:
    if tables := [
        str(name) for name, column in columns.items() if hasattr(column, "columns") or isinstance(column, dict)
    ]:
        raise DataError(
            f"{origin}: {quoted(tables)} hold tables, but a dict of tables has the keys train, validation and test, and one of columns has a list for each."
        )
    values = {str(name): list(column) for name, column in columns.items() if not isinstance(column, str)}
    lengths = {name: len(column) for name, column in values.items()}
    if len(values) < len(columns) or len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
        raise DataError(f"{origin}: a dict of columns of one length is needed, but they have {said or 'none'}.")
    size = next(iter(lengths.values()), 0)

    def batches(parsed: Parsed) -> Iterator[pa.RecordBatch]:
        if not parsed.set_names(list(values), 0):
            return
        for first in range(0, size, BATCH_ROWS):
            places = range(first, min(first + BATCH_ROWS, size))
            parts = [as_strings(parsed, name, values[name][first : places.stop], places) for name in parsed.names]
            yield parsed.batch(parts, places)

    return batches


def _of_list(rows: Sequence[Any], origin: str) -> Batches:
    """A list of texts, of (text, label), of ((text, text), label) or of dicts."""
    first = next(iter(rows), None)
    if first is not None and not isinstance(first, str | dict | list | tuple):
        raise DataError(f"{origin}: a list of {type(first).__name__}. Give {_TAKEN}.")

    def items() -> Iterator[Item]:
        for place, row in enumerate(rows):
            yield Item(place, _named(row), 0)

    def fault(item: Item) -> str:
        return f"{shortened(item.found, 60)}, but a text, a (text, label) or a dict is needed"

    return lambda parsed: object_batches(parsed, items, fault)


def _named(row: Any) -> Any:
    """A row of a list as a dict of its columns; what is no row stays as it is."""
    if isinstance(row, str):
        return {"text": row}
    if isinstance(row, list | tuple) and len(row) == 2:
        text, label = row
        if isinstance(text, str):
            return {"text": text, "label": label}
        if isinstance(text, list | tuple) and len(text) == 2 and all(isinstance(part, str) for part in text):
            return {"text_a": text[0], "text_b": text[1], "label": label}
    return row
