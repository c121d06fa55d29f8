"""The work behind ``understudy finetune``: a transformer, a linear layer on a frozen one, or TF-IDF, in one shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch

from understudy.data.batches.bucketed import BucketedBatches
from understudy.data.splits import Rows, Splits
from understudy.data.tokens.encode import encode, input_names
from understudy.errors import ConfigError
from understudy.inference.logits import logits, token_budget
from understudy.inference.predictor import Answering, LinearPredictor, Predictor
from understudy.models.awd_lstm.config import reads_whole, set_reading
from understudy.models.files.classifiers import load_classifier, load_encoder, load_mean_classifier
from understudy.models.files.tokenizers import check_tokenizer, ensure_pad_token, load_tokenizer
from understudy.models.linear import fit_linear
from understudy.models.students.pooled import PooledClassifier
from understudy.objectives.supervised import Supervised
from understudy.record import RunRecord
from understudy.runs.devices import processes
from understudy.runs.labelled import describe_tfidf, fit_tfidf, save, validation_scores
from understudy.runs.learning import learning_plan
from understudy.runs.plans import say_plan, training_plan
from understudy.runs.reading import how_to_read_more, said_of_cuts, text_length
from understudy.runs.session import Session, finish, metric_faults
from understudy.settings.train.finetune import Finetune

LEARNING_RATE, RECURRENT_RATE = 5e-5, 3e-3
"""The peak where the settings name none: of a transformer, of an AWD-LSTM."""


class Work(Protocol):
    """What there is to be fine-tuned, with everything checked that can be checked before training."""

    groups: Sequence[str]
    """Of parameters that have learning rates of their own."""
    notes: Sequence[str]
    """What was found on the way."""

    def say_plan(self) -> None:
        """Print what is about to be done."""
        ...

    def train(self, session: Session) -> Answering:
        """Do it; the trained model, ready to answer."""
        ...


def prepare(recipe: Finetune, splits: Splits) -> Work:
    """The work that a recipe describes.

    Raises:
        UnderstudyError: if the metric does not suit the task, or the model cannot be used for it.
    """
    if faults := metric_faults(recipe, splits.task.metrics):
        raise ConfigError(*faults)
    if recipe.model == "tfidf":
        return TfidfBaseline(splits)
    return (FrozenEncoder if recipe.features == "frozen" else Transformer)(recipe, splits)


class Transformer:
    """A classifier all of whose weights learn."""

    def __init__(self, recipe: Finetune, splits: Splits) -> None:
        self.recipe, self.splits = recipe, splits
        self.tokenizer = load_tokenizer(recipe.model)
        torch.manual_seed(recipe.seed)
        load = load_mean_classifier if recipe.pooling == "mean" else load_classifier
        self.model: Any = load(recipe.model, splits.task)
        check_tokenizer(self.model, self.tokenizer, name=recipe.model)
        ensure_pad_token(self.model, self.tokenizer)
        set_reading(self.model, name=recipe.model, gradient_tokens=recipe.max_length, drop_mult=recipe.drop_mult)
        self.length = text_length(self.model, self.tokenizer, recipe.max_length)
        self.names = input_names(self.model, self.tokenizer)
        self.validation = encode(splits.validation.texts, self.tokenizer, max_length=self.length)
        state = processes()
        train = encode(splits.train.texts, self.tokenizer, max_length=self.length)
        parts = {"train": train, "validation": self.validation}
        self.notes: Sequence[str] = said_of_cuts(parts, self.length, more=how_to_read_more(self.model))
        self.batches = BucketedBatches(
            train,
            splits.train.labels,
            names=self.names,
            batch_size=recipe.batch_size,
            max_tokens=recipe.max_tokens or token_budget(state.device, self.model),
            seed=recipe.seed,
            world_size=state.num_processes,
            rank=state.process_index,
        )
        self.objective = Supervised(self.model, splits.task.kind)
        self.learning_rate = RECURRENT_RATE if reads_whole(self.model.config) else LEARNING_RATE
        self.plan = learning_plan(self.objective, recipe, learning_rate=self.learning_rate)
        self.groups: Sequence[str] = self.plan.with_own_rates

    def say_plan(self) -> None:
        """Print rows, tokens, steps, time and memory."""
        say_plan(training_plan(self.plan, self.batches, self.splits, self.recipe))

    def train(self, session: Session) -> Predictor:
        """Fit the classifier; it ends with its best weights."""
        session.fit(
            self.objective,
            self.batches,
            phase="train",
            validation=validation_scores(
                self.validation, self.splits.validation, session.task, names=self.names, device=session.device
            ),
            learning_rate=self.learning_rate,
            budget_s=session.stop.remaining(),
        )
        return Predictor(self.model, self.tokenizer, session.task, self.length)


class FrozenEncoder:
    """Logistic regression on the mean vectors of an encoder that stays as it is."""

    groups: Sequence[str] = ()
    notes: Sequence[str] = ()

    def __init__(self, recipe: Finetune, splits: Splits) -> None:
        self.recipe, self.splits = recipe, splits
        self.tokenizer, self.encoder = load_tokenizer(recipe.model), load_encoder(recipe.model)
        check_tokenizer(self.encoder, self.tokenizer, name=recipe.model)
        self.length = text_length(self.encoder, self.tokenizer, recipe.max_length)

    def say_plan(self) -> None:
        """Print how many rows go through the encoder."""
        rows = len(self.splits.train) + len(self.splits.validation)
        say_plan({"rows": f"{rows:,}, each once through the frozen encoder", "encoder": self.recipe.model})

    def train(self, session: Session) -> Predictor:
        """Embed the rows, fit the linear layer, put both together."""
        width = self.encoder.config.hidden_size
        # with the identity for a head, the outputs are the pooled vectors themselves
        features = PooledClassifier.assemble(self.encoder, torch.eye(width), torch.zeros(width)).to(session.device)
        names = input_names(features, self.tokenizer)

        def vectors(part: str, rows: Rows) -> np.ndarray:
            encoded = encode(rows.texts, self.tokenizer, max_length=self.length)
            for note in said_of_cuts({part: encoded}, self.length, more=how_to_read_more(self.encoder)):
                session.run.say(note)
            return logits(features, encoded, names=names, device=session.device, on_batch=lambda _: session.heed())

        with session.run.timed("train_s"):
            validation = (vectors("validation", self.splits.validation), self.splits.validation.labels)
            train = self.splits.train
            weight, bias = fit_linear(vectors("train", train), train.labels, session.task, validation=validation)
        model = PooledClassifier.assemble(self.encoder, torch.from_numpy(weight), torch.from_numpy(bias))
        return Predictor(model, self.tokenizer, session.task, self.length)


class TfidfBaseline:
    """TF-IDF with a linear model: what every other model has to beat."""

    groups: Sequence[str] = ()
    notes: Sequence[str] = ()

    def __init__(self, splits: Splits) -> None:
        self.splits = splits

    def say_plan(self) -> None:
        """Print the number of rows."""
        say_plan({"rows": f"{len(self.splits.train):,}", "model": "TF-IDF with a linear model"})

    def train(self, session: Session) -> LinearPredictor:
        """Fit it."""
        with session.run.timed("train_s"):
            return LinearPredictor(fit_tfidf(self.splits.train, self.splits))


def conclude(session: Session, splits: Splits, model: Answering, *, baseline: bool) -> RunRecord:
    """Save the model, score it, set the baseline beside it, write the report."""
    if session.run.writes:
        save(model, session.run.folder / "model")
        session.describe("model", model, session.answers(model, splits.reporting()[1].texts), splits)
        if baseline and not isinstance(model, LinearPredictor):
            describe_tfidf(session, splits)
    return finish(session)
