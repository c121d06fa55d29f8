"""Columns of Arrow from lists of Python, and back to numpy, without pandas.

`pyarrow.array`, `pyarrow.scalar` and `to_numpy` import pandas, where that is installed, to ask whether something is a series.
This takes a third of a second: too long before a mistake in a file is told.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_AT_ONCE = 1 << 16
"""Characters of cells that are joined at once."""


def string_column(cells: Sequence[str | None]) -> pa.LargeStringArray:
    """Strings as a column, None as null.

    Raises:
        UnicodeEncodeError: if a cell holds half a character (a lone surrogate).

    Example:
        >>> string_column(["é", None, ""]).to_pylist()
        ['é', None, '']
    """
    ends = np.zeros(len(cells) + 1, np.int64)
    text = pa.BufferOutputStream()  # memory of Arrow's, so that no cell is held more than twice
    rows = max(1, _AT_ONCE * len(cells) // (1 + sum(map(len, filter(None, cells)))))
    for start in range(0, len(cells), rows):
        parts = [cell.encode() if cell else b"" for cell in cells[start : start + rows]]
        text.write(b"".join(parts))
        ends[start + 1 : start + len(parts) + 1] = np.fromiter(map(len, parts), np.int64, len(parts))
    known = None
    if None in cells:
        known = pa.py_buffer(np.packbits([cell is not None for cell in cells], bitorder="little"))
    return pa.LargeStringArray.from_buffers(len(cells), pa.py_buffer(ends.cumsum()), text.getvalue(), known)


EMPTY = string_column([""])[0]
"""No characters, as Arrow has them: a string of Python would go through pandas too."""


def number_column(numbers: Sequence[int] | range | np.ndarray) -> pa.Int64Array:
    """Whole numbers as a column.

    Example:
        >>> number_column(range(3)).to_pylist()
        [0, 1, 2]
    """
    values = np.ascontiguousarray(numbers, np.int64)
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])


def whole_numbers(column: pa.Array) -> np.ndarray:
    """A column of whole numbers, int64 ``(rows,)``; null becomes -1.

    Example:
        >>> whole_numbers(pa.array([3, None, 5], pa.int32())).tolist()
        [3, -1, 5]
    """
    kind = np.dtype(str(column.type))
    values = np.frombuffer(column.buffers()[1], kind, len(column), column.offset * kind.itemsize).astype(np.int64)
    if column.null_count:
        values[true_rows(pc.is_null(column))] = -1
    return values


def true_rows(mask: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """The numbers of the rows that are true, int64; null is not true.

    Example:
        >>> true_rows(pa.array([True, None, False, True])).tolist()
        [0, 3]
    """
    return whole_numbers(pc.indices_nonzero(mask))
