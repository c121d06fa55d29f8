"""Whatever answers for texts: the interface of every model that labels text. No torch here either."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from understudy.data.tasks import Task, Text
from understudy.inference.answers import Prediction, check_texts, predictions


class Answering:
    """A model that gives logits for raw text; from them it says labels and probabilities.

    A new kind of model implements :meth:`logits`, :meth:`summary` and :meth:`fingerprint`, sets ``task``, and can then
    predict, be a member of an ensemble, be measured, and teach.
    """

    task: Task
    temperature: float = 1.0
    """Divides the logits of a classifier before they become probabilities; :meth:`logits` are as they are."""

    @property
    def outputs(self) -> int:
        """The width of the logits."""
        return self.task.outputs

    def logits(self, texts: Sequence[Text]) -> np.ndarray:
        """Outputs for texts, in their order: float32 ``(texts, outputs)``."""
        raise NotImplementedError

    def encode(self, texts: Sequence[Text]) -> np.ndarray:
        """Vectors of texts, in their order, before the last layer makes labels of them: float32 ``(texts, width)``.

        Raises:
            ValueError: if a text is not what the task has (a string, or a pair of strings).
            ModelError: if the model has none.
        """
        raise NotImplementedError

    def summary(self) -> dict[str, int]:
        """Parameters and bytes, see :func:`understudy.inference.logits.parameter_summary`."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """SHA-256, in hex, of everything that the logits depend on: the same answers are cached under the same one."""
        raise NotImplementedError

    def to(self, device: Any) -> None:
        """Move the model to a device; without effect for one that only computes on the CPU."""

    def predict(self, texts: Sequence[Text], *, top_k: int | None = None) -> list[Prediction]:
        """Labels and probabilities for texts, in their order.

        Args:
            top_k: only the probabilities of the so many likeliest labels, the likeliest first.

        Raises:
            ValueError: if `texts` is a bare string, or one of them is not what the task has; if there are no `top_k`.
        """
        return predictions(self.logits(texts), self.task, temperature=self.temperature, top_k=top_k)

    def predict_one(self, text: Text, *, top_k: int | None = None) -> Prediction:
        """The label and the probabilities of one text; see :meth:`predict`."""
        return predictions(self.logits([text]), self.task, temperature=self.temperature, top_k=top_k)[0]

    def stream(self, texts: Iterable[Text], *, batch: int = 1024) -> Iterator[Prediction]:
        """Predictions one by one, in order, for any number of texts; `batch` of them are in memory at a time."""
        if isinstance(texts, str):  # otherwise it would be a stream of letters
            check_texts(texts, self.task)
        rows = iter(texts)
        while chunk := list(itertools.islice(rows, batch)):
            yield from self.predict(chunk)
