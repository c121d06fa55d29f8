"""An encoder that learns from pairs of labelled rows, and a linear layer on it: for few labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

from understudy.data.batches.bucketed import PacedBatches
from understudy.data.batches.pair_batches import PairBatches
from understudy.data.splits import Splits
from understudy.data.tokens.encode import Encoded, encode
from understudy.errors import ConfigError
from understudy.evaluation.quality import evaluate
from understudy.inference.logits import logits, token_budget
from understudy.inference.predictor import Predictor
from understudy.models.files.classifiers import load_mean_classifier
from understudy.models.files.tokenizers import check_tokenizer, load_tokenizer
from understudy.models.linear import fit_linear
from understudy.models.structure.inputs import settle_inputs
from understudy.models.students.pooled import PooledClassifier
from understudy.objectives.contrastive import Contrastive
from understudy.objectives.terms import term_names
from understudy.recipes.train.finetune.classification import Classification
from understudy.recipes.train.finetune.contrast_choice import class_counts
from understudy.runs.devices import processes
from understudy.runs.fitting.learning import learning_lines, learning_plan
from understudy.runs.fitting.phase import train_phase
from understudy.runs.plans import cost_lines
from understudy.runs.session import Session
from understudy.runs.text_limits import how_to_read_more, said_of_cuts, text_length
from understudy.settings.train.finetune import FinetuneSettings

LEARNING_RATE = 1e-4
"""The peak rate where the settings name none."""
TEXTS = 16
"""Texts of a step at most: 120 pairs. Larger steps take as long a text and are fewer."""
PASSES, LEAST_STEPS, MOST_STEPS = 8, 12, 60
"""How often the labelled rows are read, within a number of steps."""
_AT_ONCE = 4
"""Times the usual tokens are computed at once: a step that is cut encodes its texts several times."""


def contrast_steps(rows: int, *, batch_size: int) -> int:
    """Optimizer steps of contrastive training: so many passes over few rows, less than one over many.

    Example:
        >>> [contrast_steps(rows, batch_size=16) for rows in (16, 48, 224, 5000)]
        [12, 24, 60, 60]
    """
    return min(MOST_STEPS, max(LEAST_STEPS, -(-PASSES * rows // batch_size)))


def contrast_faults(splits: Splits, names: Sequence[str]) -> list[str]:
    """Why these rows or this model cannot be learnt from in pairs.

    Args:
        names: the inputs that the model takes.
    """
    faults = []
    if splits.task.kind == "regression":
        faults.append(
            "--contrastive needs classes, because two texts of one class are alike, but the labels are numbers. Leave it out."
        )
    elif not np.any(class_counts(splits.train.labels) > 1):
        faults.append(
            f"{splits.train.origin}: --contrastive needs two rows of one class, but each class has one at most. Add rows, or leave it out."
        )
    if "attention_mask" not in names:
        faults.append(
            "--contrastive reads texts of several lengths at once, but this model cannot mask padding. Name another model, such as BERT, RoBERTa or DistilBERT, or leave it out."
        )
    if (number := processes().num_processes) > 1:
        faults.append(f"--contrastive runs in one process, but there are {number}. Start one, or leave it out.")
    return faults


class ContrastiveEncoder(Classification):
    """Contrastive training of an encoder on pairs from labels, then logistic regression on its mean vectors."""

    def __init__(self, settings: FinetuneSettings, splits: Splits) -> None:
        # the steps are counted, not the passes: a stage is one epoch of so many steps
        super().__init__(replace(settings, epochs=1), splits)
        self.tokenizer = load_tokenizer(settings.model)
        torch.manual_seed(settings.seed)
        self.model = load_mean_classifier(settings.model, splits.task)
        check_tokenizer(self.model, self.tokenizer, name=settings.model)
        self.length = text_length(self.model, self.tokenizer, settings.max_length)
        self.names = settle_inputs(self.model, self.tokenizer)
        if faults := contrast_faults(splits, self.names):
            raise ConfigError(*faults)
        parts = {"train": splits.train, "validation": splits.validation}
        self.parts = {name: encode(rows.texts, self.tokenizer, max_length=self.length) for name, rows in parts.items()}
        self.notes = said_of_cuts(self.parts, self.length, more=how_to_read_more(self.model))
        batch_size = min(settings.batch_size, TEXTS)
        self.pairs = PairBatches(
            self.parts["train"],
            splits.train.labels,
            names=self.names,
            batch_size=batch_size,
            max_tokens=settings.max_tokens or _AT_ONCE * token_budget(processes().device, self.model),
            seed=settings.seed,
        )
        labelled = int(splits.train.labelled.sum())
        self.batches = PacedBatches(self.pairs, contrast_steps(labelled, batch_size=batch_size))
        # the linear layer is fitted afterwards, in one go
        self.model.classifier.requires_grad_(False)
        self.objective = Contrastive(self.model)
        self.terms = term_names(self.objective)
        self.plan = learning_plan(self.objective, self.settings, learning_rate=LEARNING_RATE)
        self.groups = self.plan.with_own_rates

    def plan_lines(self) -> Mapping[str, str]:
        """Rows, steps, time and memory."""
        train, steps = self.splits.train, self.batches.steps(0)
        tokens = steps * int(self.parts["train"].lengths.mean() * self.pairs.batch_size)
        return {
            "rows": f"{int(train.labelled.sum()):,} to train on, {len(self.splits.validation):,} validation",
            "steps": f"{steps:,} of at most {self.pairs.batch_size} texts, all pairs of which are compared",
            **learning_lines(self.plan, self.settings),
            **cost_lines(self.plan, self.batches, tokens=tokens),
            "then": "a linear layer on the mean of the states, fitted in one go",
        }

    def train(self, session: Session) -> Predictor:
        """Train the encoder on pairs, then fit the linear layer."""
        train_phase(
            replace(session, settings=self.settings),
            self.objective,
            self.batches,
            phase="contrast",
            validation=lambda model: self._scores(session, model),
            learning_rate=LEARNING_RATE,
            budget_s=session.stop.remaining(),
        )
        with session.run.timed("head_s"):
            weight, bias = self._head(session, self.model)
        model = PooledClassifier.assemble(self.model.encoder, torch.from_numpy(weight), torch.from_numpy(bias))
        return Predictor(model.to(session.device), self.tokenizer, self.splits.task, self.length)

    def _head(self, session: Session, model: Any) -> tuple[np.ndarray, np.ndarray]:
        """The linear layer that fits a model's vectors of the training rows.

        The penalty is fixed: few rows cannot choose one, and where validation rows are training rows they choose the
        weakest.
        """
        vectors = self._vectors(session, model, self.parts["train"])
        return fit_linear(vectors, self.splits.train.labels, self.splits.task)

    def _scores(self, session: Session, model: Any) -> Mapping[str, float]:
        """How good a linear layer on a model's vectors is on the validation rows."""
        weight, bias = self._head(session, model)
        outputs = self._vectors(session, model, self.parts["validation"]) @ weight.T + bias
        return evaluate(outputs, self.splits.validation.labels, self.splits.task).metrics

    def _vectors(self, session: Session, model: Any, encoded: Encoded) -> np.ndarray:
        """The vectors that a linear layer reads, ``(rows, width)``."""
        features = _Pooled(model)
        return logits(
            features, encoded, names=self.names, device=session.device, on_batch=lambda _: session.stop_if_asked()
        )


class _Pooled(nn.Module):
    """A model whose outputs are the vectors that its head reads."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, **inputs: torch.Tensor) -> SequenceClassifierOutput:
        """The vectors in the place of logits: ``(rows, width)``."""
        return SequenceClassifierOutput(logits=self.model.pool(**inputs))
