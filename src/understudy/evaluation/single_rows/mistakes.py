"""Which rows a classifier gets wrong while it is most certain."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from understudy.functional.scoring import scored_rows


class Mistake(NamedTuple):
    """A row that was answered wrongly."""

    row: int
    label: int
    answer: int
    confidence: float
    """The probability of the answer."""


def confident_mistakes(
    logits: np.ndarray, labels: np.ndarray, *, most: int = 10, temperature: float = 1.0
) -> list[Mistake]:
    """The wrong answers that a classifier is most certain of, the most certain first; of equal ones the earlier row.

    They are the rows to read first: a label may be wrong, or a kind of text may be missing from training.

    Args:
        logits: ``(rows, classes)``.
        labels: ``(rows,)``, classes; rows without one are left out.
        most: how many at most.
        temperature: that the logits are divided by.

    Example:
        >>> logits = np.array([[2.0, 0.0], [0.0, 3.0], [0.0, 1.0]])
        >>> [(found.row, found.answer, round(found.confidence, 3)) for found in confident_mistakes(logits, np.array([1, 0, 1]))]
        [(1, 1, 0.953), (0, 0, 0.881)]
    """
    known, wanted = scored_rows(logits, labels)
    places = np.flatnonzero(labels >= 0)
    scaled = known.astype(np.float64) / temperature
    shares = np.exp(scaled - scaled.max(1, keepdims=True))
    confidence = (shares / shares.sum(1, keepdims=True)).max(1)
    answers = known.argmax(1)
    wrong = np.flatnonzero(answers != wanted)
    first = wrong[np.argsort(-confidence[wrong], kind="stable")][:most]
    return [Mistake(int(places[i]), int(wanted[i]), int(answers[i]), float(confidence[i])) for i in first]
