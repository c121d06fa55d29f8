"""Rows of token ids as one padded batch, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def tokens_at(offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the tokens of some rows are in flat arrays, one row after the other.

    Args:
        offsets: row i has the tokens from ``offsets[i]`` to ``offsets[i + 1]``; int64 ``(rows + 1,)``.

    Returns:
        Indices into the flat arrays, ``(tokens,)``; places within the row, counted from 0, ``(tokens,)``; and the
        lengths of the rows, ``(rows,)``.

    Example:
        >>> [array.tolist() for array in tokens_at(np.array([0, 3, 4]), np.array([1, 0]))]
        [[3, 0, 1, 2], [0, 0, 1, 2], [1, 3]]
    """
    starts = np.asarray(offsets[rows])
    lengths = np.asarray(offsets[np.asarray(rows) + 1]) - starts
    places = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.repeat(starts, lengths) + places, places, lengths


def padded_arrays(
    ids: np.ndarray,
    offsets: np.ndarray,
    segments: np.ndarray | None,
    rows: np.ndarray,
    *,
    names: Sequence[str],
    pad_id: int,
    pad_segment: int,
    side: str,
) -> dict[str, np.ndarray]:
    """Rows as one padded batch: the model's inputs, int64 ``(rows, longest)`` each.

    A row without a token is one token of padding that counts as real: a model that attends to nothing answers anything.

    Args:
        ids, offsets, segments: flat arrays, see :func:`tokens_at`; no segments are all zero.
        rows: the numbers of the rows, in the order of the batch.
        names: which of ``input_ids``, ``attention_mask`` and ``token_type_ids`` the model takes.
        side: where the padding goes, ``left`` or ``right``.

    Raises:
        ValueError: if there is another name.
    """
    source, places, lengths = tokens_at(offsets, rows)
    shape = (len(lengths), max(1, int(lengths.max(initial=0))))
    at_least = np.maximum(lengths, 1)
    first_cell = np.arange(shape[0]) * shape[1] + (shape[1] - at_least if side == "left" else 0)
    cells = np.repeat(first_cell, lengths) + places

    def padded(values: np.ndarray | int, fill: int) -> np.ndarray:
        out = np.full(shape, fill, np.int64)
        out.reshape(-1)[cells] = values
        return out

    batch: dict[str, np.ndarray] = {}
    for name in names:
        if name == "input_ids":
            batch[name] = padded(ids[source], pad_id)
        elif name == "attention_mask":
            batch[name] = padded(1, 0)
            batch[name].reshape(-1)[first_cell[lengths == 0]] = 1
        elif name == "token_type_ids":
            batch[name] = padded(0 if segments is None else segments[source], pad_segment)
        else:
            raise ValueError(f"inputs are input_ids, attention_mask and token_type_ids, but {name!r} was asked for")
    return batch
