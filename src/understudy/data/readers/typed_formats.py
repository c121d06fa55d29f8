"""Formats whose values have types (jsonl, parquet, hub data sets), turned into columns of strings."""

from __future__ import annotations

import gzip
import io
import json
import math
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from understudy.data.readers.faults import Faults
from understudy.data.readers.labels.class_names import class_names, has_class_names, schema_features, with_class_names
from understudy.data.readers.parsed import BATCH_BYTES, BATCH_ROWS, BOM, Lines, Opener, Parsed, Unreadable


def jsonl_batches(parsed: Parsed, opener: Opener) -> Iterator[pa.RecordBatch]:
    """The objects of a jsonl file as record batches.

    The file is read twice, because any line may bring a new key and the columns must be known for the first batch.
    """
    names: dict[str, None] = {}
    before = parsed.faults.count
    with opener() as stream:
        for number, row, _ in _objects(parsed, stream):
            if row is None:
                parsed.faults.row(
                    parsed.origin,
                    "that are not JSON objects",
                    f"{parsed.origin}, line {number}: {_json_fault(opener, number)}.",
                )
            else:
                names.update(dict.fromkeys(row))
    if not names or not parsed.set_names(list(names), 1) or parsed.faults.count > before:
        return
    parsed.blank = 0
    rows: list[dict[str, Any]] = []
    places: list[int] = []
    done = 0

    def flush() -> pa.RecordBatch:
        return parsed.batch(
            [_strings(parsed, name, [row.get(key) for row in rows], places) for name, key in zip(parsed.names, names)],
            places,
        )

    with opener() as stream:
        for number, row, read in _objects(parsed, stream):
            assert row is not None
            rows.append(row)
            places.append(number)
            if len(rows) == BATCH_ROWS or read - done > BATCH_BYTES:
                yield flush()
                rows, places, done = [], [], read
    if rows:
        yield flush()


def _objects(parsed: Parsed, stream: BinaryIO) -> Iterator[tuple[int, dict[str, Any] | None, int]]:
    """For every line that is not blank: its number, its object (None if it holds none), and the bytes read so far."""
    lines = Lines(stream, parsed)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            parsed.blank += 1
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        yield number, row if isinstance(row, dict) else None, lines.bytes


def _json_fault(opener: Opener, number: int) -> str:
    """What is wrong with one line of a jsonl file."""
    with opener() as stream:
        line = next(raw for i, raw in enumerate(stream, 1) if i == number).removeprefix(BOM).decode(errors="replace")
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        return f'broken JSON ({error.msg} at position {error.colno}). Each line must hold one object, such as {{"text": "...", "label": "..."}}'
    except ValueError:
        return "a whole number of more than 4,300 digits. Write it in quotes"
    except RecursionError:
        return "JSON that is nested too deeply. Each line must hold one flat object"
    return f'a JSON {type(found).__name__}, but an object is needed, such as {{"text": "...", "label": "..."}}'


def _strings(parsed: Parsed, name: str, values: list[Any], places: list[int] | range) -> pa.Array:
    """Values of any type as strings, None as null. A column with a list is noted in ``parsed.lists``."""
    cells = [value if isinstance(value, str) or value is None else _cell(parsed, name, value) for value in values]
    try:
        return pa.array(cells, pa.large_string())
    except UnicodeEncodeError:
        broken = [
            row for row, cell in enumerate(cells) if cell is not None and cell.encode(errors="replace").decode() != cell
        ]
        parsed.faults.rows(
            parsed.origin,
            "with half a character",
            broken,
            lambda row: (
                f"{parsed.origin}, {parsed.unit} {places[row]}: half a character (a lone surrogate) in column '{name}'. Remove it."
            ),
        )
        return pa.array([None] * len(cells), pa.large_string())


def _cell(parsed: Parsed, name: str, value: Any) -> str | None:
    """A value as a string; not-a-number is a missing value, as null is."""
    if isinstance(value, list):
        parsed.lists.add(name)
    if isinstance(value, dict):
        parsed.objects.add(name)
    if isinstance(value, float):
        return None if math.isnan(value) else repr(value)
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        parsed.faults.add(f"{parsed.origin}: a value in column '{name}' is nested too deeply. Write flat objects.")
        return ""


def parquet_batches(parsed: Parsed, opener: Opener) -> Iterator[pa.RecordBatch]:
    """The rows of a parquet file as record batches.

    Raises:
        Unreadable: if it is not a parquet file.
    """
    import pyarrow.parquet as pq

    with opener() as stream, tempfile.TemporaryFile() as whole:
        source: Any = stream
        if isinstance(stream, io.BufferedReader) and isinstance(stream.raw, gzip.GzipFile):
            while block := stream.read(1 << 20):  # Parquet is read from its end, and a gzip stream cannot seek there
                whole.write(block)
            whole.seek(0)
            source = whole
        try:
            with pq.ParquetFile(source) as file:
                yield from _arrow_batches(parsed, file.schema_arrow, file.iter_batches(batch_size=BATCH_ROWS))
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, gzip.BadGzipFile):
                raise
            raise Unreadable(
                f"{parsed.origin}: not a Parquet file, or a damaged one ({str(error).splitlines()[0]}). Write the file again."
            ) from error


def dataset_batches(dataset: Any, origin: str, faults: Faults) -> Parsed:
    """Prepare to read a split of a ``datasets`` data set."""
    parsed = Parsed(origin, faults, unit="row")
    schema = dataset.features.arrow_schema

    def batches() -> Iterator[pa.RecordBatch]:
        tables = dataset.with_format("arrow").iter(batch_size=BATCH_ROWS)
        return _arrow_batches(parsed, schema, (batch for table in tables for batch in table.to_batches()))

    parsed.batches = batches
    return parsed


def _arrow_batches(parsed: Parsed, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Typed columns as strings. Columns of bytes (images, sound) contain no text and are left out."""
    features = schema_features(schema)
    kept = [
        i
        for i, field in enumerate(schema)
        if not (pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type))
    ]
    if not parsed.set_names([schema[i].name for i in kept], 1):
        return
    first = 1
    for batch in batches:
        places = range(first, first + batch.num_rows)
        columns = [
            _typed(parsed, name, batch.column(i), features.get(schema[i].name), places)
            for name, i in zip(parsed.names, kept)
        ]
        yield parsed.batch(columns, places)
        first += batch.num_rows


def _typed(parsed: Parsed, name: str, column: pa.Array, feature: Any, places: range) -> pa.Array:
    """One typed column as strings, converted by Arrow where it can.

    Args:
        feature: what ``datasets`` says of the column, if anything.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if has_class_names(feature):
        parsed.named.add(name)
        if pa.types.is_integer(kind) and (classes := class_names(feature)):
            known = pc.and_(pc.greater_equal(column, 0), pc.less(column, len(classes)))  # -1 means: no label
            numbers = pc.if_else(known, column, pa.scalar(None, kind))
            return pa.array(classes, pa.large_string()).take(numbers)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            raw = column.cast(pa.large_binary()).to_pylist()
            broken = [
                row
                for row, value in enumerate(raw)
                if value is not None and value.decode(errors="replace").encode() != value
            ]
            parsed.faults.rows(
                parsed.origin,
                "that are not UTF-8",
                broken,
                lambda row: (
                    f"{parsed.origin}, {parsed.unit} {places[row]}: column '{name}' is not UTF-8. Write the file again with decoded text."
                ),
            )
            return pa.nulls(len(column), pa.large_string())
    if pa.types.is_nested(kind):
        values = column.to_pylist()
        if has_class_names(feature):
            values = [with_class_names(value, feature) for value in values]
        return _strings(parsed, name, values, places)
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
    try:
        return column.cast(pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return _strings(parsed, name, [None if value is None else str(value) for value in column.to_pylist()], places)
