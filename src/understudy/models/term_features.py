"""The terms of training texts, and the sparse features that TF-IDF's linear model is fitted to, by scikit-learn and SciPy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from understudy.data.tasks import Task
from understudy.errors import DataError
from understudy.models.terms import Terms, fitting_terms, terms_of

_MANY_TEXTS = 2_000
"""From this many texts on, terms that occur in a single text are dropped."""
_MOST_WEIGHTS = 40_000_000
"""Classes times terms: with more classes than two thousand, only the 20,000 most frequent terms are kept."""


def fitted_terms(texts: Sequence[tuple[str, ...]], task: Task) -> tuple[Any, Terms, list[list[str]]]:
    """The vocabulary of texts, what it is made of, and the texts by side.

    Raises:
        DataError: if the texts hold no word.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    sides = sides_of(texts, task)
    terms = fitting_terms(text for side in sides for text in side)
    vectorizer = TfidfVectorizer(
        analyzer=terms_of(terms),
        sublinear_tf=True,
        min_df=1 if len(sides[0]) < _MANY_TEXTS else 2,
        max_features=max(_MOST_WEIGHTS // task.outputs, 1_000),
        dtype=np.float64,
    )
    try:
        vectorizer.fit([text for side in sides for text in side])
    except ValueError:
        raise DataError(
            f"TF-IDF found no word to learn from in {len(sides[0])} training texts. They need letters or digits."
        ) from None
    return vectorizer, terms, sides


def sides_of(texts: Iterable[tuple[str, ...]], task: Task) -> list[list[str]]:
    """The first texts of all rows, and for pairs the second texts."""
    sides: list[list[str]] = [[] for _ in task.text]
    for row in texts:
        for side, text in zip(sides, row, strict=True):
            side.append(text)
    return sides


def term_features(vectorizer: Any, sides: Sequence[Sequence[str]]) -> Any:
    """Sparse features ``(rows, features)`` of single texts or pairs."""
    from scipy.sparse import csr_array, hstack

    vectors = [csr_array(vectorizer.transform(side)) for side in sides]
    if len(vectors) == 1:
        return vectors[0]
    product = vectors[0] * vectors[1]
    cosine = csr_array(product.sum(1)[:, None])
    return hstack([product, abs(vectors[0] - vectors[1]), cosine], format="csr")
