"""Encoded rows in batches all of whose pairs are compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from understudy.data.batches.contract import Batch
from understudy.data.batches.pairs import Meeting, alike, meetings, pair_steps
from understudy.data.tokens.encode import Encoded, collate


@dataclass
class PairBatch(Batch):
    """Texts, and their pairs that count: bool ``(texts, texts)``, true above the diagonal where a pair counts.

    ``counts`` has ``rows`` (texts that the step has not encoded yet), ``alike`` and ``apart`` (pairs).
    """

    alike: Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.bool))
    apart: Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.bool))

    def to(self, device: torch.device | str) -> PairBatch:
        """This batch with every tensor on `device`."""
        moved = replace(self, alike=self.alike.to(device), apart=self.apart.to(device))
        return super(PairBatch, moved).to(device)  # type: ignore[return-value]


class PairBatches:
    """Encoded rows with class labels: what a contrastive objective is trained on.

    Steps are those of :func:`understudy.data.batches.pairs.pair_steps`; a step that is too large at once is cut by
    :func:`understudy.data.batches.pairs.meetings`. A text is encoded once a step, or once a meeting.

    Args:
        encoded: the token ids of the rows; a row of two texts is encoded as one.
        labels: class indices ``(rows,)``, or 0 and 1 ``(rows, classes)``; rows without a label are left out.
        names: the inputs that the model takes.
        batch_size: rows of a step.
        max_tokens: padded tokens computed at once.
        seed: with the epoch it determines the steps.

    Raises:
        ValueError: as :func:`pair_steps`.
    """

    def __init__(
        self,
        encoded: Encoded,
        labels: np.ndarray,
        *,
        names: Sequence[str],
        batch_size: int,
        max_tokens: int,
        seed: int,
    ) -> None:
        self.encoded, self.labels, self.names = encoded, labels, names
        self.batch_size, self.max_tokens, self.seed = batch_size, max_tokens, seed
        self._steps = len(self._plan(0))

    def steps(self, epoch: int) -> int:
        """Optimizer steps in an epoch; the same for every epoch."""
        return self._steps

    def windows(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """The micro-batches of each step, from step `start` on."""
        for rows in self._plan(epoch)[start:]:
            yield [self.batch(meeting) for meeting in self._meetings(rows)]

    def batch(self, meeting: Meeting) -> PairBatch:
        """The texts of a meeting with their pairs."""
        same = alike(self.labels[meeting.rows])
        one, other = meeting.counted & same, meeting.counted & ~same
        return PairBatch(
            inputs=collate(self.encoded, meeting.rows, names=self.names),
            counts={"rows": meeting.fresh, "alike": int(one.sum()), "apart": int(other.sum())},
            alike=torch.from_numpy(one),
            apart=torch.from_numpy(other),
        )

    def padding_ratio(self, epoch: int = 0) -> float:
        """Tokens computed, padding included, divided by real tokens, in one epoch."""
        parts = [self.encoded.lengths[m.rows] for rows in self._plan(epoch) for m in self._meetings(rows)]
        return sum(len(part) * int(part.max()) for part in parts) / max(1, sum(int(part.sum()) for part in parts))

    def _plan(self, epoch: int) -> list[np.ndarray]:
        return pair_steps(self.labels, batch_size=self.batch_size, seed=self.seed, epoch=epoch)

    def _meetings(self, rows: np.ndarray) -> Iterator[Meeting]:
        return meetings(rows, self.encoded.lengths, max_tokens=self.max_tokens)
