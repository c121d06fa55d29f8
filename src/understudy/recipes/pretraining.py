"""The work behind ``understudy pretrain``: what every language model shares; the kinds of model have modules of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from transformers import PreTrainedTokenizerBase

from understudy.data.batches import BatchSource
from understudy.data.corpus import Corpus
from understudy.data.encode import Encoded
from understudy.errors import ConfigError
from understudy.functional.metrics import LANGUAGE_MODEL_METRICS
from understudy.inference import parameter_summary
from understudy.models.language import language_kind
from understudy.models.save import save_model
from understudy.recipes.plans import duration, seconds_per_row
from understudy.recipes.pretrain import NEW, Pretrain
from understudy.recipes.settings import TrainSettings
from understudy.recipes.techniques import learning_lines
from understudy.recipes.workbench import Workbench, finish, metric_faults, open_workbench
from understudy.record import RunRecord
from understudy.training.loop import FitResult
from understudy.training.unfreeze import LearningPlan

BEFORE = "before training"
"""What the record calls a model as it was given."""

_UNKNOWN_SAID = 0.001
"""The share of unknown tokens from which on it is said: they are easy to predict, and flatter a model."""

_UNKNOWN_MANY = 0.1
"""From which on it is said what to do."""


class Work(Protocol):
    """A language model and texts for it, with everything checked that can be checked before training."""

    model: Any
    tokenizer: PreTrainedTokenizerBase
    length: int
    """Tokens that the model reads of a text."""
    kind: str
    """Of the model, for the record: ``language_model`` or ``masked_language_model``."""
    terms: Sequence[str]
    """What the objective's terms are called."""
    groups: Sequence[str]
    """Of parameters that have learning rates of their own."""
    notes: Sequence[str]
    """What was found on the way."""
    trained_before: bool

    def say_plan(self) -> None:
        """Print what is about to be done."""
        ...

    def train(self, bench: Workbench) -> FitResult:
        """Fit the model; it ends with its best weights."""
        ...

    def scores(self, model: Any, part: str, device: torch.device) -> dict[str, float]:
        """Loss, perplexity and accuracy of a model on a part of the corpus: ``validation`` or ``test``."""
        ...


def prepare(recipe: Pretrain, corpus: Corpus) -> Work:
    """The work that a recipe describes.

    Raises:
        UnderstudyError: if the metric is none of a language model's, or the model cannot be used.
    """
    from understudy.recipes.causal_pretraining import Blocks, Streams
    from understudy.recipes.masked_pretraining import HiddenWords

    if faults := metric_faults(recipe, LANGUAGE_MODEL_METRICS):
        raise ConfigError(*faults)
    kind = "recurrent" if recipe.model == NEW else language_kind(recipe.model)
    faults = [] if kind == "masked" else recipe.masking_faults()
    faults += [] if kind == "recurrent" else recipe.regularising_faults()
    if faults:
        raise ConfigError(*faults)
    works: dict[str, Any] = {"recurrent": Streams, "causal": Blocks, "masked": HiddenWords}
    return works[kind](recipe, corpus)


@contextmanager
def open_pretraining(recipe: Pretrain, corpus: Corpus, work: Work) -> Iterator[Workbench]:
    """:func:`understudy.recipes.workbench.open_workbench` for a language model."""
    with open_workbench(
        recipe.command,
        recipe,
        data=corpus.texts(),
        task=None,
        notes=[*corpus.notes, *work.notes],
        terms=work.terms,
        metrics=LANGUAGE_MODEL_METRICS,
        groups=work.groups,
        kind=work.kind,
    ) as bench:
        yield bench


def train(bench: Workbench, corpus: Corpus, work: Work) -> FitResult:
    """Score the model as it was given, where something has trained it before; then fit it."""
    if work.trained_before and bench.run.writes and not any(m["name"] == BEFORE for m in bench.run.record.models):
        model = work.model.to(bench.device)
        with bench.run.timed("evaluate_s"):
            scores = {part: work.scores(model, part, bench.device) for part in corpus.texts() if part != "train"}
        _describe(bench, BEFORE, model, scores)
    return work.train(bench)


def conclude(bench: Workbench, corpus: Corpus, work: Work, result: FitResult) -> RunRecord:
    """Save the model, read the test texts for its scores, write the report."""
    if bench.run.writes:
        save_model(bench.run.folder / "model", work.model, work.tokenizer, task=None, max_length=work.length)
        metrics = {"validation": {name: result.metrics[name] for name in LANGUAGE_MODEL_METRICS}}
        if corpus.test is not None:
            with bench.run.timed("evaluate_s"):
                metrics["test"] = work.scores(work.model, "test", bench.device)
        _describe(bench, "model", work.model, metrics)
    return finish(bench)


def _describe(bench: Workbench, name: str, model: Any, metrics: Mapping[str, Mapping[str, float]]) -> None:
    """Put a model on the record; the one that this run trains comes first."""
    others = [entry for entry in bench.run.record.models if entry["name"] != name]
    entry = {"name": name, "model_type": model.config.model_type, **parameter_summary(model), "metrics": metrics}
    bench.run.record.models = [entry, *others] if name == "model" else [*others, entry]
    bench.run.save()
    bench.heed()


def plan_lines(
    plan: LearningPlan, batches: BatchSource, parts: Mapping[str, Encoded], recipe: TrainSettings, *, rows: str
) -> dict[str, str]:
    """What training will take: texts, tokens, steps, time, memory and disk; and what learns when.

    Args:
        parts: the encoded texts of ``train``, ``validation`` and ``test``.
        rows: what a batch has ``batch_size`` of: streams, blocks, lines.
    """
    steps = sum(batches.steps(epoch) for epoch in range(plan.epochs))
    everything = list(plan.objective.parameters())
    with plan.at_its_widest() as learning:
        time_s = seconds_per_row(plan.objective, batches) * recipe.batch_size * steps
    weights, moving = (sum(p.numel() * p.element_size() for p in some) for some in (everything, learning))
    learns, total = (sum(p.numel() for p in some) for some in (learning, everything))
    others = [f"{len(part):,} {name}" for name, part in parts.items() if name != "train"]
    tokens = {name: int(part.offsets[-1]) for name, part in parts.items()}
    return {
        "texts": f"{len(parts['train']):,} to train on, {', '.join(others)}",
        "tokens": f"{tokens['train']:,} an epoch, {tokens['validation']:,} validation",
        "steps": f"{steps:,} of {recipe.batch_size} {rows}, {plan.epochs} epochs at most",
        **learning_lines(plan, recipe),
        "training": f"{'at most' if len(plan.parts) > 1 else 'about'} {duration(time_s)} for "
        + (f"{learns:,} parameters" if learns == total else f"{learns:,} of {total:,} parameters"),
        "memory": f"about {(weights + 3 * moving) / 1e6:,.0f} MB for weights, gradients and moments; as much disk for a checkpoint",
    }


def unknown_notes(parts: Mapping[str, Encoded], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """How many tokens of the training and the validation texts are unknown, if they are many and can be told from the
    ends of texts."""
    unknown = tokenizer.unk_token_id
    if unknown in (None, tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.sep_token_id):
        return []
    shares = {name: float((parts[name].ids == unknown).mean()) for name in ("train", "validation")}
    return [
        f"{name}: {100 * share:.1f} % of the tokens are unknown."
        + " They are easy to guess, so that scores say little: give a larger vocabulary (--vocabulary new:16000, say), or a model that reads such texts."
        * (share >= _UNKNOWN_MANY)
        for name, share in shares.items()
        if share >= _UNKNOWN_SAID
    ]
