"""How long, in which steps and how fast a student learns where the settings leave it open."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from understudy.settings.student_options import TABLE_STUDENTS, BiLSTMOptions
from understudy.settings.train.distill import DistillSettings

_FEWEST, _MOST = 3, 20
_TEN_AT = 1000
"""Texts that are read ten times; the epochs fall with the root of the texts, so the rows read still rise with it."""
_TABLES = tuple(options.name for options in TABLE_STUDENTS)
_OTHER_EPOCHS = 10
"""Of students with pretrained layers, for which nothing else was measured."""
_ENOUGH = 400
"""Validation rows that can tell evaluations apart: an accuracy of 80 % has a standard error of 2 points on so many."""
Keep = Literal["best", "last"]
_ROWS, _MORE_ROWS, _MORE_FROM = 32, 64, 2000
"""Rows of a step; of a step at twice the rate; texts from which on there are enough of such steps."""


class Pace(NamedTuple):
    """What ``--epochs auto`` stands for."""

    epochs: int
    patience: int | None = None
    """Evaluations without a new best after which a student ends."""
    batch_size: int = _ROWS
    faster: int = 1
    """By how much the peak rate is above that of the kind of student."""
    keep: Keep = "best"
    """Which evaluation's weights a student ends with."""


def pace(student: str, *, texts: int, validation: int) -> Pace:
    r"""Epochs, patience and steps of a student, with and without teacher, by the number of texts.

    .. math:: \min(20, \max(3, \lceil 10 \sqrt{1000 / n} \rceil))

    epochs for the students with a table of their own; a bilstm of 2,000 texts or more in steps of 64 rows at twice the
    rate. With 400 validation rows or more, the best weights are kept and half of the epochs are the patience. Fewer
    rows would choose by chance: the schedule is gone through, and the last weights are kept. Other students have ten
    epochs of 32 rows, the same patience, and the best weights.

    Args:
        student: as ``--student`` names it.
        texts: n, those that the student with the teacher learns from.
        validation: rows that can choose among evaluations.

    Example:
        >>> [pace("static", texts=texts, validation=100).epochs for texts in (100, 1_000, 5_000, 25_000)]
        [20, 10, 5, 3]
        >>> pace("bilstm", texts=5_000, validation=1_000)
        Pace(epochs=5, patience=3, batch_size=64, faster=2, keep='best')
        >>> pace("layers:3", texts=5_000, validation=1_000)[:2]
        (10, 5)
    """
    if student not in _TABLES:
        return Pace(_OTHER_EPOCHS, math.ceil(_OTHER_EPOCHS / 2) if validation >= _ENOUGH else None)
    epochs = min(_MOST, max(_FEWEST, math.ceil(10 * math.sqrt(_TEN_AT / max(texts, 1)))))
    larger = student == BiLSTMOptions.name and texts >= _MORE_FROM  # a static student's steps cost by their rows
    rows, faster = (_MORE_ROWS, 2) if larger else (_ROWS, 1)
    if validation < _ENOUGH:
        return Pace(epochs, None, rows, faster, "last")
    return Pace(epochs, math.ceil(epochs / 2), rows, faster)


class Settled(NamedTuple):
    """Settings without anything open."""

    settings: DistillSettings
    keep: Keep
    why: str | None
    """What was chosen, in words; None if nothing was."""


def settled(settings: DistillSettings, *, texts: int, validation: int) -> Settled:
    """Settings with numbers for what they leave open.

    What is given stays: with a number of epochs only the batch size may be open, and it is 32; the rate is doubled only
    where batch size and rate are both open; where the settings watch evaluations, the best weights are kept, and nothing ends
    training early but what they name.
    """
    if settings.epochs != "auto":
        given = settings if settings.batch_size is not None else replace(settings, batch_size=_ROWS)
        return Settled(given, "best", None)
    found = pace(settings.student, texts=texts, validation=validation)
    keep: Keep = "best" if settings.watches else found.keep
    chosen: dict[str, Any] = {"epochs": found.epochs}
    said = [f"{found.epochs} by {texts:,} texts" if settings.student in _TABLES else str(found.epochs)]
    if not settings.watches and found.patience is not None:  # in evaluations at the end of each epoch
        chosen["patience"] = found.patience
        said.append(f"fewer after {found.patience} evaluations without a new best")
    if keep == "last":
        said.append(f"the last weights, because {validation:,} validation rows cannot choose")
    if settings.batch_size is None:
        chosen["batch_size"] = found.batch_size
        rates = {options.name: options.learning_rate for options in TABLE_STUDENTS}
        if settings.learning_rate is None and found.faster > 1:
            chosen["learning_rate"] = found.faster * rates[settings.student]
            said.append(f"{found.batch_size} rows a step at {found.faster} times the rate of {_ROWS}")
    return Settled(replace(settings, **chosen), keep, f"auto: {', '.join(said)}")
