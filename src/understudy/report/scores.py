"""What is read from a record: its models by their roles, their scores, and how the student compares with the teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.functional.glue_score import task_score
from understudy.report.metric_names import LOWER_IS_BETTER, MISMATCHED, human_score, metric_name
from understudy.report.numbers import number

Record = Mapping[str, Any]
"""A parsed ``record.json``."""

TEACHER, STUDENT, ALONE, TFIDF, PROBE = "teacher", "student", "student without teacher", "tfidf", "probe"
"""The names of models that have a role in a record."""
PRUNED, UNPRUNED = "pruned", "unpruned"
"""Those of a pruning."""
MULTI_TASK = "multi_task"
"""The kind of the task of a record of several tasks."""
TASK_SCORE = "score"
"""One of several tasks has its one number under this name, beside its metrics."""
BEFORE_TRAINING = "before training"
"""Names the model whose weights the run started from; after a space, where the record has several models (``student before training``)."""
FEW_ROWS = 100
"""With fewer rows than these the report says how little their scores tell."""


def selecting_metric(record: Record) -> str:
    """The metric that models were selected by: the first one of the task."""
    return str(record["task"]["metrics"][0])


def shown_split(record: Record) -> str:
    """The split that the report shows: the one that the record names, else test if any model has a test score, else validation."""
    if record.get("split"):
        return str(record["split"])
    return "test" if any("test" in (model.get("metrics") or {}) for model in record["models"]) else "validation"


def split_scores(record: Record, model: Mapping[str, Any], split: str) -> dict[str, Any]:
    """All that a model scored on a split: on MNLI's mismatched half too, and as one of several tasks its one number.

    Example:
        >>> halves = {"validation": {"accuracy": 0.5}, "validation_mismatched": {"accuracy": 0.75}}
        >>> split_scores({"task": {"kind": "multi_task"}}, {"metrics": halves}, "validation")
        {'accuracy': 0.5, 'accuracy_mm': 0.75, 'score': 0.625}
    """
    metrics = model.get("metrics") or {}
    parts = [metrics.get(split) or {}, metrics.get(f"{split}_mismatched") or {}]
    found = parts[0] | {f"{metric}{MISMATCHED}": value for metric, value in parts[1].items()}
    several = (record.get("task") or {}).get("kind") == MULTI_TASK
    if several and any(metric not in LOWER_IS_BETTER for part in parts for metric in part):
        found[TASK_SCORE] = task_score(parts)
    return found


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


def scored_count(record: Record) -> int | None:
    """How many rows the shown split has; None where the record does not say."""
    rows = number(((record.get("data") or {}).get(shown_split(record)) or {}).get("rows"))
    return None if rows is None else int(rows)


def little_told(record: Record) -> str | None:
    """What a score on few rows is worth, in a sentence; None where there are at least :data:`FEW_ROWS` of them."""
    rows, model = scored_count(record), main_model(record)
    score, interval = score_of(record, model), interval_of(record, model)
    if rows is None or rows >= FEW_ROWS or score is None or interval is None:
        return None
    metric = selecting_metric(record)
    low, high = (human_score(metric, end) for end in interval)
    if low == high:
        return f"{rows} row{'s tell' if rows > 1 else ' tells'} little of the {metric_name(metric, short=True)} of the {model['name']}: too few for an interval."
    return f"{rows} rows tell little: on many rows the {metric_name(metric, short=True)} of the {model['name']} may be anywhere from {low} to {high}."


def interval_method(record: Record) -> str:
    """How the intervals of the selecting metric were made, in a few words."""
    rows = scored_count(record)
    few = rows is not None and rows < FEW_ROWS and selecting_metric(record) == "accuracy"
    return "Wilson's, because the rows are few" if few else "bootstrap over the rows"


def difference_of(record: Record, one: str, other: str) -> tuple[float, float, float] | None:
    """How much higher one model's score is than another's, with its interval over the same rows; None where unknown."""
    for entry in record.get("comparisons") or []:
        middle, low, high = (number(value) for value in (entry["difference"], *entry["interval"]))
        if middle is None or low is None or high is None:
            continue
        if (entry["model"], entry["other"]) == (one, other):
            return middle, low, high
        if (entry["model"], entry["other"]) == (other, one):
            return -middle, -high, -low
    return None


def teacher_leads(record: Record) -> bool:
    """Whether the teacher is better than the student without it by more than noise: only then is there a share to keep.

    The interval of their paired difference says so; where they were not compared, the teacher's score must lie beyond the
    95 % interval of the other one, and without an interval (a language model) the scores alone tell. Where there is no
    student without teacher, TF-IDF takes its place; without either nothing speaks against the teacher.
    """
    other = next((name for name in (ALONE, TFIDF) if _named_score(record, name) is not None), None)
    teacher = _named_score(record, TEACHER)
    if teacher is None or other is None:
        return teacher is not None
    sign = -1 if selecting_metric(record) in LOWER_IS_BETTER else 1
    if (known := difference_of(record, TEACHER, other)) is not None:
        return min(sign * known[1], sign * known[2]) > 0
    score = _named_score(record, other) or 0.0
    ends = interval_of(record, model_named(record, other) or {}) or (score, score)
    return all(sign * (teacher - end) > 0 for end in ends)


def share_kept(record: Record, model: Mapping[str, Any]) -> float | None:
    """A model's score divided by the teacher's.

    None if there is no teacher, for the teacher itself, and where the ratio says nothing: for a metric of which less
    is better, for a teacher whose score is not positive, and for one that is not known to be better than the student
    without it (:func:`teacher_leads`).
    """
    teacher, score = _named_score(record, TEACHER), score_of(record, model)
    if teacher is None or score is None or teacher <= 0 or model["name"] == TEACHER or not teacher_leads(record):
        return None
    return None if selecting_metric(record) in LOWER_IS_BETTER else score / teacher


def gap_closed(record: Record) -> float | None:
    """How far distillation moved the student from the score it reaches alone to the teacher's score.

    ``(student − student without teacher) / (teacher − student without teacher)`` of the selecting metric. None
    unless all three have a score and the teacher's is better than that of the student without teacher by more than noise
    (:func:`teacher_leads`).

    Example:
        >>> scores = {"teacher": 0.90, "student": 0.88, "student without teacher": 0.80}
        >>> models = [{"name": name, "metrics": {"test": {"accuracy": score}}} for name, score in scores.items()]
        >>> round(gap_closed({"task": {"metrics": ["accuracy"]}, "models": models}), 3)
        0.8
    """
    teacher, student, alone = (_named_score(record, name) for name in (TEACHER, STUDENT, ALONE))
    if teacher is None or student is None or alone is None:
        return None
    return (student - alone) / (teacher - alone) if teacher_leads(record) else None


def gap_sentence(record: Record) -> str | None:
    """:func:`gap_closed` in words, with the two scores at the ends of the gap."""
    gap = gap_closed(record)
    if gap is None:
        return None
    metric = selecting_metric(record)
    alone, teacher = (human_score(metric, _named_score(record, name)) for name in (ALONE, TEACHER))
    return f"Distillation closes {100 * gap:.0f} % of the gap between student without teacher ({alone}) and teacher ({teacher})."
