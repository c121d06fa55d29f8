"""A trained model ready for raw text: labels and probabilities, of one model or of several averaged."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from understudy.data.tasks import Task
from understudy.data.texts import Texts
from understudy.data.tokens.encode import encode_in_memory, input_names
from understudy.data.tokens.encoder import Text, TextEncoder
from understudy.inference.logits import logits, parameter_summary
from understudy.models.structure.first_token import classifier_logits
from understudy.models.tfidf import Tfidf

Label = str | list[str] | float

_LEAST = 1e-12
"""Averaged probabilities come no closer to 0 and 1 than this, so that their logits are finite."""


def probabilities(logits: np.ndarray, task: Task) -> np.ndarray:
    """Softmax over the classes, a sigmoid for each label of a multi-label task, the value itself in regression.

    Args:
        logits: ``(..., outputs)``.

    Example:
        >>> task = Task(text=(("text",),), label="label", kind="single_label", labels=("no", "yes"))
        >>> probabilities(np.array([[0.0, np.log(3.0)]]), task).round(2).tolist()
        [[0.25, 0.75]]
    """
    if task.kind == "regression":
        return logits
    if task.kind == "multi_label":
        return 0.5 * (1.0 + np.tanh(0.5 * logits))  # the sigmoid in a form that cannot overflow
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


@dataclass(frozen=True)
class Prediction:
    """What is said of one text. ``dict(prediction)`` and ``prediction["label"]`` work too.

    ``label`` is a name, a list of names (multi-label) or a number (regression); ``probabilities`` has one entry a
    label, in the task's order, and is empty in regression.
    """

    label: Label
    probabilities: dict[str, float]

    def keys(self) -> tuple[str, ...]:
        """The names of the fields."""
        return ("label", "probabilities")

    def __getitem__(self, key: str) -> Any:
        if key not in self.keys():
            raise KeyError(key)
        return getattr(self, key)


def predictions(logits: np.ndarray, task: Task, *, threshold: float = 0.5) -> list[Prediction]:
    """Logits as labels with probabilities.

    Args:
        logits: ``(rows, outputs)``.
        threshold: the probability from which on a label of a multi-label task is given.

    Example:
        >>> task = Task(text=(("text",),), label="label", kind="multi_label", labels=("funny", "sad"))
        >>> predictions(np.array([[2.0, -2.0]]), task)[0].label
        ['funny']
    """
    if task.kind == "regression":
        return [Prediction(value, {}) for value in logits[:, 0].tolist()]
    said = []
    for row in probabilities(logits.astype(np.float64), task).tolist():
        by_label = dict(zip(task.labels, row, strict=True))
        several = [label for label, share in by_label.items() if share >= threshold]
        said.append(
            Prediction(several if task.kind == "multi_label" else max(by_label, key=by_label.__getitem__), by_label)
        )
    return said


def check_texts(texts: Texts | Sequence[Text], task: Task) -> None:
    """Refuse what is not a sequence of the task's texts, before a model reads something else into it.

    Raises:
        ValueError: if `texts` is one bare string, or one of them is not what the task has (a string, or a pair of
            strings).

    Example:
        >>> task = Task(text=(("text",),), label="label", kind="single_label", labels=("no", "yes"))
        >>> check_texts("a film", task)
        Traceback (most recent call last):
        ValueError: texts must be a list of texts, but is the string 'a film'. For a single text there is predict_one.
    """
    if isinstance(texts, str):
        raise ValueError(
            f"texts must be a list of texts, but is the string {texts!r:.80}. For a single text there is predict_one."
        )
    for text in itertools.islice(texts, 1) if isinstance(texts, Texts) else texts:  # the rows of Texts are all alike
        parts: Any = text if isinstance(text, Sized) and not isinstance(text, str) else (text,)
        if len(parts) != len(task.text) or not all(isinstance(part, str) for part in parts):
            expected = "a pair of strings" if task.is_pair else "a string"
            raise ValueError(f"each text must be {expected} for this model, but one is {text!r:.80}")


class Answering:
    """Whatever has ``logits`` and a ``task`` can also say labels and probabilities."""

    task: Task

    def logits(self, texts: Texts | Sequence[Text]) -> np.ndarray:
        """Outputs for texts, in their order: float32 ``(texts, outputs)``."""
        raise NotImplementedError

    def summary(self) -> dict[str, int]:
        """Parameters and bytes, see :func:`parameter_summary`."""
        raise NotImplementedError

    def predict(self, texts: Texts | Sequence[Text]) -> list[Prediction]:
        """Labels and probabilities for texts, in their order.

        Raises:
            ValueError: if `texts` is a bare string, or one of them is not what the task has.
        """
        return predictions(self.logits(texts), self.task)

    def predict_one(self, text: Text) -> Prediction:
        """The label and the probabilities of one text."""
        return predictions(self.logits([text]), self.task)[0]

    def stream(self, texts: Iterable[Text], *, batch: int = 1024) -> Iterator[Prediction]:
        """Predictions one by one, in order, of as many texts as there are; `batch` of them are in memory at a time."""
        if isinstance(texts, str):  # else it would be a stream of letters
            check_texts(texts, self.task)
        rows = iter(texts)
        while chunk := list(itertools.islice(rows, batch)):
            yield from self.predict(chunk)


class LinearPredictor(Answering):
    """TF-IDF with its linear model, ready to answer for raw text."""

    def __init__(self, tfidf: Tfidf) -> None:
        self.tfidf = tfidf
        self.task = tfidf.task

    def logits(self, texts: Texts | Sequence[Text]) -> np.ndarray:
        """Outputs for texts, in their order: float32 ``(texts, outputs)``.

        Raises:
            ValueError: if a text is not what the task has (a string, or a pair of strings).
        """
        check_texts(texts, self.task)
        return self.tfidf.logits(list(texts))

    def summary(self) -> dict[str, int]:
        """Parameters and bytes, as :meth:`Predictor.summary` counts them."""
        return self.tfidf.summary()


class Predictor(Answering):
    """A trained model with all it takes to answer for raw text.

    The model is put into evaluation mode and, if one is named, on `device`. Texts are strings, or pairs of strings
    where the task has two texts.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        task: Task,
        max_length: int,
        *,
        max_tokens: int | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self.model = model.eval() if device is None else model.eval().to(device)
        self.tokenizer = tokenizer
        self.task = task
        self.max_length = max_length
        self.max_tokens = max_tokens
        self.names = input_names(model, tokenizer)
        # our students take no mask for "nothing is padding", and a text alone is answered the faster for it
        self._is_student = bool(getattr(getattr(model, "config", None), "understudy_student", False))
        self._anchor = next(model.parameters(), None)  # tells the device without a walk through the modules
        self.encoder = TextEncoder(tokenizer, max_length=max_length)

    def logits(self, texts: Texts | Sequence[Text]) -> np.ndarray:
        """Outputs for texts, in their order: float32 ``(texts, outputs)``.

        Many are batched by length; a single one takes the shortest way, with nothing allocated but its own ids.

        Raises:
            ValueError: if a text is not what the task has (a string, or a pair of strings).
        """
        check_texts(texts, self.task)
        if len(texts) == 1:
            return self._one(texts[0])
        return logits(self.model, encode_in_memory(self.encoder, texts), names=self.names, max_tokens=self.max_tokens)

    def summary(self) -> dict[str, int]:
        """Parameters: all, trainable, in embedding tables; and the bytes of the weights as they are saved."""
        return parameter_summary(self.model)

    def _one(self, text: Text) -> np.ndarray:
        ids, segments = self.encoder.one(text)
        if self.model.training:
            self.model.eval()
        with torch.inference_mode():
            # torch takes five times as long as NumPy to read a list
            input_ids = torch.from_numpy(np.array([ids or [self.encoder.pad_id]], np.int64))
            inputs = {"input_ids": input_ids}
            if not (self._is_student and ids):
                inputs["attention_mask"] = torch.full_like(input_ids, bool(ids))
            if "token_type_ids" in self.names:
                inputs["token_type_ids"] = torch.tensor([segments]) if segments else torch.zeros_like(input_ids)
            if self._anchor is not None and self._anchor.device.type != "cpu":
                inputs = {name: tensor.to(self._anchor.device) for name, tensor in inputs.items()}
            out = self.model.scores(**inputs) if self._is_student else classifier_logits(self.model, inputs)  # type: ignore[operator]
            return out.float().cpu().numpy()


class Ensemble(Answering):
    r"""Several models of one task as one: the mean of their probabilities, or of their values in regression.

    .. math:: p(y \mid x) = \tfrac1M \textstyle\sum_m p_m(y \mid x)

    Unlike the mean of logits, that of probabilities does not depend on the scale of a member's logits: a TF-IDF model
    and a network count alike. Sizes add up, and a text goes through all of them.

    Args:
        columns: for each member its outputs in the order of the first one's labels; as they stand by default.
    """

    def __init__(self, members: Sequence[Answering], columns: Sequence[np.ndarray] | None = None) -> None:
        self.members = members
        self.columns = [np.arange(members[0].task.outputs)] * len(members) if columns is None else columns
        self.task = members[0].task

    def logits(self, texts: Texts | Sequence[Text]) -> np.ndarray:
        """Outputs whose :func:`probabilities` are the mean of the members': float32 ``(texts, outputs)``."""
        parts = [member.logits(texts)[:, columns] for member, columns in zip(self.members, self.columns)]
        mean = np.mean([probabilities(part.astype(np.float64), self.task) for part in parts], axis=0)
        if self.task.kind == "multi_label":
            mean = np.clip(mean, _LEAST, 1 - _LEAST)
            return np.log(mean / (1 - mean)).astype(np.float32)
        return (mean if self.task.kind == "regression" else np.log(np.maximum(mean, _LEAST))).astype(np.float32)

    def summary(self) -> dict[str, int]:
        """The sums of the members' parameters and bytes."""
        parts = [member.summary() for member in self.members]
        return {key: sum(part[key] for part in parts) for key in parts[0]}
