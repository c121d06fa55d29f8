"""A static model in NumPy: the mean of rows of a table, and a small head. It needs no other library."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from understudy.errors import ModelError

_NARROW = 16
"""Up to this width, NumPy's sum over ragged rows is fastest; above it, a product of matrices for rows of one length."""
_NUMBERS = 1 << 17
"""Numbers that are looked up at once: half a megabyte, which fits the cache that a core has to itself."""


BLOCK, ZERO = 32, 8
"""Numbers of a row that share a scale where they have 4 bits, and the 4-bit number that stands for zero."""


def from_int4(packed: np.ndarray, scales: np.ndarray, width: int) -> np.ndarray:
    """Rows of 4-bit numbers as float32 ``(..., width)``.

    Args:
        packed: uint8 ``(..., blocks, 16)``: two numbers a byte, the first one in its lower half.
        scales: float32 ``(..., blocks)``.
        width: of a row; the last block may be longer than what is left of it.

    Example:
        >>> packed = np.full((1, 1, 16), 0x88, np.uint8)
        >>> packed[0, 0, 0] = 0x1F
        >>> from_int4(packed, np.array([[0.5]], np.float32), 3).tolist()
        [[3.5, -3.5, 0.0]]
    """
    numbers = np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], BLOCK)
    whole = (numbers.astype(np.float32) - ZERO) * scales[..., None]
    return whole.reshape(*packed.shape[:-2], -1)[..., :width]


class Bag:
    """The arrays of a static model, and its logits for token ids.

    The head's first layer is linear, so it can be applied to the rows of the table before the mean. Where that makes the
    table no wider, it was done at export: each text then needs one matrix product less.

    Args:
        arrays: ``table`` ``(vocabulary, width)``, and ``bias`` ``(width,)`` where the first layer is in the table; of a
            pair or a wide head ``hidden_weight`` ``(hidden, inputs)`` and ``hidden_bias``; ``weight``
            ``(outputs, hidden)`` and ``output_bias``, unless the table has the outputs. Instead of ``table``: the float16
            ``table_fp16``; or the int8 ``table_int8`` and the float32 ``table_scale`` ``(vocabulary, 1)`` of its rows; or
            ``table_int4`` and ``table_scale`` as :func:`from_int4` reads them, and ``table_width``.
        pair: whether rows have two texts.

    Example:
        >>> table = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0]], np.float32)
        >>> bag = Bag({"table": table, "bias": np.zeros(2, np.float32)}, pair=False)
        >>> bag.logits(np.array([1, 2, 2]), np.array([0, 2, 3]), None)
        array([[1., 2.],
               [0., 4.]], dtype=float32)
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], *, pair: bool) -> None:
        self.arrays, self.pair = arrays, pair
        self.scales = arrays.get("table_scale")
        names = ("table_fp16", "table_int4", "table_int8", "table")
        self.table = arrays[next((name for name in names if name in arrays), "table")]
        self.width = int(arrays.get("table_width", self.table.shape[-1]))

    @classmethod
    def load(cls, path: Path, *, pair: bool) -> Bag:
        """Read the arrays of a file.

        Raises:
            ModelError: if it is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as found:
                return cls({name: found[name] for name in found.files}, pair=pair)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
            raise ModelError(
                f"{path}: cannot be read ({error}). Copy the folder again, or export the model again."
            ) from None

    def logits(self, ids: np.ndarray, offsets: np.ndarray, segments: np.ndarray | None) -> np.ndarray:
        """Logits of rows: float32 ``(rows, outputs)``.

        Args:
            ids, offsets: flat ids; row i has those from ``offsets[i]`` to ``offsets[i + 1]``.
            segments: of pairs, which text each token is in.
        """
        if self.pair:
            return self._head(self._pairs(ids, offsets, segments))
        return self._head(self._means(ids, offsets))

    def one(self, ids: list[int]) -> np.ndarray:
        """Logits of one single text, on a fast path: ``(1, outputs)``."""
        if not ids:
            return self._head(np.zeros((1, self.width), np.float32))
        rows = self._rows(np.array(ids))
        return self._head(np.full((1, len(ids)), 1 / len(ids), np.float32) @ rows)

    def _rows(self, ids: np.ndarray) -> np.ndarray:
        """Rows of the table: float32 ``(*ids.shape, width)``."""
        rows: np.ndarray = self.table.take(ids, axis=0)
        if self.scales is None:
            return rows.astype(np.float32, copy=False)
        scales = self.scales.take(ids, axis=0)
        return rows * scales if self.table.ndim == 2 else from_int4(rows, scales, self.width)

    def _head(self, pooled: np.ndarray) -> np.ndarray:
        arrays = self.arrays
        if "bias" in arrays:
            pooled = pooled + arrays["bias"]
        if "hidden_weight" in arrays:
            pooled = pooled @ arrays["hidden_weight"].T + arrays["hidden_bias"]
        if "weight" in arrays:
            if "hidden_weight" in arrays or "bias" in arrays:
                pooled = np.maximum(pooled, 0)
            pooled = pooled @ arrays["weight"].T + arrays["output_bias"]
        return pooled.astype(np.float32, copy=False)

    def _means(self, ids: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """The mean of the table's rows for each text, zero for one without tokens: ``(rows, width)``."""
        lengths, width = np.diff(offsets), self.width
        out = np.zeros((len(lengths), width), np.float32)
        if width <= _NARROW:
            rows = np.flatnonzero(lengths)
            if len(rows):
                sums = np.add.reduceat(self._rows(ids), offsets[rows], axis=0)
                out[rows] = sums / lengths[rows, None].astype(np.float32)
            return out
        order = np.argsort(lengths, kind="stable")
        known, starts = np.unique(lengths[order], return_index=True)
        for length, rows in zip(known.tolist(), np.split(order, starts[1:])):
            if not length:
                continue
            weights = np.full((1, length), 1 / length, np.float32)
            at_once = max(1, _NUMBERS // (length * width))
            for begin in range(0, len(rows), at_once):
                some = rows[begin : begin + at_once]
                looked_up = self._rows(ids[offsets[some, None] + np.arange(length)])
                out[some] = np.matmul(weights, looked_up)[:, 0]
        return out

    def _pairs(self, ids: np.ndarray, offsets: np.ndarray, segments: np.ndarray | None) -> np.ndarray:
        """``[u, v, |u − v|, u · v]`` of the two texts' means: ``(rows, 4 * width)``."""
        segments = np.zeros(len(ids), np.uint8) if segments is None else segments
        row = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        means = []
        for text in (0, 1):
            inside = segments == text
            counts = np.bincount(row[inside], minlength=len(offsets) - 1)
            means.append(self._means(ids[inside], np.concatenate([[0], np.cumsum(counts)])))
        u, v = means
        return np.concatenate([u, v, np.abs(u - v), u * v], axis=1)
