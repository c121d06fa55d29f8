"""The teacher cache: each distinct text goes through a model once, whatever the number of epochs and runs."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from functools import partial

import numpy as np
import torch
from torch import Tensor

from understudy.data.at_once import in_order
from understudy.data.cache import cache_dir
from understudy.data.texts import Texts
from understudy.data.tokens.encode import encode
from understudy.errors import ModelError
from understudy.failpoints import failpoint
from understudy.inference.answering import Answering
from understudy.inference.logits import batch_logits
from understudy.inference.predictor import Predictor
from understudy.models.structure.layers import base_model, evaluating
from understudy.objectives.teachers.cache_files import Job, LabelStore, sortable
from understudy.objectives.teachers.sources import AnswerSource, PaddedTexts, TextBlocks

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
        """Have a model label texts, except those that it has labelled before, in this run or in another.

        Labelling that was killed continues on the same batches and gives the same bits. Answers are shared by all
        models with the same :meth:`~understudy.inference.answering.Answering.fingerprint`. A network labels padded
        batches of texts of similar length; any other model labels blocks of texts.

        Args:
            model: the teacher, on its device.
            texts: the rows that will be asked for; equal texts are labelled once.
            columns: the model's outputs in the task's order, see
                :func:`understudy.objectives.teachers.labels.match_labels`.
            means: let the mean of the last states follow a network's outputs in each answer, see
                :func:`understudy.models.probe.vectors.gives_means`. The outputs are then known without the means too.
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
        store = _store(model, means=means)
        keys, first, index = np.unique(sortable(texts.keys()), return_index=True, return_inverse=True)
        logits = store.find(keys)
        if logits is not None:
            on_texts(len(keys), len(keys))
            return cls(logits, index.reshape(-1), columns=columns, forward_texts=0, complete=True)
        source: AnswerSource = TextBlocks(model, texts)
        at_once = 1
        if isinstance(model, Predictor):
            source, at_once = PaddedTexts(model, texts, max_tokens, means=means), workers
        sent = None if elsewhere is None else partial(_sent, elsewhere, texts)
        labelling = _Labelling(source, keys, first, store, on_texts, should_stop, at_once, sent)
        with source.ready():
            complete = labelling.run()
        logits = store.assemble(keys) if complete else store.gather(keys)
        if means:
            done = np.flatnonzero(~np.isnan(logits[:, 0]))
            _know(model, keys[done], logits[done])
        return cls(logits, index.reshape(-1), columns=columns, forward_texts=labelling.forward_texts, complete=complete)

    @staticmethod
    def know(model: Answering, texts: Texts, answers: np.ndarray) -> None:
        """Keep what came out of another pass over texts: a model's outputs, and after them the means of its last states."""
        keys, first = np.unique(sortable(texts.keys()), return_index=True)
        _know(model, keys, _checked(answers[first]))

    @staticmethod
    def known(model: Answering, texts: Texts) -> int:
        """How many of the distinct texts a model has labelled before."""
        keys = np.unique(sortable(texts.keys()))
        return len(keys) - len(_store(model).unknown(keys))


def _store(model: Answering, *, means: bool = False) -> LabelStore:
    folder, outputs = model.fingerprint()[:32], model.outputs
    if means:
        assert isinstance(model, Predictor)
        folder, outputs = f"{folder}-means", outputs + base_model(model.model).config.hidden_size
    return LabelStore(cache_dir() / "teacher_logits" / folder, outputs=outputs)


def _know(model: Answering, keys: np.ndarray, answers: np.ndarray) -> None:
    """Keep outputs and means, and the outputs for those who want no means, of the keys that have none yet."""
    _store(model, means=True).know(keys, answers)
    _store(model).know(keys, answers[:, : model.outputs])


def answer_batch(model: Answering, batch: Texts) -> np.ndarray:
    """A model's logits for one batch of a plan, as :meth:`CachedTeacher.label` computes them: float32 ``(texts, outputs)``."""
    if not isinstance(model, Predictor):
        return np.asarray(model.logits(batch), np.float32)
    encoded = encode(batch, model.tokenizer, max_length=model.max_length, cache=False)
    with evaluating(model.model):
        return batch_logits(model.model, encoded, np.arange(len(batch)), names=model.names)


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
            if job is None:
                new = self._store.unknown(self._keys)
                if not len(new):
                    break
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
            "the teacher's logits are not finite for some texts: it cannot teach. Check its weights, or use float32 if they are in half precision."
        )
    return logits


def _flush_due(unsaved_s: float, elapsed_s: float) -> bool:
    return unsaved_s >= min(max(_FLUSH_SHARE * elapsed_s, _FLUSH_AT_LEAST_S), _FLUSH_AT_MOST_S)
