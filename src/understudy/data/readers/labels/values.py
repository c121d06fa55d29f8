"""The distinct values of a label column, and one-hot columns as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from understudy.data.arrow_columns import string_column, whole_numbers
from understudy.data.readers.cached_tables import SourceTable
from understudy.data.readers.labels.cells import MISSING, missing_in, printed_list


def distinct_values(table: SourceTable, column: str, *, empty: bool = False) -> tuple[list[str], np.ndarray]:
    """The distinct values of a column, without white space around them, and each row's index into them.

    The index of a row without a value is -1; a list of missing values is none.

    Args:
        empty: an empty cell is a value.
    """
    encoded = pc.dictionary_encode(pc.utf8_trim_whitespace(table.cells.column(column)).combine_chunks())
    codes = whole_numbers(encoded.indices)
    missing = set[str]() if column in table.named else MISSING  # the class names of a schema mean what they say
    return without(
        encoded.dictionary.to_pylist(),
        codes,
        lambda value: (
            value in missing or not (value or empty) or (missing_in(value) > 0 and printed_list(value) is None)
        ),
    )


def without(values: list[str], codes: np.ndarray, drop: Callable[[str], bool]) -> tuple[list[str], np.ndarray]:
    """The values that are not dropped, and the codes with -1 for the rows of those that are."""
    kept = np.array([not drop(value) for value in values] + [False], dtype=bool)
    codes_of = np.where(kept, np.cumsum(kept) - 1, -1)
    return [value for value, keeps in zip(values, kept) if keeps], codes_of[codes]


def with_label_column(table: SourceTable, columns: Sequence[str]) -> SourceTable:
    """A table with its label columns as one; several become a column of lists, such as ``[0, 1, 0]``.

    The cell of a row without any value is null.
    """
    if len(columns) < 2:
        return table
    name = label_name(columns)
    empty = pa.scalar("", pa.large_string())
    parts = [pc.utf8_trim_whitespace(pc.fill_null(table.cells.column(column), "")) for column in columns]
    parts = [pc.if_else(pc.is_in(part, string_column(sorted(MISSING))), empty, part) for part in parts]
    lists = pc.binary_join_element_wise(*parts, pa.scalar(", ", pa.large_string()))
    bare = pc.equal(pc.binary_join_element_wise(*parts, empty), "")
    opened, closed = (pa.scalar(bracket, pa.large_string()) for bracket in "[]")
    whole = pc.binary_join_element_wise(opened, lists, closed, empty)
    cells = table.cells.append_column(name, pc.if_else(bare, pa.scalar(None, pa.large_string()), whole))
    return replace(table, names=(*table.names, name), cells=cells, lists=table.lists | {name})


def label_name(columns: Sequence[str]) -> str:
    """What the label of a task is called.

    Example:
        >>> label_name(["label"]), label_name(["toxic", "insult"])
        ('label', 'toxic, insult')
    """
    return ", ".join(columns)
