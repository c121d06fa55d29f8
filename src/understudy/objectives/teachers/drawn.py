"""A teacher of words that reads a corpus once: what it draws for the hidden tokens is kept on disk."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from understudy.atomic import CACHE, OUTPUT, new_file, said_plainly
from understudy.data.batches.by_length import length_batches
from understudy.data.batches.contract import Batch
from understudy.data.batches.masked import MaskedLines, hidden_tokens, masked_batch
from understudy.data.batches.masking import Masking
from understudy.data.cache import cache_dir
from understudy.data.tasks import NO_LABEL
from understudy.data.tokens.encode import Encoded
from understudy.errors import ModelError
from understudy.failpoints import failpoint
from understudy.functional.drawn_words import draw_words
from understudy.functional.vocabulary_loss import float_logits, positions_at_once
from understudy.models.files.load import model_fingerprint
from understudy.objectives.teachers.language import LanguageTeacher

_FORMAT = 1
"""Of the files, and of the way that words are drawn."""


@dataclass(frozen=True)
class Draws:
    """The words that were drawn for the hidden tokens of a corpus under one set of masks.

    Attributes:
        table: a record for each token, ``words`` and ``entropy``, texts by length; memory-mapped.
        begins, counts: where the tokens of each text are in it, ``(texts,)`` each.
    """

    table: np.ndarray
    begins: np.ndarray
    counts: np.ndarray

    def __call__(self, texts: np.ndarray) -> tuple[Tensor, Tensor]:
        """Words, int64 ``(hidden, count)``, and entropies, float32 ``(hidden,)``, one text after the other."""
        spans = [np.arange(self.begins[text], self.begins[text] + self.counts[text]) for text in texts]
        found = self.table[np.concatenate(spans)]
        return torch.from_numpy(found["words"].astype(np.int64)), torch.from_numpy(found["entropy"].copy())


class Drawing:
    """A teacher at work on a corpus.

    Args:
        teacher: on its device.
        encoded: the texts, with a fingerprint.
        masking: what is hidden of them.
        names: the inputs that the teacher takes.
        count: words a hidden token.
        temperature: softens what they are drawn from.
        precision: of its forward pass; draws in another one are kept apart.
    """

    def __init__(
        self,
        teacher: LanguageTeacher,
        encoded: Encoded,
        masking: Masking,
        *,
        names: tuple[str, ...],
        count: int,
        temperature: float,
        precision: str,
    ) -> None:
        self._teacher, self._encoded, self._masking, self._names = teacher, encoded, masking, names
        self._count, self._temperature = count, temperature
        words = np.min_scalar_type(teacher.head.vocabulary - 1)
        self._record = np.dtype([("words", words, (count,)), ("entropy", "<f4")])
        self._precision = precision

    def draw(
        self,
        epoch: int,
        *,
        max_tokens: int,
        scratch: Path,
        on_texts: Callable[[int], None] = lambda count: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Draws | None:
        """Read the texts under the masks of an epoch, unless that was done before, in this run or in another.

        A reading that was killed goes on where it was, on the same batches, and draws the same words.

        Args:
            max_tokens: padded tokens of a batch.
            scratch: a folder of this run's own, for a reading that is not complete.
            on_texts: told how many texts have their words: at first, and after each batch.
            should_stop: asked before each batch.

        Returns:
            None after an early stop.

        Raises:
            ModelError: if the teacher's scores are no numbers.
            OutputError: if the disk is full or a folder cannot be written.
        """
        counts = hidden_tokens(self._encoded, self._masking, epoch=epoch)
        batches = length_batches(self._encoded.lengths, max_tokens=max_tokens)
        path = cache_dir() / "teacher_words" / f"{self._name(epoch)}.bin"
        size = int(counts.sum()) * self._record.itemsize
        if not path.exists() or path.stat().st_size != size:
            ends = np.cumsum([int(counts[batch].sum()) for batch in batches]) * self._record.itemsize
            part = scratch / path.name
            with said_plainly(scratch, remedy=OUTPUT):
                if not self._read(part, epoch, batches, ends, on_texts, should_stop):
                    return None
            with open(part, "rb") as file, new_file(path, remedy=CACHE) as kept:
                shutil.copyfileobj(file, kept)
            failpoint("draw.kept")
            part.unlink()
        else:
            on_texts(len(counts))
        order = np.concatenate(batches)
        begins = np.empty(len(counts), np.int64)
        begins[order] = np.cumsum(counts[order]) - counts[order]
        table = np.memmap(path, self._record, mode="r") if size else np.empty(0, self._record)
        return Draws(table, begins, counts)

    @property
    def bytes_a_token(self) -> int:
        """On disk, for each hidden token."""
        return self._record.itemsize

    def _read(
        self,
        part: Path,
        epoch: int,
        batches: list[np.ndarray],
        ends: np.ndarray,
        on_texts: Callable[[int], None],
        should_stop: Callable[[], bool],
    ) -> bool:
        """Add to a file, which ends where a batch ends (after so many bytes), what is missing; whether all is there now."""
        part.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "ab") as file:
            done = int(np.searchsorted(ends, os.fstat(file.fileno()).st_size, "right"))
            file.truncate(int(ends[done - 1]) if done else 0)
            texts = sum(len(batch) for batch in batches[:done])
            on_texts(texts)
            for batch in batches[done:]:
                if should_stop():
                    return False
                file.write(self._drawn(batch, epoch).tobytes())
                file.flush()
                os.fsync(file.fileno())
                texts += len(batch)
                on_texts(texts)
                failpoint("draw.batch")
        return True

    def _drawn(self, texts: np.ndarray, epoch: int) -> np.ndarray:
        """The records of a batch, text by text."""
        batch = masked_batch(self._encoded, texts, self._masking, epoch=epoch, names=self._names)
        assert batch.labels is not None
        rows, places = np.nonzero(batch.labels.numpy() != NO_LABEL)
        offsets = torch.from_numpy(self._masking.uniform(texts[rows], places, epoch=epoch))
        device = next(self._teacher.model.parameters()).device
        states = self._teacher(batch.to(device).inputs).last[rows, places]
        records = np.empty(len(rows), self._record)
        chunk = positions_at_once(self._teacher.head.vocabulary)
        with torch.no_grad(), self._teacher.autocast():
            for start in range(0, len(rows), chunk):
                here = slice(start, start + chunk)
                logits = float_logits(self._teacher.head, states[here])
                if (logits.isnan() | (logits == torch.inf)).any():
                    raise ModelError(
                        "the teacher's scores are no numbers for some texts: it cannot teach. Check its weights, or give --precision fp32."
                    )
                words, entropy = draw_words(
                    logits, offsets[here].to(device), count=self._count, temperature=self._temperature
                )
                records["words"][here], records["entropy"][here] = words.cpu().numpy(), entropy.cpu().numpy()
        return records

    def _name(self, epoch: int) -> str:
        identity = json.dumps([*self._identity, self._masking.round(epoch)])
        return hashlib.sha256(identity.encode()).hexdigest()[:32]

    @cached_property
    def _identity(self) -> list[Any]:
        """What tells draws apart. All weights are read for it, which a plan need not wait for."""
        return [
            _FORMAT,
            model_fingerprint(self._teacher.model),
            self._encoded.fingerprint,
            self._masking.fingerprint,
            self._count,
            self._temperature,
            self._precision,
        ]


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
    """Other batches, each with the words that were drawn for it.

    Attributes:
        rounds: the draws of each round of masks, in their order; to be filled before the first window is asked for.
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
        """Of the other batches."""
        return self.batches.padding_ratio(self._drawn(epoch))

    def _batch(self, rows: np.ndarray, epoch: int, draws: Draws) -> DrawnBatch:
        words, entropy = draws(self.batches.texts(rows, epoch))
        return DrawnBatch(**vars(self.batches.batch(rows, epoch)), words=words, entropy=entropy)

    def _drawn(self, epoch: int) -> int:
        """An epoch, or one before it with words: a sweep over rates may take more epochs than the training."""
        missing = self.batches.masking.round(epoch) >= len(self.rounds) > 0
        return epoch % len(self.rounds) if missing else epoch
