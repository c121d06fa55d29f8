"""Which texts meet in a batch, and which of their pairs are alike. Pure functions of labels, seed and epoch.

All pairs of a batch are compared, so a step of 16 texts has 120 of them, and memory grows with the rows and not with
their square.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from understudy.data.tasks import NO_LABEL

_TOGETHER = 4
"""Rows of a class that stay together, so that a batch has alike pairs even where there are many classes."""


def alike(labels: np.ndarray) -> np.ndarray:
    """Which pairs of rows are alike: they have the same class, or share a label.

    Args:
        labels: class indices ``(rows,)``, or 0 and 1 ``(rows, classes)``.

    Returns:
        bool ``(rows, rows)``; a row without any label is like no other.

    Example:
        >>> alike(np.array([0, 1, 0])).astype(int).tolist()
        [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
        >>> alike(np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0]])).astype(int).tolist()
        [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    """
    if labels.ndim == 1:
        return labels[:, None] == labels
    return labels @ labels.T > 0


def pair_steps(labels: np.ndarray, *, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Plan one epoch: which rows meet in each step. Every labelled row occurs once.

    The rows of a class are shuffled, cut into runs of a few rows, and the runs are spread evenly over the epoch. So a
    batch has pairs that are alike and pairs that are not, whatever the number and the sizes of the classes. A row with
    several labels is taken for one of them, which is drawn anew in each epoch.

    Args:
        labels: class indices ``(rows,)`` with :data:`NO_LABEL`, or 0 and 1 ``(rows, classes)`` with NaN for a row
            without labels.
        batch_size: rows of a step. They are dealt out evenly, and none is alone.
        seed, epoch: together they determine the plan.

    Returns:
        Row numbers of each step.

    Raises:
        ValueError: if fewer than two rows have a label, or a batch has no room for a pair.

    Example:
        >>> [sorted(step.tolist()) for step in pair_steps(np.array([0, 1, 0, 1]), batch_size=4, seed=0, epoch=0)]
        [[0, 1, 2, 3]]
    """
    if batch_size < 2:
        raise ValueError(f"a pair needs a batch of at least 2 rows, but batch_size is {batch_size}")
    rng = np.random.default_rng([seed, epoch, 3])
    rows, classes = _one_class_each(labels, rng)
    if len(rows) < 2:
        raise ValueError(f"a pair needs 2 labelled rows, but there are {len(rows)}")
    runs: list[tuple[float, np.ndarray]] = []
    for name in np.unique(classes):
        own = rng.permutation(rows[classes == name])
        parts = [own[start : start + _TOGETHER] for start in range(0, len(own), _TOGETHER)]
        runs += [((place + rng.random()) / len(parts), part) for place, part in enumerate(parts)]
    order = np.concatenate([part for _, part in sorted(runs, key=lambda run: run[0])])
    steps = np.array_split(order, min(-(-len(order) // batch_size), len(order) // 2))
    return [steps[i] for i in rng.permutation(len(steps))]


def _one_class_each(labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The labelled rows, and one class of each: one of its own at random, or the number of classes if it has none."""
    if labels.ndim == 1:
        rows = np.flatnonzero(labels != NO_LABEL)
        return rows, labels[rows]
    rows = np.flatnonzero(~np.isnan(labels).any(1))
    draws = rng.random((len(rows), labels.shape[1])) * (labels[rows] > 0)
    return rows, np.where(draws.any(1), draws.argmax(1), labels.shape[1])


@dataclass(frozen=True)
class Meeting:
    """Texts that are encoded together, and those of their pairs that count.

    ``rows`` are their numbers. ``counted`` is bool ``(texts, texts)``; each pair of a step is counted in one meeting,
    and there once, above the diagonal. ``fresh`` are the texts that no earlier meeting of the step has encoded.
    """

    rows: np.ndarray
    counted: np.ndarray = field(repr=False)
    fresh: int


def meetings(rows: np.ndarray, lengths: np.ndarray, *, max_tokens: int) -> Iterator[Meeting]:
    """Cut a step so that no more than `max_tokens` padded tokens are computed at once, and no pair is lost.

    If a step is too large, its texts are parted into groups, and every two groups meet. A text is then encoded once
    for each of its meetings, so cutting costs time.

    Args:
        rows: of the step.
        lengths: tokens of every row of the data.
        max_tokens: two texts meet even if they have more.

    Example:
        >>> lengths = np.array([5, 5, 5, 5])
        >>> [meeting.rows.tolist() for meeting in meetings(np.arange(4), lengths, max_tokens=20)]
        [[0, 1, 2, 3]]
        >>> [(m.rows.tolist(), int(m.counted.sum())) for m in meetings(np.arange(3), lengths, max_tokens=10)]
        [([0, 1], 1), ([0, 2], 1), ([1, 2], 1)]
    """
    rows = rows[np.argsort(lengths[rows], kind="stable")]
    if len(rows) * int(lengths[rows].max()) <= max_tokens:
        yield Meeting(rows, np.triu(np.ones((len(rows),) * 2, bool), 1), len(rows))
        return
    groups = _groups(rows, lengths, max_tokens)
    for one, other in combinations(range(len(groups)), 2):  # sorted by length, as the groups are
        size = len(groups[one])
        counted = np.triu(np.ones((size + len(groups[other]),) * 2, bool), 1)
        # the pairs within a group are counted once: the first group's where it meets the second, the others' where
        # they meet the first
        counted[:size, :size] &= (one, other) == (0, 1)
        counted[size:, size:] &= one == 0
        fresh = len(groups[other]) * (one == 0) + size * ((one, other) == (0, 1))
        yield Meeting(np.concatenate([groups[one], groups[other]]), counted, fresh)


def _groups(rows: np.ndarray, lengths: np.ndarray, max_tokens: int) -> list[np.ndarray]:
    """Rows that are sorted by length, in groups of which any two fit."""
    most = max(1, max_tokens // (2 * int(lengths[rows].max())))
    return np.array_split(rows, min(len(rows), max(3, -(-len(rows) // most))))
