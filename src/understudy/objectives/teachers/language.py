"""A teacher of language: it reads each batch as the student will, and its insides go along with the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from understudy.data.batches.contract import Batch
from understudy.models.structure.heads import vocabulary_head
from understudy.models.structure.insides import Insides, Looking
from understudy.models.structure.layers import evaluating


class LanguageTeacher:
    """A masked language model that is only listened to: in evaluation mode, without gradients, part of no objective.

    Args:
        model: on its device.
        hidden, vectors: what is wanted of its inside, see :class:`understudy.models.structure.insides.Looking`.
        autocast: the precision of its forward pass; that of the surroundings by default.

    Raises:
        ModelError: if its head, or what is wanted of its inside, cannot be found.
    """

    def __init__(
        self,
        model: Any,
        *,
        hidden: Iterable[int] = (),
        vectors: Iterable[int] = (),
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.head = vocabulary_head(model)
        self._look = Looking(model, hidden=hidden, vectors=vectors)
        self.autocast = autocast

    def __call__(self, inputs: Mapping[str, Tensor]) -> Insides:
        """What a batch makes of it. The scores over the vocabulary are left to :attr:`head`, a few at a time."""
        with torch.no_grad(), evaluating(self.model), self.autocast():
            return self._look(inputs)


@dataclass
class TaughtBatch(Batch):
    """A batch whose teacher reads it as it is put on its device: one micro-batch is in memory, not a whole step's."""

    teacher: LanguageTeacher | None = None
    insides: Insides | None = None

    def to(self, device: torch.device | str) -> TaughtBatch:
        """The same batch on `device`, with what the teacher makes of it."""
        moved = cast(TaughtBatch, super().to(device))
        moved.insides = None if moved.teacher is None else moved.teacher(moved.inputs)
        return moved


class _Batches(Protocol):
    def steps(self, epoch: int) -> int: ...

    def windows(self, epoch: int, start: int = 0) -> Iterator[Sequence[Batch]]: ...

    def padding_ratio(self, epoch: int = 0) -> float: ...


class TaughtBatches:
    """Other batches, each with its teacher."""

    def __init__(self, batches: _Batches, teacher: LanguageTeacher) -> None:
        self.batches, self.teacher = batches, teacher

    def steps(self, epoch: int) -> int:
        """Optimizer steps in an epoch."""
        return self.batches.steps(epoch)

    def windows(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """The micro-batches of each step, from step `start` on."""
        for window in self.batches.windows(epoch, start):
            yield [TaughtBatch(**vars(batch), teacher=self.teacher) for batch in window]

    def padding_ratio(self, epoch: int = 0) -> float:
        """Of the other batches."""
        return self.batches.padding_ratio(epoch)
