"""Which rows are drawn: a balanced subset, or a validation split. Pure functions of their arguments."""

from __future__ import annotations

import numpy as np

from understudy.data.tasks import NO_LABEL


def class_quotas(counts: np.ndarray, total: int, rng: np.random.Generator) -> np.ndarray:
    """How many rows of each class to draw, as equal as the counts allow. Random classes give the remainder.

    Args:
        counts: ``(classes,)``, the rows there are of each class.
        total: rows to draw over all classes.

    Returns:
        int64 ``(classes,)``.

    Example:
        >>> class_quotas(np.array([2, 50, 50]), 12, np.random.default_rng(0)).tolist()
        [2, 5, 5]
    """
    drawn = np.zeros(len(counts), dtype=np.int64)
    left = min(total, int(counts.sum()))
    while left:
        open_classes = rng.permutation(np.flatnonzero(drawn < counts))
        if left < len(open_classes):
            drawn[open_classes[:left]] += 1
            break
        step = min(left // len(open_classes), int((counts - drawn)[open_classes].min()))
        drawn[open_classes] += step
        left -= step * len(open_classes)
    return drawn


def draw_rows(rows: np.ndarray, classes: np.ndarray | None, total: int, seed: int) -> np.ndarray:
    """Draw `total` of `rows` and keep their order: balanced over `classes` ``(rows,)``, or at random if None."""
    rng = np.random.default_rng([seed, 1])
    if classes is None:
        return np.sort(rng.choice(rows, size=min(total, len(rows)), replace=False))
    names, codes, counts = np.unique(classes, return_inverse=True, return_counts=True)
    wanted = class_quotas(counts, total, rng)
    parts = [rng.choice(rows[codes == i], size=wanted[i], replace=False) for i in range(len(names))]
    return np.sort(np.concatenate(parts))


def cut_validation(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut off `share` of the labelled rows for validation.

    For class indices the cut is stratified: each class gives its share, by largest remainder, and keeps at least one
    row. Rows without a label are never cut off.

    Returns:
        The numbers of the rows that stay and of those that are cut off, both ascending. The latter are empty if there
        are too few rows.
    """
    rng = np.random.default_rng([seed, 2])
    single = labels.dtype.kind == "i"
    rows = np.flatnonzero(labels != NO_LABEL if single else ~np.isnan(labels.reshape(len(labels), -1)).any(1))
    total = min(max(1, round(len(rows) * share)), len(rows) - 1)
    if total < 1:
        return np.arange(len(labels)), rows[:0]
    if not single:
        taken = rng.choice(rows, size=total, replace=False)
    else:
        _, codes, counts = np.unique(labels[rows], return_inverse=True, return_counts=True)
        exact = counts * total / len(rows)
        wanted = np.minimum(np.floor(exact).astype(np.int64), counts - 1)
        for i in np.argsort(wanted - exact, kind="stable"):  # largest remainder first
            wanted[i] += wanted.sum() < total and wanted[i] < counts[i] - 1
        taken = np.concatenate(
            [rng.choice(rows[codes == i], size=wanted[i], replace=False) for i in range(len(counts))]
        )
    stays = np.ones(len(labels), dtype=bool)
    stays[taken] = False
    return np.flatnonzero(stays), np.sort(taken)
