"""A student that learns from the labels alone, built as a distillation builds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.data.splits import Splits
from understudy.data.tokens.encode import encode
from understudy.inference.predictor import Predictor
from understudy.models.structure.inputs import settle_inputs
from understudy.objectives.supervised import Supervised
from understudy.objectives.terms import term_names
from understudy.recipes.train.finetune.classification import Classification
from understudy.recipes.train.students.classifier import build_student
from understudy.runs.fitting.batches import phase_batches
from understudy.runs.fitting.learning import learning_plan
from understudy.runs.fitting.phase import train_phase
from understudy.runs.plans import rows_plan
from understudy.runs.scoring import validation_scores
from understudy.runs.session import Session
from understudy.runs.text_limits import how_to_read_more, said_of_cuts, text_length
from understudy.settings.student_options import BiLSTMOptions, LayersOptions, StaticOptions
from understudy.settings.train.finetune import FinetuneSettings


class StudentAlone(Classification):
    """A bilstm, a static student, or some layers of a pretrained encoder.

    Args:
        settings: how it learns.
        splits: the rows.
        spec: ``bilstm``, ``static`` or ``layers:N``.
        encoder: what its tokenizer, its embeddings or its layers are taken from; without one a bilstm or a static student
            has a vocabulary of its own words and starts at random.
    """

    def __init__(self, settings: FinetuneSettings, splits: Splits, *, spec: str, encoder: str | None) -> None:
        super().__init__(settings, splits)
        self.student = build_student(
            spec,
            splits.task,
            teacher=encoder,
            texts=splits.train.texts,
            tokenizer="auto",
            embeddings="auto",
            options=[BiLSTMOptions(), StaticOptions(), LayersOptions()],
            seed=settings.seed,
        )
        self.model: Any = self.student.model
        self.names = settle_inputs(self.model, self.student.tokenizer)
        self.length = text_length(self.model, self.student.tokenizer, settings.max_length)
        train = encode(splits.train.texts, self.student.tokenizer, max_length=self.length)
        self.validation = encode(splits.validation.texts, self.student.tokenizer, max_length=self.length)
        cuts = said_of_cuts(
            {"train": train, "validation": self.validation}, self.length, more=how_to_read_more(self.model)
        )
        self.notes = [*([self.student.note] if self.student.note else []), *cuts]
        assert settings.batch_size is not None
        self.batches = phase_batches(
            train,
            splits.train.labels,
            self.model,
            names=self.names,
            batch_size=settings.batch_size,
            max_tokens=settings.max_tokens,
            seed=settings.seed,
        )
        self.objective = Supervised(self.model, splits.task.kind, class_weights=splits.class_weights)
        self.terms = term_names(self.objective)
        self.plan = learning_plan(self.objective, settings, learning_rate=self.student.learning_rate)
        self.groups = self.plan.with_own_rates

    def plan_lines(self) -> Mapping[str, str]:
        """Rows, tokens, steps, time and memory."""
        return rows_plan(self.plan, self.batches, self.splits, self.settings)

    def train(self, session: Session) -> Predictor:
        """Fit it; it ends with its best weights."""
        train_phase(
            session,
            self.objective,
            self.batches,
            phase="train",
            validation=validation_scores(
                self.validation, self.splits.validation, self.splits.task, names=self.names, device=session.device
            ),
            learning_rate=self.student.learning_rate,
            fresh=self.student.fresh,
            budget_s=session.stop.remaining(),
        )
        return Predictor(self.model, self.student.tokenizer, self.splits.task, self.length)
