"""Trained models ready for raw text: a network, TF-IDF, or several models averaged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from understudy.data.tasks import Task
from understudy.data.tokens.encode import Encoded, encode_in_memory
from understudy.data.tokens.encoder import Text, TextEncoder
from understudy.inference.answering import Answering
from understudy.inference.answers import averaged_logits, check_texts
from understudy.inference.logits import logits, outputs_of, parameter_summary
from understudy.inference.vectors import gives_means, head_of, vectors
from understudy.models.files.fingerprints import model_fingerprint
from understudy.models.structure.first_token import classifier_logits
from understudy.models.structure.inputs import not_finite, settle_inputs
from understudy.models.tfidf import Tfidf

_TFIDF_FORMAT = 1
"""Part of the fingerprint: raise it when the same TF-IDF weights give other logits."""


class LinearPredictor(Answering):
    """TF-IDF with its linear model, ready for raw text."""

    def __init__(self, tfidf: Tfidf) -> None:
        self.tfidf = tfidf
        self.task = tfidf.task
        self.temperature = tfidf.temperature

    def logits(self, texts: Sequence[Text]) -> np.ndarray:
        """Outputs for texts, in their order: float32 ``(texts, outputs)``.

        Raises:
            ValueError: if a text is not what the task has (a string, or a pair of strings).
        """
        check_texts(texts, self.task)
        return self.tfidf.logits(list(texts))

    def encode(self, texts: Sequence[Text]) -> np.ndarray:
        """The TF-IDF values of texts: float32 ``(texts, terms)``, most of them 0.

        Raises:
            ValueError: if a text is not what the task has; if the array would take more than 4 GB.
        """
        check_texts(texts, self.task)
        return self.tfidf.vectors(list(texts))

    def summary(self) -> dict[str, int]:
        """Parameters and bytes, as :meth:`Predictor.summary` counts them."""
        return replace(self.tfidf, temperature=self.temperature).summary()

    def fingerprint(self) -> str:
        """SHA-256 of the vocabulary, the weights and the shape of the task; the names of labels are left out."""
        tfidf, task = self.tfidf, self.task
        terms = sorted(tfidf.vocabulary, key=tfidf.vocabulary.__getitem__)
        shape = ["tfidf", _TFIDF_FORMAT, task.kind, len(task.text), task.outputs]
        shape += [] if tfidf.terms == "words" else [tfidf.terms]
        digest = hashlib.sha256(json.dumps([shape, terms]).encode())
        for array in (tfidf.idf, tfidf.weight, tfidf.bias):
            digest.update(f"{array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()


class Predictor(Answering):
    """A trained network with everything it needs to answer for raw text.

    The network is put into evaluation mode and moved to `device`, if one is given. Texts are strings, or pairs of
    strings where the task has two texts.

    Args:
        max_length: tokens read of a text, special tokens included.
        temperature: of the probabilities; without effect on the logits, and so on the fingerprint.
        max_tokens: padded tokens of a batch; by default :func:`understudy.inference.logits.token_budget`.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        task: Task,
        max_length: int,
        *,
        temperature: float = 1.0,
        max_tokens: int | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self.model = model.eval() if device is None else model.eval().to(device)
        self.tokenizer = tokenizer
        self.task = task
        self.max_length = max_length
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.names = settle_inputs(model, tokenizer)
        # our students read a text without padding faster when they get no mask
        self._is_student = bool(getattr(getattr(model, "config", None), "understudy_student", False))
        self._anchor = next(model.parameters(), None)  # tells the device without a walk through the modules
        self.encoder = TextEncoder(tokenizer, max_length=max_length)
        self._head: tuple[Any, Encoded] | None = None  # what reads the vectors, and the texts with which it was found

    @property
    def outputs(self) -> int:
        """The width of the logits: that of the network's own output, which may be in another order than the task's."""
        return outputs_of(self.model)

    def logits(self, texts: Sequence[Text]) -> np.ndarray:
        """Outputs for texts, in their order: float32 ``(texts, outputs)``.

        Several texts are batched by length. A single one takes a shorter path, which allocates nothing but its ids.

        Raises:
            ValueError: if a text is not what the task has (a string, or a pair of strings).
            ModelError: if an answer is not a finite number.
        """
        check_texts(texts, self.task)
        found = (
            self._one(texts[0])
            if len(texts) == 1
            else logits(self.model, encode_in_memory(self.encoder, texts), names=self.names, max_tokens=self.max_tokens)
        )
        if not np.isfinite(found).all():
            raise not_finite()
        return found

    def encode(self, texts: Sequence[Text]) -> np.ndarray:
        """Vectors of texts, in their order: what the head reads, see :func:`understudy.inference.vectors.head_of`.

        Returns:
            float32 ``(texts, width)``. A model of pairs makes one vector of a pair.

        Raises:
            ValueError: if a text is not what the task has (a string, or a pair of strings).
            ModelError: if a vector is not finite.

        Example:
            ``understudy.load("runs/student").encode(["a text", "another one"])``
        """
        check_texts(texts, self.task)
        if self._head is None:
            sample: list[Text] = [("a", "b c"), ("d e f", "g")] if self.task.is_pair else ["a", "b c"]
            known = encode_in_memory(self.encoder, sample)
            self._head = (head_of(self.model, known, self.names), known)
        head, known = self._head
        encoded = encode_in_memory(self.encoder, texts) if len(texts) else known
        found = vectors(self.model, head, encoded, names=self.names, max_tokens=self.max_tokens)[: len(texts)]
        if not np.isfinite(found).all():
            raise not_finite()
        return found

    def gives_means(self) -> bool:
        """Whether a pass for logits gives the means of the encoder's states, see :func:`understudy.inference.vectors.gives_means`."""
        words = ["a b", "a b c d e f g h i j k l m n o p q r s t u v w x y z", "a"]
        texts: list[Text] = [(text, text) for text in words] if self.task.is_pair else [*words]
        return gives_means(self.model, encode_in_memory(self.encoder, texts), self.names)

    def summary(self) -> dict[str, int]:
        """Parameters (all, trainable, in embedding tables) and the bytes of the weights as they are saved."""
        return parameter_summary(self.model)

    def fingerprint(self) -> str:
        """SHA-256 of the network (class, configuration, weights), the tokenizer, the maximal length and the inputs."""
        identity = json.dumps([model_fingerprint(self.model), self.encoder.fingerprint, self.names])
        return hashlib.sha256(identity.encode()).hexdigest()

    def to(self, device: torch.device | str) -> None:
        """Move the network to a device."""
        self.model.to(device)

    def _one(self, text: Text) -> np.ndarray:
        ids, segments = self.encoder.one(text)
        if self.model.training:
            self.model.eval()
        with torch.inference_mode():
            # torch takes five times as long as NumPy to read a list
            input_ids = torch.from_numpy(np.array([ids or [self.encoder.pad_id]], np.int64))
            inputs = {"input_ids": input_ids}
            if "attention_mask" in self.names and not self._is_student:
                inputs["attention_mask"] = torch.ones_like(input_ids)
            if "token_type_ids" in self.names:
                inputs["token_type_ids"] = torch.tensor([segments]) if segments else torch.zeros_like(input_ids)
            if self._anchor is not None and self._anchor.device.type != "cpu":
                inputs = {name: tensor.to(self._anchor.device) for name, tensor in inputs.items()}
            out = self.model.scores(**inputs) if self._is_student else classifier_logits(self.model, inputs)  # type: ignore[operator]
            return out.float().cpu().numpy()


class Ensemble(Answering):
    """Several models of one task as one: :func:`understudy.inference.answers.averaged_logits` of their logits.

    Every text goes through all members, so sizes add up. The probabilities that are averaged are those after the members'
    temperatures.

    Args:
        columns: for each member, its outputs in the order of the first one's labels; unchanged by default.
    """

    def __init__(self, members: Sequence[Answering], columns: Sequence[np.ndarray] | None = None) -> None:
        self.members = members
        self.columns = [np.arange(members[0].task.outputs)] * len(members) if columns is None else columns
        self.task = members[0].task

    def logits(self, texts: Sequence[Text]) -> np.ndarray:
        """Outputs whose probabilities are the mean of the members': float32 ``(texts, outputs)``."""
        parts = [member.logits(texts)[:, columns] for member, columns in zip(self.members, self.columns)]
        return averaged_logits(parts, self.task, temperatures=[member.temperature for member in self.members])

    def encode(self, texts: Sequence[Text]) -> np.ndarray:
        """The members' vectors side by side: float32 ``(texts, sum of the widths)``."""
        return np.concatenate([member.encode(texts) for member in self.members], axis=1)

    def summary(self) -> dict[str, int]:
        """The sums of the members' parameters and bytes, as far as all of them count the same."""
        parts = [member.summary() for member in self.members]
        return {key: sum(part[key] for part in parts) for key in parts[0] if all(key in part for part in parts)}

    def fingerprint(self) -> str:
        """SHA-256 of the members' fingerprints, the order of their outputs, and temperatures other than 1."""
        parts = [
            [m.fingerprint(), columns.tolist(), *([m.temperature] if m.temperature != 1.0 else [])]
            for m, columns in zip(self.members, self.columns)
        ]
        return hashlib.sha256(json.dumps([self.task.kind, parts]).encode()).hexdigest()

    def to(self, device: torch.device | str) -> None:
        """Move every member to a device."""
        for member in self.members:
            member.to(device)
