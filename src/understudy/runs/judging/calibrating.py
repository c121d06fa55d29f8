"""A classifier's temperature, fitted on the validation rows."""

from __future__ import annotations

from understudy.data.splits import Splits
from understudy.functional.temperature import fit_temperature
from understudy.inference.answering import Answering
from understudy.runs.session import Session


def calibrate(session: Session, model: Answering, splits: Splits) -> None:
    """Set a classifier's temperature to what suits the validation rows; of a regression model nothing is changed."""
    if splits.task.kind != "regression":
        rows = splits.validation
        model.temperature = fit_temperature(session.answers(model, rows.texts), rows.labels)
