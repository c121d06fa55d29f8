"""A language teacher that reads a corpus once: the words that it draws for the hidden tokens are kept on disk."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from understudy.atomic import CACHE, OUTPUT, new_file, said_plainly
from understudy.checksums import checksum, say_damaged, seal, still_sound
from understudy.data.batches.by_length import length_batches
from understudy.data.batches.masked import hidden_tokens, masked_batch
from understudy.data.batches.masking import Masking
from understudy.data.readers.cached_tables import cache_dir
from understudy.data.tasks import NO_LABEL
from understudy.data.tokens.encode import Encoded
from understudy.errors import ModelError
from understudy.failpoints import failpoint
from understudy.functional.drawn_words import draw_words
from understudy.functional.vocabulary_loss import float_logits, positions_at_once
from understudy.models.files.fingerprints import model_fingerprint
from understudy.objectives.teachers.language import LanguageTeacher

_FORMAT = 1
"""Version of the files and of the way words are drawn."""
_SUM = 4
"""Bytes of the checksum behind each batch of draws that are not complete."""


@dataclass(frozen=True)
class Draws:
    """The words that were drawn for the hidden tokens of a corpus under one set of masks.

    Attributes:
        table: a record for each hidden token, ``words`` and ``entropy``, texts ordered by length; memory-mapped.
        begins, counts: ``(texts,)`` each: where a text's tokens begin in the table, and how many it has.
    """

    table: np.ndarray
    begins: np.ndarray
    counts: np.ndarray

    def __call__(self, texts: np.ndarray) -> tuple[Tensor, Tensor]:
        """Words, int64 ``(hidden, count)``, and entropies, float32 ``(hidden,)``, text by text in the order given."""
        spans = [np.arange(self.begins[text], self.begins[text] + self.counts[text]) for text in texts]
        found = self.table[np.concatenate(spans)]
        return torch.from_numpy(found["words"].astype(np.int64)), torch.from_numpy(found["entropy"].copy())


class Drawing:
    """Draws words from a teacher for the hidden tokens of a corpus.

    Args:
        teacher: on its device.
        encoded: the texts, with a fingerprint.
        masking: which tokens are hidden.
        names: the inputs that the teacher takes.
        count: words drawn for a hidden token.
        temperature: softens the distribution that they are drawn from.
        precision: of the forward pass; draws of different precisions are different cache entries.
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
        """Draw words for all texts under the masks of an epoch, or find those of an earlier run.

        Drawing that was killed continues on the same batches and draws the same words.

        Args:
            max_tokens: padded tokens of a batch.
            scratch: a folder of this run, for draws that are not complete.
            on_texts: called with the number of texts that have their words, at first and after each batch.
            should_stop: asked before each batch.

        Returns:
            The draws; None after an early stop.

        Raises:
            ModelError: if the teacher's scores are not numbers.
            OutputError: if the disk is full or a folder cannot be written.
        """
        counts = hidden_tokens(self._encoded, self._masking, epoch=epoch)
        batches = length_batches(self._encoded.lengths, max_tokens=max_tokens, padded="attention_mask" in self._names)
        path = cache_dir() / "teacher_words" / f"{self._name(epoch)}.bin"
        size = int(counts.sum()) * self._record.itemsize
        if still_sound(path) != size:
            sizes = [int(counts[batch].sum()) * self._record.itemsize for batch in batches]
            part = scratch / path.name
            with said_plainly(scratch, remedy=OUTPUT):
                if not self._read(part, epoch, batches, sizes, on_texts, should_stop):
                    return None
            with open(part, "rb") as file, new_file(path, remedy=CACHE) as kept:
                for length in sizes:
                    kept.write(file.read(length))
                    file.seek(_SUM, os.SEEK_CUR)
                seal(kept)
            failpoint("draw.kept")
            part.unlink()
        else:
            on_texts(len(counts))
        order = np.concatenate(batches)
        begins = np.empty(len(counts), np.int64)
        begins[order] = np.cumsum(counts[order]) - counts[order]
        shape = (int(counts.sum()),)
        table = np.memmap(path, self._record, mode="r", shape=shape) if size else np.empty(0, self._record)
        return Draws(table, begins, counts)

    @property
    def bytes_a_token(self) -> int:
        """Bytes on disk for each hidden token."""
        return self._record.itemsize

    def _read(
        self,
        part: Path,
        epoch: int,
        batches: list[np.ndarray],
        sizes: list[int],
        on_texts: Callable[[int], None],
        should_stop: Callable[[], bool],
    ) -> bool:
        """Add the missing batches to a file, each with its checksum behind it; whether all are there now."""
        part.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        with open(part, "r+b") as file:
            done = _whole_batches(file, part, sizes)
            texts = sum(len(batch) for batch in batches[:done])
            on_texts(texts)
            for batch in batches[done:]:
                if should_stop():
                    return False
                content = self._drawn(batch, epoch).tobytes()
                file.write(content + zlib.crc32(content).to_bytes(_SUM, "little"))
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
                        "the teacher's scores are not numbers for some texts: it cannot teach. Check its weights, or give --precision fp32."
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
        """What tells draws apart. It takes a pass over all weights, so it is only computed when it is needed."""
        return [
            _FORMAT,
            model_fingerprint(self._teacher.model),
            self._encoded.fingerprint,
            self._masking.fingerprint,
            self._names,
            self._count,
            self._temperature,
            self._precision,
        ]


def _whole_batches(file: BinaryIO, path: Path, sizes: Sequence[int]) -> int:
    """How many batches a file holds before its end or a damaged one; what follows is cut off."""
    whole = end = 0
    for size in sizes:
        found, written = checksum(file, size).to_bytes(_SUM, "little"), file.read(_SUM)
        if written != found:
            if len(written) == _SUM:
                say_damaged(path, f"the checksum of batch {whole + 1} is wrong")
            break
        whole, end = whole + 1, end + size + _SUM
    file.seek(end)
    file.truncate()
    return whole
