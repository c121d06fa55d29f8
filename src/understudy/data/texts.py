"""Texts: an immutable sequence of rows with one or two strings each, in memory-mapped Arrow columns."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import overload

import numpy as np
import pyarrow as pa

from understudy.data.arrow_columns import number_column, string_column
from understudy.data.cache import cache_dir, map_arrow, write_arrow

_BLOCK, _BLOCK_BYTES = 4096, 32 << 20
"""How many rows become Python strings at a time: at most so many rows, and about so many bytes."""


class Texts(Sequence[tuple[str, ...]]):
    """Rows of one text, or of two (a pair). The strings stay in Arrow columns, which may be mapped from a file.

    Selecting rows copies no text: a selection is an array of row numbers over the same columns.

    Example:
        >>> texts = Texts.of(["a", "b", "c"])
        >>> list(texts.take(np.array([2, 0])))
        [('c',), ('a',)]
    """

    def __init__(self, table: pa.Table, rows: np.ndarray | None = None, *, _keys: np.ndarray | None = None) -> None:
        """Wrap a table of one or two ``large_string`` columns without nulls; `rows` selects and orders its rows."""
        if table.num_columns not in (1, 2):
            raise ValueError(f"a row has one or two texts, but the table has {table.num_columns} columns")
        self._table = table
        self._rows = rows
        self._known_keys = _keys
        # All columns are chunked alike, so a row lies in the same chunk of every column.
        batches = table.to_batches()
        self._block = max(1, min(_BLOCK, _BLOCK_BYTES * table.num_rows // max(table.nbytes, 1)))
        self._chunks = [batch.columns for batch in batches]
        self._starts = np.cumsum([0] + [batch.num_rows for batch in batches])[:-1]

    @classmethod
    def of(cls, rows: Sequence[str | tuple[str, ...]]) -> Texts:
        """Texts from strings, or from tuples of one or two strings, held in memory.

        Raises:
            ValueError: if the tuples are not all of one length, one or two.
        """
        tuples: list[tuple[str, ...]] = [(row,) if isinstance(row, str) else tuple(row) for row in rows]
        widths = {len(row) for row in tuples} or {1}
        if not widths <= {1} and not widths <= {2}:
            raise ValueError(f"every row must have one text, or every row two, but there are rows of {sorted(widths)}")
        columns = list(zip(*tuples)) or [()]
        arrays = [string_column(column) for column in columns]
        return cls(pa.table(arrays, names=[str(i) for i in range(len(arrays))]))

    @classmethod
    def cached(cls, key: str, make: Callable[[], Iterable[tuple[str, ...]]]) -> Texts:
        """Rows that are made once: streamed into the cache and mapped from there. Memory does not grow with the rows.

        Args:
            key: identifies these rows among all others.
            make: makes the rows if the cache does not have them.

        Raises:
            OutputError: if the cache cannot be written.
        """
        file = cache_dir() / "sources" / f"{hashlib.sha256(key.encode()).hexdigest()}.arrow"
        known = map_arrow(file) or write_arrow(file, _batches(make()))
        return cls.of([]) if known is None else cls(known[0])

    @classmethod
    def concat(cls, parts: Sequence[Texts]) -> Texts:
        """Join sequences end to end; no text is copied.

        Raises:
            ValueError: if there is no part, or some parts hold pairs and others single texts.
        """
        if not parts:
            raise ValueError("there are no texts to concatenate")
        if len({part.arity for part in parts}) > 1:
            raise ValueError("single texts and pairs of texts cannot be concatenated")
        if len(parts) == 1:
            return parts[0]
        rows: list[np.ndarray] = []
        start = 0
        for part in parts:
            rows.append(start + (np.arange(len(part)) if part._rows is None else part._rows))
            start += part._table.num_rows
        names = [str(i) for i in range(parts[0].arity)]
        table = pa.concat_tables([part._table.rename_columns(names) for part in parts])
        whole = all(part._rows is None for part in parts)
        return cls(table, None if whole else np.concatenate(rows))

    @property
    def arity(self) -> int:
        """Texts a row: 1, or 2 for a pair."""
        return int(self._table.num_columns)

    def __len__(self) -> int:
        return int(self._table.num_rows) if self._rows is None else len(self._rows)

    def __repr__(self) -> str:
        return f"Texts({len(self):,} rows of {self.arity})"

    @overload
    def __getitem__(self, index: int) -> tuple[str, ...]: ...
    @overload
    def __getitem__(self, index: slice) -> Texts: ...

    def __getitem__(self, index: int | slice) -> tuple[str, ...] | Texts:
        """The texts of one row (a negative number counts from the end), or the rows of a slice."""
        if isinstance(index, slice):
            return self.take(np.arange(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        row = range(len(self))[index] if self._rows is None else int(self._rows[index])
        chunk = int(np.searchsorted(self._starts, row, side="right")) - 1
        return tuple(column[row - int(self._starts[chunk])].as_py() for column in self._chunks[chunk])

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        for columns in self.blocks():
            yield from zip(*columns)

    def blocks(self, *, encoded: bool = False) -> Iterator[list[list]]:
        """The rows in order, a few thousand at a time: a list of strings for each column (UTF-8 bytes if `encoded`)."""
        for start in range(0, len(self), self._block):
            stop = min(start + self._block, len(self))
            rows = np.arange(start, stop) if self._rows is None else self._rows[start:stop]
            yield self._gather(rows, encoded)

    def _gather(self, rows: np.ndarray, encoded: bool) -> list[list]:
        """The columns of the given rows, taken chunk by chunk: Arrow's own take may first join all chunks in memory."""
        of_chunk = np.searchsorted(self._starts, rows, side="right") - 1
        out: list[list] = [[None] * len(rows) for _ in range(self.arity)]
        for chunk in np.unique(of_chunk):
            places = np.flatnonzero(of_chunk == chunk)
            inside = number_column(rows[places] - self._starts[chunk])
            for column, array in enumerate(self._chunks[chunk]):
                values = array.take(inside)
                found = (values.cast(pa.large_binary()) if encoded else values).to_pylist()
                if len(places) == len(rows):
                    out[column] = found
                else:
                    for place, value in zip(places.tolist(), found):
                        out[column][place] = value
        return out

    def take(self, indices: np.ndarray) -> Texts:
        """The rows with these numbers, in this order; a number may repeat.

        Raises:
            IndexError: if a number is negative or too large.
        """
        indices = np.asarray(indices, dtype=np.int64)
        if len(indices) and (indices.min() < 0 or indices.max() >= len(self)):
            raise IndexError(f"rows must lie in 0..{len(self) - 1}, but reach from {indices.min()} to {indices.max()}")
        keys = None if self._known_keys is None else self._known_keys[indices]
        return Texts(self._table, indices if self._rows is None else self._rows[indices], _keys=keys)

    def keys(self) -> np.ndarray:
        """One 128-bit hash a row, ``(rows,)`` of dtype ``S16``; equal exactly if all texts of the rows are equal.

        The hashes serve to find duplicates and to join rows with ``numpy``, and are the same on every machine.
        """
        if self._known_keys is None:
            found = np.empty(len(self), dtype="S16")
            start = 0
            for columns in self.blocks(encoded=True):
                if self.arity == 1:
                    digests = [hashlib.blake2b(text, digest_size=16).digest() for text in columns[0]]
                else:
                    # The length of the first text tells ("ab", "c") from ("a", "bc").
                    joined = (len(a).to_bytes(8, "little") + a + b for a, b in zip(*columns))
                    digests = [hashlib.blake2b(pair, digest_size=16).digest() for pair in joined]
                found[start : start + len(digests)] = digests
                start += len(digests)
            self._known_keys = found
        return self._known_keys

    @cached_property
    def fingerprint(self) -> str:
        """A sha256 in hex over all rows in order. It does not depend on the files or selections they come from."""
        return hashlib.sha256(f"texts of {self.arity}:".encode() + self.keys().tobytes()).hexdigest()


def _batches(rows: Iterable[tuple[str, ...]]) -> Iterator[pa.RecordBatch]:
    rows = iter(rows)
    while chunk := list(itertools.islice(rows, _BLOCK)):
        columns = [string_column(column) for column in zip(*chunk, strict=True)]
        yield pa.RecordBatch.from_arrays(columns, names=[str(i) for i in range(len(columns))])
