"""The baseline: TF-IDF of words and word pairs (or of characters, see :mod:`understudy.models.terms`), and a linear model.

The choices were made by measurement on AG News, MRPC, RTE, SICK and STS-B (validation data):

- Words of one letter count, accents are kept, counts are damped (1 + log). Terms that occur in a single text are kept
  only if there are few texts: with 1,000 AG News rows they add half a point, with 24,000 nothing, at four times the size.
- The features of a pair (u, v) are u·v elementwise, |u − v| and the cosine. They reach accuracy 0.75 on MRPC and 0.82 on
  SICK; joined text reaches 0.72 and 0.64, and (u, v, u·v) 0.72 and 0.61. The correlation on STS-B is 0.73, against 0.32
  and 0.23.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from understudy.atomic import OUTPUT, new_folder
from understudy.checksums import list_checksums
from understudy.data.tasks import Task
from understudy.errors import ModelError
from understudy.models.files.names import check_undamaged
from understudy.models.files.stored_task import checked_temperature
from understudy.models.folds import copies
from understudy.models.linear import MOST_FOLDED, best_fit, labelled_rows, spread_columns
from understudy.models.term_features import fitted_terms, sides_of, term_features
from understudy.models.terms import Terms, terms_of

_MOST_BYTES = 2**32
_GRID = (1.0, 5.0, 25.0)
_PAIR_GRID = (0.2, 1.0, 5.0)


@dataclass(frozen=True, eq=False)
class Tfidf:
    """TF-IDF features and a fitted linear model.

    Prediction does not use scikit-learn, whose overhead would be most of the time of a single text.
    """

    task: Task
    vocabulary: dict[str, int]
    """The column of each term."""
    idf: np.ndarray
    """``(terms,)``, float32."""
    weight: np.ndarray
    """``(features, columns)``, float32. One row a term; for pairs two rows a term (product, difference) and one for the
    cosine."""
    bias: np.ndarray
    """``(columns,)``, float32; two classes share one column."""
    terms: Terms = "words"
    """What a text is cut into."""
    temperature: float = 1.0
    """Of the probabilities; the logits do not depend on it."""

    @classmethod
    def fit(
        cls,
        texts: Sequence[tuple[str, ...]],
        labels: np.ndarray,
        task: Task,
        *,
        validation: tuple[Sequence[tuple[str, ...]], np.ndarray] | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> Tfidf:
        """Learn the vocabulary from all `texts`, and the weights from the rows that have a label.

        The terms are characters where most of the texts' letters are of scripts without spaces, else words.

        Args:
            texts: one or two strings a row.
            labels: as `task` describes them.
            task: single-label tasks get a logistic regression, multi-label tasks one a label, regression gets ridge.
            validation: texts and labels to choose the penalty on, by the task's first metric.
            class_weights: what a row of each class counts; 1 by default.

        Raises:
            DataError: if the texts hold no word, or no row has a label.

        Example:
            >>> task = Task(text=(("text",),), label="label", kind="single_label", labels=("bad", "good"))
            >>> model = Tfidf.fit([("a good film",), ("a bad film",)], np.array([1, 0]), task)
            >>> model.logits([("good",)]).argmax(1)
            array([1])
        """
        vectorizer, terms, sides = fitted_terms(texts, task)
        known = np.flatnonzero(labelled_rows(labels))
        found = best_fit(
            term_features(vectorizer, sides),
            labels,
            task,
            grid=_PAIR_GRID if task.is_pair else _GRID,
            default=1.0 if task.is_pair else 5.0,
            validation=validation and (term_features(vectorizer, sides_of(validation[0], task)), validation[1]),
            class_weights=class_weights,
            groups=copies(texts, known) if len(known) <= MOST_FOLDED else None,
        )
        return cls(
            task=task,
            vocabulary={term: int(place) for term, place in vectorizer.vocabulary_.items()},
            idf=vectorizer.idf_.astype(np.float32),
            weight=np.ascontiguousarray(found.weight.T, dtype=np.float32),
            bias=found.bias.astype(np.float32),
            terms=terms,
        )

    @classmethod
    def untrained(cls, texts: Sequence[tuple[str, ...]], task: Task) -> Tfidf:
        """The model that :meth:`fit` makes of these texts, with zeros for weights: its size and its time are the same.

        Raises:
            DataError: if the texts hold no word.
        """
        vectorizer, terms, _ = fitted_terms(texts, task)
        idf = vectorizer.idf_.astype(np.float32)
        rows = 2 * len(idf) + 1 if task.is_pair else len(idf)
        columns = 1 if task.kind == "single_label" and task.outputs == 2 else task.outputs
        vocabulary = {term: int(place) for term, place in vectorizer.vocabulary_.items()}
        weight, bias = np.zeros((rows, columns), np.float32), np.zeros(columns, np.float32)
        return cls(task, vocabulary, idf, weight, bias, terms)

    def logits(self, texts: Sequence[tuple[str, ...] | str]) -> np.ndarray:
        """Logits of each row, ``(rows, outputs)`` float32; for regression the predicted number.

        Softmax (sigmoid for multi-label) makes them probabilities. With two classes, the logit of the first class is 0.

        Raises:
            ValueError: if a row does not have as many texts as the task.
        """
        columns = np.empty((len(texts), len(self.bias)), dtype=np.float32)
        for row, (places, values) in enumerate(self._features(texts)):
            columns[row] = values @ self.weight[places] + self.bias
        return spread_columns(columns, self.task)

    def vectors(self, texts: Sequence[tuple[str, ...] | str]) -> np.ndarray:
        """What the linear model reads of each row: float32 ``(rows, features)``, the terms in the vocabulary's order.

        Raises:
            ValueError: if a row does not have as many texts as the task, or the array would take more than 4 GB.
        """
        if len(texts) * len(self.weight) * 4 > _MOST_BYTES:
            most = _MOST_BYTES // (4 * len(self.weight))
            raise ValueError(
                f"{len(texts):,} vectors of {len(self.weight):,} terms take too much memory: encode at most {most:,} texts at once"
            )
        found = np.zeros((len(texts), len(self.weight)), np.float32)
        for row, (places, values) in enumerate(self._features(texts)):
            found[row, places] = values
        return found

    def _features(self, texts: Sequence[tuple[str, ...] | str]) -> Iterator[tuple[Any, np.ndarray]]:
        """The places and the values of what is not 0 in each row."""
        for row, given in enumerate(texts):
            parts = (given,) if isinstance(given, str) else given
            if len(parts) != len(self.task.text):
                raise ValueError(f"each row needs {len(self.task.text)} texts, but row {row} has {len(parts)}")
            yield self._pair(*parts) if self.task.is_pair else self._vector(parts[0])

    def shares(self, text: tuple[str, ...] | str, column: int) -> dict[str, float]:
        """What each term adds to a column of the logits: with the bias, their sum.

        Args:
            column: of the weights; two classes share one.
        """
        parts = (text,) if isinstance(text, str) else text
        known = (term for part in parts for term in terms_of(self.terms)(part) if term in self.vocabulary)
        terms = {self.vocabulary[term]: term for term in known}
        if not self.task.is_pair:
            places, values = self._vector(parts[0])
            return {
                terms[int(place)]: float(share) for place, share in zip(places, values * self.weight[places, column])
            }
        count, found = len(self.idf), dict[str, float]()
        for feature, value in zip(*self._pair(*parts), strict=True):
            if feature < 2 * count:  # what a product adds to the cosine is its term's, too
                weight = self.weight[feature, column] + (self.weight[2 * count, column] if feature < count else 0)
                term = terms[feature % count]
                found[term] = found.get(term, 0.0) + value * float(weight)
        return found

    def _pair(self, one: str, other: str) -> tuple[list[int], np.ndarray]:
        terms = len(self.idf)
        u_places, u_values = self._vector(one)
        v_places, v_values = self._vector(other)
        u, v = dict(zip(u_places.tolist(), u_values, strict=True)), dict(zip(v_places.tolist(), v_values, strict=True))
        shared = {place: value * v[place] for place, value in u.items() if place in v}
        apart = {place + terms: abs(u.get(place, 0.0) - v.get(place, 0.0)) for place in u | v}
        features = shared | apart | {2 * terms: sum(shared.values())}
        return list(features), np.array(list(features.values()))

    def _vector(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """The columns of a text's terms, and their values (1 + log count) · idf, scaled to length one."""
        counts = Counter(map(self.vocabulary.get, terms_of(self.terms)(text)))
        counts.pop(None, None)
        places = np.fromiter(counts.keys(), np.int64, len(counts))
        values = (1 + np.log(np.fromiter(counts.values(), np.float64, len(counts)))) * self.idf[places]
        return places, values / (math.sqrt(values @ values) or 1.0)

    def summary(self) -> dict[str, int]:
        """The size of the model: parameters (idf included), parameters that are fitted to labels, and bytes as saved.

        Example:
            >>> task = Task(text=(("text",),), label="label", kind="single_label", labels=("bad", "good"))
            >>> Tfidf.fit([("good",), ("bad",)], np.array([1, 0]), task).summary()["parameters"]
            5
        """
        learnt = self.weight.size + self.bias.size
        return {
            "parameters": learnt + self.idf.size,
            "trainable_parameters": learnt,
            "embedding_parameters": 0,
            "size_bytes": sum(map(len, self._files().values())),
        }

    def save(self, folder: str | os.PathLike[str], *, check: Callable[[Path], None] = lambda written: None) -> None:
        """Write config.json, vocabulary.json, model.safetensors and checksums. The folder appears whole or not at all.

        Args:
            check: called with the complete folder before it gets its name.

        Raises:
            OutputError: if it cannot be written.
        """
        with new_folder(Path(folder), remedy=OUTPUT, replace=True) as temporary:
            for name, content in self._files().items():
                (temporary / name).write_bytes(content)
            list_checksums(temporary, without="config.json")
            check(temporary)

    def _files(self) -> dict[str, bytes]:
        from safetensors.numpy import save

        terms = sorted(self.vocabulary, key=self.vocabulary.__getitem__)
        about: dict[str, Any] = {"kind": "tfidf", "task": self.task.as_dict(), "terms": self.terms}
        if self.task.kind != "regression":
            about["temperature"] = self.temperature
        return {
            "vocabulary.json": json.dumps(terms, ensure_ascii=False, indent=0).encode(),
            "model.safetensors": save({"idf": self.idf, "weight": self.weight, "bias": self.bias}),
            "config.json": json.dumps({"understudy": about}, ensure_ascii=False, indent=2).encode(),
        }

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Tfidf:
        """Read what :meth:`save` wrote. The logits are the same, bit for bit.

        Raises:
            ModelError: if a file is missing or broken, or the folder holds another kind of model.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        source = Path(folder)
        for weights in (True, False):
            check_undamaged(source, weights=weights)
        try:
            about = json.loads((source / "config.json").read_bytes()).get("understudy", {})
            if about.get("kind") != "tfidf":
                raise ModelError(f"{source}: this is not a TF-IDF model; config.json says kind {about.get('kind')!r}.")
            terms = json.loads((source / "vocabulary.json").read_bytes())
            arrays = load((source / "model.safetensors").read_bytes())
            model = cls(
                task=Task.from_dict(about["task"]),
                vocabulary={term: place for place, term in enumerate(terms)},
                idf=arrays["idf"],
                weight=arrays["weight"],
                bias=arrays["bias"],
                terms=about.get("terms", "words"),  # before there were others
                temperature=checked_temperature(about.get("temperature", 1.0)),
            )
            terms_of(model.terms)
            if not all(np.isfinite(array).all() for array in arrays.values()):
                raise ValueError("its weights are not finite numbers")
            if model.task.outputs != len(model.bias) and (model.task.outputs, len(model.bias)) != (2, 1):
                raise ValueError(f"its task has {model.task.outputs} outputs, its weights {len(model.bias)}")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ModelError(
                f"{source}: a TF-IDF model needs {Path(error.filename).name}, which is missing. Save the model again."
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
            raise ModelError(f"{source}: the TF-IDF model cannot be read ({error}). Save the model again.") from None
        rows = len(terms) * 2 + 1 if model.task.is_pair else len(terms)
        if model.weight.shape != (rows, len(model.bias)) or len(model.idf) != len(terms):
            raise ModelError(
                f"{source}: vocabulary.json has {len(terms)} terms, but the weights have shape {model.weight.shape}, which does not fit. Save the model again."
            )
        return model
