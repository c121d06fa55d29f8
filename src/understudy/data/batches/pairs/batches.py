"""Encoded rows in batches all of whose pairs are compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from understudy.data.batches.by_length import length_batches
from understudy.data.batches.contract import Batch
from understudy.data.batches.pairs.plan import Meeting, alike, meetings, pair_steps
from understudy.data.tokens.encode import Encoded, collate


@dataclass
class PairBatch(Batch):
    """Texts, and their pairs that count: bool ``(texts, texts)``, true above the diagonal where a pair counts.

    ``counts`` has ``rows`` (texts that the step has not encoded yet), ``alike`` and ``apart`` (pairs).

    Texts are sorted by length. ``parts`` says where to cut them, so that short ones are not padded to the longest: the
    number of the text after a part, and the tokens of its longest text.
    """

    alike: Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.bool))
    apart: Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.bool))

    parts: tuple[tuple[int, int], ...] = ()
    padding_side: str = "right"

    def pieces(self) -> Iterator[dict[str, Tensor]]:
        """The inputs part by part, each without the padding that only longer texts need."""
        start = 0
        for stop, longest in self.parts:
            real = slice(-longest, None) if self.padding_side == "left" else slice(longest)
            yield {name: tensor[start:stop, real] for name, tensor in self.inputs.items()}
            start = stop

    def to(self, device: torch.device | str) -> PairBatch:
        """This batch with every tensor on `device`."""
        moved = replace(self, alike=self.alike.to(device), apart=self.apart.to(device))
        return super(PairBatch, moved).to(device)  # type: ignore[return-value]


class PairBatches:
    """Encoded rows with class labels: what a contrastive objective is trained on.

    Steps are those of :func:`understudy.data.batches.pairs.plan.pair_steps`; a step that is too large at once is cut by
    :func:`understudy.data.batches.pairs.plan.meetings`. A text is encoded once a step, or once a meeting.

    Args:
        encoded: the token ids of the rows; a row of two texts is encoded as one.
        labels: class indices ``(rows,)``, or 0 and 1 ``(rows, classes)``; rows without a label are left out.
        names: the inputs that the model takes.
        batch_size: rows of a step.
        max_tokens: padded tokens of the texts that meet at once.
        piece_tokens: padded tokens of the texts that are encoded in one go; it changes the speed alone.
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
        piece_tokens: int | None = None,
    ) -> None:
        self.encoded, self.labels, self.names = encoded, labels, names
        self.batch_size, self.max_tokens, self.seed = batch_size, max_tokens, seed
        self.piece_tokens = min(piece_tokens or max_tokens, max_tokens)
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
            parts=self._parts(meeting.rows),
            padding_side=self.encoded.padding_side,
        )

    def padding_ratio(self, epoch: int = 0) -> float:
        """Tokens computed, padding included, divided by real tokens, in one epoch."""
        computed = real = 0
        for rows in self._plan(epoch):
            for meeting in self._meetings(rows):
                start = 0
                for stop, longest in self._parts(meeting.rows):
                    computed, start = computed + (stop - start) * longest, stop
                real += int(self.encoded.lengths[meeting.rows].sum())
        return computed / max(1, real)

    def _parts(self, rows: np.ndarray) -> tuple[tuple[int, int], ...]:
        """Where to cut rows that are sorted by length."""
        lengths = np.maximum(self.encoded.lengths[rows], 1)
        cut = length_batches(lengths, max_tokens=self.piece_tokens)
        stops = np.cumsum([len(part) for part in cut]).tolist()
        return tuple((stop, int(lengths[stop - 1])) for stop in stops)

    def _plan(self, epoch: int) -> list[np.ndarray]:
        return pair_steps(self.labels, batch_size=self.batch_size, seed=self.seed, epoch=epoch)

    def _meetings(self, rows: np.ndarray) -> Iterator[Meeting]:
        return meetings(rows, self.encoded.lengths, max_tokens=self.max_tokens)
