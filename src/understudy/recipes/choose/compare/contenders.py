"""One model of a comparison: trained as its own command trains it, and all that the others need to know of it."""

from __future__ import annotations

import dataclasses
import importlib
import io
import typing
from typing import Any, TypeVar

import numpy as np

from understudy.atomic import write_bytes
from understudy.data.batches.bucketed import BucketedBatches
from understudy.data.splits import Splits
from understudy.evaluation.quality import evaluate
from understudy.folders.contents import ANSWERS
from understudy.inference.predictor import LinearPredictor, Predictor
from understudy.objectives.teachers.teacher import Teacher
from understudy.recipes.choose.compare.alone import StudentAlone
from understudy.recipes.train.distill.work import Distillation
from understudy.recipes.train.finetune.adapted import Adapted
from understudy.recipes.train.finetune.classification import TfidfBaseline
from understudy.recipes.train.finetune.transformer import Transformer
from understudy.report.comparison.pace import training_pace
from understudy.report.curves import read_progress
from understudy.runs.entries import put_on_record
from understudy.runs.judging.calibrating import calibrate
from understudy.runs.processes.child import peak_memory_bytes
from understudy.runs.saving import save_classifier
from understudy.runs.scoring import describe_answering
from understudy.runs.session import Session
from understudy.settings.choose.compare import CompareSettings
from understudy.settings.choose.contestants import Contestant
from understudy.settings.train.distill import DistillSettings
from understudy.settings.train.finetune import FinetuneSettings

CONDITIONS = "conditions"
"""Where the record of a training says in which order it read which tokens."""
PACE = "pace"
"""Where it says how fast the training was, and when it had come to its best score."""
Made = TypeVar("Made", FinetuneSettings, DistillSettings)


class Contending:
    """Before the class that knows how to train: the model is trained, saved, scored, and its answers are kept."""

    name: str
    """How the comparison calls it."""
    splits: Splits

    def trained_on(self) -> BucketedBatches | None:
        """The batches that it was trained on; None if it was not trained in steps."""
        batches: BucketedBatches | None = getattr(self, "batches", None)
        return batches

    def carry_out(self, session: Session) -> None:
        """Train the model, save it, score it, and write its answers down for the comparison."""
        importlib.import_module("sklearn.metrics")  # or the first evaluation would be charged with loading it
        model: Predictor | LinearPredictor = self.train(session)  # type: ignore[attr-defined]
        if not session.run.writes:
            return
        if session.settings.trial:
            self._score(session, model)
            return
        memory = peak_memory_bytes()
        self._say_conditions(session)
        calibrate(session, model, self.splits)
        _, rows = self.splits.reporting()
        save_classifier(session.run.folder / "model", model, rows.texts)
        more = {} if memory is None else {"peak_memory_bytes": memory}
        answers = describe_answering(session, self.name, model, self.splits, more=more)
        content = io.BytesIO()
        np.savez_compressed(content, answers=answers, labels=rows.labels)
        write_bytes(session.run.folder / ANSWERS, content.getvalue())

    def _score(self, session: Session, model: Predictor | LinearPredictor) -> None:
        """Put its score on the validation rows on the record, which is all that a trial is for."""
        rows = self.splits.validation
        scores = evaluate(session.answers(model, rows.texts), rows.labels, self.splits.task)
        put_on_record(session, self.name, scores={"validation": scores}, facts=model.summary())

    def _say_conditions(self, session: Session) -> None:
        """Put on the record which tokens were read in which order, so that it can be held against other models'."""
        batches = self.trained_on()
        if batches is None:
            return
        (training,) = (phase for phase in session.run.record.training.values())
        metric, higher = session.metric()
        columns = next(iter(read_progress(session.run.folder / "progress.csv").values()), {})
        training[PACE] = training_pace(columns, metric, higher_is_better=higher, min_delta=session.settings.min_delta)
        training[CONDITIONS] = {
            "tokens": batches.encoded.fingerprint,
            "order": batches.order_fingerprint(session.settings.epochs),
        }


class ContendingTransformer(Contending, Transformer):
    """A pretrained model all of whose weights learn."""


class ContendingAdapter(Contending, Adapted):
    """A pretrained model in which an adapter learns."""


class ContendingTfidf(Contending, TfidfBaseline):
    """TF-IDF with a linear model."""


class ContendingStudent(Contending, StudentAlone):
    """A student without a teacher."""


class ContendingDistilled(Contending, Distillation):
    """A student with a teacher."""

    _used: BucketedBatches | None = None

    def train(self, session: Session) -> Predictor:
        """The teacher labels all texts, the student learns from that."""
        session = dataclasses.replace(session, settings=self.settings)
        self.train_student(session, self.ask_teachers(session))
        return self.predictor

    def trained_on(self) -> BucketedBatches | None:
        """The texts that the teacher labelled."""
        return self._used

    def _taught_batches(self, teacher: Teacher) -> BucketedBatches:
        self._used = super()._taught_batches(teacher)
        return self._used


def contender(settings: CompareSettings, one: Contestant, splits: Splits) -> Any:
    """What trains a model of a comparison, with everything checked that can be checked before training."""
    made: Any
    if one.distilled:
        made = ContendingDistilled(distill_settings(settings, one), splits)
    elif one.kind == "tfidf":
        made = ContendingTfidf(finetune_settings(settings, one), splits)
    elif one.kind == "student":
        made = ContendingStudent(finetune_settings(settings, one), splits, spec=one.spec, encoder=encoder_of(settings))
    else:
        kind = ContendingTransformer if one.adapter is None else ContendingAdapter
        made = kind(finetune_settings(settings, one), splits)
    made.name = one.name
    return made


def encoder_of(settings: CompareSettings) -> str | None:
    """What students without a teacher are made of."""
    first = settings.first_encoder()
    return settings.encoder or (None if first is None else first.spec)


def finetune_settings(settings: CompareSettings, one: Contestant) -> FinetuneSettings:
    """Those of one model that learns from labels alone: a new head starts at random, as everyone's does.

    Nothing is left to be chosen by the data, because others could not choose it.
    """
    made = _shared(settings, FinetuneSettings)
    return dataclasses.replace(
        made,
        model=one.spec,
        adapter=typing.cast(Any, one.adapter),
        start="head",
        pooling="head",
        contrastive="never",
        baseline=False,
    )


def distill_settings(settings: CompareSettings, one: Contestant) -> DistillSettings:
    """Those of one model that learns from a teacher."""
    made = _shared(settings, DistillSettings)
    return dataclasses.replace(
        made,
        teacher=[str(settings.teacher)],
        student=one.spec,
        unlabeled=settings.unlabeled,
        baseline=False,
        references=False,
    )


def _shared(settings: CompareSettings, kind: type[Made]) -> Made:
    """The settings of another command, as far as both have them."""
    ours = {field.name for field in dataclasses.fields(CompareSettings)}
    theirs = {field.name for field in dataclasses.fields(kind)}
    own = {"teacher", "models", "encoder", "seeds", "limit_train", "unlabeled"}
    limit = settings.limit_train[0] if settings.limit_train else None
    values = {name: getattr(settings, name) for name in (ours & theirs) - own}
    return kind(limit_train=limit, **values)
