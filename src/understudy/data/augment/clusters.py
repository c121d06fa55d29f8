"""Clusters of words with similar neighbours: counts, vectors and k-means, the same in every run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_CONTEXTS = 500
"""How many of the most frequent words describe a word by occurring to its left and right."""

_DIMENSIONS = 50
"""Dimensions of a word vector."""

_CHUNK = 1_000_000
"""About how many words are counted at a time."""


def neighbour_counts(sentences: Iterable[Sequence[str]], ranked: Sequence[str], described: Sequence[str]) -> csr_matrix:
    """How often each described word has each context on its left and on its right: ``(described, 2 * contexts)``.

    The contexts are the first of the `ranked` words, any other word, and the start or end of a text.

    Args:
        sentences: the words of each text.
        ranked: all words that are counted, the most frequent first.
        described: the words to describe, each one of `ranked`.
    """
    from scipy.sparse import coo_matrix, csr_matrix

    number = {word: position for position, word in enumerate(ranked)}
    contexts = min(_CONTEXTS, len(ranked))
    other, edge = len(ranked), len(ranked) + 1
    total = csr_matrix((len(ranked), 2 * (contexts + 2)))

    def add(ids: list[int]) -> None:
        nonlocal total
        sequence = np.array(ids, dtype=np.int64)
        context = np.minimum(sequence, contexts)
        context[sequence == edge] = contexts + 1
        at_left = np.stack([sequence[1:], context[:-1]])
        at_right = np.stack([sequence[:-1], context[1:] + contexts + 2])
        rows, columns = np.concatenate([at_left, at_right], axis=1)
        known = rows < len(ranked)
        total = total + coo_matrix((np.ones(known.sum()), (rows[known], columns[known])), shape=total.shape).tocsr()

    ids = [edge]
    for sentence in sentences:
        ids += [number.get(word, other) for word in sentence]
        ids.append(edge)
        if len(ids) > _CHUNK:
            add(ids)
            ids = [edge]
    add(ids)
    return total[[number[word] for word in described]]


def word_vectors(counts: csr_matrix, *, seed: int) -> np.ndarray:
    """Neighbour counts reduced to unit vectors, ``(words, dimensions)``; a word without neighbours is all zeros."""
    from sklearn.decomposition import TruncatedSVD
    from threadpoolctl import threadpool_limits

    pairs = counts.tocoo()
    by_word = np.asarray(counts.sum(axis=1)).ravel()
    # Context smoothing as in Levy et al. 2015 (TACL 3, section 3.3) keeps rare contexts from dominating.
    by_context = np.asarray(counts.sum(axis=0)).ravel() ** 0.75
    information = np.log(pairs.data / by_word[pairs.row] / (by_context / by_context.sum())[pairs.col])
    pairs.data = np.maximum(information, 0)
    dimensions = min(_DIMENSIONS, min(pairs.shape) - 1)
    if dimensions < 1:
        return np.zeros((pairs.shape[0], 1))
    # One thread: a sum in another order could move a word to another class and so change the augmented texts.
    with threadpool_limits(limits=1), np.errstate(invalid="ignore"):  # 0/0 where the explained variance is zero
        reduced = TruncatedSVD(dimensions, random_state=seed).fit_transform(pairs.tocsr())
    return reduced / np.maximum(np.linalg.norm(reduced, axis=1, keepdims=True), 1e-12)


def cluster_numbers(vectors: np.ndarray, weights: Sequence[float], classes: int, *, seed: int) -> list[int]:
    """Cluster vectors by k-means: the number of the cluster of each row.

    Args:
        vectors: ``(words, dimensions)``.
        weights: ``(words,)``.
        classes: the number of clusters; fewer if there are fewer distinct vectors.
        seed: for the initial centres.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    classes = min(classes, len(np.unique(vectors.round(6), axis=0)))
    with threadpool_limits(limits=1):
        fitted = KMeans(classes, random_state=seed, n_init=4, max_iter=50).fit(vectors, sample_weight=weights)
    return fitted.labels_.tolist()
