"""Which rows go into one batch, chosen by their lengths.

The plan of an epoch is a pure function of lengths, seed, epoch and world size. Global batches are laid out first and
then sliced by rank, so every number of processes sees the same batches.
"""

from __future__ import annotations

import numpy as np

from understudy.errors import ConfigError

_POOL = 64
"""Batches that are sorted together: enough to group similar lengths, few enough to keep the order random."""

Step = list[np.ndarray]
"""The row numbers of each micro-batch of one optimizer step, for one rank."""


def bucketed_plan(
    lengths: np.ndarray,
    *,
    batch_size: int,
    max_tokens: int,
    seed: int,
    epoch: int,
    world_size: int = 1,
    rank: int = 0,
    padded: bool = True,
) -> list[Step]:
    """Plan one epoch of length-bucketed batches.

    Rows are shuffled, sorted by length within pools of many batches, and cut into global batches of `batch_size` rows.
    Then the batches are shuffled. A rank takes every `world_size`-th row of a batch, so the ranks get similar lengths.
    If a rank's padded share exceeds `max_tokens`, all ranks cut theirs into the same number of micro-batches, none of
    them empty. A last batch with fewer rows than ranks is added to the one before it.

    Args:
        lengths: ``(rows,)``, tokens of each row.
        batch_size: rows of an optimizer step, over all ranks.
        max_tokens: padded tokens (rows times the longest) of a micro-batch. A single longer row is a micro-batch.
        seed, epoch: together they determine the order.
        padded: whether a micro-batch may hold rows of several lengths.

    Returns:
        The steps of this rank, each a list of row-number arrays.

    Raises:
        ValueError: if the batch has fewer rows than there are ranks, or there are fewer rows than ranks.
        ConfigError: if nothing may be padded and there are several ranks, whose rows differ in length.

    Example:
        >>> plan = bucketed_plan(np.array([3, 9, 3, 9]), batch_size=2, max_tokens=64, seed=0, epoch=0)
        >>> sorted(tuple(sorted(step[0].tolist())) for step in plan)
        [(0, 2), (1, 3)]
    """
    if batch_size < world_size or len(lengths) < world_size:
        raise ValueError(
            f"{world_size} processes need batches and data of at least as many rows, but batch_size is {batch_size} and there are {len(lengths)} rows"
        )
    if world_size > 1 and not padded:
        raise ConfigError(
            f"this model cannot mask padding, so its batches are of one length, but {world_size} processes would get rows of several. Train it in one process, or name another model."
        )
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    pool = batch_size * _POOL
    batches: list[np.ndarray] = []
    for start in range(0, len(order), pool):
        rows = order[start : start + pool]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    if len(batches) > 1 and len(batches[-1]) < world_size:
        batches[-2:] = [np.concatenate(batches[-2:])]
    order = rng.permutation(len(batches))
    if padded:
        return [_slice(batches[i], lengths, max_tokens, world_size)[rank] for i in order]
    return [
        [part for run in _runs(batches[i], lengths) for part in _slice(run, lengths, max_tokens, 1)[0]] for i in order
    ]


def _runs(rows: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """Rows that are sorted by length, cut where the length changes."""
    return np.split(rows, np.flatnonzero(np.diff(lengths[rows])) + 1)


def _slice(rows: np.ndarray, lengths: np.ndarray, max_tokens: int, world_size: int) -> list[Step]:
    """A global batch cut for every rank into as many micro-batches as the rank with most tokens needs, none empty."""
    shares = [rows[rank::world_size] for rank in range(world_size)]
    needed = max(_pieces_needed(lengths[share], max_tokens) for share in shares)
    pieces = min(needed, min(len(share) for share in shares))
    return [np.array_split(share, pieces) for share in shares]


def _pieces_needed(lengths: np.ndarray, max_tokens: int) -> int:
    """The fewest even pieces whose padded size fits the budget. A row that exceeds it alone is a piece."""
    for pieces in range(1, len(lengths) + 1):
        if all(len(part) == 1 or len(part) * part.max() <= max_tokens for part in np.array_split(lengths, pieces)):
            return pieces
    return len(lengths)


def length_batches(
    lengths: np.ndarray, *, max_tokens: int, max_rows: int = 256, padded: bool = True, tight: bool = False
) -> list[np.ndarray]:
    """Batches for inference: rows sorted by length, cut where the padded size would exceed `max_tokens`.

    The batches depend only on the arguments, so an interrupted run that is resumed computes the same batches.

    Args:
        lengths: ``(rows,)``, tokens of each row.
        max_tokens: padded tokens of a batch. A single longer row is a batch.
        max_rows: the most rows of a batch.
        padded: whether a batch may hold rows of several lengths.
        tight: also cut a batch before its padding has more tokens than one more row. A few dozen texts of all lengths
            in one batch are mostly padding, which a CPU computes like any token, while a further batch costs it little.

    Returns:
        The row numbers of each batch.

    Example:
        >>> [batch.tolist() for batch in length_batches(np.array([5, 1, 5, 1]), max_tokens=10)]
        [[1, 3], [0, 2]]
        >>> [batch.tolist() for batch in length_batches(np.array([9, 2, 2]), max_tokens=99, tight=True)]
        [[1, 2], [0]]
    """
    order = np.argsort(lengths, kind="stable")
    batches: list[np.ndarray] = []
    start, tokens = 0, 0  # where the batch begins, and the tokens in it
    for end in range(1, len(order) + 1):
        tokens += int(lengths[order[end - 1]])
        longest = 0 if end == len(order) else int(lengths[order[end]])
        full = end == len(order) or (end + 1 - start) * longest > max_tokens or end - start == max_rows
        loose = tight and (end - start) * longest - tokens > longest
        if full or loose or not (padded or longest == lengths[order[start]]):
            batches.append(order[start:end])
            start, tokens = end, 0
    return batches
