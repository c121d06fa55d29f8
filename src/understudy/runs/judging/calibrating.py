"""A classifier's temperature, fitted on the validation rows."""

from __future__ import annotations

from understudy.data.splits import Splits
from understudy.functional.temperature import fit_temperature
from understudy.inference.answering import Answering
from understudy.runs.session import Session


def calibrate(session: Session, name: str, model: Answering, splits: Splits) -> None:
    """Set a classifier's temperature to what suits the validation rows; of a regression model nothing is changed.

    Where none can be fitted it is 1, and the record says why.
    """
    if splits.task.kind == "regression":
        return
    rows = splits.validation
    found = fit_temperature(session.answers(model, rows.texts), rows.labels)
    model.temperature = found.value
    if found.reason is not None:
        few = "too few" in found.reason  # the same for all models: said once
        whose = "the probabilities are" if few else f"{name}: its probabilities are"
        note = f"{whose} used as they are, without a temperature: {found.reason}."
        if note not in session.run.record.notes:
            session.run.say(note)
