"""How long a student learns where the settings leave it open."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from understudy.settings.student_options import is_table
from understudy.settings.train.distill import DistillSettings

_FEWEST, _MOST = 3, 20
_TEN_AT = 1000
"""Texts that are read ten times; the epochs fall with the root of the texts, so the steps still rise with them."""
_OTHER_EPOCHS = 10
"""Of students with pretrained layers, for which nothing else was measured."""


class Pace(NamedTuple):
    """What ``--epochs auto`` stands for."""

    epochs: int
    patience: int | None
    """Evaluations without a new best after which a student ends."""
    why: str


def pace(student: str, *, texts: int) -> Pace:
    r"""The epochs and the patience of a student, with and without teacher, by the number of texts.

    .. math:: \min(20, \max(3, \lceil 10 \sqrt{1000 / n} \rceil))

    and a patience of half of them, for the students with a table of their own; ten epochs for others.

    Args:
        student: as ``--student`` names it.
        texts: n, those that the student with the teacher learns from.

    Example:
        >>> [pace("static", texts=texts).epochs for texts in (100, 1_000, 5_000, 25_000)]
        [20, 10, 5, 3]
        >>> pace("bilstm", texts=5_000).patience, pace("layers:3", texts=5_000).patience
        (3, None)
    """
    if not is_table(student):
        return Pace(_OTHER_EPOCHS, None, f"{_OTHER_EPOCHS} (auto, for a student with layers of its own)")
    epochs = min(_MOST, max(_FEWEST, math.ceil(10 * math.sqrt(_TEN_AT / max(texts, 1)))))
    patience = math.ceil(epochs / 2)
    return Pace(
        epochs,
        patience,
        f"{epochs} (auto, by {texts:,} texts); {patience} evaluations without a new best end a student",
    )


def settled(settings: DistillSettings, *, texts: int) -> tuple[DistillSettings, str | None]:
    """Settings with numbers where ``--epochs auto`` leaves them open, and what was chosen in words.

    With a number of epochs nothing is chosen; a patience that is given stays.
    """
    if settings.epochs != "auto":
        return settings, None
    found = pace(settings.student, texts=texts)
    if settings.patience is not None:
        return replace(settings, epochs=found.epochs), found.why.partition(";")[0]
    return replace(settings, epochs=found.epochs, patience=found.patience), found.why
