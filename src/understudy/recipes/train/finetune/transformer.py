"""A classifier all of whose weights learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from understudy.data.batches.bucketed import BucketedBatches
from understudy.data.splits import Splits
from understudy.data.tokens.encode import encode
from understudy.inference.logits import token_budget
from understudy.inference.predictor import Predictor
from understudy.models.awd_lstm.config import reads_whole, set_reading
from understudy.models.files.classifiers import load_classifier, load_mean_classifier, said_of_transfer
from understudy.models.files.tokenizers import check_tokenizer, load_tokenizer
from understudy.models.structure.inputs import settle_inputs
from understudy.objectives.supervised import Supervised
from understudy.objectives.terms import term_names
from understudy.recipes.train.finetune.classification import Classification
from understudy.runs.devices import processes
from understudy.runs.fitting.learning import learning_plan
from understudy.runs.fitting.phase import train_phase
from understudy.runs.plans import rows_plan
from understudy.runs.scoring import validation_scores
from understudy.runs.session import Session
from understudy.runs.text_limits import how_to_read_more, said_of_cuts, text_length
from understudy.settings.train.finetune import FinetuneSettings

LEARNING_RATE, RECURRENT_RATE = 5e-5, 3e-3
"""The peak rate where the settings name none: of a transformer, of an AWD-LSTM."""


class Transformer(Classification):
    """A classifier all of whose weights learn."""

    def __init__(self, settings: FinetuneSettings, splits: Splits) -> None:
        super().__init__(settings, splits)
        name = settings.encoder_from or settings.model
        self.tokenizer = load_tokenizer(name)
        torch.manual_seed(settings.seed)
        self.model: Any = (
            load_mean_classifier(name, splits.task)
            if settings.pooling == "mean"
            else load_classifier(name, splits.task, fresh_head=settings.encoder_from is not None)
        )
        check_tokenizer(self.model, self.tokenizer, name=name)
        set_reading(self.model, name=name, gradient_tokens=settings.max_length, drop_mult=settings.drop_mult)
        self.length = text_length(self.model, self.tokenizer, settings.max_length)
        self.names = settle_inputs(self.model, self.tokenizer)
        self.validation = encode(splits.validation.texts, self.tokenizer, max_length=self.length)
        state = processes()
        train = encode(splits.train.texts, self.tokenizer, max_length=self.length)
        parts = {"train": train, "validation": self.validation}
        self.notes = said_of_cuts(parts, self.length, more=how_to_read_more(self.model))
        if settings.encoder_from is not None:
            self.notes = [said_of_transfer(self.model, name), *self.notes]
        self.batches = BucketedBatches(
            train,
            splits.train.labels,
            names=self.names,
            batch_size=settings.batch_size,
            max_tokens=settings.max_tokens or token_budget(state.device, self.model),
            seed=settings.seed,
            world_size=state.num_processes,
            rank=state.process_index,
        )
        self.objective = Supervised(self.model, splits.task.kind)
        self.terms = term_names(self.objective)
        self.learning_rate = RECURRENT_RATE if reads_whole(self.model.config) else LEARNING_RATE
        self.plan = learning_plan(self.objective, settings, learning_rate=self.learning_rate)
        self.groups = self.plan.with_own_rates

    def plan_lines(self) -> Mapping[str, str]:
        """Rows, tokens, steps, time and memory."""
        return rows_plan(self.plan, self.batches, self.splits, self.settings)

    def train(self, session: Session) -> Predictor:
        """Fit the classifier; it ends with its best weights."""
        task = self.splits.task
        train_phase(
            session,
            self.objective,
            self.batches,
            phase="train",
            validation=validation_scores(
                self.validation, self.splits.validation, task, names=self.names, device=session.device
            ),
            learning_rate=self.learning_rate,
            budget_s=session.stop.remaining(),
        )
        return Predictor(self.model, self.tokenizer, task, self.length)
