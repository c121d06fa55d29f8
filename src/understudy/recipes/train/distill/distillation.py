"""The work behind ``understudy distill``, step by step; :class:`understudy.settings.train.distill.Distill` reads as its summary."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.data.augment.augment import VERSION, augment
from understudy.data.batches.bucketed import BucketedBatches, PacedBatches
from understudy.data.splits import Splits
from understudy.data.tasks import NO_LABEL
from understudy.data.texts import Texts
from understudy.data.tokens.encode import Encoded, encode, input_names
from understudy.errors import ConfigError, ModelError, gathered
from understudy.functional.logits import bernoulli_kl, forward_kl, logit_mse
from understudy.inference.logits import token_budget
from understudy.inference.predictor import Ensemble, Predictor
from understudy.models.files.load import load_trained, max_length, save_model
from understudy.objectives.distill import Distance, DistillClassifier
from understudy.objectives.supervised import Supervised
from understudy.objectives.teachers.contract import AveragedTeacher, CachedTeacher, FileTeacher, Teacher, match_labels
from understudy.recipes.train.students.classifier import NAMES, build_student
from understudy.record import RunRecord
from understudy.runs.devices import processes
from understudy.runs.labelled import describe_tfidf, validation_scores
from understudy.runs.learning import learning_plan
from understudy.runs.plans import say_plan, training_plan
from understudy.runs.reading import how_to_read_more, said_of_cuts, text_length
from understudy.runs.session import Session, finish, metric_faults
from understudy.settings.train.distill import Distill, faults_of_task, is_outputs_file


class Distillation:
    """Texts, teachers and a student, ready to be worked on."""

    def __init__(self, recipe: Distill, splits: Splits) -> None:
        self.recipe, self.splits, self.task = recipe, splits, splits.task
        faults = metric_faults(recipe, self.task.metrics) + faults_of_task(recipe, self.task)
        self.labelled = splits.train.take(np.flatnonzero(splits.train.labelled))
        if not len(self.labelled):
            faults.append(
                "no training row has a label. Label some: the student without teacher and TF-IDF learn from them."
            )
        self.predictors: dict[str, tuple[Predictor, np.ndarray]] = {}
        self.files: dict[str, FileTeacher] = {}
        self.labelled_here: dict[str, int] = {}
        models = [name for name in recipe.teacher if not is_outputs_file(name)]
        for name in models:
            with gathered(faults):
                self.predictors[name] = self._load_teacher(name)
        self.texts = self._all_texts(copies=0 if faults else recipe.augment)  # they take their time
        for name in recipe.teacher:
            if name not in models:
                with gathered(faults):
                    self.files[name] = FileTeacher(name, self.texts, self.task)
        source = models[0] if models else None
        # of a teacher that has faults itself nothing can be taken
        if source is None or source in self.predictors or recipe.student.split(":")[0] not in NAMES:
            with gathered(faults):
                self._make_student(source, faults)
        if faults:
            raise ConfigError(*dict.fromkeys(faults))
        tokenizer = self.student.tokenizer
        self.groups = self.plan.with_own_rates
        self.names = input_names(self.student.model, tokenizer)
        self.encoded = encode(self.texts, tokenizer, max_length=self.length)
        self.encoded_labelled = encode(self.labelled.texts, tokenizer, max_length=self.length)
        self.encoded_validation = encode(splits.validation.texts, tokenizer, max_length=self.length)
        parts = {"student": self.encoded, "validation": self.encoded_validation}
        self.notes = [] if self.student.note is None else [self.student.note]
        self.notes += [note for file in self.files.values() for note in file.notes]
        self.notes += said_of_cuts(parts, self.length, more=how_to_read_more(self.student.model))

    def _make_student(self, source: str | None, faults: list[str]) -> None:
        """The student, how it learns and what it reads of a text; what is wrong with the latter two joins `faults`."""
        recipe = self.recipe
        self.student = build_student(
            recipe.student,
            self.task,
            teacher=source,
            texts=self.texts,
            tokenizer=recipe.tokenizer,
            embeddings=recipe.embeddings,
            bilstm=recipe.bilstm,
            static=recipe.static,
            layers=recipe.layers,
            seed=recipe.seed,
        )
        model = self.student.model
        self.start = copy.deepcopy(model)  # the student without teacher begins from the same weights
        with gathered(faults):
            self.plan = learning_plan(
                Supervised(model, self.task.kind), recipe, learning_rate=self.student.learning_rate
            )
        with gathered(faults):
            self.length = text_length(model, self.student.tokenizer, recipe.max_length)

    def _load_teacher(self, name: str) -> tuple[Predictor, np.ndarray]:
        """A teacher and its outputs in the task's order."""
        model, tokenizer, known, length = load_trained(name)
        if known.kind != self.task.kind:
            raise ModelError(
                f"{name}: was trained for {known.kind} labels, but the data's are {self.task.kind}. Fine-tune a teacher on this data, or give --kind."
            )
        if known.is_pair != self.task.is_pair and hasattr(model.config, "understudy"):  # others do not tell
            theirs, ours = ("pairs of texts" if task.is_pair else "single texts" for task in (known, self.task))
            raise ModelError(
                f"{name}: was trained on {theirs}, but the data's rows are {ours}. Name other columns with --text, or a teacher that was trained on this data."
            )
        length = max_length(model.config, tokenizer, self.recipe.max_length or length)
        return Predictor(model, tokenizer, self.task, length), match_labels(
            known.labels or (known.label,), self.task, name=name
        )

    def _all_texts(self, *, copies: int) -> Texts:
        """Training texts, the pool, and the varied copies, in this order."""
        train = self.splits.train.texts
        parts = [train]
        if self.splits.unlabeled is not None:
            parts.append(self.splits.unlabeled)
        if copies:
            options = self.recipe.augmentation
            make = partial(
                augment,
                train,
                copies=copies,
                seed=options.seed,
                mask_probability=options.mask,
                swap_probability=options.swap,
                ngram_probability=options.ngram,
                mask_token=self._mask_token(),
            )
            made = Texts.cached(f"copies {VERSION} of {train.fingerprint}: {make.keywords}", make)
            if len(made):
                parts.append(made)
        return Texts.concat(parts)

    def _mask_token(self) -> str:
        tokenizers = [predictor.tokenizer for predictor, _ in self.predictors.values()]
        return next((t.mask_token for t in tokenizers if t.mask_token), "[MASK]")

    def say_plan(self) -> None:
        """Print rows, tokens, steps, time and memory."""
        plan = training_plan(self.plan, self._baseline_batches(), self.splits, self.recipe, rows=len(self.texts))
        pool = len(self.texts) - len(self.splits.train)
        say_plan(
            {
                "teacher": " + ".join(self.recipe.teacher),
                "student": self.recipe.student,
                "pool": f"{pool:,} texts without labels",
            }
            | plan
        )

    def label(self, session: Session) -> Teacher:
        """Each distinct text through each teacher once, or out of the cache."""
        teachers: list[Teacher] = []
        with session.run.timed("label_pool_s"):
            for name in self.recipe.teacher:
                if is_outputs_file(name):
                    teachers.append(self.files[name])
                else:
                    teachers.append(self._cached(name, session))
        return teachers[0] if len(teachers) == 1 else AveragedTeacher(teachers, self._weights(self.recipe.teacher))

    def _weights(self, names: list[str]) -> list[float]:
        given = self.recipe.teacher_weights or [1.0] * len(self.recipe.teacher)
        return [weight for name, weight in zip(self.recipe.teacher, given) if name in names]

    def _cached(self, name: str, session: Session) -> CachedTeacher:
        predictor, columns = self.predictors[name]
        predictor.model.to(session.device)
        budget = session.stop.remaining()
        session.display.start(f"{name} labels", len(self.texts))
        record = session.run.record

        def on_texts(done: int, total: int) -> None:
            if name not in record.answered_before:  # a killed run's own answers are in the cache when it is resumed
                record.answered_before[name] = done
                session.run.save()
            answered[name] = done
            session.display.update(done)

        answered: dict[str, int] = {}

        def stops() -> bool:
            # half of a time budget is the student's
            return session.stop.signal_number is not None or (
                budget is not None and session.stop.out_of_time(budget / 2)
            )

        def label() -> CachedTeacher:
            return CachedTeacher.label(predictor, self.texts, columns=columns, on_texts=on_texts, should_stop=stops)

        if session.accelerator.is_main_process:
            teacher = label()
            self.labelled_here[name] = answered.get(name, 0) - record.answered_before.get(name, 0)
            record.teacher_forward_texts = sum(self.labelled_here.values())
        session.accelerator.wait_for_everyone()
        if not session.accelerator.is_main_process:
            teacher = label()  # all known by now
        session.display.close()
        session.heed()
        if not teacher.complete:
            session.run.say(
                f"{name}: half of the time budget went into labelling; the student learns from the texts labelled by then."
            )
        return teacher

    def train_student(self, session: Session, teacher: Teacher) -> nn.Module:
        """Labels where there are some, the teacher everywhere."""
        batches = self._student_batches(teacher)
        if len(batches.rows) < len(self.texts):
            left_out = len(self.texts) - len(batches.rows)
            session.run.say(
                f"student: {left_out:,} texts have neither an answer of a teacher nor a label that counts, and are left out."
            )
        self.student_steps = batches.steps(0)
        objective = DistillClassifier(self.student.model, self.task.kind, self._distance(), alpha=self.recipe.alpha)
        remaining = session.stop.remaining()
        share = 0.5 if self.recipe.baseline else 1.0
        session.fit(
            objective,
            batches,
            phase="student",
            validation=self._validation(session),
            learning_rate=self.student.learning_rate,
            fresh=self.student.fresh,
            budget_s=None if remaining is None else max(remaining, 0.0) * share,
        )
        if session.run.writes:
            save_model(
                session.run.folder / "model",
                self.student.model,
                self.student.tokenizer,
                task=self.task,
                max_length=self.length,
            )
        return self.student.model

    def train_baseline(self, session: Session) -> nn.Module:
        """The same student from the same start, for as many steps, stages and evaluations, on the labels alone."""
        phase = "student without teacher"
        result = session.fit(
            Supervised(self.start, self.task.kind),
            PacedBatches(self._baseline_batches(), self.student_steps),
            phase=phase,
            validation=self._validation(session),
            learning_rate=self.student.learning_rate,
            fresh=self.student.fresh,
            budget_s=session.stop.remaining(),
        )
        # its own epochs are shorter than those by which its stages were measured
        session.run.record.training[phase]["epochs"] = result.rows // len(self.labelled)
        return self.start

    def conclude(self, session: Session, student: nn.Module, without: nn.Module | None) -> RunRecord:
        """Everything on one test split, measured in one way."""
        if session.run.writes:
            _, rows = self.splits.reporting()
            if self.predictors:
                known = [
                    CachedTeacher.label(p, rows.texts, columns=columns, on_texts=lambda done, total: session.heed())
                    for p, columns in self.predictors.values()
                ]
                together = AveragedTeacher(known, self._weights(list(self.predictors)))
                whole = Ensemble([predictor for predictor, _ in self.predictors.values()])
                session.describe("teacher", whole, together(np.arange(len(rows))).numpy(), self.splits)
            models = {"student": student} | ({"student without teacher": without} if without is not None else {})
            for name, model in models.items():
                predictor = Predictor(model, self.student.tokenizer, self.task, self.length)
                session.describe(name, predictor, session.answers(predictor, rows.texts), self.splits)
            describe_tfidf(session, self.splits)
        return finish(session)

    def _validation(self, session: Session) -> Any:
        return validation_scores(
            self.encoded_validation, self.splits.validation, self.task, names=self.names, device=session.device
        )

    def _student_batches(self, teacher: Teacher) -> BucketedBatches:
        """The rows from which there is something to learn: a teacher's answer, or a label that counts."""
        labels = self._all_labels()
        useful = ~teacher(np.arange(len(self.texts))).isnan().any(-1).numpy()
        if self.recipe.alpha > 0:
            useful[np.flatnonzero(self.splits.train.labelled)] = True
        return self._batches(self.encoded, labels, teacher, rows=np.flatnonzero(useful))

    def _batches(
        self, encoded: Encoded, labels: np.ndarray, teacher: Teacher | None, rows: np.ndarray | None = None
    ) -> BucketedBatches:
        state = processes()
        return BucketedBatches(
            encoded,
            labels,
            names=self.names,
            batch_size=self.recipe.batch_size,
            max_tokens=self.recipe.max_tokens or token_budget(state.device, self.student.model),
            seed=self.recipe.seed,
            rows=rows,
            teacher=teacher,
            world_size=state.num_processes,
            rank=state.process_index,
        )

    def _baseline_batches(self) -> BucketedBatches:
        return self._batches(self.encoded_labelled, self.labelled.labels, None)

    def _all_labels(self) -> np.ndarray:
        """The training rows' labels, and none for all that follows them."""
        known = self.splits.train.labels
        missing = NO_LABEL if known.dtype.kind == "i" else np.nan
        out = np.full((len(self.texts), *known.shape[1:]), missing, known.dtype)
        out[: len(known)] = known
        return out

    def _distance(self) -> Distance:
        if self.recipe.distance == "hard":
            return _hard
        if self.recipe.distance == "mse":
            return logit_mse
        return partial(
            bernoulli_kl if self.task.kind == "multi_label" else forward_kl, temperature=self.recipe.temperature
        )


def _hard(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Cross-entropy on the class the teacher finds likeliest: pseudo-labels."""
    return F.cross_entropy(student_logits, teacher_logits.argmax(-1), reduction="none")
