"""The work behind ``understudy distill``, step by step; :class:`understudy.recipes.distill.Distill` reads as its summary."""

from __future__ import annotations

import copy
import math
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.data.augment import augment
from understudy.data.batches import BucketedBatches
from understudy.data.encode import Encoded, encode, input_names
from understudy.data.splits import Splits
from understudy.data.tasks import NO_LABEL
from understudy.data.texts import Texts
from understudy.errors import ConfigError, ModelError
from understudy.functional.logits import bernoulli_kl, forward_kl, logit_mse
from understudy.inference import Ensemble, Predictor, token_budget
from understudy.models.load import load_trained, max_length, save_model
from understudy.objectives.distill import Distance, DistillClassifier
from understudy.objectives.supervised import Supervised
from understudy.objectives.teachers import AveragedTeacher, CachedTeacher, FileTeacher, Teacher, match_labels
from understudy.recipes.distill import Distill, faults_of_task, is_outputs_file
from understudy.recipes.students import build_student
from understudy.recipes.workbench import (
    Workbench,
    describe_tfidf,
    finish,
    metric_faults,
    processes,
    reporting_rows,
    say_plan,
    text_length,
    training_plan,
    validation_scores,
)
from understudy.record import RunRecord


class Distillation:
    """Texts, teachers and a student, ready to be worked on."""

    def __init__(self, recipe: Distill, splits: Splits) -> None:
        self.recipe, self.splits, self.task = recipe, splits, splits.task
        if faults := metric_faults(recipe, self.task) + faults_of_task(recipe, self.task):
            raise ConfigError(*faults)
        self.labelled = splits.train.take(np.flatnonzero(splits.train.labelled))
        if not len(self.labelled):
            raise ConfigError(
                "no training row has a label. Label some: the student without teacher and TF-IDF learn from them."
            )
        models = [name for name in recipe.teacher if not is_outputs_file(name)]
        self.predictors = {name: self._load_teacher(name) for name in models}
        self.labelled_here: dict[str, int] = {}
        self.texts = self._all_texts()
        self.files = {
            name: FileTeacher(name, self.texts, self.task) for name in recipe.teacher if is_outputs_file(name)
        }
        self.student = build_student(
            recipe.student,
            self.task,
            teacher=models[0] if models else None,
            texts=self.texts,
            tokenizer=recipe.tokenizer,
            embeddings=recipe.embeddings,
            bilstm=recipe.bilstm,
            static=recipe.static,
            layers=recipe.layers,
            seed=recipe.seed,
        )
        self.start = copy.deepcopy(self.student.model)  # the student without teacher begins from the same weights
        tokenizer = self.student.tokenizer
        self.names = input_names(self.student.model, tokenizer)
        self.length = text_length(self.student.model, tokenizer, recipe.max_length)
        self.encoded = encode(self.texts, tokenizer, max_length=self.length)
        self.encoded_labelled = encode(self.labelled.texts, tokenizer, max_length=self.length)
        self.encoded_validation = encode(splits.validation.texts, tokenizer, max_length=self.length)

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

    def _all_texts(self) -> Texts:
        """Training texts, the pool, and the varied copies, in this order."""
        parts = [self.splits.train.texts]
        if self.splits.unlabeled is not None:
            parts.append(self.splits.unlabeled)
        if self.recipe.augment:
            options = self.recipe.augmentation
            made = augment(
                self.splits.train.texts,
                copies=self.recipe.augment,
                seed=options.seed,
                mask_probability=options.mask,
                swap_probability=options.swap,
                ngram_probability=options.ngram,
                mask_token=self._mask_token(),
            )
            parts.append(Texts.of(list(made)))
        return Texts.concat(parts)

    def _mask_token(self) -> str:
        tokenizers = [predictor.tokenizer for predictor, _ in self.predictors.values()]
        return next((t.mask_token for t in tokenizers if t.mask_token), "[MASK]")

    def say_plan(self) -> None:
        """Print rows, tokens, steps, time and memory."""
        objective = Supervised(self.student.model, self.task.kind)
        plan = training_plan(objective, self._baseline_batches(), self.splits, self.recipe, rows=len(self.texts))
        pool = len(self.texts) - len(self.splits.train)
        say_plan(
            {
                "teacher": " + ".join(self.recipe.teacher),
                "student": self.recipe.student,
                "pool": f"{pool:,} texts without labels",
            }
            | plan
        )

    def label(self, bench: Workbench) -> Teacher:
        """Each distinct text through each teacher once, or out of the cache."""
        teachers: list[Teacher] = []
        with bench.run.timed("label_pool_s"):
            for name in self.recipe.teacher:
                if is_outputs_file(name):
                    teachers.append(self._from_file(name, bench))
                else:
                    teachers.append(self._cached(name, bench))
        return teachers[0] if len(teachers) == 1 else AveragedTeacher(teachers, self._weights(self.recipe.teacher))

    def _weights(self, names: list[str]) -> list[float]:
        given = self.recipe.teacher_weights or [1.0] * len(self.recipe.teacher)
        return [weight for name, weight in zip(self.recipe.teacher, given) if name in names]

    def _cached(self, name: str, bench: Workbench) -> CachedTeacher:
        predictor, columns = self.predictors[name]
        predictor.model.to(bench.device)
        budget = bench.stop.remaining()
        bench.display.start(f"{name} labels", len(self.texts))
        record = bench.run.record

        def on_texts(done: int, total: int) -> None:
            if name not in record.answered_before:  # a killed run's own answers are in the cache when it is resumed
                record.answered_before[name] = done
                bench.run.save()
            answered[name] = done
            bench.display.update(done)

        answered: dict[str, int] = {}

        def stops() -> bool:
            # half of a time budget is the student's
            return bench.stop.signal_number is not None or (budget is not None and bench.stop.out_of_time(budget / 2))

        def label() -> CachedTeacher:
            return CachedTeacher.label(predictor, self.texts, columns=columns, on_texts=on_texts, should_stop=stops)

        if bench.accelerator.is_main_process:
            teacher = label()
            self.labelled_here[name] = answered.get(name, 0) - record.answered_before.get(name, 0)
            record.teacher_forward_texts = sum(self.labelled_here.values())
        bench.accelerator.wait_for_everyone()
        if not bench.accelerator.is_main_process:
            teacher = label()  # all known by now
        bench.display.close()
        bench.heed()
        if not teacher.complete:
            bench.run.say(
                f"{name}: half of the time budget went into labelling; the student learns from the texts labelled by then."
            )
        return teacher

    def _from_file(self, name: str, bench: Workbench) -> FileTeacher:
        for note in self.files[name].notes:
            bench.run.say(note)
        return self.files[name]

    def train_student(self, bench: Workbench, teacher: Teacher) -> nn.Module:
        """Labels where there are some, the teacher everywhere."""
        batches = self._student_batches(teacher)
        if len(batches.rows) < len(self.texts):
            left_out = len(self.texts) - len(batches.rows)
            bench.run.say(
                f"student: {left_out:,} texts have neither an answer of a teacher nor a label that counts, and are left out."
            )
        self.student_steps = batches.steps(0)
        objective = DistillClassifier(self.student.model, self.task.kind, self._distance(), alpha=self.recipe.alpha)
        remaining = bench.stop.remaining()
        share = 0.5 if self.recipe.baseline else 1.0
        bench.fit(
            objective,
            batches,
            phase="student",
            validation=self._validation(bench),
            learning_rate=self._learning_rate(),
            epochs=self.recipe.epochs,
            budget_s=None if remaining is None else max(remaining, 0.0) * share,
        )
        if bench.run.writes:
            save_model(
                bench.run.folder / "model",
                self.student.model,
                self.student.tokenizer,
                task=self.task,
                max_length=self.length,
            )
        return self.student.model

    def train_baseline(self, bench: Workbench) -> nn.Module:
        """The same student from the same start, for as many steps and evaluations, on the labels alone."""
        batches = self._baseline_batches()
        steps = self.student_steps * self.recipe.epochs
        bench.fit(
            Supervised(self.start, self.task.kind),
            batches,
            phase="student without teacher",
            validation=self._validation(bench),
            learning_rate=self._learning_rate(),
            epochs=math.ceil(steps / batches.steps(0)),
            max_steps=steps,
            eval_every=self.student_steps,
            budget_s=bench.stop.remaining(),
        )
        return self.start

    def conclude(self, bench: Workbench, student: nn.Module, without: nn.Module | None) -> RunRecord:
        """Everything on one test split, measured in one way."""
        if bench.run.writes:
            _, rows = reporting_rows(self.splits)
            if self.predictors:
                known = [CachedTeacher.label(p, rows.texts, columns=columns) for p, columns in self.predictors.values()]
                together = AveragedTeacher(known, self._weights(list(self.predictors)))
                whole = Ensemble([predictor for predictor, _ in self.predictors.values()])
                bench.describe("teacher", whole, together(np.arange(len(rows))).numpy(), self.splits)
            models = {"student": student} | ({"student without teacher": without} if without is not None else {})
            for name, model in models.items():
                predictor = Predictor(model, self.student.tokenizer, self.task, self.length)
                bench.describe(name, predictor, predictor.logits(rows.texts), self.splits)
            describe_tfidf(bench, self.splits)
        return finish(bench)

    def _learning_rate(self) -> float:
        return self.recipe.learning_rate or self.student.learning_rate

    def _validation(self, bench: Workbench) -> Any:
        return validation_scores(
            self.encoded_validation, self.splits.validation, self.task, names=self.names, device=bench.device
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
            max_tokens=self.recipe.max_tokens or token_budget(state.device),
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
