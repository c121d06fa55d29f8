"""Batches with the words that a teacher drew for their hidden tokens, see :mod:`understudy.objectives.teachers.drawing`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from understudy.data.batches.bucketed import Batch
from understudy.data.batches.masked import MaskedLines
from understudy.objectives.teachers.drawing import Draws


@dataclass
class DrawnBatch(Batch):
    """A batch with the words that its teacher drew for the hidden tokens, row by row; see :class:`Draws`."""

    words: Tensor | None = None
    entropy: Tensor | None = None

    def to(self, device: torch.device | str) -> DrawnBatch:
        """The same batch on `device`."""
        moved = cast(DrawnBatch, super().to(device))
        assert self.words is not None
        assert self.entropy is not None
        moved.words, moved.entropy = self.words.to(device), self.entropy.to(device)
        return moved


class DrawnBatches:
    """Batches of a masked corpus, each with the words that were drawn for it.

    Attributes:
        rounds: the draws of each round of masks, in order; set them before the first call of :meth:`windows`.
    """

    def __init__(self, batches: MaskedLines) -> None:
        self.batches = batches
        self.rounds: list[Draws] = []

    def steps(self, epoch: int) -> int:
        """Optimizer steps in an epoch."""
        return self.batches.steps(self._drawn(epoch))

    def windows(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """The micro-batches of each step, from step `start` on."""
        epoch = self._drawn(epoch)
        draws = self.rounds[self.batches.masking.round(epoch)]
        for step in self.batches.plan(epoch)[start:]:
            yield [self._batch(rows, epoch, draws) for rows in step]

    def padding_ratio(self, epoch: int = 0) -> float:
        """Computed tokens per real token in an epoch."""
        return self.batches.padding_ratio(self._drawn(epoch))

    def _batch(self, rows: np.ndarray, epoch: int, draws: Draws) -> DrawnBatch:
        words, entropy = draws(self.batches.texts(rows, epoch))
        return DrawnBatch(**vars(self.batches.batch(rows, epoch)), words=words, entropy=entropy)

    def _drawn(self, epoch: int) -> int:
        """The epoch itself, or an earlier one that has words: a rate sweep may take more epochs than the training."""
        missing = self.batches.masking.round(epoch) >= len(self.rounds) > 0
        return epoch % len(self.rounds) if missing else epoch
