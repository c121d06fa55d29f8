"""What is read from a record: its models by their roles, their scores, and how the student compares with the teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.report.metric_names import LOWER_IS_BETTER, human_score
from understudy.report.numbers import number

Record = Mapping[str, Any]
"""A parsed ``record.json``."""

TEACHER, STUDENT, ALONE, TFIDF, PROBE = "teacher", "student", "student without teacher", "tfidf", "probe"
"""The names of models that have a role in a record."""
MULTI_TASK = "multi_task"
"""The kind of the task of a record of several tasks."""
BEFORE_TRAINING = "before training"
"""Names the model whose weights the run started from; after a space, where the record has several models (``student before training``)."""


def selecting_metric(record: Record) -> str:
    """The metric that models were selected by: the first one of the task."""
    return str(record["task"]["metrics"][0])


def shown_split(record: Record) -> str:
    """The split that the report shows: the one that the record names, else test if any model has a test score, else validation."""
    if record.get("split"):
        return str(record["split"])
    return "test" if any("test" in (model.get("metrics") or {}) for model in record["models"]) else "validation"


def score_of(record: Record, model: Mapping[str, Any], metric: str | None = None) -> float | None:
    """A model's score on the shown split, by default of the selecting metric; None where it has none."""
    scores = (model.get("metrics") or {}).get(shown_split(record)) or {}
    return number(scores.get(metric or selecting_metric(record)))


def interval_of(record: Record, model: Mapping[str, Any]) -> tuple[float, float] | None:
    """The 95 % interval of a model's selecting metric on the shown split: its lower and its upper end."""
    intervals = (model.get("intervals") or {}).get(shown_split(record)) or {}
    ends = intervals.get(selecting_metric(record)) or (None, None)
    low, high = number(ends[0]), number(ends[1])
    return None if low is None or high is None else (low, high)


def model_names(record: Record) -> list[str]:
    """The names of the models that the record has scores of: its own ones, or those that a family aggregates."""
    return [str(model["name"]) for model in record["models"]] or list(record.get("aggregate") or {})


def main_name(record: Record) -> str:
    """The name of the model that the run was for: the student if there is one, else the first model."""
    names = model_names(record)
    return STUDENT if STUDENT in names else names[0]


def model_named(record: Record, name: str) -> Mapping[str, Any] | None:
    """The record's entry of the model with this name, or None."""
    return next((model for model in record["models"] if model["name"] == name), None)


def main_model(record: Record) -> Mapping[str, Any]:
    """The record's entry of the model that the run was for, see :func:`main_name`."""
    model: Mapping[str, Any] = model_named(record, STUDENT) or record["models"][0]
    return model


def is_distilled(record: Record) -> bool:
    """Whether the run was for a model that learnt from a teacher in the record."""
    return TEACHER in model_names(record) and main_name(record) != TEACHER


def _named_score(record: Record, name: str) -> float | None:
    model = model_named(record, name)
    return None if model is None else score_of(record, model)


def share_kept(record: Record, model: Mapping[str, Any]) -> float | None:
    """A model's score divided by the teacher's.

    None if there is no teacher, for the teacher itself, and where the ratio says nothing: for a metric of which less
    is better, and for a teacher whose score is not positive.
    """
    teacher, score = _named_score(record, TEACHER), score_of(record, model)
    if teacher is None or score is None or teacher <= 0 or model["name"] == TEACHER:
        return None
    return None if selecting_metric(record) in LOWER_IS_BETTER else score / teacher


def gap_closed(record: Record) -> float | None:
    """How far distillation moved the student from the score it reaches alone to the teacher's score.

    ``(student − student without teacher) / (teacher − student without teacher)`` of the selecting metric. None
    unless all three have a score and the teacher's is better than that of the student without teacher.

    Example:
        >>> scores = {"teacher": 0.90, "student": 0.88, "student without teacher": 0.80}
        >>> models = [{"name": name, "metrics": {"test": {"accuracy": score}}} for name, score in scores.items()]
        >>> round(gap_closed({"task": {"metrics": ["accuracy"]}, "models": models}), 3)
        0.8
    """
    teacher, student, alone = (_named_score(record, name) for name in (TEACHER, STUDENT, ALONE))
    if teacher is None or student is None or alone is None:
        return None
    sign = -1 if selecting_metric(record) in LOWER_IS_BETTER else 1
    return (student - alone) / (teacher - alone) if sign * (teacher - alone) > 0 else None


def gap_sentence(record: Record) -> str | None:
    """:func:`gap_closed` in words, with the two scores at the ends of the gap."""
    gap = gap_closed(record)
    if gap is None:
        return None
    metric = selecting_metric(record)
    alone, teacher = (human_score(metric, _named_score(record, name)) for name in (ALONE, TEACHER))
    return f"Distillation closes {100 * gap:.0f} % of the gap between student without teacher ({alone}) and teacher ({teacher})."
