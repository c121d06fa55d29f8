"""The work of a distillation: texts, teachers and a student, then the student without teacher from the same start."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from understudy.data.batches.bucketed import BucketedBatches, PacedBatches
from understudy.data.splits import Splits
from understudy.data.tasks import metric_faults
from understudy.data.tokens.encode import Encoded, encode
from understudy.errors import ConfigError, gathered
from understudy.inference.answering import Answering
from understudy.inference.predictor import Predictor
from understudy.models.structure.inputs import settle_inputs
from understudy.models.structure.layers import begin_at_mean
from understudy.objectives.supervised import Supervised
from understudy.objectives.teachers.teacher import NoAnswers, Teacher
from understudy.objectives.terms import term_names
from understudy.recipes.train.distill.comparison import compare_all, tfidf_and_warning
from understudy.recipes.train.distill.distances import distance_faults, objective_of
from understudy.recipes.train.distill.teachers import Teachers
from understudy.recipes.train.distill.texts import (
    all_labels,
    all_texts,
    answered,
    real_texts,
    said_of_left_out,
    said_of_pool,
    taught_rows,
)
from understudy.recipes.train.students.adapted import adapted_student, adapts_student, ready
from understudy.recipes.train.students.classifier import UntrainedStudent, build_student
from understudy.recipes.train.students.pace import settled
from understudy.recipes.train.students.start import reader_of, start_embeddings, table_start
from understudy.report.scores import ALONE, STUDENT
from understudy.runs.fitting.batches import phase_batches
from understudy.runs.fitting.beside import Beside, Training
from understudy.runs.fitting.learning import learning_plan, said_of_min_delta, said_of_scale
from understudy.runs.fitting.phase import train_phase
from understudy.runs.judging.calibrating import calibrate
from understudy.runs.plans import rows_plan
from understudy.runs.saving import save_classifier
from understudy.runs.scoring import validation_scores
from understudy.runs.session import Session
from understudy.runs.subject import Subject
from understudy.runs.text_limits import OF_STUDENTS, how_to_read_more, said_of_cuts, text_length, unread_notes
from understudy.settings.student_options import STUDENTS, options_of
from understudy.settings.train.distill import DistillSettings
from understudy.settings.training import TrainSettings


class Distillation:
    """Texts, teachers and a student, with everything checked that can be checked before training."""

    def __init__(self, settings: DistillSettings, splits: Splits) -> None:
        self.splits, self.task = splits, splits.task
        self.subject = Subject.of_rows(splits)
        faults = splits.learning_faults() + metric_faults(settings.metric, self.task.metrics)
        faults += distance_faults(settings.distance, self.task.kind)
        self.labelled = splits.train.take(np.flatnonzero(splits.train.labelled))
        if not len(self.labelled):
            rule = "Label some: the student without teacher and TF-IDF learn from them."
            faults.append(f"no training row has a label. {rule}")
        self.teachers = Teachers(
            settings.teacher,
            settings.teacher_weights,
            self.task,
            max_length=settings.max_length,
            of_several=settings.task,
            engine=settings.engine,
            faults=faults,
        )
        self.notes: list[str] = []
        self.real_texts = real_texts(splits)
        self.texts = all_texts(
            splits,
            copies=0 if faults else settings.augment,  # copies take their time
            options=settings.augmentation,
            mask_token=self.teachers.mask_token,
            notes=self.notes,
        )
        self.teachers.read_files(self.texts, settings.reading, faults)
        self.taught = self._taught_rows(self.teachers.will_answer(len(self.texts)), settings)
        self.settled = settled(settings, texts=len(self.taught), validation=len(splits.validation))
        self.settings = self.settled.settings
        source = self.teachers.source
        # nothing can be taken from a teacher that has faults itself
        if source is None or source in self.teachers.models or settings.student.split(":")[0] not in STUDENTS:
            with gathered(faults):
                self._make_student(source, faults)
        if faults:
            raise ConfigError(*dict.fromkeys(faults))
        self._encode()
        self.groups = self.plan.with_own_rates
        self.objective = objective_of(self.student.model, self.settings, splits)
        self.terms = term_names(self.objective)
        self.beside: Beside | None = None

    def _make_student(self, source: str | None, faults: list[str]) -> None:
        """The student, how it learns and how much of a text it reads; faults of the latter two join `faults`."""
        settings = self.settings
        self.reader = reader_of(self.teachers.models.get(source or ""))
        if adapts_student(settings, source):
            self.student: UntrainedStudent = adapted_student(settings, self.task, teacher=source)
        else:
            self.student = build_student(
                settings.student,
                self.task,
                teacher=source,
                texts=self.real_texts,
                tokenizer=settings.tokenizer,
                embeddings=table_start(settings.embeddings, self.reader),
                options=options_of(settings),
                seed=settings.seed,
                of_several=settings.task,
            )
        model: Any = self.student.model
        self.names = settle_inputs(model, self.student.tokenizer)
        if self.task.kind == "regression":
            begin_at_mean(model, self.labelled.labels)
        self.start = copy.deepcopy(model)  # the student without teacher starts from the same weights
        with gathered(faults):
            self.plan = learning_plan(
                Supervised(model, self.task.kind), settings, learning_rate=self.student.learning_rate
            )
        with gathered(faults):
            self.length = text_length(model, self.student.tokenizer, settings.max_length)

    def _encode(self) -> None:
        """Token ids of all texts for the student, and the notes on them."""
        tokenizer = self.student.tokenizer
        self.encoded = encode(self.texts, tokenizer, max_length=self.length)
        self.encoded_labelled = encode(self.labelled.texts, tokenizer, max_length=self.length)
        self.encoded_validation = encode(self.splits.validation.texts, tokenizer, max_length=self.length)
        parts = {"student": self.encoded, "validation": self.encoded_validation}
        self.notes += [*([self.student.note] if self.student.note else []), *self.teachers.notes]
        self.notes += said_of_min_delta(self.settings) + unread_notes(parts, tokenizer, remedy=OF_STUDENTS)
        if not getattr(self.student.model, "keeps_head", False):
            self.notes += said_of_scale(self.task.kind, self.labelled.labels)
        self.notes += said_of_cuts(parts, self.length, more=how_to_read_more(self.student.model))

    def plan_lines(self) -> Mapping[str, str]:
        """Rows, tokens, steps, time and memory."""
        plan = rows_plan(self.plan, self._labelled_batches(), self.splits, self.settings, rows=len(self.taught))
        copies = len(self.texts) - len(self.real_texts)
        return {
            "teacher": " + ".join(self.settings.teacher),
            "student": self.settings.student,
            **({"embeddings": self.student.begins} if self.student.begins else {}),
            "pool": said_of_pool(len(self.real_texts) - len(self.splits.train), copies, alpha=self.settings.alpha),
            **plan,
            **({"epochs": self.settled.why} if self.settled.why else {}),
        }

    @property
    def tokens(self) -> int:
        """Of the texts that teach, as the student reads them."""
        return int(self.encoded.lengths[self.taught].sum())

    @property
    def trains_twice(self) -> bool:
        """Whether two students are trained in the same way, and nothing but their files comes of it."""
        settings = self.settings
        return settings.baseline and settings.track is None and settings.learning_rate != "auto"

    @property
    def batches(self) -> BucketedBatches:
        """Those on which a step is measured: no teacher has answered yet."""
        return self._labelled_batches()

    def carry_out(self, session: Session) -> None:
        """Label the texts, train with and without the teacher, compare all on the test rows (or the validation rows)."""
        session = replace(session, settings=self.settings)
        if self.settled.why is not None:
            session.run.record.training.setdefault(STUDENT, {})["settled"] = self.settled.why
        tfidf = None
        with Beside(session, STUDENT, ALONE) as self.beside:
            if self.settings.references and session.run.writes:
                tfidf = tfidf_and_warning(session, self.teachers, self.splits, teaches=self.settings.alpha < 1)
            steps = self.train_student(session, self.ask_teachers(session))
            if self.settings.baseline:
                self.train_alone(session, steps)
        if session.run.writes:
            students: dict[str, Answering] = {STUDENT: self.predictor}
            if self.settings.baseline:
                students[ALONE] = self._predictor(session, self.start)
            compare_all(session, self.teachers, students, tfidf, self.splits)

    def ask_teachers(self, session: Session) -> Teacher:
        """The teachers' answers for all texts. From what a teacher makes of each token, embeddings may start."""
        teaches = self.settings.alpha < 1  # at 1 an answer counts for nothing
        vectors_of = self.labelled.texts if self.settings.references else None
        with session.accelerator.main_process_first():  # the others find in the cache what it reads
            if teaches:
                self.teachers.note_known(session, self.texts, vectors_of=vectors_of)
            if self.student.to_start and self.reader is not None:
                torch.manual_seed(self.settings.seed)
                students, tokenizer = [self.start, self.student.model], self.student.tokenizer
                more: dict[str, Any] = {"device": session.device, "on_batch": session.stop_if_asked}
                with session.run.timed("start_s"):
                    start_embeddings(students, self.reader, self.real_texts, tokenizer, **more)
        if not teaches:
            return NoAnswers(self.task.outputs)
        return self.teachers.label(session, self.texts, vectors_of=vectors_of)

    def train_student(self, session: Session, teacher: Teacher) -> int:
        """Train the student on labels, if any, and on the teacher's answers. Returns the optimizer steps of an epoch."""
        batches = self._taught_batches(teacher)
        if len(batches.rows) < len(self.texts):
            left_out = len(self.texts) - len(batches.rows)
            session.run.say(said_of_left_out(left_out, alpha=self.settings.alpha))
        if self.beside is not None and self.settings.baseline:
            self.beside.begin(self._alone(session, batches.steps(0)))
        part = 0.5 if self.settings.baseline and not session.side_by_side else 1.0
        train_phase(
            session,
            self.objective,
            batches,
            phase=STUDENT,
            validation=self._validation(session),
            learning_rate=self.student.learning_rate,
            fresh=self.student.fresh,
            keep=self.settled.keep,
            budget_s=session.stop.share(part),
        )
        if session.run.writes:
            self.predictor = self._predictor(session, self.student.model)
            save_classifier(session.run.folder / "model", self.predictor, self.splits.reporting()[1].texts)
        return batches.steps(0)

    def train_alone(self, session: Session, steps: int) -> None:
        """The same student from the same start, for as many steps, stages and evaluations, on the labels alone."""
        alone = self._alone(session, steps)
        if self.beside is None:
            result = alone.carry_out(session, budget_s=session.stop.remaining())
        else:
            result = self.beside.finish(alone)
        # its own epochs are shorter than those that its stages were counted in
        session.run.record.training[ALONE]["epochs"] = result.rows // len(self.labelled)

    def _alone(self, session: Session, steps: int) -> Training:
        return Training(
            ALONE,
            Supervised(self.start, self.task.kind, class_weights=self.splits.class_weights),
            PacedBatches(self._labelled_batches(), steps),
            validation=self._validation(session),
            learning_rate=self.student.learning_rate,
            fresh=self.student.fresh,
            keep=self.settled.keep,
            steps=steps * self.plan.epochs,
        )

    def _predictor(self, session: Session, model: nn.Module) -> Predictor:
        predictor = ready(self.student, model, self.task, self.length, half=self.settings.adapter_half)
        calibrate(session, predictor, self.splits)
        return predictor

    def _validation(self, session: Session) -> Any:
        return validation_scores(
            self.encoded_validation, self.splits.validation, self.task, names=self.names, device=session.device
        )

    def _taught_batches(self, teacher: Teacher) -> BucketedBatches:
        """The rows with a teacher's answer, or with a label where labels are learnt from."""
        rows = self._taught_rows(answered(teacher, len(self.texts)), self.settings)
        labels = all_labels(self.splits.train.labels, len(self.texts))
        return self._batches(self.encoded, labels, teacher, rows=rows)

    def _taught_rows(self, known: np.ndarray, settings: DistillSettings) -> np.ndarray:
        known = known & (settings.alpha < 1)
        return taught_rows(known, self.splits.train.labelled, from_labels=settings.alpha > 0)

    def _labelled_batches(self) -> BucketedBatches:
        return self._batches(self.encoded_labelled, self.labelled.labels, None)

    def _batches(
        self, encoded: Encoded, labels: np.ndarray, teacher: Teacher | None, rows: np.ndarray | None = None
    ) -> BucketedBatches:
        settings: TrainSettings = self.settings  # nothing is open in them
        return phase_batches(
            encoded,
            labels,
            self.student.model,
            names=self.names,
            batch_size=settings.batch_size,
            max_tokens=self.settings.max_tokens,
            seed=self.settings.seed,
            rows=rows,
            teacher=teacher,
        )
