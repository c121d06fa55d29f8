"""Batches for masked language models: a text a row, or several packed into a block and kept apart."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
from torch import Tensor

from understudy.data.batches.bucketed import Batch, Step, bucketed_plan, length_batches
from understudy.data.batches.masking import Masking
from understudy.data.tasks import NO_LABEL
from understudy.data.tokens.encode import Encoded, collate, tokens_of

_POOL = 64
"""Blocks' worth of texts that are packed together: enough that they fit well, few enough that the order stays random."""


_AT_ONCE = 4096
"""Texts that are masked together where only the numbers of hidden tokens are wanted."""


class MaskedLines:
    """One text a row, in length-bucketed batches, masked anew each epoch.

    A batch counts ``rows``, ``tokens`` (real ones) and ``masked`` (chosen ones); its ``labels``, ``(rows, tokens)``,
    are the ids that were chosen, ``NO_LABEL`` elsewhere.

    Args:
        encoded: the texts' token ids, special tokens included.
        masking: what is hidden.
        names: the inputs that the model takes, see :func:`understudy.data.tokens.encode.input_names`.
        batch_size, max_tokens, seed, world_size, rank: as in :func:`understudy.data.batches.bucketed.bucketed_plan`.
    """

    def __init__(
        self,
        encoded: Encoded,
        masking: Masking,
        *,
        names: Sequence[str],
        batch_size: int,
        max_tokens: int,
        seed: int,
        world_size: int = 1,
        rank: int = 0,
    ) -> None:
        self.encoded = encoded
        self.masking = masking
        self.names = names
        self._bucketed = partial(
            bucketed_plan, batch_size=batch_size, max_tokens=max_tokens, seed=seed, world_size=world_size, rank=rank
        )
        self.plan = lru_cache(maxsize=2)(self._plan_of)
        self._counts: dict[int, int] = {}

    def steps(self, epoch: int) -> int:
        """Optimizer steps in an epoch."""
        if epoch not in self._counts:
            self._counts[epoch] = len(self.plan(epoch))
        return self._counts[epoch]

    def windows(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """The micro-batches of each step, from step `start` on."""
        for step in self.plan(epoch)[start:]:
            yield [self.batch(numbers, epoch) for numbers in step]

    def lengths(self, epoch: int) -> np.ndarray:
        """Tokens of each row of an epoch."""
        return self.encoded.lengths

    def texts(self, numbers: np.ndarray, epoch: int) -> np.ndarray:
        """The numbers of the texts in the rows of these numbers, one row after the other."""
        return numbers

    def batch(self, numbers: np.ndarray, epoch: int) -> Batch:
        """The rows of these numbers as one micro-batch of an epoch."""
        return masked_batch(self.encoded, numbers, self.masking, epoch=epoch, names=self.names)

    def padding_ratio(self, epoch: int = 0) -> float:
        """Tokens computed over tokens real, of one epoch of this rank."""
        lengths = self.lengths(epoch)
        parts = [lengths[numbers] for step in self.plan(epoch) for numbers in step]
        return sum(len(part) * int(part.max()) for part in parts) / sum(int(part.sum()) for part in parts)

    def _plan_of(self, epoch: int) -> list[Step]:
        return self._bucketed(self.lengths(epoch), epoch=epoch)


class MaskedBlocks(MaskedLines):
    """Texts packed into blocks of at most `max_length` tokens, each attending to itself alone, masked anew each epoch.

    A row is a block: its ``attention_mask`` is bool ``(rows, 1, tokens, tokens)``, true within a text, and its
    ``position_ids`` begin again with each text, so that a text is encoded as if it stood in a row of its own. Blocks
    are packed anew each epoch. Masks are those that :class:`MaskedLines` would draw for the same texts.

    Args:
        max_length: tokens of a block; no text may be longer.
    """

    def __init__(
        self,
        encoded: Encoded,
        masking: Masking,
        *,
        max_length: int,
        names: Sequence[str],
        batch_size: int,
        max_tokens: int,
        seed: int,
        world_size: int = 1,
        rank: int = 0,
    ) -> None:
        super().__init__(
            encoded,
            masking,
            names=names,
            batch_size=batch_size,
            max_tokens=max_tokens,
            seed=seed,
            world_size=world_size,
            rank=rank,
        )
        self._pack = lru_cache(maxsize=2)(partial(pack, encoded.lengths, max_length=max_length, seed=seed))

    def blocks(self, epoch: int) -> list[np.ndarray]:
        """The texts of each block of an epoch, by number."""
        return self._pack(epoch=epoch)

    def lengths(self, epoch: int) -> np.ndarray:
        """Tokens of each block of an epoch."""
        lengths = self.encoded.lengths
        return np.array([int(lengths[block].sum()) for block in self.blocks(epoch)])

    def texts(self, numbers: np.ndarray, epoch: int) -> np.ndarray:
        """The numbers of the texts in the blocks of these numbers, one block after the other."""
        return np.concatenate([self.blocks(epoch)[number] for number in numbers])

    def batch(self, numbers: np.ndarray, epoch: int) -> Batch:
        """The blocks of these numbers as one micro-batch of an epoch."""
        per_block = np.array([len(self.blocks(epoch)[number]) for number in numbers])
        shown, labels = _masked(self.encoded, self.texts(numbers, epoch), self.masking, epoch)
        return _batch(packed_inputs(shown, per_block, names=self.names), _joined(labels, per_block))


def masked_batch(encoded: Encoded, rows: np.ndarray, masking: Masking, *, epoch: int, names: Sequence[str]) -> Batch:
    """Texts as one padded micro-batch, masked as in an epoch."""
    shown, labels = _masked(encoded, rows, masking, epoch)
    return _batch(collate(shown, np.arange(len(rows)), names=names), labels)


def hidden_tokens(encoded: Encoded, masking: Masking, *, epoch: int) -> np.ndarray:
    """How many tokens of each text are hidden in an epoch: int64 ``(texts,)``."""
    counts = np.zeros(len(encoded), np.int64)
    for rows in np.array_split(np.arange(len(encoded)), -(-len(encoded) // _AT_ONCE)):
        _, labels = _masked(encoded, rows, masking, epoch)
        before = np.concatenate([[0], np.cumsum(labels.ids != NO_LABEL)])
        counts[rows] = np.diff(before[labels.offsets])
    return counts


def fixed_batches(
    encoded: Encoded, masking: Masking, *, names: Sequence[str], max_tokens: int, epoch: int = 0
) -> Iterator[Batch]:
    """Every text once, a text a row, under the same masks whenever it is called: what scores are computed on."""
    for rows in length_batches(encoded.lengths, max_tokens=max_tokens):
        yield masked_batch(encoded, rows, masking, epoch=epoch, names=names)


def pack(lengths: np.ndarray, *, max_length: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Texts into blocks of at most `max_length` tokens.

    Texts are shuffled; of each pool of many blocks' worth the longest is placed first, each into the block where it
    leaves the least room (best fit, decreasing). A pure function of its arguments.

    Args:
        lengths: ``(texts,)``, tokens each.

    Returns:
        The numbers of each block's texts, every text in exactly one, in a random order.

    Raises:
        ValueError: if a text is longer than a block.

    Reference:
        Johnson 1973, "Near-optimal bin packing algorithms" (at most 11/9 of the fewest blocks, and one).

    Example:
        >>> blocks = pack(np.array([3, 5, 4, 4]), max_length=8, seed=0, epoch=0)
        >>> sorted(sorted(block.tolist()) for block in blocks)
        [[0, 1], [2, 3]]
    """
    if len(lengths) and lengths.max() > max_length:
        raise ValueError(f"blocks have {max_length} tokens, but a text has {lengths.max()}")
    order = np.random.default_rng([seed, epoch, 1]).permutation(len(lengths))
    blocks: list[list[int]] = []
    pools = np.cumsum(lengths[order]) // (max_length * _POOL)
    for pool in np.split(order, np.flatnonzero(np.diff(pools)) + 1):
        rooms: list[int] = []  # those that some block has left, ascending
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
    """Texts in their order as padded blocks, for any model: :func:`understudy.models.structure.vocabulary_head.model_inputs` makes
    one model's keyword arguments of them.

    Args:
        encoded: the texts of the blocks, one after the other.
        per_block: ``(blocks,)``, how many texts each block has.
        names: which of ``input_ids`` and ``token_type_ids`` the model takes; a mask is always made.

    Returns:
        ``input_ids`` and its like, ``(blocks, tokens)`` each, and ``attention_mask``, bool ``(blocks, 1, tokens,
        tokens)``: true where both tokens belong to one text (padding counts as one, lest a row attend to nothing).
        ``position_ids``, ``(blocks, tokens)``, count from 0 in each text.

    Example:
        >>> ids, offsets = np.array([5, 6, 7], np.int32), np.array([0, 2, 3])
        >>> encoded = Encoded(ids, offsets, None, pad_id=0, padding_side="right", fingerprint="")
        >>> inputs = packed_inputs(encoded, np.array([2]), names=["input_ids"])
        >>> inputs["position_ids"].tolist(), inputs["attention_mask"][0, 0].int().tolist()
        ([[0, 1, 0]], [[1, 1, 0], [1, 1, 0], [0, 0, 1]])
    """
    joined = _joined(encoded, per_block)
    inputs = collate(joined, np.arange(len(per_block)), names=[name for name in names if name != "attention_mask"])
    _, places, lengths = tokens_of(encoded, np.arange(len(encoded)))
    text = _padded(replace(joined, ids=np.repeat(np.arange(len(lengths)) + 1, lengths), pad_id=0))
    inputs["attention_mask"] = (text[:, :, None] == text[:, None, :])[:, None]
    inputs["position_ids"] = _padded(replace(joined, ids=places, pad_id=0))
    return inputs


def _masked(encoded: Encoded, rows: np.ndarray, masking: Masking, epoch: int) -> tuple[Encoded, Encoded]:
    """The rows alone with some of their tokens masked, and with the chosen tokens alone."""
    source, places, lengths = tokens_of(encoded, rows)
    ids = np.asarray(encoded.ids[source], np.int64)
    shown, chosen = masking(ids, np.repeat(rows, lengths), places, epoch=epoch)
    segments = None if encoded.segments is None else encoded.segments[source]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    alone = replace(encoded, ids=shown, offsets=offsets, segments=segments, fingerprint="")
    return alone, replace(alone, ids=np.where(chosen, ids, NO_LABEL), pad_id=NO_LABEL)


def _joined(encoded: Encoded, per_block: np.ndarray) -> Encoded:
    """Rows that are blocks where they were texts."""
    return replace(encoded, offsets=encoded.offsets[np.concatenate([[0], np.cumsum(per_block)])])


def _batch(inputs: dict[str, Tensor], labels: Encoded) -> Batch:
    counts = {"rows": len(labels), "tokens": len(labels.ids), "masked": int((labels.ids != NO_LABEL).sum())}
    return Batch(inputs=inputs, counts=counts, labels=_padded(labels))


def _padded(encoded: Encoded) -> Tensor:
    return collate(encoded, np.arange(len(encoded)), names=["input_ids"])["input_ids"]
