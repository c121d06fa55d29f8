"""Several texts in one row: how they are packed into blocks, and the inputs that keep them apart."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from understudy.data.tokens.encode import Encoded, collate, padded_ids, tokens_of

_POOL = 64
"""How many blocks' worth of texts are packed together: enough for a good fit, few enough to keep the order random."""


def pack_texts(lengths: np.ndarray, *, max_length: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Pack texts into blocks of at most `max_length` tokens (best fit, decreasing). A pure function of its arguments.

    Texts are shuffled and divided into pools of many blocks' worth. In each pool the longest text is placed first;
    each text goes to the block where it leaves the least room.

    Args:
        lengths: ``(texts,)``, tokens of each text.

    Returns:
        For each block, the numbers of its texts in a random order. Every text is in exactly one block.

    Raises:
        ValueError: if a text is longer than a block.

    Reference:
        Johnson 1973, "Near-optimal bin packing algorithms" (at most 11/9 of the fewest possible blocks, plus a
        constant).

    Example:
        >>> blocks = pack_texts(np.array([3, 5, 4, 4]), max_length=8, seed=0, epoch=0)
        >>> sorted(sorted(block.tolist()) for block in blocks)
        [[0, 1], [2, 3]]
    """
    if len(lengths) and lengths.max() > max_length:
        raise ValueError(f"blocks have {max_length} tokens, but a text has {lengths.max()}")
    order = np.random.default_rng([seed, epoch, 1]).permutation(len(lengths))
    blocks: list[list[int]] = []
    pools = np.cumsum(lengths[order]) // (max_length * _POOL)
    for pool in np.split(order, np.flatnonzero(np.diff(pools)) + 1):
        rooms: list[int] = []  # the distinct rooms that blocks have left, ascending
        by_room: dict[int, list[list[int]]] = defaultdict(list)
        for text in pool[np.argsort(-lengths[pool], kind="stable")].tolist():
            length = int(lengths[text])
            at = bisect_left(rooms, length)
            if at == len(rooms):
                room, block = max_length, list[int]()
                blocks.append(block)
            else:
                room = rooms[at]
                block = by_room[room].pop()
                if not by_room[room]:
                    del rooms[at]
            block.append(text)
            left = room - length
            if not by_room[left]:
                insort(rooms, left)
            by_room[left].append(block)
    return [np.array(block) for block in blocks]


def packed_inputs(encoded: Encoded, per_block: np.ndarray, *, names: Sequence[str]) -> dict[str, Tensor]:
    """Texts in their order as padded blocks.

    They suit any model: :func:`understudy.models.structure.heads.model_inputs` turns them into the keyword arguments of
    one.

    Args:
        encoded: the texts of the blocks, one after the other.
        per_block: ``(blocks,)``, the number of texts in each block.
        names: which of ``input_ids`` and ``token_type_ids`` the model takes; a mask is always made.

    Returns:
        The inputs in `names`, ``(blocks, tokens)`` each. ``attention_mask``, bool ``(blocks, 1, tokens, tokens)``: true
        where both tokens belong to one text; padding counts as a text, so that no token attends to nothing.
        ``position_ids``, ``(blocks, tokens)``: counted from 0 in each text.

    Example:
        >>> ids, offsets = np.array([5, 6, 7], np.int32), np.array([0, 2, 3])
        >>> encoded = Encoded(ids, offsets, None, pad_id=0, padding_side="right", fingerprint="")
        >>> inputs = packed_inputs(encoded, np.array([2]), names=["input_ids"])
        >>> inputs["position_ids"].tolist(), inputs["attention_mask"][0, 0].int().tolist()
        ([[0, 1, 0]], [[1, 1, 0], [1, 1, 0], [0, 0, 1]])
    """
    joined = join_texts(encoded, per_block)
    inputs = collate(joined, np.arange(len(per_block)), names=[name for name in names if name != "attention_mask"])
    _, places, lengths = tokens_of(encoded, np.arange(len(encoded)))
    text = padded_ids(replace(joined, ids=np.repeat(np.arange(len(lengths)) + 1, lengths), pad_id=0))
    inputs["attention_mask"] = (text[:, :, None] == text[:, None, :])[:, None]
    inputs["position_ids"] = padded_ids(replace(joined, ids=places, pad_id=0))
    return inputs


def join_texts(encoded: Encoded, per_block: np.ndarray) -> Encoded:
    """Join the texts of each block into one row; `per_block` is ``(blocks,)``, the number of texts in each."""
    return replace(encoded, offsets=encoded.offsets[np.concatenate([[0], np.cumsum(per_block)])])
