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
from understudy.data.batches.pairs.batches import PairBatches
from understudy.data.readers.duplicates import grouped
from understudy.data.splits import Splits
from understudy.data.tokens.encode import Encoded, encode
from understudy.errors import ConfigError
from understudy.evaluation.quality import evaluate
from understudy.inference.logits import logits, token_budget
from understudy.inference.predictor import Predictor
from understudy.models.files.classifiers import load_mean_classifier
from understudy.models.files.tokenizers import check_tokenizer, load_tokenizer
from understudy.models.linear import fit_linear
from understudy.models.probe.choice import cross_validated
from understudy.models.probe.vectors import has_mean
from understudy.models.structure.inputs import settle_inputs
from understudy.models.students.apart import ApartClassifier
from understudy.models.students.pooled import PooledClassifier
from understudy.objectives.contrastive import Contrastive
from understudy.objectives.terms import term_names
from understudy.recipes.train.finetune.classification import Classification
from understudy.recipes.train.finetune.contrast_choice import ContrastChoice, choose_contrastive, class_counts
from understudy.recipes.train.finetune.start import Start, as_probe
from understudy.recipes.train.finetune.start_words import carried_notes, pooled_note
from understudy.runs.devices import processes
from understudy.runs.fitting.amount import training_amount
from understudy.runs.fitting.learning import learning_lines, learning_plan, said_of_min_delta
from understudy.runs.fitting.phase import train_phase
from understudy.runs.fitting.worth import worth
from understudy.runs.judging.calibrating import calibrate
from understudy.runs.plans import cost_lines
from understudy.runs.session import Session
from understudy.runs.text_limits import how_to_read_more, said_of_cuts, text_length, unread_notes
from understudy.settings.train.finetune import FinetuneSettings

TEXTS = 16
"""Texts of a step where the settings leave it open: 120 pairs. Larger steps take as long a text and are fewer."""
PASSES, LEAST_STEPS, MOST_STEPS = 8, 12, 60
"""How often the labelled rows are read, within a number of steps."""
Head = tuple[np.ndarray, np.ndarray]
"""Weight ``(outputs, width)`` and bias ``(outputs,)`` of a linear layer."""
_MEETING, _PIECES = 4, 2
"""Tokens of the texts that meet at once, in budgets: a step that is cut encodes its texts several times. They are encoded in
pieces of half a budget, with less padding."""


def contrast_steps(rows: int, *, batch_size: int) -> int:
    """Optimizer steps of contrastive training: so many passes over few rows, less than one over many.

    Example:
        >>> [contrast_steps(rows, batch_size=16) for rows in (16, 48, 224, 5000)]
        [12, 24, 60, 60]
    """
    return min(MOST_STEPS, max(LEAST_STEPS, -(-PASSES * rows // batch_size)))


def choose_for(
    settings: FinetuneSettings, splits: Splits, model: Any, start: Start | None, names: Sequence[str]
) -> ContrastChoice:
    """What ``--contrastive auto`` means for these settings and rows; without words where there is nothing to choose.

    Args:
        model, start: what fine-tuning on labels would train, and start from.
        names: the inputs that the model takes.
    """
    steps = settings.unfreeze or settings.freeze or settings.compile or settings.interpolate is not None
    asked = settings.pooling == "head" or steps
    pools = isinstance(model, PooledClassifier) or has_mean(model)
    if isinstance(model, ApartClassifier) and not asked:
        return ContrastChoice(False, "the texts of a pair are read apart, and this method reads them joined")
    if start is None or asked or not pools or contrast_faults(splits, names):
        return ContrastChoice(False, "")
    metric = "f1_micro" if splits.task.kind == "multi_label" else "accuracy"
    if settings.batch_size == 1:
        return ContrastChoice(False, "a step of one row has no pair")
    heads, _ = grouped(splits.train.texts)
    probe = start.probe.scores[metric] if start.probe.learns else 0.0
    return choose_contrastive(splits.train.labels[heads], probe=probe)


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

    def __init__(self, settings: FinetuneSettings, splits: Splits, *, why: str = "") -> None:
        self.tokenizer, self.why = load_tokenizer(settings.begins_with), why
        self.model = self._untrained(settings, splits)
        check_tokenizer(self.model, self.tokenizer, name=settings.begins_with)
        self.length = text_length(self.model, self.tokenizer, settings.max_length)
        self.names = settle_inputs(self.model, self.tokenizer)
        if faults := contrast_faults(splits, self.names):
            raise ConfigError(*faults)
        self.amount = training_amount(
            int(splits.train.labelled.sum()),
            classes=splits.task.outputs,
            parameters=sum(parameter.numel() for parameter in self.model.parameters()),
            validation=int(splits.validation.labelled.sum()),
            batch_size=settings.batch_size or TEXTS,
        )
        # where the settings leave the epochs open, a number of steps is one epoch
        epochs = 1 if settings.epochs == "auto" else settings.epochs
        super().__init__(replace(settings, epochs=epochs, batch_size=self.amount.batch_size), splits)
        parts = {"train": splits.train, "validation": splits.validation}
        self.parts = {name: encode(rows.texts, self.tokenizer, max_length=self.length) for name, rows in parts.items()}
        cuts = said_of_cuts(self.parts, self.length, more=how_to_read_more(self.model))
        unread = unread_notes(self.parts, self.tokenizer)
        pooled = [pooled_note("the mean of the states is read")] if settings.pooling == "auto" else []
        carried = carried_notes(settings, self.model)
        self.notes = [*cuts, *unread, *said_of_min_delta(self.settings), *carried, *pooled]
        if settings.patience is not None and epochs == 1 and settings.eval_steps is None:
            self.notes.append(
                "patience: has no effect, because all pairs are one epoch, with one evaluation at its end. Give --eval_steps too."
            )
        self.batches = self._batches(settings)
        self.objective = Contrastive(self.model)
        self.terms = term_names(self.objective)
        self.plan = learning_plan(self.objective, self.settings, learning_rate=self.amount.learning_rate)
        self.groups = self.plan.with_own_rates

    def _untrained(self, settings: FinetuneSettings, splits: Splits) -> PooledClassifier:
        torch.manual_seed(settings.seed)
        model: PooledClassifier = load_mean_classifier(settings.begins_with, splits.task)
        # the linear layer is fitted afterwards, in one go
        model.classifier.requires_grad_(False)
        return model

    def _batches(self, settings: FinetuneSettings) -> PairBatches | PacedBatches:
        size, budget = self.amount.batch_size, token_budget(processes().device, self.model)
        pairs = PairBatches(
            self.parts["train"],
            self.splits.train.labels,
            names=self.names,
            batch_size=size,
            max_tokens=settings.max_tokens or _MEETING * budget,
            piece_tokens=budget // _PIECES,
            seed=settings.seed,
        )
        if settings.epochs != "auto":
            return pairs
        return PacedBatches(pairs, contrast_steps(int(self.splits.train.labelled.sum()), batch_size=size))

    def plan_lines(self) -> Mapping[str, str]:
        """Rows, steps, time and memory."""
        train, size = self.splits.train, self.amount.batch_size
        steps = sum(self.batches.steps(epoch) for epoch in range(self.plan.epochs))
        tokens = int(self.parts["train"].lengths.mean() * size * self.batches.steps(0))
        return {
            **({"pairs": f"{self.why}, so the encoder learns from pairs"} if self.why else {}),
            "rows": f"{int(train.labelled.sum()):,} to train on, {len(self.splits.validation):,} validation",
            "steps": f"{steps:,} of about {size} texts, all pairs of which are compared",
            **learning_lines(self.plan, self.settings),
            **cost_lines(self.plan, self.batches, tokens=tokens),
            "then": "a linear layer on the mean of the states, fitted in one go",
        }

    def train(self, session: Session) -> Predictor:
        """Train the encoder on pairs, then fit the linear layer; go back to the probe if the pairs have lost to it."""
        self.model.to(session.device)
        self.probe_head = self._fitted_probe(session)
        began = self._outputs(session, self.model, self.probe_head)
        train_phase(
            replace(session, settings=self.settings),
            self.objective,
            self.batches,
            phase="contrast",
            validation=lambda model: self._scores(session, model),
            learning_rate=self.amount.learning_rate,
            budget_s=session.stop.remaining(),
            keep="best" if self.amount.chooses or self.settings.watches else "last",
        )
        with session.run.timed("head_s"):
            head = self._head(session, self.model)
        if not self._gained(session, began, head):
            return self._kept_probe(session)
        return self._predictor(session, _with_head(self.model, head))

    def probe(self, session: Session) -> Predictor:
        """The linear layer on the encoder as it was."""
        probe = self._kept_probe(session)
        calibrate(session, probe, self.splits)
        return probe

    def _kept_probe(self, session: Session) -> Predictor:
        return self._predictor(
            session, as_probe(_with_head(self._untrained(self.settings, self.splits), self.probe_head))
        )

    def _predictor(self, session: Session, model: PooledClassifier) -> Predictor:
        return Predictor(model, self.tokenizer, self.splits.task, self.length, device=session.device)

    def _fitted_probe(self, session: Session) -> Head:
        """The linear layer that fits the encoder's vectors as it is, its penalty chosen by cross-validation."""
        with session.run.timed("probe_s"):
            vectors = self._vectors(session, self.model, self.parts["train"])
            labels, weights = self.splits.train.labels, self.splits.class_weights
            more: dict[str, Any] = {"class_weights": weights, "groups": self.splits.train.texts.keys()}
            found = cross_validated(vectors, labels, self.splits.task, seed=self.settings.seed, **more)
        return found.weight, found.bias

    def _gained(self, session: Session, began: np.ndarray, head: Head) -> bool:
        """Whether contrastive training has not lost to the probe on the validation rows; put on the record and said."""
        metric, _ = session.metric()
        labels = self.splits.validation.labels
        ended, seed = self._outputs(session, self.model, head), self.settings.seed
        # a gain is to be expected also where the probe learns nothing: pairs are for just that, and few rows cannot prove it
        found = worth(began, ended, labels, metric, seed=seed)
        kept = "contrastive" if found.keeps_end else "probe"
        session.run.record.training["contrast"]["start"] = {**found.on_record(), "kept": kept}
        if not found.keeps_end:
            session.run.say(
                f"contrastive training {found.said(len(labels))}, which is no gain: the model is a probe of the encoder as it was."
            )
        return found.keeps_end

    def _head(self, session: Session, model: Any) -> Head:
        """The linear layer that fits a model's vectors of the training rows.

        The penalty is fixed: few rows cannot choose one, and where validation rows are training rows they choose the
        weakest.
        """
        vectors = self._vectors(session, model, self.parts["train"])
        weights = self.splits.class_weights
        return fit_linear(vectors, self.splits.train.labels, self.splits.task, class_weights=weights)

    def _scores(self, session: Session, model: Any) -> Mapping[str, float]:
        """How good a linear layer on a model's vectors is on the validation rows."""
        outputs = self._outputs(session, model, self._head(session, model))
        return evaluate(outputs, self.splits.validation.labels, self.splits.task).metrics

    def _outputs(self, session: Session, model: Any, head: Head) -> np.ndarray:
        """What a linear layer on a model's vectors answers for the validation rows."""
        return self._vectors(session, model, self.parts["validation"]) @ head[0].T + head[1]

    def _vectors(self, session: Session, model: Any, encoded: Encoded) -> np.ndarray:
        """The vectors that a linear layer reads, ``(rows, width)``."""
        features = _Pooled(model)
        return logits(
            features, encoded, names=self.names, device=session.device, on_batch=lambda _: session.stop_if_asked()
        )


def _with_head(model: PooledClassifier, head: Head) -> Any:
    """The encoder of a model with a linear layer on its mean vectors."""
    weight, bias = map(torch.from_numpy, head)
    return PooledClassifier.assemble(model.encoder.cpu(), weight, bias)


class _Pooled(nn.Module):
    """A model whose outputs are the vectors that its head reads."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, **inputs: torch.Tensor) -> SequenceClassifierOutput:
        """The vectors in the place of logits: ``(rows, width)``."""
        return SequenceClassifierOutput(logits=self.model.pool(**inputs))
