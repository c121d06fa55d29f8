"""Whether few labelled rows are better learnt from in pairs: a pure function of the labels and a probe's score."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FEW = 20
"""Labels a class up to which pairs are tried; with more, the labels themselves teach an encoder as well."""
SEPARATED = 0.75
"""The share of right answers of a linear probe from which on the encoder tells the classes apart by itself."""


class ContrastChoice(NamedTuple):
    """What was chosen, and why, in words."""

    contrastive: bool
    why: str


def class_counts(labels: np.ndarray) -> np.ndarray:
    """The labelled rows of each class that has some, for class indices and for multi-label rows.

    Example:
        >>> class_counts(np.array([0, 2, 2, -100])).tolist(), class_counts(np.array([[1.0, 1.0], [0.0, 1.0]])).tolist()
        ([1, 2], [1, 2])
    """
    if labels.dtype.kind == "i":
        return np.unique(labels[labels >= 0], return_counts=True)[1]
    counts = np.nansum(labels.reshape(len(labels), -1), axis=0).astype(np.int64)
    return counts[counts > 0]


def choose_contrastive(labels: np.ndarray, *, probe: float) -> ContrastChoice:
    """Pairs where labels are few and the encoder does not tell the classes apart by itself; else the labels.

    A class of one row has no pair, and does not count as long as others have more.

    Args:
        labels: of the training rows: class indices, or 0 and 1 ``(rows, classes)``.
        probe: what a linear probe of the encoder reaches in cross-validation on these rows: accuracy, or the micro F1 of
            several labels; 0 if it is not shown to learn anything: where most rows are of one class, that is right too.

    Example:
        >>> choose_contrastive(np.array([0, 0, 1, 1]), probe=0.5)
        ContrastChoice(contrastive=True, why='2 labels a class, and a probe is right for 50 % of held-out rows')
        >>> choose_contrastive(np.array([0, 0, 1, 1]), probe=0.0).why
        '2 labels a class, and a probe is not shown to learn anything'
        >>> choose_contrastive(np.array([0, 0, 1, 1]), probe=0.9).contrastive
        False
    """
    counts = class_counts(labels)
    middle = round(float(np.median(counts[counts > 1] if (counts > 1).any() else counts)))
    if middle > FEW:
        return ContrastChoice(False, f"{middle} labels a class, which is more than {FEW}")
    several = labels.dtype.kind != "i"
    share = f"has a micro F1 of {100 * probe:.0f} % on" if several else f"is right for {100 * probe:.0f} % of"
    right = f"{share} held-out rows" if probe else "is not shown to learn anything"
    said = f"{middle} labels a class, and a probe {right}"
    if probe >= SEPARATED:
        return ContrastChoice(False, f"{said}, which is not below {100 * SEPARATED:.0f} %")
    return ContrastChoice(True, said)
