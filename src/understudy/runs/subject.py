"""What a run is about: its task, texts and metrics, before anything is trained."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from understudy.data.readers.corpus import Corpus
from understudy.data.splits import Splits
from understudy.data.texts import Texts


@dataclass(frozen=True)
class Subject:
    """What a run is about, for its record.

    Attributes:
        task: what models answer (see :class:`understudy.data.tasks.Task`), or the kind of language model.
        texts: the texts of each part, for their numbers and fingerprints.
        metrics: the names of the scores that an evaluation gives; the first one selects models.
        notes: what was found in the data.
        labels: those of the parts that have some, for their fingerprints.
        class_weights: what a row of each class counts in training, where they do not count alike.
    """

    task: Mapping[str, Any]
    texts: Mapping[str, Texts]
    metrics: Sequence[str]
    notes: Sequence[str]
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    class_weights: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of_rows(cls, splits: Splits) -> Subject:
        """A run on labelled rows."""
        rows = {"train": splits.train, "validation": splits.validation, "test": splits.test}
        labels = {name: part.labels for name, part in rows.items() if part is not None}
        weights = dict(zip(splits.task.labels, splits.class_weights or ()))
        return cls(splits.task.as_dict(), splits.texts(), splits.task.metrics, splits.notes, labels, weights)

    @classmethod
    def of_corpus(cls, corpus: Corpus, *, kind: str, metrics: Sequence[str]) -> Subject:
        """A run on raw text.

        Args:
            kind: ``language_model`` or ``masked_language_model``.
        """
        return cls({"kind": kind, "metrics": list(metrics)}, corpus.texts(), metrics, corpus.notes)

    def data(self) -> dict[str, dict[str, Any]]:
        """Each part as it stands on the record: its rows, and the fingerprints of its texts and its labels."""
        parts = {name: {"rows": len(texts), "fingerprint": texts.fingerprint} for name, texts in self.texts.items()}
        for name, labels in self.labels.items():
            described = f"{labels.dtype} {labels.shape} ".encode()
            parts[name]["labels"] = hashlib.sha256(described + np.ascontiguousarray(labels).tobytes()).hexdigest()
        if self.class_weights:
            parts["train"]["class_weights"] = dict(self.class_weights)
        return parts


class Described(Protocol):
    """What is known of a run's work before it starts, with everything checked that can be checked before training."""

    @property
    def subject(self) -> Subject:
        """What the run is about."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What was found in the models, beside what was found in the data."""
        ...

    @property
    def terms(self) -> Sequence[str]:
        """The names of the terms that its objectives return, see :func:`understudy.objectives.terms.term_names`."""
        ...

    @property
    def groups(self) -> Sequence[str]:
        """The parameter groups that have learning rates of their own."""
        ...
