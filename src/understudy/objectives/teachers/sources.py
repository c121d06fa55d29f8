"""Where a teacher's answers come from: padded batches through a network, or blocks of texts given to any other model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import numpy as np
from torch import nn

from understudy.data.batches.by_length import length_batches
from understudy.data.texts import Texts
from understudy.data.tokens.encode import encode
from understudy.inference.answering import Answering
from understudy.inference.logits import batch_logits, device_of, token_budget
from understudy.inference.predictor import Predictor
from understudy.models.probe.vectors import WithMeans
from understudy.models.structure.layers import evaluating, watched

_BLOCK = 512
"""Texts given at once to a model that makes batches of its own."""


class AnswerSource(Protocol):
    """Where the answers for the rows of some texts come from."""

    def batches(self, rows: np.ndarray) -> list[np.ndarray]:
        """How rows are cut into batches: positions in `rows`, each in one batch."""
        ...

    def ready(self) -> AbstractContextManager[None]:
        """Inside, batches may be answered, several at once."""
        ...

    def logits(self, rows: np.ndarray) -> np.ndarray:
        """The answers for a batch: float32 ``(rows, outputs)``."""
        ...


class PaddedTexts:
    """Padded batches of similar length, cut from texts that are tokenised once.

    Args:
        max_tokens: padded tokens of a batch; by default :func:`understudy.inference.logits.token_budget`.
        means: let the mean of the last states follow the outputs in each answer.
        cache: keep the token ids.
    """

    def __init__(self, predictor: Predictor, texts: Texts, max_tokens: int | None, *, means: bool, cache: bool) -> None:
        self._model, self._names, self._means = predictor.model, predictor.names, means
        self._answers: nn.Module = predictor.model
        self._encoded = encode(texts, predictor.tokenizer, max_length=predictor.max_length, cache=cache)
        self._max_tokens = max_tokens or token_budget(device_of(predictor.model), predictor.model)

    def batches(self, rows: np.ndarray) -> list[np.ndarray]:
        """Batches of similar length, under the token budget."""
        padded = "attention_mask" in self._names
        return length_batches(self._encoded.lengths[rows], max_tokens=self._max_tokens, padded=padded)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """In evaluation mode, once for all batches: one that is done must not put others out of it."""
        with evaluating(self._model), watched(self._model) if self._means else nullcontext() as states:
            self._answers = self._model if states is None else WithMeans(self._model, states)
            yield

    def logits(self, rows: np.ndarray) -> np.ndarray:
        """One padded batch through the network."""
        return batch_logits(self._answers, self._encoded, rows, names=self._names)


class TextBlocks:
    """Blocks of raw texts, for a model that does the rest itself."""

    def __init__(self, model: Answering, texts: Texts) -> None:
        self._model, self._texts = model, texts

    def batches(self, rows: np.ndarray) -> list[np.ndarray]:
        """Blocks of :data:`_BLOCK` texts, in the order of the rows."""
        return np.split(np.arange(len(rows)), range(_BLOCK, len(rows), _BLOCK))

    def ready(self) -> AbstractContextManager[None]:
        """At any time."""
        return nullcontext()

    def logits(self, rows: np.ndarray) -> np.ndarray:
        """The model's answers for a block."""
        return np.asarray(self._model.logits(self._texts.take(rows)), np.float32)


def source_of(
    model: Answering, texts: Texts, *, max_tokens: int | None = None, means: bool, cache: bool = True
) -> AnswerSource:
    """The source of a model's answers for texts, see :class:`PaddedTexts` for the other arguments, which only a network has."""
    if isinstance(model, Predictor):
        return PaddedTexts(model, texts, max_tokens, means=means, cache=cache)
    return TextBlocks(model, texts)
