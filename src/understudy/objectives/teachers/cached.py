"""The teacher cache: each distinct text goes through a model once, whatever the number of epochs and runs."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from understudy.data.at_once import in_order
from understudy.data.cache import cache_dir
from understudy.data.texts import Texts
from understudy.errors import ModelError
from understudy.failpoints import failpoint
from understudy.inference.answering import Answering
from understudy.inference.predictor import Predictor
from understudy.models.structure.layers import base_model
from understudy.objectives.teachers.cache_files import Job, LabelStore, sortable
from understudy.objectives.teachers.sources import AnswerSource, source_of

_FLUSH_SHARE, _FLUSH_AT_LEAST_S, _FLUSH_AT_MOST_S = 0.05, 1.0, 60.0
"""Labels are saved when the unsaved ones took this share of the time so far, within these limits. The limits bound what
a kill can cost; the share lets the number of files grow only with the logarithm of the time."""

TextBatch = list[tuple[str, ...]]
"""The texts of a batch, in their order."""
Elsewhere = Callable[[Iterable[tuple[int, TextBatch]]], Generator[tuple[int, np.ndarray], None, None]]
"""Has numbered batches answered by :func:`answer_batch` in other processes; the answers come in any order."""


class CachedTeacher:
    """Logits of every distinct text, kept on disk; made by :meth:`label`.

    Attributes:
        outputs: the width of an answer.
        complete: whether every text has its answer; False after an early stop.
        distinct_texts: the number of different texts.
        forward_texts: how many of them went through the model in this process; 0 when all were known.
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
        """Logits of rows, read from disk: float32 ``(rows, outputs)``; NaN where an early stop left no answer."""
        out = self._logits[self._index[rows]]
        return torch.from_numpy(out if self._columns is None else out[:, self._columns])

    @classmethod
    def label(
        cls,
        model: Answering,
        texts: Texts,
        *,
        columns: np.ndarray | None = None,
        means: bool = False,
        max_tokens: int | None = None,
        on_texts: Callable[[int, int], None] = lambda done, total: None,
        should_stop: Callable[[], bool] = lambda: False,
        workers: int = 1,
        elsewhere: Elsewhere | None = None,
    ) -> CachedTeacher:
        """Have a model label texts, except those that it has labelled so before, in this run or in another.

        Labelling that was killed continues on the same batches and gives the same bits. Answers are shared by all
        models with the same :meth:`~understudy.inference.answering.Answering.fingerprint`. A network labels padded
        batches of texts of similar length; any other model labels blocks of texts.

        Args:
            model: the teacher, on its device.
            texts: the rows that will be asked for; equal texts are labelled once.
            columns: the model's outputs in the task's order, see
                :func:`understudy.objectives.teachers.labels.match_labels`.
            means: let the mean of the last states follow a network's outputs in each answer, see
                :func:`understudy.inference.vectors.gives_means`. The outputs are then known without the means too.
            max_tokens: padded tokens of a network's batch; by default
                :func:`understudy.inference.logits.token_budget`.
            on_texts: called with the number of distinct texts that have their labels and the number of all, at first
                and after each batch.
            should_stop: asked before each batch; once it says yes, what is done is saved and the rest stays NaN.
            workers: batches of a network that are computed at once, each by a thread of its own; give as many as there
                are cores, and torch a single thread: a batch then waits for no other, and its bits are always the same.
                The network must keep nothing from batch to batch.
            elsewhere: has the batches computed by other processes; what is in the cache afterwards is the same.

        Raises:
            ModelError: if the model's outputs are not finite.
            OutputError: if the cache cannot be written.
        """
        plain, both = _stores(model)
        store = both if means else plain
        keys, first, index = np.unique(sortable(texts.keys()), return_index=True, return_inverse=True)
        logits, forward_texts, complete = store.find(keys), 0, True
        if logits is None:
            source = source_of(model, texts, max_tokens=max_tokens, means=means)
            at_once = workers if isinstance(model, Predictor) else 1
            sent = None if elsewhere is None else partial(_sent, elsewhere, texts)
            labelling = _Labelling(source, keys, first, store, on_texts, should_stop, at_once, sent)
            with source.ready():
                complete = labelling.run()
            logits, forward_texts = store.assemble(keys) if complete else store.gather(keys), labelling.forward_texts
        else:
            on_texts(len(keys), len(keys))
        if means:
            done = np.flatnonzero(~np.isnan(logits[:, 0]))
            plain.know(keys[done], logits[done, : plain.outputs])
        return cls(logits, index.reshape(-1), columns=columns, forward_texts=forward_texts, complete=complete)

    @staticmethod
    def know(model: Answering, texts: Texts, answers: np.ndarray) -> None:
        """Keep what came out of another pass over texts: a model's outputs, and after them the means of its last states."""
        keys, first = np.unique(sortable(texts.keys()), return_index=True)
        answers = _checked(answers[first])
        plain, both = _stores(model)
        both.know(keys, answers)
        plain.know(keys, answers[:, : plain.outputs])

    @staticmethod
    def known(model: Answering, texts: Texts, *, means_of: Texts | None = None) -> int:
        """How many of the distinct texts a model has labelled before.

        Args:
            means_of: those of the texts of which the means must be known too.
        """
        plain, both = _stores(model)
        keys = np.unique(sortable(texts.keys()))
        lacking = keys[plain.unknown(keys)]
        if means_of is not None:
            wanted = np.unique(sortable(means_of.keys()))
            lacking = np.concatenate([np.setdiff1d(lacking, wanted), wanted[both.unknown(wanted)]])
        return len(keys) - len(lacking)

    @classmethod
    def gathered(cls, model: Answering, texts: Texts, *, columns: np.ndarray | None = None) -> CachedTeacher:
        """What a model has labelled by now; nothing is read."""
        plain, _ = _stores(model)
        keys, index = np.unique(sortable(texts.keys()), return_inverse=True)
        found = plain.find(keys)
        logits = plain.gather(keys) if found is None else found
        complete = found is not None or not np.isnan(logits[:, 0]).any()
        return cls(logits, index.reshape(-1), columns=columns, forward_texts=0, complete=complete)


def _stores(model: Answering) -> tuple[LabelStore, LabelStore]:
    """Where a model's outputs are kept, and where its outputs and the means of its last states after them."""
    folder, outputs = cache_dir() / "teacher_logits" / model.fingerprint()[:32], model.outputs
    config = getattr(base_model(model.model), "config", None) if isinstance(model, Predictor) else None
    width = getattr(config, "hidden_size", 0)  # without one no means are asked for
    return LabelStore(folder, outputs=outputs), LabelStore(Path(f"{folder}-means"), outputs=outputs + width)


def answer_batch(model: Answering, batch: Texts, *, means: bool = False) -> np.ndarray:
    """A model's answers for one batch of a plan, as :meth:`CachedTeacher.label` computes them: float32 ``(texts, width)``."""
    source = source_of(model, batch, means=means, cache=False)
    with source.ready():
        return source.logits(np.arange(len(batch)))


def _sent(
    elsewhere: Elsewhere, texts: Texts, batches: Iterable[tuple[int, np.ndarray]]
) -> Generator[tuple[int, np.ndarray], None, None]:
    """The answers for numbered batches of rows."""
    return elsewhere((number, list(texts.take(rows))) for number, rows in batches)


class _Labelling:
    """Brings a store from what it holds to what a set of texts needs."""

    def __init__(
        self,
        source: AnswerSource,
        keys: np.ndarray,
        first: np.ndarray,
        store: LabelStore,
        on_texts: Callable[[int, int], None],
        should_stop: Callable[[], bool],
        workers: int,
        sent: Callable[..., Generator[tuple[int, np.ndarray], None, None]] | None,
    ) -> None:
        self.forward_texts, self._workers, self._sent = 0, workers, sent
        self._source, self._store = source, store
        self._keys, self._first = keys, first
        self._on_texts, self._should_stop = on_texts, should_stop

    def run(self) -> bool:
        """Finish the jobs that were begun for this very set, then start one for what is unknown; whether all is done."""
        for number in itertools.count():
            job = self._store.job(self._keys, number)
            new = self._store.unknown(self._keys)
            if not len(new):  # what a job lacks may have come out of another pass
                break
            if job is None:
                job = self._store.start(self._keys, number, new, self._source.batches(self._first[new]))
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
        answers = self._numbered({number: job.keys[job.batches[number]] for number in missing})
        try:
            for _ in missing:
                self._on_texts(done, len(self._keys))
                if self._should_stop():
                    break
                number, found = next(answers)
                pending[number] = _checked(found)
                self.forward_texts += len(pending[number])
                done += len(pending[number])
                failpoint("label.batch")
                now = time.monotonic()
                if _flush_due(now - saved, now - began):
                    job.add(pending)
                    pending, saved = {}, now
        finally:
            if pending:
                job.add(pending)
            answers.close()  # batches that were begun too early are finished, and left
        return done == len(self._keys)

    def _numbered(self, batches: Mapping[int, np.ndarray]) -> Generator[tuple[int, np.ndarray], None, None]:
        """The answers for the keys of each batch, with its number; they may come in another order."""
        if self._sent is not None:
            with closing(self._sent((number, self._rows(keys)) for number, keys in batches.items())) as answers:
                yield from answers
            return
        with closing(in_order(self._answers, list(batches.values()), workers=self._workers)) as answers:
            yield from zip(batches, answers, strict=True)

    def _answers(self, keys: np.ndarray) -> np.ndarray:
        return self._source.logits(self._rows(keys))

    def _rows(self, keys: np.ndarray) -> np.ndarray:
        """A row of the texts for each key."""
        rows: np.ndarray = self._first[np.searchsorted(self._keys, keys)]
        return rows


def _checked(logits: np.ndarray) -> np.ndarray:
    if not np.isfinite(logits).all():
        raise ModelError(
            "the teacher's answers are not finite for some texts: it cannot teach. Check its weights, or use float32 if they are in half precision."
        )
    return logits


def _flush_due(unsaved_s: float, elapsed_s: float) -> bool:
    return unsaved_s >= min(max(_FLUSH_SHARE * elapsed_s, _FLUSH_AT_LEAST_S), _FLUSH_AT_MOST_S)
