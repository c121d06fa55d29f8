"""Texts: an immutable sequence of one or two strings a row that lies in memory-mapped Arrow columns."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import overload

import numpy as np
import pyarrow as pa

from understudy.data.readers.tables import cache_dir, map_file, write_file

_BLOCK, _BLOCK_BYTES = 4096, 32 << 20
"""Rows that are turned into Python strings at a time: so many, or fewer where they are long."""


class Texts(Sequence[tuple[str, ...]]):
    """Rows of one text, or of two (a pair). The strings stay in their Arrow columns, which may be mapped from a file.

    Taking rows copies no text: a selection is a list of row numbers over the same columns.

    Example:
        >>> texts = Texts.of(["a", "b", "c"])
        >>> list(texts.take(np.array([2, 0])))
        [('c',), ('a',)]
    """

    def __init__(self, table: pa.Table, rows: np.ndarray | None = None, *, _keys: np.ndarray | None = None) -> None:
        """Wrap a table of one or two ``large_string`` columns without nulls; `rows` selects and orders."""
        if table.num_columns not in (1, 2):
            raise ValueError(f"a row has one or two texts, but the table has {table.num_columns} columns")
        self._table = table
        self._rows = rows
        self._known_keys = _keys
        # All columns are cut alike, so that a row lies in the chunk of the same number in each.
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
        arrays = [pa.array(column, pa.large_string()) for column in columns]
        return cls(pa.table(arrays, names=[str(i) for i in range(len(arrays))]))

    @classmethod
    def cached(cls, key: str, make: Callable[[], Iterable[tuple[str, ...]]]) -> Texts:
        """Rows that are made but once: streamed into the cache and mapped from there, so that memory does not grow with them.

        Args:
            key: what tells these rows from all others.
            make: gives them, where the cache does not have them.

        Raises:
            OutputError: if the cache cannot be written.
        """
        file = cache_dir() / "sources" / f"{hashlib.sha256(key.encode()).hexdigest()}.arrow"
        known = map_file(file) or write_file(file, _batches(make()))
        return cls.of([]) if known is None else cls(known[0])

    @classmethod
    def concat(cls, parts: Sequence[Texts]) -> Texts:
        """One sequence after the other; no text is copied.

        Raises:
            ValueError: if there is no part, or some are pairs and others are not.
        """
        if not parts:
            raise ValueError("nothing to concatenate")
        if len({part.arity for part in parts}) > 1:
            raise ValueError("texts and pairs of texts cannot be concatenated")
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
        """The texts of one row (negative numbers count from the end), or the rows of a slice."""
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
        """The rows in order, a few thousand at a time: one list of strings a column (UTF-8 bytes if `encoded`)."""
        for start in range(0, len(self), self._block):
            stop = min(start + self._block, len(self))
            rows = np.arange(start, stop) if self._rows is None else self._rows[start:stop]
            yield self._gather(rows, encoded)

    def _gather(self, rows: np.ndarray, encoded: bool) -> list[list]:
        """Columns of the given rows, chunk by chunk: Arrow's own take may join all the chunks in memory first."""
        of_chunk = np.searchsorted(self._starts, rows, side="right") - 1
        out: list[list] = [[None] * len(rows) for _ in range(self.arity)]
        for chunk in np.unique(of_chunk):
            places = np.flatnonzero(of_chunk == chunk)
            inside = pa.array(rows[places] - self._starts[chunk])
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
        """The rows with these numbers, in this order, repeats allowed.

        Raises:
            IndexError: if a number is negative or too large.
        """
        indices = np.asarray(indices, dtype=np.int64)
        if len(indices) and (indices.min() < 0 or indices.max() >= len(self)):
            raise IndexError(f"rows must lie in 0..{len(self) - 1}, but reach from {indices.min()} to {indices.max()}")
        keys = None if self._known_keys is None else self._known_keys[indices]
        return Texts(self._table, indices if self._rows is None else self._rows[indices], _keys=keys)

    def keys(self) -> np.ndarray:
        """One 128-bit hash a row, ``(rows,)`` of dtype ``S16``; equal exactly where all texts of the row are equal.

        For finding duplicates and joining with ``numpy``. The same on every machine.
        """
        if self._known_keys is None:
            found = np.empty(len(self), dtype="S16")
            start = 0
            for columns in self.blocks(encoded=True):
                if self.arity == 1:
                    digests = [hashlib.blake2b(text, digest_size=16).digest() for text in columns[0]]
                else:
                    # The length of the first text keeps ("ab", "c") apart from ("a", "bc").
                    joined = (len(a).to_bytes(8, "little") + a + b for a, b in zip(*columns))
                    digests = [hashlib.blake2b(pair, digest_size=16).digest() for pair in joined]
                found[start : start + len(digests)] = digests
                start += len(digests)
            self._known_keys = found
        return self._known_keys

    @cached_property
    def fingerprint(self) -> str:
        """A sha256 in hex over all rows in their order, whatever files and selections they come from."""
        return hashlib.sha256(f"texts of {self.arity}:".encode() + self.keys().tobytes()).hexdigest()


def _batches(rows: Iterable[tuple[str, ...]]) -> Iterator[pa.RecordBatch]:
    rows = iter(rows)
    while chunk := list(itertools.islice(rows, _BLOCK)):
        columns = [pa.array(column, pa.large_string()) for column in zip(*chunk, strict=True)]
        yield pa.RecordBatch.from_arrays(columns, names=[str(i) for i in range(len(columns))])
