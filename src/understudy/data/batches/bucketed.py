"""Rows with labels and teacher logits, in batches that are bucketed by length."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, count, islice
from typing import TYPE_CHECKING

import numpy as np

from understudy.data.batches.by_length import bucketed_plan
from understudy.data.batches.contract import Batch, BatchSource
from understudy.data.tasks import NO_LABEL

if TYPE_CHECKING:
    from torch import Tensor

    from understudy.data.tokens.encode import Encoded


class BucketedBatches:
    """Encoded rows in bucketed batches, with their labels and with the teacher's logits if there is a teacher.

    A batch counts ``rows``, ``labelled`` rows and, with a teacher, ``taught`` rows (those that the teacher has seen).

    Args:
        encoded: the token ids of the rows.
        labels: as in :class:`understudy.data.splits.Rows`, or None.
        names: the inputs that the model takes. Without ``attention_mask`` nothing is padded.
        rows: the numbers of the rows to use. None: all.
        teacher: maps row numbers to logits ``(rows, outputs)``. It is called when a batch is made and is never part of
            the model.
        batch_size, max_tokens, seed, world_size, rank: as in :func:`understudy.data.batches.by_length.bucketed_plan`.
    """

    def __init__(
        self,
        encoded: Encoded,
        labels: np.ndarray | None,
        *,
        names: Sequence[str],
        batch_size: int,
        max_tokens: int,
        seed: int,
        rows: np.ndarray | None = None,
        teacher: Callable[[np.ndarray], Tensor] | None = None,
        world_size: int = 1,
        rank: int = 0,
    ) -> None:
        self.encoded = encoded
        self.labels = labels
        self.names = names
        self.teacher = teacher
        self.rows = np.arange(len(encoded)) if rows is None else rows
        self._lengths = encoded.lengths[self.rows]
        self._plan = partial(
            bucketed_plan,
            self._lengths,
            batch_size=batch_size,
            max_tokens=max_tokens,
            seed=seed,
            world_size=world_size,
            rank=rank,
            padded="attention_mask" in names,
        )
        self._steps = len(self._plan(epoch=0))

    def steps(self, epoch: int) -> int:
        """Optimizer steps in an epoch; the same for every epoch."""
        return self._steps

    def windows(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """The micro-batches of each step, from step `start` on."""
        for step in self._plan(epoch=epoch)[start:]:
            yield [self.batch(self.rows[places]) for places in step]

    def batch(self, rows: np.ndarray) -> Batch:
        """The rows with these numbers as one micro-batch."""
        import torch

        from understudy.data.tokens.encode import collate

        counts = {"rows": len(rows), "labelled": 0}
        labels = teacher_logits = None
        if self.labels is not None:
            taken = self.labels[rows]
            labels = torch.from_numpy(taken)
            present = ~np.isnan(taken.reshape(len(rows), -1)).any(1) if taken.dtype.kind == "f" else taken != NO_LABEL
            counts["labelled"] = int(present.sum())
        if self.teacher is not None:
            teacher_logits = self.teacher(rows)
            counts["taught"] = int((~teacher_logits.isnan().any(-1)).sum())
        inputs = collate(self.encoded, rows, names=self.names)
        return Batch(inputs=inputs, counts=counts, labels=labels, teacher_logits=teacher_logits)

    def order_fingerprint(self, epochs: int) -> str:
        """SHA-256 of the rows of every step of so many epochs, in their order, however a step is cut into micro-batches."""
        digest = hashlib.sha256()
        for epoch in range(epochs):
            for step in self._plan(epoch=epoch):
                rows = self.rows[np.concatenate(step)].astype(np.int64)
                digest.update(np.int64(len(rows)).tobytes() + rows.tobytes())
        return digest.hexdigest()

    def padding_ratio(self, epoch: int = 0) -> float:
        """Tokens computed, padding included, divided by real tokens, in one epoch of this rank."""
        lengths = [self._lengths[places] for step in self._plan(epoch=epoch) for places in step]
        return sum(len(part) * int(part.max()) for part in lengths) / sum(int(part.sum()) for part in lengths)


def windows_from(batches: BatchSource, place: int) -> Iterator[Sequence[Batch]]:
    """The windows of batches from a place on, without end: their epochs follow one another.

    Args:
        place: counted in steps from the first epoch on.
    """
    own = 0
    while place >= batches.steps(own):
        own, place = own + 1, place - batches.steps(own)
    return chain.from_iterable(batches.windows(own + i, 0 if i else place) for i in count())


class PacedBatches:
    """The windows of other batches in their order, but in epochs of a given number of steps.

    It gives training on few rows the same number of steps as training on many.

    Args:
        batches: where the windows come from; their epochs follow one another.
        steps: optimizer steps in an epoch.

    Example:
        >>> class Letters:
        ...     def steps(self, epoch): return 3
        ...     def windows(self, epoch, start=0): return iter([[f"{epoch}{letter}"] for letter in "abc"[start:]])
        >>> [window[0] for window in PacedBatches(Letters(), 4).windows(1)]
        ['1b', '1c', '2a', '2b']
    """

    def __init__(self, batches: BatchSource, steps: int) -> None:
        self.batches, self._steps = batches, steps

    def steps(self, epoch: int) -> int:
        """Optimizer steps in an epoch; the same for every epoch."""
        return self._steps

    def windows(self, epoch: int, start: int = 0) -> Iterator[Sequence[Batch]]:
        """The micro-batches of each step, from step `start` on."""
        return islice(windows_from(self.batches, epoch * self._steps + start), self._steps - start)

    def padding_ratio(self) -> float:
        """The padding ratio of the other batches."""
        return self.batches.padding_ratio()
