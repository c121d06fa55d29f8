"""Arrow's own formats: Parquet, Arrow and Feather files, data sets of ``datasets``, tables in memory."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from understudy.data.arrow_columns import string_column
from understudy.data.readers.formats.parsed import BATCH_ROWS, Parsed, Unreadable
from understudy.data.readers.formats.values import as_strings
from understudy.data.readers.labels.class_names import class_names, has_class_names, schema_features, with_class_names


def parquet_batches(parsed: Parsed, source: BinaryIO) -> Iterator[pa.RecordBatch]:
    """The rows of a parquet file as record batches.

    Args:
        source: a stream that can seek.

    Raises:
        Unreadable: if it is not a parquet file.
    """
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(source) as file:
            yield from arrow_batches(parsed, file.schema_arrow, file.iter_batches(batch_size=BATCH_ROWS))
    except (pa.ArrowException, OSError) as error:
        raise _no_file_of(parsed, "a Parquet", error) from error


def ipc_batches(parsed: Parsed, source: BinaryIO) -> Iterator[pa.RecordBatch]:
    """The rows of an Arrow or Feather file, or of an Arrow stream such as ``datasets`` writes, as record batches.

    Args:
        source: a stream that can seek.

    Raises:
        Unreadable: if it is neither.
    """
    is_file = source.read(6) == b"ARROW1"
    source.seek(0)
    try:
        if is_file:
            file = pa.ipc.open_file(source)
            batches = (file.get_batch(i) for i in range(file.num_record_batches))
            yield from arrow_batches(parsed, file.schema, batches)
        else:
            stream = pa.ipc.open_stream(source)
            yield from arrow_batches(parsed, stream.schema, stream)
    except (pa.ArrowException, OSError) as error:
        raise _no_file_of(parsed, "an Arrow", error) from error


def _no_file_of(parsed: Parsed, kind: str, error: Exception) -> Exception:
    if isinstance(error, gzip.BadGzipFile):
        return error
    said = next(iter(str(error).splitlines()), type(error).__name__)
    return Unreadable(f"{parsed.origin}: not {kind} file, or a damaged one ({said}). Write the file again.")


def dataset_batches(parsed: Parsed, dataset: Any) -> Iterator[pa.RecordBatch]:
    """The rows of a split of a ``datasets`` data set as record batches."""
    first = 0 if parsed.unit == "position" else 1
    tables = dataset.with_format("arrow").iter(batch_size=BATCH_ROWS)
    batches = (batch for table in tables for batch in table.to_batches())
    return arrow_batches(parsed, dataset.features.arrow_schema, batches, first=first)


def arrow_batches(
    parsed: Parsed, schema: pa.Schema, batches: Iterable[pa.RecordBatch], *, first: int = 1
) -> Iterator[pa.RecordBatch]:
    """Typed columns as strings. Columns of bytes (images, sound) contain no text and are left out.

    Args:
        first: the number of the first row.
    """
    features = schema_features(schema)
    kept = [
        i
        for i, field in enumerate(schema)
        if not (pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type))
    ]
    if not parsed.set_names([schema[i].name for i in kept], 1):
        return
    for batch in batches:
        places = range(first, first + batch.num_rows)
        columns = [
            typed_cells(parsed, name, batch.column(i), features.get(schema[i].name), places)
            for name, i in zip(parsed.names, kept)
        ]
        yield parsed.batch(columns, places)
        first += batch.num_rows


def typed_cells(parsed: Parsed, name: str, column: pa.Array, feature: Any, places: range | list[int]) -> pa.Array:
    """One typed column as strings, converted by Arrow where it can.

    Args:
        feature: what ``datasets`` says of the column, if anything.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        if kind.value_type == pa.string_view():  # as polars has them: Arrow cannot take from views
            column = column.dictionary.cast(pa.large_string()).take(column.indices)
        else:
            column = column.dictionary_decode()
        kind = column.type
    if has_class_names(feature):
        parsed.named.add(name)
        if pa.types.is_integer(kind) and (classes := class_names(feature)):
            known = pc.and_(pc.greater_equal(column, 0), pc.less(column, len(classes)))  # -1 means: no label
            numbers = pc.if_else(known, column, pa.scalar(None, kind))
            return string_column(classes).take(numbers)
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
                    f"{parsed.where(places[row])}: column '{name}' is not UTF-8. Write the file again with decoded text."
                ),
            )
            return pa.nulls(len(column), pa.large_string())
    if pa.types.is_nested(kind):
        values = column.to_pylist()
        if has_class_names(feature):
            values = [with_class_names(value, feature) for value in values]
        return as_strings(parsed, name, values, places)
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
    try:
        return column.cast(pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return as_strings(parsed, name, [None if value is None else str(value) for value in column.to_pylist()], places)
