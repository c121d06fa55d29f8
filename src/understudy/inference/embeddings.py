"""A static embedding model, ready for raw text: it has vectors, and answers nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from understudy.data.tasks import Task, Text
from understudy.errors import ModelError
from understudy.inference.answering import Answering
from understudy.models.static_vectors import StaticVectors


class EmbeddingModel(Answering):
    """What ``understudy distill --embeddings_only`` made: ``understudy.load(folder).encode(["a text"])``.

    Args:
        static: the table and the tokenizer.
        name: for messages.
    """

    def __init__(self, static: StaticVectors, *, name: str = "this model") -> None:
        self.static, self.name = static, name

    @property
    def task(self) -> Task:  # type: ignore[override]
        """None: asking for it is the mistake.

        Raises:
            ModelError: always.
        """
        raise self._no_answers()

    def encode(self, texts: Sequence[Text]) -> np.ndarray:
        """Vectors of texts, in their order: float32 ``(texts, width)``, each of length 1.

        Raises:
            ValueError: if a text is no string.
        """
        return self.static.encode(texts)  # type: ignore[arg-type]

    def logits(self, texts: Sequence[Text]) -> NoReturn:
        """Refuse: there are no labels.

        Raises:
            ModelError: always.
        """
        raise self._no_answers()

    def summary(self) -> dict[str, int]:
        """Parameters and bytes."""
        return self.static.summary()

    def fingerprint(self) -> str:
        """SHA-256 of table and tokenizer."""
        found = hashlib.sha256(self.static.table.tobytes())
        found.update(self.static.tokenizer.to_str().encode())
        return found.hexdigest()

    def _no_answers(self) -> ModelError:
        return ModelError(
            f"{self.name}: is an embedding model: it has vectors of texts (model.encode in Python), but no labels. Train a model on labelled rows with understudy finetune or distill."
        )
