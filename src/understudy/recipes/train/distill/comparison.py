"""What a student is set beside: its teacher, the probe on the teacher's encoder, and TF-IDF."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from understudy.data.splits import Splits
from understudy.inference.answering import Answering
from understudy.inference.predictor import LinearPredictor
from understudy.models.structure.layers import base_model
from understudy.recipes.train.distill.teachers import Teachers
from understudy.report.scores import PROBE, TEACHER, TFIDF
from understudy.runs.judging.comparing import compare, warn_of_teacher
from understudy.runs.judging.probe import fit_probe, probe_answers
from understudy.runs.scoring import describe, describe_answering, tfidf_baseline
from understudy.runs.session import Session


def tfidf_and_warning(session: Session, teachers: Teachers, splits: Splits, *, teaches: bool) -> LinearPredictor | None:
    """TF-IDF, fitted before the teacher labels texts, so that one which is no better is found out before it costs time.

    What the teacher reads for that, the probe will not have to read again.

    Of a teacher that is TF-IDF itself, or that does not teach, nothing is said.
    """
    tfidf, validation = tfidf_baseline(session, splits), splits.validation.texts
    if tfidf is None or teachers.are_tfidf or not teaches:
        return tfidf
    if (answers := teachers.answers(session, validation, vectors=True)) is not None:
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
    reporting = splits.reporting()[1].texts
    taught = teachers.answers(session, reporting, vectors=session.settings.references)
    if taught is not None:
        describe(session, TEACHER, teachers.as_one(), taught, splits, temperature=teachers.temperature)
        answers[TEACHER] = taught
    for name, model in students.items():
        answers[name] = describe_answering(session, name, model, splits)
    if session.settings.references and (teacher := teachers.encoder) is not None:
        known = partial(teachers.vectors, session)
        encoder, length = base_model(teacher.model), teacher.max_length
        probe = fit_probe(session, encoder, teacher.tokenizer, splits, max_length=length, known=known)
        if probe is not None:
            answers[PROBE] = probe_answers(session, probe, reporting, known=known)
            describe(session, PROBE, probe, answers[PROBE], splits, temperature=probe.temperature)
    if tfidf is not None:
        answers[TFIDF] = describe_answering(session, TFIDF, tfidf, splits)
    compare(session, answers, splits)
