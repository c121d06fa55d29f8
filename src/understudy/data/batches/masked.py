"""Batches for masked language models: one text a row, or several texts packed into a block and kept apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
from torch import Tensor

from understudy.data.batches.by_length import Step, bucketed_plan, length_batches
from understudy.data.batches.contract import Batch
from understudy.data.batches.masking import Masking
from understudy.data.batches.packing import join_texts, pack_texts, packed_inputs
from understudy.data.tasks import NO_LABEL
from understudy.data.tokens.encode import Encoded, collate, padded_ids, tokens_of

_AT_ONCE = 4096
"""How many texts are masked at once where only the numbers of hidden tokens are needed."""


class MaskedLines:
    """One text a row, in length-bucketed batches, with new masks each epoch.

    A batch counts ``rows``, ``tokens`` (real ones) and ``masked`` (chosen ones). Its ``labels``, ``(rows, tokens)``,
    are the original ids of the chosen tokens, and ``NO_LABEL`` elsewhere.

    Args:
        encoded: the token ids of the texts, special tokens included.
        masking: which tokens are hidden.
        names: the inputs that the model takes, see :func:`understudy.models.structure.inputs.settle_inputs`.
        batch_size, max_tokens, seed, world_size, rank: as in :func:`understudy.data.batches.by_length.bucketed_plan`.
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
            bucketed_plan,
            batch_size=batch_size,
            max_tokens=max_tokens,
            seed=seed,
            world_size=world_size,
            rank=rank,
            padded="attention_mask" in names,
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
        """Tokens of each row of an epoch: ``(rows,)``."""
        return self.encoded.lengths

    def texts(self, numbers: np.ndarray, epoch: int) -> np.ndarray:
        """The numbers of the texts in the rows with these numbers, one row after the other."""
        return numbers

    def batch(self, numbers: np.ndarray, epoch: int) -> Batch:
        """The rows with these numbers as one micro-batch of an epoch."""
        return masked_batch(self.encoded, numbers, self.masking, epoch=epoch, names=self.names)

    def padding_ratio(self, epoch: int = 0) -> float:
        """Tokens computed, padding included, divided by real tokens, in one epoch of this rank."""
        lengths = self.lengths(epoch)
        parts = [lengths[numbers] for step in self.plan(epoch) for numbers in step]
        return sum(len(part) * int(part.max()) for part in parts) / sum(int(part.sum()) for part in parts)

    def _plan_of(self, epoch: int) -> list[Step]:
        return self._bucketed(self.lengths(epoch), epoch=epoch)


class MaskedBlocks(MaskedLines):
    """Texts packed into blocks of at most `max_length` tokens, with new blocks and new masks each epoch.

    A row is a block, but each text attends only to itself: ``attention_mask`` is bool ``(rows, 1, tokens, tokens)``,
    true within a text, and ``position_ids`` start at 0 in each text. So a text is encoded as in a row of its own. It
    also gets the masks that :class:`MaskedLines` draws for it.

    Args:
        max_length: the most tokens of a block; no text may be longer.
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
        self._pack = lru_cache(maxsize=2)(partial(pack_texts, encoded.lengths, max_length=max_length, seed=seed))

    def blocks(self, epoch: int) -> list[np.ndarray]:
        """The numbers of the texts in each block of an epoch."""
        return self._pack(epoch=epoch)

    def lengths(self, epoch: int) -> np.ndarray:
        """Tokens of each block of an epoch: ``(blocks,)``."""
        lengths = self.encoded.lengths
        return np.array([int(lengths[block].sum()) for block in self.blocks(epoch)])

    def texts(self, numbers: np.ndarray, epoch: int) -> np.ndarray:
        """The numbers of the texts in the blocks with these numbers, one block after the other."""
        return np.concatenate([self.blocks(epoch)[number] for number in numbers])

    def batch(self, numbers: np.ndarray, epoch: int) -> Batch:
        """The blocks with these numbers as one micro-batch of an epoch."""
        per_block = np.array([len(self.blocks(epoch)[number]) for number in numbers])
        shown, labels = _masked(self.encoded, self.texts(numbers, epoch), self.masking, epoch)
        return _batch(packed_inputs(shown, per_block, names=self.names), join_texts(labels, per_block))


def masked_batch(encoded: Encoded, rows: np.ndarray, masking: Masking, *, epoch: int, names: Sequence[str]) -> Batch:
    """Texts as one padded micro-batch, with the masks of an epoch; `rows` are their numbers in `encoded`."""
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
    """Every text once, one a row, with the same masks at every call: what scores are computed on."""
    for rows in length_batches(encoded.lengths, max_tokens=max_tokens, padded="attention_mask" in names):
        yield masked_batch(encoded, rows, masking, epoch=epoch, names=names)


def _masked(encoded: Encoded, rows: np.ndarray, masking: Masking, epoch: int) -> tuple[Encoded, Encoded]:
    """The given rows twice: with some tokens masked, and with the original ids of the chosen tokens only."""
    source, places, lengths = tokens_of(encoded, rows)
    ids = np.asarray(encoded.ids[source], np.int64)
    shown, chosen = masking(ids, np.repeat(rows, lengths), places, epoch=epoch)
    segments = None if encoded.segments is None else encoded.segments[source]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    alone = replace(encoded, ids=shown, offsets=offsets, segments=segments, fingerprint="")
    return alone, replace(alone, ids=np.where(chosen, ids, NO_LABEL), pad_id=NO_LABEL)


def _batch(inputs: dict[str, Tensor], labels: Encoded) -> Batch:
    counts = {"rows": len(labels), "tokens": len(labels.ids), "masked": int((labels.ids != NO_LABEL).sum())}
    return Batch(inputs=inputs, counts=counts, labels=padded_ids(labels))
