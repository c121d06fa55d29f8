"""A classifier's temperature, fitted on the validation rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from understudy.data.splits import Splits
from understudy.data.texts import Texts
from understudy.functional.temperature import fit_temperature
from understudy.inference.answering import Answering
from understudy.runs.session import Session


def calibrate(
    session: Session, model: Answering, splits: Splits, *, answers: Callable[[Texts], np.ndarray] | None = None
) -> None:
    """Set a classifier's temperature to what suits the validation rows; of a regression model nothing is changed.

    Args:
        answers: gives the model's outputs for texts, if there is a shorter way than to ask it.
    """
    if splits.task.kind != "regression":
        rows, answers = splits.validation, answers or partial(session.answers, model)
        model.temperature = fit_temperature(answers(rows.texts), rows.labels)
