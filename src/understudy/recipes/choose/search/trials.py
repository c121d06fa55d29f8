"""One trial of a search: a student distilled, or TF-IDF fitted, on the texts of a rung, and scored on validation rows."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from understudy.data.splits import Splits
from understudy.evaluation.halving import rung
from understudy.evaluation.quality import evaluate
from understudy.inference.answering import Answering
from understudy.inference.predictor import LinearPredictor, Predictor
from understudy.models.tfidf import Tfidf
from understudy.recipes.train.distill.work import Distillation
from understudy.recipes.train.finetune.classification import TfidfBaseline
from understudy.recipes.train.students.pace import settled
from understudy.report.scores import STUDENT
from understudy.runs.entries import put_on_record
from understudy.runs.judging.calibrating import calibrate
from understudy.runs.plans import training_seconds
from understudy.runs.saving import save_classifier
from understudy.runs.session import Session
from understudy.settings.choose.candidates import Candidate
from understudy.settings.choose.search import SearchSettings
from understudy.settings.student_options import BiLSTMOptions, LayersOptions, StaticOptions
from understudy.settings.train.distill import DistillSettings
from understudy.settings.train.finetune import FinetuneSettings

Made = TypeVar("Made", FinetuneSettings, DistillSettings)


def texts_of(splits: Splits) -> int:
    """How many texts there are to learn from."""
    return len(splits.train) + (0 if splits.unlabeled is None else len(splits.unlabeled))


def some_of(splits: Splits, texts: int, *, seed: int) -> Splits:
    """So many of the texts: the same share of the training rows and of the pool, drawn by the seed.

    What a lower number draws, a higher one draws too. Validation and test rows stay.
    """
    share = texts / texts_of(splits)
    if share >= 1:
        return splits

    def drawn(count: int, number: int) -> np.ndarray:
        order = np.random.default_rng([seed, number]).permutation(count)
        return np.sort(order[: math.ceil(share * count)])

    pool = splits.unlabeled
    return replace(
        splits,
        train=splits.train.take(drawn(len(splits.train), 0)),
        unlabeled=None if pool is None else pool.take(drawn(len(pool), 1)),
    )


def trial(settings: SearchSettings, splits: Splits) -> DistilledTrial | TfidfTrial:
    """The work of a trial: the one student of the settings, on their rung.

    Args:
        splits: all rows.

    Raises:
        UnderstudyError: if the student cannot be built.
    """
    (one,) = settings.candidates()
    assert settings.rung is not None
    number, texts = settings.rung, texts_of(splits)
    if one.kind == "tfidf":
        step = rung(number, of=settings.rungs, eta=settings.eta, texts=texts, epochs=1)
        return TfidfTrial(tfidf_settings(settings), some_of(splits, step.texts, seed=settings.seed))
    whole = settled(distill_settings(settings, one), texts=texts, validation=len(splits.validation))
    step = rung(number, of=settings.rungs, eta=settings.eta, texts=texts, epochs=_number(whole.settings.epochs))
    # a patience that was chosen for all epochs says nothing of fewer
    patience = whole.settings.patience if number == settings.rungs else settings.patience
    cut = replace(whole.settings, epochs=step.epochs, patience=patience)
    made = DistilledTrial(cut, some_of(splits, step.texts, seed=settings.seed))
    made.settled = made.settled._replace(keep=whole.keep)
    return made


def _number(epochs: int | str) -> int:
    """Epochs that are settled."""
    assert isinstance(epochs, int)
    return epochs


class DistilledTrial(Distillation):
    """A student with a teacher, scored on the validation rows; the test rows are left alone."""

    @property
    def passes(self) -> int:
        """Over the texts."""
        return self.plan.epochs

    def carry_out(self, session: Session) -> None:
        """The teacher labels the texts, the student learns from that, and is saved and scored."""
        session = replace(session, settings=self.settings)
        self.train_student(session, self.ask_teachers(session))
        if session.run.writes:
            put_score(session, self.predictor, self.splits)

    def untrained(self) -> Predictor:
        """The student as it is before training: as large and as fast as after it."""
        return Predictor(self.student.model, self.student.tokenizer, self.task, self.length)

    def seconds(self) -> float:
        """About how long its training takes; one step is measured."""
        return training_seconds(self.plan, self.batches, tokens=self.tokens)


class TfidfTrial(TfidfBaseline):
    """TF-IDF, scored on the validation rows; the test rows are left alone."""

    passes = 1
    """Over the texts."""

    def carry_out(self, session: Session) -> None:
        """Fit, save and score it."""
        session = replace(session, settings=self.settings)
        model = self.train(session)
        if session.run.writes:
            calibrate(session, model, self.splits)
            save_classifier(session.run.folder / "model", model, self.splits.validation.texts)
            put_score(session, model, self.splits)

    def untrained(self) -> LinearPredictor:
        """The vocabulary of the texts, with zeros for weights."""
        return LinearPredictor(Tfidf.untrained(self.splits.train.texts, self.splits.task))

    def seconds(self) -> float:
        """It is fitted in no time that counts."""
        return 0.0


def put_score(session: Session, model: Answering, splits: Splits) -> None:
    """Put a trained student on the record, with its score on the validation rows."""
    rows = splits.validation
    with session.run.timed("evaluate_s"):
        outputs = session.answers(model, rows.texts)
        scores = evaluate(outputs, rows.labels, splits.task, temperature=model.temperature)
    put_on_record(session, STUDENT, scores={"validation": scores}, facts=model.summary())


def distill_settings(settings: SearchSettings, one: Candidate) -> DistillSettings:
    """Those of a student that learns from the teacher."""
    made = _shared(settings, DistillSettings)
    width = one.numbers[-1] if one.numbers else None
    options: dict[str, Any] = {}
    if one.kind == "static" and width is not None:
        options["static"] = StaticOptions(embedding=width)
    if one.kind == "bilstm" and width is not None:
        options["bilstm"] = BiLSTMOptions(embedding=width, lstm=width, hidden=width)
    if one.kind == "layers" and len(one.numbers) > 1:
        options["layers"] = LayersOptions(hidden=width)
    return replace(
        made,
        teacher=[str(settings.teacher)],
        student=one.student,
        tokenizer=one.tokenizer,
        unlabeled=settings.unlabeled,
        baseline=False,
        references=False,
        **options,
    )


def tfidf_settings(settings: SearchSettings) -> FinetuneSettings:
    """Those of TF-IDF, which learns from the labels."""
    return replace(_shared(settings, FinetuneSettings), model="tfidf", baseline=False)


def _shared(settings: SearchSettings, kind: type[Made]) -> Made:
    """The settings of another command, as far as both have them and the other is not told them apart."""
    ours = {field.name for field in dataclasses.fields(SearchSettings)}
    theirs = {field.name for field in dataclasses.fields(kind)}
    own = {"teacher", "unlabeled"} | ({"epochs", "batch_size"} if kind is FinetuneSettings else set())
    values = {name: getattr(settings, name) for name in (ours & theirs) - own}
    return kind(**values)
