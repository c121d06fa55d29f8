"""The cached teacher: each distinct text goes through the network once, whatever the number of epochs and runs."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from understudy.data.batches.by_length import length_batches
from understudy.data.cache import cache_dir
from understudy.data.texts import Texts
from understudy.data.tokens.encode import Encoded, encode
from understudy.errors import ModelError
from understudy.failpoints import failpoint
from understudy.inference.logits import batch_logits, device_of, outputs_of, token_budget
from understudy.inference.predictor import Predictor
from understudy.models.files import load
from understudy.models.structure.layers import evaluating
from understudy.objectives.teachers.label_store import Job, LabelStore, sortable

_FLUSH_SHARE, _FLUSH_AT_LEAST_S, _FLUSH_AT_MOST_S = 0.05, 1.0, 60.0
"""Labels are saved when the unsaved ones took this share of the time so far, within these limits: what a kill can cost,
with a number of files that grows with the logarithm of the time."""


class CachedTeacher:
    """Logits of every distinct text, kept on disk; made by :meth:`label`.

    Attributes:
        outputs: the width of an answer.
        complete: whether every text has its answer; False after an early stop.
        distinct_texts: how many different texts there are.
        forward_texts: how many of them went through the network in this process; 0 when all were known.
    """

    def __init__(
        self, logits: np.ndarray, index: np.ndarray, *, columns: np.ndarray | None, forward_texts: int, complete: bool
    ) -> None:
        self.outputs = logits.shape[1] if columns is None else len(columns)
        self.distinct_texts = len(logits)
        self.forward_texts = forward_texts
        self.complete = complete
        self._logits, self._index, self._columns = logits, index, columns

    def __call__(self, rows: np.ndarray) -> Tensor:
        """Logits of rows, read from disk: float32 ``(rows, outputs)``; NaN where labelling was stopped before."""
        out = self._logits[self._index[rows]]
        return torch.from_numpy(out if self._columns is None else out[:, self._columns])

    @classmethod
    def label(
        cls,
        predictor: Predictor,
        texts: Texts,
        *,
        fingerprint: str | None = None,
        columns: np.ndarray | None = None,
        max_tokens: int | None = None,
        on_texts: Callable[[int, int], None] = lambda done, total: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> CachedTeacher:
        """Have a model label texts, as far as it has not done so before, in this run or in another.

        Labelling that was killed goes on where it was, on the same batches, and gives the same bits. Texts that other
        runs have had labelled by the same weights, tokenizer and maximal length are taken from them.

        Args:
            predictor: the teacher, on its device.
            texts: the rows that will be asked for; equal texts are labelled once.
            fingerprint: of the teacher, computed if not given.
            columns: the model's outputs in the task's order, see :func:`understudy.objectives.teachers.contract.match_labels`.
            max_tokens: padded tokens of a batch; by default :func:`understudy.inference.logits.token_budget`.
            on_texts: told how many distinct texts have their labels, and how many there are, at first and after each
                batch.
            should_stop: asked before each batch; once it says yes, what is done is saved and the rest stays NaN.

        Raises:
            ModelError: if the model's outputs are not finite.
            OutputError: if the cache cannot be written.
        """
        known = fingerprint or load.model_fingerprint(predictor.model)
        identity = json.dumps([known, predictor.encoder.fingerprint, predictor.names])
        name = hashlib.sha256(identity.encode()).hexdigest()[:32]
        store = LabelStore(cache_dir() / "teacher_logits" / name, outputs=outputs_of(predictor.model))
        keys, first, index = np.unique(sortable(texts.keys()), return_index=True, return_inverse=True)
        logits = store.find(keys)
        if logits is not None:
            on_texts(len(keys), len(keys))
            return cls(logits, index.reshape(-1), columns=columns, forward_texts=0, complete=True)
        encoded = encode(texts, predictor.tokenizer, max_length=predictor.max_length)
        labelling = _Labelling(predictor, encoded, keys, first, store, on_texts, should_stop)
        complete = labelling.run(max_tokens or token_budget(device_of(predictor.model), predictor.model))
        logits = store.assemble(keys) if complete else store.gather(keys)
        return cls(logits, index.reshape(-1), columns=columns, forward_texts=labelling.forward_texts, complete=complete)


class _Labelling:
    """The way from what a store holds to what a set of texts needs."""

    def __init__(
        self,
        predictor: Predictor,
        encoded: Encoded,
        keys: np.ndarray,
        first: np.ndarray,
        store: LabelStore,
        on_texts: Callable[[int, int], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self.forward_texts = 0
        self._predictor, self._encoded, self._store = predictor, encoded, store
        self._keys, self._first = keys, first
        self._on_texts, self._should_stop = on_texts, should_stop

    def run(self, max_tokens: int) -> bool:
        """Finish the jobs once begun for this very set, then begin one for what is unknown; whether all is done."""
        for number in itertools.count():
            job = self._store.job(self._keys, number)
            if job is None:
                new = self._store.unknown(self._keys)
                if not len(new):
                    break
                batches = length_batches(self._encoded.lengths[self._first[new]], max_tokens=max_tokens)
                job = self._store.start(self._keys, number, new, batches)
            if not self._work(job):
                return False
        self._on_texts(len(self._keys), len(self._keys))
        return True

    def _work(self, job: Job) -> bool:
        """Label the batches that a job lacks; whether none is left."""
        missing = job.missing()
        done = len(self._keys) - sum(len(job.batches[number]) for number in missing)
        pending: dict[int, np.ndarray] = {}
        began = saved = time.monotonic()
        try:
            with evaluating(self._predictor.model):
                for number in missing:
                    self._on_texts(done, len(self._keys))
                    if self._should_stop():
                        break
                    pending[number] = self._forward(job.keys[job.batches[number]])
                    done += len(pending[number])
                    failpoint("label.batch")
                    now = time.monotonic()
                    if _flush_due(now - saved, now - began):
                        job.add(pending)
                        pending, saved = {}, now
        finally:
            if pending:
                job.add(pending)
        return done == len(self._keys)

    def _forward(self, keys: np.ndarray) -> np.ndarray:
        rows = self._first[np.searchsorted(self._keys, keys)]
        logits = batch_logits(self._predictor.model, self._encoded, rows, names=self._predictor.names)
        self.forward_texts += len(rows)
        if not np.isfinite(logits).all():
            raise ModelError(
                "the teacher's logits are not finite for some texts: it cannot teach. Check its weights, or use float32 if they are in half precision."
            )
        return logits


def _flush_due(unsaved_s: float, elapsed_s: float) -> bool:
    return unsaved_s >= min(max(_FLUSH_SHARE * elapsed_s, _FLUSH_AT_LEAST_S), _FLUSH_AT_MOST_S)
