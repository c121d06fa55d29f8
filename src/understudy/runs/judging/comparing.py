"""Models held against each other on the rows that report, and a teacher against TF-IDF before it teaches."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from understudy.atomic import write_bytes
from understudy.data.splits import Rows, Splits
from understudy.evaluation.paired import LEVEL, PairedDifference, paired_differences
from understudy.evaluation.single_rows.mistakes import confident_mistakes
from understudy.folders.contents import ANSWERS
from understudy.report.scores import STUDENT
from understudy.report.verdict import doubt_of_teacher
from understudy.runs.session import Session

_MOST_KEPT = 20_000_000
"""Answers of a run that are kept for single rows, all models and outputs together."""
_SHOWN = 300
"""Characters of a text that the record and the card show."""
_MISTAKES = 25
"""Wrong answers that the record keeps."""


def compare(session: Session, answers: Mapping[str, np.ndarray], splits: Splits) -> None:
    """Put the paired differences of all models on the record, by the metric that selects.

    Args:
        answers: by model, its outputs for the rows that report, ``(rows, outputs)``.
    """
    split, rows = splits.reporting()
    with session.run.timed("evaluate_s"):
        found = _differences(session, answers, rows)
    session.run.record.comparisons = [
        {
            "model": one,
            "other": other,
            "split": split,
            "metric": session.metric()[0],
            "difference": pair.difference,
            "interval": [pair.low, pair.high],
            "level": LEVEL,
            "rows": pair.rows,
        }
        for (one, other), pair in found.items()
    ]
    session.run.record.mistakes = _mistakes(session, answers, splits)
    session.run.save()
    _keep(session, answers, rows.labels)


def _keep(session: Session, answers: Mapping[str, np.ndarray], labels: np.ndarray) -> None:
    """Write down what every model answers for each row that reports, for :mod:`understudy.report.page`."""
    if sum(outputs.size for outputs in answers.values()) > _MOST_KEPT:
        session.run.say(
            f"what the models answer for each of {len(labels):,} rows is not kept: it would take more than {4 * _MOST_KEPT // 10**6} MB."
        )
        return
    if not session.run.writes:
        return
    outputs = np.stack([output.astype(np.float32).reshape(len(labels), -1) for output in answers.values()])
    content = io.BytesIO()
    np.savez_compressed(content, names=np.array(list(answers)), answers=outputs, labels=labels)
    write_bytes(session.run.folder / ANSWERS, content.getvalue())


def _mistakes(session: Session, answers: Mapping[str, np.ndarray], splits: Splits) -> list[dict[str, Any]]:
    """What the model that the run was for answers wrongly while it is most certain; nothing but for one class a row."""
    if splits.task.kind != "single_label":
        return []
    name = STUDENT if STUDENT in answers else next(iter(answers))
    entry = next((model for model in session.run.record.models if model["name"] == name), {})
    temperature = (entry.get("calibration") or {}).get("temperature") or 1.0
    rows, labels = splits.reporting()[1], splits.task.labels
    return [
        {
            "row": found.row,
            "texts": [text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…" for text in rows.texts[found.row]],
            "label": labels[found.label],
            "answer": labels[found.answer],
            "confidence": found.confidence,
        }
        for found in confident_mistakes(answers[name], rows.labels, temperature=temperature, most=_MISTAKES)
    ]


def warn_of_teacher(session: Session, teacher: np.ndarray, tfidf: np.ndarray, splits: Splits) -> None:
    """Say before training if the teacher is not better than TF-IDF on the validation rows.

    Args:
        teacher, tfidf: their outputs for the validation rows, ``(rows, outputs)``.
    """
    if not splits.validation.labelled.any():
        return
    found = _differences(session, {"teacher": teacher, "tfidf": tfidf}, splits.validation)
    if doubt := doubt_of_teacher(session.metric()[0], *found["teacher", "tfidf"]):
        session.run.say(doubt)


def _differences(
    session: Session, answers: Mapping[str, np.ndarray], rows: Rows
) -> dict[tuple[str, str], PairedDifference]:
    return paired_differences(session.metric()[0], answers, rows.labels, seed=session.settings.seed)
