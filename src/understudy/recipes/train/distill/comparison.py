"""What a student is set beside: its teacher, the probe on the teacher's encoder, and TF-IDF."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from understudy.data.splits import Splits
from understudy.inference.answering import Answering
from understudy.inference.predictor import LinearPredictor, Predictor
from understudy.models.structure.layers import base_model
from understudy.recipes.train.distill.teachers import Teachers
from understudy.report.scores import PROBE, TEACHER, TFIDF
from understudy.runs.judging.comparing import compare, warn_of_teacher
from understudy.runs.judging.probe import fit_probe
from understudy.runs.scoring import describe, describe_answering, tfidf_baseline
from understudy.runs.session import Session


def tfidf_and_warning(session: Session, teachers: Teachers, splits: Splits, *, teaches: bool) -> LinearPredictor | None:
    """TF-IDF, fitted before the teacher labels texts, so that one which is no better is found out before it costs time.

    Of a teacher that is TF-IDF itself, or that does not teach, nothing is said.
    """
    tfidf, validation = tfidf_baseline(session, splits), splits.validation.texts
    if tfidf is None or teachers.are_tfidf or not teaches:
        return tfidf
    if (answers := teachers.answers(session, validation)) is not None:
        warn_of_teacher(session, answers, tfidf.logits(list(validation)), splits)
    return tfidf


def compare_all(
    session: Session,
    teachers: Teachers,
    students: Mapping[str, Answering],
    tfidf: LinearPredictor | None,
    splits: Splits,
) -> None:
    """Put teacher, students and baselines on the record, all on the same rows and measured in the same way.

    Args:
        session: of the run.
        teachers: of the students.
        students: by name.
        tfidf: on the labelled rows; None where there is none.
        splits: the rows that report.
    """
    answers: dict[str, np.ndarray] = {}
    taught = teachers.answers(session, splits.reporting()[1].texts)
    if taught is not None:
        describe(session, TEACHER, teachers.as_one(), taught, splits, temperature=teachers.temperature)
        answers[TEACHER] = taught
    models = dict(students)
    if session.settings.references and (probe := _probe(session, teachers, splits)) is not None:
        models[PROBE] = probe
    if tfidf is not None:
        models[TFIDF] = tfidf
    for name, model in models.items():
        answers[name] = describe_answering(session, name, model, splits)
    compare(session, answers, splits)


def _probe(session: Session, teachers: Teachers, splits: Splits) -> Predictor | None:
    """A linear layer on the encoder of the first teacher that has one of transformers."""
    teacher = teachers.encoder
    if teacher is None:
        return None
    encoder = base_model(teacher.model)
    return fit_probe(session, encoder, teacher.tokenizer, splits, max_length=teacher.max_length)
