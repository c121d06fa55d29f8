"""The work behind ``understudy pretrain``: what every language model shares; the kinds of model have modules of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from understudy.data.batches.bucketed import BatchSource
from understudy.data.readers.corpus import Corpus
from understudy.data.tokens.encode import Encoded
from understudy.errors import ConfigError
from understudy.functional.metrics import LANGUAGE_MODEL_METRICS
from understudy.inference.logits import parameter_summary
from understudy.models.files.save import save_model
from understudy.models.language import language_kind
from understudy.record import RunRecord
from understudy.runs.learning import learning_lines, learning_plan
from understudy.runs.plans import cost_lines, say_plan
from understudy.runs.session import Session, finish, metric_faults, open_session
from understudy.settings.train.pretrain import NEW, Pretrain
from understudy.settings.training import TrainSettings
from understudy.training.stages import FitResult
from understudy.training.unfreeze import LearningPlan

if TYPE_CHECKING:
    from understudy.recipes.train.distill_lm.distillation import LanguageDistillation
    from understudy.settings.train.distill_lm import DistillLM

BEFORE = "before training"
"""What the record calls a model as it was given."""

_UNKNOWN_SAID = 0.001
"""The share of unknown tokens from which on it is said: they are easy to predict, and flatter a model."""

_UNKNOWN_MANY = 0.1
"""From which on it is said what to do."""


class Work:
    """A language model and texts for it, with everything checked that can be checked before training.

    A kind of model settles all of the attributes when it is made, the last ones by :meth:`_learn`, and has scores.
    """

    kind: str
    """Of the model, for the record: ``language_model`` or ``masked_language_model``."""
    terms: Sequence[str]
    """What the objective's terms are called."""
    metrics: Sequence[str] = LANGUAGE_MODEL_METRICS
    """Its scores; the first one selects models."""
    rows: str
    """What a batch has ``batch_size`` of: streams, blocks, lines."""
    recipe: Pretrain
    model: Any
    tokenizer: PreTrainedTokenizerBase
    length: int
    """Tokens that the model reads of a text."""
    learning_rate: float
    parts: Mapping[str, Encoded]
    """The encoded texts of ``train``, ``validation`` and ``test``."""
    batches: BatchSource
    notes: Sequence[str]
    """What was found on the way."""
    trained_before: bool
    objective: nn.Module
    plan: LearningPlan
    groups: Sequence[str]
    """Of parameters that have learning rates of their own."""

    def _learn(self, objective: nn.Module) -> None:
        """Settle what is trained, when all of the model is as it is to be."""
        self.objective = objective
        self.plan = learning_plan(objective, self.recipe, learning_rate=self.learning_rate)
        self.groups = self.plan.with_own_rates

    def say_plan(self) -> None:
        """Print texts, tokens, steps, time and memory."""
        say_plan(plan_lines(self.plan, self.batches, self.parts, self.recipe, rows=self.rows))

    def train(self, session: Session) -> FitResult:
        """Fit the model; it ends with its best weights."""
        return session.fit(
            self.objective,
            self.batches,
            phase="train",
            validation=lambda model: self.scores(model, "validation", session.device),
            learning_rate=self.learning_rate,
            budget_s=session.stop.remaining(),
        )

    def scores(self, model: Any, part: str, device: torch.device) -> dict[str, float]:
        """Loss, perplexity and accuracy of a model on a part of the corpus: ``validation`` or ``test``."""
        raise NotImplementedError


def prepare(recipe: Pretrain, corpus: Corpus) -> Work:
    """The work that a recipe describes.

    Raises:
        UnderstudyError: if the metric is none of a language model's, or the model cannot be used.
    """
    from understudy.recipes.train.pretrain.causal import Blocks, Streams
    from understudy.recipes.train.pretrain.masked import HiddenWords

    if faults := metric_faults(recipe, LANGUAGE_MODEL_METRICS):
        raise ConfigError(*faults)
    kind = "recurrent" if recipe.model == NEW else language_kind(recipe.model)
    faults = [] if kind == "masked" else recipe.masking_faults()
    faults += [] if kind == "recurrent" else recipe.regularising_faults()
    if faults:
        raise ConfigError(*faults)
    works: dict[str, Any] = {"recurrent": Streams, "causal": Blocks, "masked": HiddenWords}
    return works[kind](recipe, corpus)


def open_on_texts(
    recipe: Pretrain | DistillLM, corpus: Corpus, work: Work | LanguageDistillation
) -> AbstractContextManager[Session]:
    """:func:`understudy.runs.session.open_session` for a language model."""
    return open_session(
        recipe.command,
        recipe,
        data=corpus.texts(),
        task=None,
        notes=[*corpus.notes, *work.notes],
        terms=work.terms,
        metrics=work.metrics,
        groups=work.groups,
        kind=work.kind,
    )


def train(session: Session, corpus: Corpus, work: Work) -> FitResult:
    """Score the model as it was given, where something has trained it before; then fit it."""
    if work.trained_before and session.run.writes and not any(m["name"] == BEFORE for m in session.run.record.models):
        model = work.model.to(session.device)
        with session.run.timed("evaluate_s"):
            scores = {part: work.scores(model, part, session.device) for part in corpus.texts() if part != "train"}
        _describe(session, BEFORE, model, scores)
    return work.train(session)


def conclude(session: Session, corpus: Corpus, work: Work, result: FitResult) -> RunRecord:
    """Save the model, read the test texts for its scores, write the report."""
    if session.run.writes:
        save_model(session.run.folder / "model", work.model, work.tokenizer, task=None, max_length=work.length)
        metrics = {"validation": {name: result.metrics[name] for name in LANGUAGE_MODEL_METRICS}}
        if corpus.test is not None:
            with session.run.timed("evaluate_s"):
                metrics["test"] = work.scores(work.model, "test", session.device)
        _describe(session, "model", work.model, metrics)
    return finish(session)


def _describe(session: Session, name: str, model: Any, metrics: Mapping[str, Mapping[str, float]]) -> None:
    """Put a model on the record; the one that this run trains comes first."""
    others = [entry for entry in session.run.record.models if entry["name"] != name]
    entry = {"name": name, "model_type": model.config.model_type, **parameter_summary(model), "metrics": metrics}
    session.run.record.models = [entry, *others] if name == "model" else [*others, entry]
    session.run.save()
    session.heed()


def plan_lines(
    plan: LearningPlan, batches: BatchSource, parts: Mapping[str, Encoded], recipe: TrainSettings, *, rows: str
) -> dict[str, str]:
    """What training will take: texts, tokens, steps, time, memory and disk; and what learns when.

    Args:
        parts: the encoded texts of ``train``, ``validation`` and ``test``.
        rows: what a batch has ``batch_size`` of: streams, blocks, lines.
    """
    steps = sum(batches.steps(epoch) for epoch in range(plan.epochs))
    others = [f"{len(part):,} {name}" for name, part in parts.items() if name != "train"]
    tokens = {name: int(part.offsets[-1]) for name, part in parts.items()}
    return {
        "texts": f"{len(parts['train']):,} to train on, {', '.join(others)}",
        "tokens": f"{tokens['train']:,} an epoch, {tokens['validation']:,} validation",
        "steps": f"{steps:,} of {recipe.batch_size} {rows}, {plan.epochs} epochs at most",
        **learning_lines(plan, recipe),
        **cost_lines(plan, batches, tokens=tokens["train"]),
    }


def unknown_notes(
    parts: Mapping[str, Encoded],
    tokenizer: PreTrainedTokenizerBase,
    *,
    remedy: str = "give a larger vocabulary (--vocabulary new:16000, say), or a model that reads such texts",
) -> list[str]:
    """How many tokens of the training and the validation texts are unknown, if they are many and can be told from the
    ends of texts; with the remedy where they are very many."""
    unknown = tokenizer.unk_token_id
    if unknown in (None, tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.sep_token_id):
        return []
    shares = {name: float((parts[name].ids == unknown).mean()) for name in ("train", "validation")}
    return [
        f"{name}: {100 * share:.1f} % of the tokens are unknown."
        + f" They are easy to guess, so that scores say little: {remedy}." * (share >= _UNKNOWN_MANY)
        for name, share in shares.items()
        if share >= _UNKNOWN_SAID
    ]
