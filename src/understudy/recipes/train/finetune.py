"""``understudy finetune``: a transformer, a linear layer on a frozen one, or TF-IDF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from understudy.data.batches.bucketed import BucketedBatches
from understudy.data.splits import Rows, Splits
from understudy.data.tokens.encode import encode
from understudy.errors import ConfigError
from understudy.inference.logits import logits, token_budget
from understudy.inference.predictor import LinearPredictor, Predictor
from understudy.models.awd_lstm.config import reads_whole, set_reading
from understudy.models.files.classifiers import load_classifier, load_encoder, load_mean_classifier
from understudy.models.files.tokenizers import check_tokenizer, load_tokenizer
from understudy.models.linear import fit_linear
from understudy.models.structure.inputs import settle_inputs
from understudy.models.students.pooled import PooledClassifier
from understudy.objectives.supervised import Supervised
from understudy.objectives.terms import term_names
from understudy.runs.devices import processes
from understudy.runs.fitting.learning import learning_plan
from understudy.runs.fitting.phase import train_phase
from understudy.runs.inputs import read_rows
from understudy.runs.plans import rows_plan
from understudy.runs.saving import save_classifier
from understudy.runs.scoring import describe_answering, describe_tfidf, fit_tfidf, validation_scores
from understudy.runs.session import Session
from understudy.runs.skeleton import TrainingRecipe, Work
from understudy.runs.subject import Subject, metric_faults
from understudy.runs.text_limits import how_to_read_more, said_of_cuts, text_length
from understudy.settings.train.finetune import FinetuneSettings

LEARNING_RATE, RECURRENT_RATE = 5e-5, 3e-3
"""The peak rate where the settings name none: of a transformer, of an AWD-LSTM."""


class Finetune(TrainingRecipe, FinetuneSettings):
    """Train a pretrained transformer on labelled rows, or one of two cheap baselines; the fields are the flags."""

    def read(self) -> Splits:
        """Read and check the rows."""
        return read_rows(self, seed=self.seed, metric=self.metric)

    def prepare(self, data: Splits) -> Work:
        """Load and check the model."""
        if faults := metric_faults(self.metric, data.task.metrics):
            raise ConfigError(*faults)
        if self.model == "tfidf":
            return TfidfBaseline(self, data)
        return (FrozenEncoder if self.features == "frozen" else Transformer)(self, data)


class Classification:
    """What the three ways share: rows in; a trained model saved, scored and set beside TF-IDF."""

    notes: Sequence[str] = ()
    terms: Sequence[str] = ()
    groups: Sequence[str] = ()

    def __init__(self, settings: FinetuneSettings, splits: Splits) -> None:
        self.settings, self.splits = settings, splits
        self.subject = Subject.of_rows(splits)

    def plan_lines(self) -> Mapping[str, str]:
        """What is about to be done."""
        raise NotImplementedError

    def train(self, session: Session) -> Predictor | LinearPredictor:
        """The trained model."""
        raise NotImplementedError

    def carry_out(self, session: Session) -> None:
        """Train, save the model, score it, set the baseline beside it."""
        model = self.train(session)
        if session.run.writes:
            save_classifier(session.run.folder / "model", model, self.splits.reporting()[1].texts)
            describe_answering(session, "model", model, self.splits)
            if self.settings.baseline and self.settings.model != "tfidf":
                describe_tfidf(session, self.splits)


class Transformer(Classification):
    """A classifier all of whose weights learn."""

    def __init__(self, settings: FinetuneSettings, splits: Splits) -> None:
        super().__init__(settings, splits)
        self.tokenizer = load_tokenizer(settings.model)
        torch.manual_seed(settings.seed)
        load = load_mean_classifier if settings.pooling == "mean" else load_classifier
        self.model: Any = load(settings.model, splits.task)
        check_tokenizer(self.model, self.tokenizer, name=settings.model)
        set_reading(self.model, name=settings.model, gradient_tokens=settings.max_length, drop_mult=settings.drop_mult)
        self.length = text_length(self.model, self.tokenizer, settings.max_length)
        self.names = settle_inputs(self.model, self.tokenizer)
        self.validation = encode(splits.validation.texts, self.tokenizer, max_length=self.length)
        state = processes()
        train = encode(splits.train.texts, self.tokenizer, max_length=self.length)
        parts = {"train": train, "validation": self.validation}
        self.notes = said_of_cuts(parts, self.length, more=how_to_read_more(self.model))
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


class FrozenEncoder(Classification):
    """Logistic regression on the mean vectors of an encoder that does not learn."""

    def __init__(self, settings: FinetuneSettings, splits: Splits) -> None:
        super().__init__(settings, splits)
        self.tokenizer, self.encoder = load_tokenizer(settings.model), load_encoder(settings.model)
        check_tokenizer(self.encoder, self.tokenizer, name=settings.model)
        self.length = text_length(self.encoder, self.tokenizer, settings.max_length)
        # with the identity for a head, the outputs are the pooled vectors themselves
        width = self.encoder.config.hidden_size
        self.features = PooledClassifier.assemble(self.encoder, torch.eye(width), torch.zeros(width))
        self.names = settle_inputs(self.features, self.tokenizer)

    def plan_lines(self) -> Mapping[str, str]:
        """How many rows go through the encoder."""
        rows = len(self.splits.train) + len(self.splits.validation)
        return {"rows": f"{rows:,}, each once through the frozen encoder", "encoder": self.settings.model}

    def train(self, session: Session) -> Predictor:
        """Embed the rows, fit the linear layer, put both together."""
        task, features = self.splits.task, self.features.to(session.device)

        def vectors(part: str, rows: Rows) -> np.ndarray:
            encoded = encode(rows.texts, self.tokenizer, max_length=self.length)
            for note in said_of_cuts({part: encoded}, self.length, more=how_to_read_more(self.encoder)):
                session.run.say(note)
            return logits(
                features, encoded, names=self.names, device=session.device, on_batch=lambda _: session.stop_if_asked()
            )

        with session.run.timed("train_s"):
            validation = (vectors("validation", self.splits.validation), self.splits.validation.labels)
            train = self.splits.train
            weight, bias = fit_linear(vectors("train", train), train.labels, task, validation=validation)
        model = PooledClassifier.assemble(features.encoder, torch.from_numpy(weight), torch.from_numpy(bias))
        return Predictor(model, self.tokenizer, task, self.length)


class TfidfBaseline(Classification):
    """TF-IDF with a linear model: what every other model has to beat."""

    def plan_lines(self) -> Mapping[str, str]:
        """The number of rows."""
        return {"rows": f"{len(self.splits.train):,}", "model": "TF-IDF with a linear model"}

    def train(self, session: Session) -> LinearPredictor:
        """Fit it."""
        with session.run.timed("train_s"):
            return LinearPredictor(fit_tfidf(self.splits.train, self.splits))
