"""What every kind of pretraining shares: the model scored, fitted, saved and scored again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from understudy.data.batches.contract import BatchSource
from understudy.data.readers.corpus import Corpus
from understudy.data.tokens.encode import Encoded
from understudy.evaluation.quality import Evaluation
from understudy.functional.metrics import LANGUAGE_MODEL_METRICS
from understudy.inference.logits import parameter_summary
from understudy.objectives.terms import term_names
from understudy.report.scores import BEFORE_TRAINING
from understudy.runs.entries import has_entry, put_on_record
from understudy.runs.fitting.learning import learning_plan
from understudy.runs.fitting.phase import train_phase
from understudy.runs.plans import texts_plan
from understudy.runs.saving import save_language_model
from understudy.runs.session import Session
from understudy.runs.subject import Subject
from understudy.settings.train.pretrain import PretrainSettings
from understudy.training.stages import FitResult
from understudy.training.unfreezing.plan import LearningPlan


class LanguageWork:
    """A language model and texts for it, with everything checked that can be checked before training.

    Each kind of model is a subclass, which sets the attributes when it is made, the last ones by :meth:`_learn`.
    """

    kind: str
    """``language_model`` or ``masked_language_model``."""
    rows: str
    """What ``batch_size`` counts: streams, blocks, lines."""
    settings: PretrainSettings
    model: Any
    tokenizer: PreTrainedTokenizerBase
    length: int
    """Tokens that the model reads of a text."""
    learning_rate: float
    parts: Mapping[str, Encoded]
    """The encoded texts of ``train``, ``validation`` and ``test``."""
    batches: BatchSource
    notes: Sequence[str]
    """What was found in the model and its tokens."""
    trained_before: bool
    """Whether the model predicted words before this run."""
    objective: nn.Module
    plan: LearningPlan
    terms: Sequence[str]
    groups: Sequence[str]
    """The parameter groups that have learning rates of their own."""

    def __init__(self, settings: PretrainSettings, corpus: Corpus) -> None:
        self.settings, self.corpus = settings, corpus
        self.subject = Subject.of_corpus(corpus, kind=self.kind, metrics=LANGUAGE_MODEL_METRICS)

    def _learn(self, objective: nn.Module) -> None:
        """Settle what is trained, once the model is complete."""
        self.objective, self.terms = objective, term_names(objective)
        self.plan = learning_plan(objective, self.settings, learning_rate=self.learning_rate)
        self.groups = self.plan.with_own_rates

    def plan_lines(self) -> Mapping[str, str]:
        """Texts, tokens, steps, time and memory."""
        return texts_plan(self.plan, self.batches, self.parts, self.settings, rows=self.rows)

    def carry_out(self, session: Session) -> None:
        """Score the model as it is given, fit it, save it, and score it again."""
        writes = session.run.writes
        if self.trained_before and writes and not has_entry(session, BEFORE_TRAINING):
            self.model.to(session.device)
            parts = [part for part in self.corpus.texts() if part != "train"]
            self._describe(session, BEFORE_TRAINING, {part: self._evaluate(session, part) for part in parts})
        result = self.train(session)
        if writes:
            self.save(session)
            found = {"validation": Evaluation({name: result.metrics[name] for name in LANGUAGE_MODEL_METRICS})}
            if self.corpus.test is not None:
                found["test"] = self._evaluate(session, "test")
            self._describe(session, "model", found)

    def save(self, session: Session) -> None:
        """Write the trained model."""
        folder, texts = session.run.folder / "model", self.corpus.validation
        save_language_model(folder, self.model, self.tokenizer, max_length=self.length, texts=texts)

    def train(self, session: Session) -> FitResult:
        """Fit the model; it ends with its best weights."""
        return train_phase(
            session,
            self.objective,
            self.batches,
            phase="train",
            validation=lambda model: self.scores(model, "validation", session.device),
            learning_rate=self.learning_rate,
            budget_s=session.stop.remaining(),
        )

    def _evaluate(self, session: Session, part: str) -> Evaluation:
        with session.run.timed("evaluate_s"):
            return Evaluation(self.scores(self.model, part, session.device))

    def _describe(self, session: Session, name: str, scores: Mapping[str, Evaluation]) -> None:
        """Put the model on the record; the trained one comes first."""
        facts = {"model_type": self.model.config.model_type, **self.summary()}
        facts |= {"mask_token": self.tokenizer.mask_token} if self.kind == "masked_language_model" else {}
        facts |= {} if name == BEFORE_TRAINING else self.saved_as()
        put_on_record(session, name, scores=scores, facts=facts, order=("model",))

    def saved_as(self) -> dict[str, Any]:
        """What the record says of the saved model beside its architecture and size."""
        return {"backward": True} if getattr(self.model.config, "backward", False) else {}

    def summary(self) -> dict[str, int]:
        """Parameters and bytes of the model."""
        return parameter_summary(self.model)

    def scores(self, model: Any, part: str, device: torch.device) -> dict[str, float]:
        """Loss, perplexity and accuracy of a model on a part of the corpus: ``validation`` or ``test``."""
        raise NotImplementedError
