"""Cross-validation: rows are dealt into folds, and held-out rows have losses. Arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from understudy.data.tasks import Task

FOLDS = 5


def deal_folds(labels: np.ndarray, folds: int, seed: int, *, groups: np.ndarray | None = None) -> np.ndarray:
    """The fold of each row, int ``(rows,)``: of equal sizes, and classes are spread over them evenly.

    Args:
        labels: class indices are spread; numbers and several labels a row are dealt at random.
        groups: what rows with the same value are is dealt at once, ``(rows,)``: copies of a text. Otherwise a model would be held
            against rows that it was fitted to.

    Example:
        >>> dealt = deal_folds(np.array([0, 0, 0, 0, 1, 1]), 2, seed=0)
        >>> np.bincount(dealt).tolist(), np.bincount(dealt[:4]).tolist()
        ([3, 3], [2, 2])
        >>> deal_folds(np.array([0, 0, 0, 0]), 2, seed=0, groups=np.array([7, 7, 7, 9])).tolist()
        [0, 0, 0, 1]
    """
    if groups is not None:
        _, first, group = np.unique(groups, return_index=True, return_inverse=True)
        heads = np.sort(first)  # the first row of each group, in order
        own = np.searchsorted(heads, first[group.reshape(-1)])
        return deal_folds(labels[heads], folds, seed)[own]
    order = np.random.default_rng([seed, 3]).permutation(len(labels))
    if labels.dtype.kind == "i":
        order = order[np.argsort(labels[order], kind="stable")]
    found = np.empty(len(labels), np.int64)
    found[order] = np.arange(len(labels)) % folds
    return found


def copies(texts: Sequence[tuple[str, ...]], rows: np.ndarray) -> np.ndarray:
    """A number a text, int ``(texts,)``: the same for those of the named rows that are alike, and 0 for the others.

    Example:
        >>> copies([("a",), ("b",), ("a",), ("c",)], np.array([1, 2, 0, 3])).tolist()
        [1, 0, 1, 2]
    """
    numbers: dict[tuple[str, ...], int] = {}
    found = np.zeros(len(texts), np.int64)
    for row in rows.tolist():
        found[row] = numbers.setdefault(texts[row], len(numbers))
    return found


def row_losses(logits: np.ndarray, labels: np.ndarray, task: Task) -> np.ndarray:
    r"""The loss of each row, float64 ``(rows,)``: cross-entropy, mean binary cross-entropy, or squared error.

    Args:
        logits: ``(rows, outputs)``.
        labels: as `task` describes them; every row has one.

    Example:
        >>> task = Task(text=(("text",),), label="label", kind="single_label", labels=("no", "yes"))
        >>> row_losses(np.array([[0.0, 0.0]]), np.array([1]), task).round(3)
        array([0.693])
    """
    logits = logits.astype(np.float64)
    if task.kind == "regression":
        return np.square(logits[:, 0] - labels)
    if task.kind == "multi_label":
        return (np.logaddexp(0, logits) - labels * logits).mean(1)
    return np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(labels)), labels]
