"""Models on the record: one function for every kind of model, task and split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from understudy.evaluation.quality import Evaluation, as_entry
from understudy.runs.session import Session


def put_on_record(
    session: Session,
    name: str,
    *,
    scores: Mapping[str, Evaluation],
    facts: Mapping[str, Any],
    order: Sequence[str] = (),
) -> None:
    """Put a model on the record and save it; an entry of the same name is replaced.

    Args:
        scores: by split.
        facts: what else is known of it: parameters, bytes, latency, the type of model.
        order: names of models that come first, in this order.
    """
    entry: dict[str, Any] = {"name": name, **facts, **as_entry(scores)}
    known = {model["name"]: model for model in session.run.record.models} | {name: entry}
    first = [known[key] for key in order if key in known]
    session.run.record.models = [*first, *(model for key, model in known.items() if key not in order)]
    session.run.save()
    session.stop_if_asked()


def has_entry(session: Session, name: str) -> bool:
    """Whether a model is on the record already."""
    return any(model["name"] == name for model in session.run.record.models)
