"""The work of a language-model distillation: teacher and student scored, the student trained with the teacher, and without it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from understudy.data.batches.contract import BatchSource
from understudy.data.readers.corpus import Corpus
from understudy.data.tasks import Task, metric_faults
from understudy.data.tokens.encode import encode_in_memory
from understudy.data.tokens.encoder import TextEncoder
from understudy.errors import ConfigError, gathered
from understudy.evaluation import cost
from understudy.evaluation.quality import Evaluation
from understudy.functional.metrics import DISTANCE, LANGUAGE_MODEL_METRICS
from understudy.inference.logits import parameter_summary
from understudy.inference.predictor import Predictor
from understudy.models.files.names import pretrain
from understudy.models.masked import load_masked_model
from understudy.models.shrink.cut import layer_count
from understudy.models.structure.layers import base_model, evaluating
from understudy.models.students.pooled import PooledClassifier
from understudy.objectives.distill_lm import DistillMaskedLM, matched_depths
from understudy.objectives.masked_lm import MaskedLM
from understudy.objectives.teachers.drawn import DrawnBatches
from understudy.objectives.teachers.language import LanguageTeacher, TaughtBatch, TaughtBatches
from understudy.objectives.terms import term_names
from understudy.recipes.train.distill_lm.drawn_words import DrawnWords
from understudy.recipes.train.distill_lm.matching import common_heads, matching_faults, vector_widths
from understudy.recipes.train.masked_texts import MaskedTexts
from understudy.recipes.train.students.language import build_language_student
from understudy.report.numbers import human_bytes
from understudy.report.scores import ALONE, BEFORE_TRAINING, STUDENT, TEACHER
from understudy.runs.entries import has_entry, put_on_record
from understudy.runs.fitting.learning import compiled, learning_plan
from understudy.runs.fitting.phase import train_phase
from understudy.runs.plans import texts_plan
from understudy.runs.saving import save_language_model
from understudy.runs.session import Session
from understudy.runs.subject import Subject
from understudy.runs.text_limits import text_length, unknown_notes
from understudy.settings.train.distill_lm import DistillLMSettings
from understudy.training.stages import FitResult

START = f"{STUDENT} {BEFORE_TRAINING}"
"""The record's name for the student before training: its score owes nothing to distillation."""

_MEASURED_TEXTS = 512
_SOME_TEXTS = 2000
"""Texts that the embeddings of an ALBERT start from: some hundred thousand tokens, a few seconds."""


class LanguageDistillation:
    """A teacher, a student, and texts that both read, with everything checked that can be checked before training."""

    kind = "masked_language_model"

    def __init__(self, settings: DistillLMSettings, corpus: Corpus) -> None:
        self.settings, self.corpus = settings, corpus
        # without a loss over words the student's head learns nothing, so its accuracy says nothing
        self.by_distance = not (settings.ce_weight or settings.mlm_weight)
        self.metrics = (DISTANCE, *LANGUAGE_MODEL_METRICS) if self.by_distance else LANGUAGE_MODEL_METRICS
        faults = metric_faults(settings.metric, self.metrics)
        torch.manual_seed(settings.seed)
        with gathered(faults):
            found = load_masked_model(settings.teacher)
            if found.note is not None and settings.ce_weight:
                faults.append(
                    f"{settings.teacher}: has no trained masked-LM head, so it has no words to teach. Train it first ({pretrain(settings.teacher)}), or set --ce_weight 0 and learn from its states."
                )
            self.teacher, self.tokenizer = found.model, found.tokenizer
            student = build_language_student(
                settings.student,
                self.teacher,
                self.tokenizer,
                layers=settings.layers,
                albert=settings.albert,
                seed=settings.seed,
                teacher_has_head=found.note is None,
                texts=self._some_texts,
            )
            self.model = student.model
            # before the objective registers hooks in the student, which would be copied too
            self.alone = copy.deepcopy(self.model) if settings.baseline else None
            faults += matching_faults(settings, self.model, self.teacher)
        if faults:
            raise ConfigError(*faults)
        self.subject = Subject.of_corpus(corpus, kind=self.kind, metrics=self.metrics)
        self.learning_rate, self.fresh = student.learning_rate, student.fresh
        self.texts = MaskedTexts(settings, corpus.texts(), [self.model, self.teacher], self.tokenizer)
        self.headless = self.by_distance and student.random_head
        untrained = "nothing trains the student's masked-LM head: it is saved without one." if self.headless else None
        self.notes = [
            *(note for note in (found.note, student.note, untrained) if note),
            *self.texts.notes,
            *unknown_notes(self.texts.parts, self.tokenizer, remedy="give a teacher that reads such texts"),
        ]
        self.objective = self._objective()
        wanted = self.objective.wanted()
        self.taught = LanguageTeacher(self.teacher, hidden=wanted["hidden"], vectors=wanted["vectors"])
        self.batches = TaughtBatches(self.texts.batches, self.taught)
        self.plan = learning_plan(self.objective, settings, learning_rate=self.learning_rate)
        self.groups = self.plan.with_own_rates
        self.words = None
        if settings.teacher_words:
            self.words = DrawnWords(settings, self.taught, self.texts, epochs=self.plan.epochs)
        # the student without teacher has an objective of its own
        self.without = None if self.alone is None else MaskedLM(self.alone)
        self.terms = term_names(self.objective, *([] if self.without is None else [self.without]))

    def _some_texts(self) -> list[torch.Tensor]:
        """Token ids of training texts at even distances."""
        texts = self.corpus.train
        some = texts.take(np.linspace(0, len(texts) - 1, min(_SOME_TEXTS, len(texts)), dtype=np.int64))
        length = text_length(self.teacher, self.tokenizer, self.settings.max_length)
        encoded = encode_in_memory(TextEncoder(self.tokenizer, max_length=length), some)
        return [torch.from_numpy(encoded.row(i)) for i in range(len(encoded))]

    def plan_lines(self) -> Mapping[str, str]:
        """Teacher and student, texts, tokens, steps, time and memory."""
        teacher, student = parameter_summary(self.teacher), parameter_summary(self.model)
        share = student["parameters"] / teacher["parameters"]
        said = {
            "teacher": f"{self.settings.teacher}, {teacher['parameters']:,} parameters",
            "student": f"{self.settings.student}, {student['parameters']:,} parameters ({share:.0%})",
        }
        if self.words is not None:
            said["draws"] = self.words.line()
        said |= texts_plan(self.plan, self.batches, self.texts.parts, self.settings, rows=self.texts.rows)
        if self.alone is not None:
            said["baseline"] = "as many steps again without the teacher, not included in the time above"
        said["memory"] += f"; {human_bytes(teacher['size_bytes'])} of memory more for the teacher"
        return said

    def carry_out(self, session: Session) -> None:
        """Score teacher and student as they are, teach the student and, if asked, a copy without teacher; save it."""
        results = self._train(session)
        if session.run.writes:
            shipped = base_model(self.model) if self.headless else self.model
            folder = session.run.folder / "model"
            length, texts = self.texts.length, self.corpus.validation
            save_language_model(folder, shipped, self.tokenizer, max_length=length, texts=texts)
            models = {STUDENT: self.model, ALONE: self.alone}
            for name, result in results.items():
                found = {metric: result.metrics[metric] for metric in self.metrics}
                self._describe(session, name, models[name], found)

    def _train(self, session: Session) -> dict[str, FitResult]:
        """What came of each student, by its name; they end with their best weights."""
        self.teacher.to(session.device)
        self.objective.to(session.device)
        self.taught.autocast = session.accelerator.autocast
        for name, model in ((TEACHER, self.teacher), (START, self.model)):
            if session.run.writes and not has_entry(session, name):
                self._describe(session, name, model, self._scores(session, model, "validation"))
        with compiled(self.teacher, self.settings):
            batches: BatchSource = self.batches
            if self.words is not None:
                batches = drawn = DrawnBatches(self.texts.batches)
                drawn.rounds = self.words.draw(session)
            share = 1.0 if self.without is None else 0.5
            results = {STUDENT: self._fit(session, STUDENT, self.objective, batches, share=share)}
        if self.words is None:
            session.run.record.teacher_forward_texts = results[STUDENT].rows
        if self.without is not None:
            results[ALONE] = self._fit(session, ALONE, self.without, self.texts.batches)
        return results

    def _fit(
        self, session: Session, phase: str, objective: nn.Module, batches: BatchSource, *, share: float = 1.0
    ) -> FitResult:
        """Train one of the students, within a share of the time that is left."""
        remaining = session.stop.remaining()
        return train_phase(
            session,
            objective,
            batches,
            phase=phase,
            validation=lambda model: self._scores(session, model, "validation"),
            learning_rate=self.learning_rate,
            fresh=self.fresh,
            budget_s=None if remaining is None else max(remaining, 0.0) * share,
        )

    def _objective(self) -> DistillMaskedLM:
        settings, models = self.settings, (self.model, self.teacher)
        layers, others = (layer_count(model) for model in models)
        depths = matched_depths(layers, others)
        return DistillMaskedLM(
            self.model,
            teacher_head=LanguageTeacher(self.teacher).head,
            teacher_width=self.teacher.config.hidden_size,
            pad_id=self.texts.parts["train"].pad_id,
            weights=settings.weights(),
            temperature=settings.temperature,
            ce_positions=settings.ce_positions,
            depths=depths,
            # a block's attention is matched where its output is matched
            attention=[(ours - 1, theirs - 1) for ours, theirs in depths[1:] if theirs],
            heads=base_model(self.teacher).config.num_attention_heads,
            relation=(layers - 1, others - 1 if settings.relation_layer is None else settings.relation_layer),
            relation_heads=settings.relation_heads or common_heads(*vector_widths(settings, *models)),
        )

    def _scores(self, session: Session, model: Any, part: str) -> dict[str, float]:
        found = self.texts.scores(model, part, session.device)
        if not self.by_distance:
            return found
        return {DISTANCE: self._distance(part, session.device) if model is self.model else 0.0, **found}

    def _distance(self, part: str, device: torch.device) -> float:
        """The objective's own value on a part of the corpus."""
        sums, counts = dict[str, float](), dict[str, int]()
        with evaluating(self.objective), torch.no_grad():
            for batch in self.texts.shown(part):
                for name, count in batch.counts.items():
                    counts[name] = counts.get(name, 0) + count
                for term in self.objective(TaughtBatch(**vars(batch), teacher=self.taught).to(device)):
                    sums[term.per] = sums.get(term.per, 0.0) + term.weight * term.sum.item()
        return sum(value / max(counts[name], 1) for name, value in sums.items())

    def _describe(self, session: Session, name: str, model: Any, validation: dict[str, float]) -> None:
        """Put a model on the record: its scores, its size and, unless a model of the same shape is measured anyway, its speed."""
        scores = {"validation": Evaluation(validation)}
        if self.corpus.test is not None:
            with session.run.timed("evaluate_s"):
                scores["test"] = Evaluation(self._scores(session, model, "test"))
        facts: dict[str, Any] = {"model_type": model.config.model_type, "mask_token": self.tokenizer.mask_token}
        if name == STUDENT and self.headless:
            facts["headless"] = True
        if name in (STUDENT, TEACHER):
            with session.run.timed("bench_s"):
                facts |= cost.measure(self._reader(model, session), self._sample())
        facts |= parameter_summary(model)
        put_on_record(session, name, scores=scores, facts=facts, order=(STUDENT, ALONE, START, TEACHER))

    def _reader(self, model: Any, session: Session) -> Predictor:
        """The encoder, from raw text to the mean of its last states: the least that any later use of it costs."""
        encoder = base_model(model)
        width = encoder.config.hidden_size
        pooled = PooledClassifier.assemble(encoder, torch.eye(width), torch.zeros(width)).to(session.device)
        task = Task(text=(("text",),), label="", kind="multi_label", labels=tuple(map(str, range(width))))
        return Predictor(pooled, self.tokenizer, task, self.texts.length)

    def _sample(self) -> list[tuple[str, ...]]:
        texts = self.corpus.validation
        return [texts[i] for i in range(min(_MEASURED_TEXTS, len(texts)))]
