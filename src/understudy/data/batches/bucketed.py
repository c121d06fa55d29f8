"""Global batch plans and the batches that the loop consumes.

A plan is a pure function of (lengths, seed, epoch, world size): the global batches are laid out first and then sliced
by rank, so every number of processes sees the same batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, count, islice
from typing import TYPE_CHECKING, Protocol

import numpy as np

from understudy.data.tasks import NO_LABEL

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from understudy.data.tokens.encode import Encoded

_POOL = 64
"""Batches sorted together: wide enough that like lengths meet, narrow enough that the order stays random."""


@dataclass
class Batch:
    """One micro-batch.

    ``inputs`` are the model's keyword arguments, each ``(rows, tokens)``. ``counts`` are known before any forward and
    are what the terms of an objective are divided by. ``teacher_logits`` is ``(rows, outputs)``; a row the teacher
    never saw is NaN throughout.
    """

    inputs: dict[str, Tensor]
    counts: dict[str, int]
    labels: Tensor | None = None
    teacher_logits: Tensor | None = None
    rate: float = 1.0
    """Multiplies the learning rate of the step (BPTT windows of varying length)."""

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with every tensor on `device`."""
        move = lambda tensor: None if tensor is None else tensor.to(device, non_blocking=True)  # noqa: E731
        return replace(
            self,
            inputs={name: tensor.to(device, non_blocking=True) for name, tensor in self.inputs.items()},
            labels=move(self.labels),
            teacher_logits=move(self.teacher_logits),
        )


class BatchSource(Protocol):
    """What :func:`understudy.training.fit` iterates over."""

    def steps(self, epoch: int) -> int:
        """Optimizer steps in an epoch."""
        ...

    def windows(self, epoch: int, start: int = 0) -> Iterator[Sequence[Batch]]:
        """The micro-batches of each optimizer step of this rank, from step `start` of the epoch on."""
        ...

    def padding_ratio(self) -> float:
        """Tokens computed over tokens real."""
        ...


Step = list[np.ndarray]
"""Row numbers of the micro-batches of one optimizer step, for one rank."""


def bucketed_plan(
    lengths: np.ndarray,
    *,
    batch_size: int,
    max_tokens: int,
    seed: int,
    epoch: int,
    world_size: int = 1,
    rank: int = 0,
) -> list[Step]:
    """One epoch of length-bucketed batches.

    Rows are shuffled, sorted by length within pools of many batches, cut into global batches of `batch_size` rows, and
    the batches are shuffled. A rank takes every `world_size`-th row of a batch, which keeps the ranks' lengths alike.
    Where a rank's padded share exceeds `max_tokens`, all ranks cut theirs into the same number of micro-batches, none
    empty. A last batch with fewer rows than ranks joins the one before.

    Args:
        lengths: ``(rows,)``, tokens a row.
        batch_size: rows of an optimizer step, over all ranks.
        max_tokens: padded tokens (rows times longest) of a micro-batch; a single longer row stands alone.
        seed, epoch: determine the order, nothing else does.

    Returns:
        The steps of this rank, each a list of row-number arrays.

    Raises:
        ValueError: if the batch has fewer rows than there are ranks, or there are fewer rows than ranks.

    Example:
        >>> plan = bucketed_plan(np.array([3, 9, 3, 9]), batch_size=2, max_tokens=64, seed=0, epoch=0)
        >>> sorted(tuple(sorted(step[0].tolist())) for step in plan)
        [(0, 2), (1, 3)]
    """
    if batch_size < world_size or len(lengths) < world_size:
        raise ValueError(
            f"{world_size} processes need batches and data of at least as many rows, but batch_size is {batch_size} and there are {len(lengths)} rows"
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
    return [_slice(batches[i], lengths, max_tokens, world_size)[rank] for i in rng.permutation(len(batches))]


def _slice(rows: np.ndarray, lengths: np.ndarray, max_tokens: int, world_size: int) -> list[Step]:
    """A global batch cut for every rank: as many micro-batches as the neediest rank requires, none of them empty."""
    shares = [rows[rank::world_size] for rank in range(world_size)]
    needed = max(_pieces_needed(lengths[share], max_tokens) for share in shares)
    pieces = min(needed, min(len(share) for share in shares))
    return [np.array_split(share, pieces) for share in shares]


def _pieces_needed(lengths: np.ndarray, max_tokens: int) -> int:
    """The fewest even pieces whose padded size fits; with rows that alone exceed the budget, one a row."""
    for pieces in range(1, len(lengths) + 1):
        if all(len(part) == 1 or len(part) * part.max() <= max_tokens for part in np.array_split(lengths, pieces)):
            return pieces
    return len(lengths)


class BucketedBatches:
    """Encoded rows with their labels and, where there is a teacher, its logits, in bucketed batches.

    Args:
        encoded: the rows' token ids.
        labels: as in :class:`understudy.data.readers.sources.Rows`, or None.
        names: the inputs that the model takes.
        rows: the numbers of the rows to use; all by default.
        teacher: row numbers to ``(rows, outputs)`` logits, called as a batch is made and never a part of the model.
        batch_size, max_tokens, seed, world_size, rank: as in :func:`bucketed_plan`.
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
        )
        self._steps = len(self._plan(epoch=0))

    def steps(self, epoch: int) -> int:
        """Optimizer steps in an epoch: the same for every epoch."""
        return self._steps

    def windows(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """The micro-batches of each step, from step `start` on."""
        for step in self._plan(epoch=epoch)[start:]:
            yield [self.batch(self.rows[places]) for places in step]

    def batch(self, rows: np.ndarray) -> Batch:
        """The rows of these numbers as one micro-batch."""
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

    def padding_ratio(self, epoch: int = 0) -> float:
        """Tokens computed over tokens real, of one epoch of this rank."""
        lengths = [self._lengths[places] for step in self._plan(epoch=epoch) for places in step]
        return sum(len(part) * int(part.max()) for part in lengths) / sum(int(part.sum()) for part in lengths)


class Paced:
    """The windows of other batches, in their order, counted in epochs of so many steps: a budget that is another's.

    Example:
        >>> class Letters:
        ...     def steps(self, epoch): return 3
        ...     def windows(self, epoch, start=0): return iter([[f"{epoch}{letter}"] for letter in "abc"[start:]])
        >>> [window[0] for window in Paced(Letters(), 4).windows(1)]
        ['1b', '1c', '2a', '2b']
    """

    def __init__(self, batches: BucketedBatches, steps: int) -> None:
        self.batches, self._steps = batches, steps

    def steps(self, epoch: int) -> int:
        """Optimizer steps in an epoch: the same for every epoch."""
        return self._steps

    def windows(self, epoch: int, start: int = 0) -> Iterator[Sequence[Batch]]:
        """The micro-batches of each step, from step `start` on."""
        own, place = 0, epoch * self._steps + start
        while place >= self.batches.steps(own):
            own, place = own + 1, place - self.batches.steps(own)
        following = chain.from_iterable(self.batches.windows(own + i, 0 if i else place) for i in count())
        return islice(following, self._steps - start)

    def padding_ratio(self) -> float:
        """Of the other batches."""
        return self.batches.padding_ratio()


def length_batches(lengths: np.ndarray, *, max_tokens: int, max_rows: int = 256) -> list[np.ndarray]:
    """Batches for inference: rows sorted by length, cut where the padded size would exceed `max_tokens`.

    The cut depends on the lengths alone, so a run that is interrupted and resumed computes the very same batches.

    Example:
        >>> [batch.tolist() for batch in length_batches(np.array([5, 1, 5, 1]), max_tokens=10)]
        [[1, 3], [0, 2]]
    """
    order = np.argsort(lengths, kind="stable")
    batches: list[np.ndarray] = []
    start = 0
    for end in range(1, len(order) + 1):
        full = end == len(order) or (end + 1 - start) * lengths[order[end]] > max_tokens or end - start == max_rows
        if full:
            batches.append(order[start:end])
            start = end
    return batches
