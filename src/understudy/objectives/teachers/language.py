"""A language teacher: it reads the same batches as the student, and its insides travel with the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from understudy.data.batches.bucketed import Batch
from understudy.models.structure.insides import Insides, InsidesRecorder
from understudy.models.structure.layers import evaluating
from understudy.models.structure.vocabulary_head import vocabulary_head


class LanguageTeacher:
    """A masked language model in evaluation mode and without gradients. It is part of no objective.

    Args:
        model: on its device.
        hidden, vectors: which hidden states and vectors to return, see
            :class:`understudy.models.structure.insides.Looking`.
        autocast: the precision of the forward pass; by default the caller's.

    Raises:
        ModelError: if the model's head, or a state or vector asked for, cannot be found.
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
        self._look = InsidesRecorder(model, hidden=hidden, vectors=vectors)
        self.autocast = autocast

    def __call__(self, inputs: Mapping[str, Tensor]) -> Insides:
        """The insides for a batch. Scores over the vocabulary are not among them: :attr:`head` gives them, a few at a time."""
        with torch.no_grad(), evaluating(self.model), self.autocast():
            return self._look(inputs)


@dataclass
class TaughtBatch(Batch):
    """A batch that its teacher reads when it is moved to its device, so that insides are in memory for one micro-batch only."""

    teacher: LanguageTeacher | None = None
    insides: Insides | None = None

    def to(self, device: torch.device | str) -> TaughtBatch:
        """The same batch on `device`, with the teacher's insides."""
        moved = cast(TaughtBatch, super().to(device))
        moved.insides = None if moved.teacher is None else moved.teacher(moved.inputs)
        return moved


class _Batches(Protocol):
    """A source of batches without a teacher."""

    def steps(self, epoch: int) -> int:
        """Optimizer steps in an epoch."""
        ...

    def windows(self, epoch: int, start: int = 0) -> Iterator[Sequence[Batch]]:
        """The micro-batches of each step, from step `start` on."""
        ...

    def padding_ratio(self, epoch: int = 0) -> float:
        """Computed tokens per real token in an epoch."""
        ...


class TaughtBatches:
    """The batches of another source, each with the teacher."""

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
        """Computed tokens per real token in an epoch."""
        return self.batches.padding_ratio(epoch)
