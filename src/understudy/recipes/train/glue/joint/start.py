"""Where a joint training starts: one model for all tasks, of an encoder or of a student."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from understudy.data.glue.read import TaskData
from understudy.data.tokens.encode import encode
from understudy.errors import ConfigError
from understudy.models.awd_lstm.config import reads_whole
from understudy.models.files.classifiers import (
    load_apart_classifier,
    load_classifier,
    load_mean_classifier,
    said_of_transfer,
)
from understudy.models.files.tokenizers import check_tokenizer, load_tokenizer
from understudy.models.multitask import MultiTaskModel, share_encoder, start_alike
from understudy.models.probe.choice import serves_apart
from understudy.models.probe.vectors import APART, MEAN
from understudy.models.structure.inputs import settle_inputs
from understudy.models.structure.layers import begin_at_mean
from understudy.models.students.pair_rows import pair_layout
from understudy.recipes.train.finetune.start import Start, begin, find_start
from understudy.recipes.train.glue.single import LEARNING_RATE, as_finetune
from understudy.recipes.train.students.classifier import CUT_RATE, build_student
from understudy.recipes.train.students.cut import cut_student
from understudy.runs.text_limits import text_length
from understudy.settings.student_options import is_table, options_of
from understudy.settings.train.glue import GlueSettings


@dataclass(frozen=True)
class TasksStart:
    """An untrained model for several tasks, and what is needed to train it."""

    model: MultiTaskModel
    tokenizer: PreTrainedTokenizerBase
    names: dict[str, tuple[str, ...]]
    """The inputs of each task's classifier: a student for single texts takes no segments."""
    learning_rate: float
    """Where the settings name none."""
    notes: list[str]
    probes: Mapping[str, Start] = field(default_factory=dict)
    """What each task's head begins as, where it is a probe."""


def start_tasks(settings: GlueSettings, data: Sequence[TaskData]) -> TasksStart:
    """The model that the settings name: a classifier a task, all of them on the encoder of the first with hard sharing.

    Raises:
        UnderstudyError: if it cannot be loaded or built, or has no encoder that several tasks could share.
    """
    name = settings.encoder_from or settings.model
    if settings.pooling == "apart" and not any(task.splits.task.is_pair for task in data):
        raise ConfigError(
            f"--pooling apart reads the two texts of a pair by themselves, but the rows of {', '.join(task.name for task in data)} have one. Leave it out, or give --pooling mean."
        )
    tokenizer = load_tokenizer(name)
    torch.manual_seed(settings.seed)
    notes: list[str] = []
    models: dict[str, Any] = {}
    probes: dict[str, Start] = {}
    join = share_encoder if settings.sharing == "hard" else start_alike

    def build(task: TaskData, pooling: Any) -> Any:
        made = _classifier(replace(settings, pooling=pooling), name, task, tokenizer, notes)
        join(next(iter(models.values()), made), made)  # at once: no more than two encoders are in memory if shared
        if task.splits.task.kind == "regression":
            begin_at_mean(made, task.splits.train.labels)
        return made

    for task in data:
        if settings.start == "probe":
            models[task.name], start = _begun(settings, task, tokenizer, build)
            probes |= {} if start is None else {task.name: start}
        else:
            models[task.name] = build(task, settings.pooling)
    model = MultiTaskModel(models, shared=settings.sharing == "hard")
    names = {task: settle_inputs(one, tokenizer) for task, one in models.items()}
    return TasksStart(model, tokenizer, names, _usual_rate(settings), notes, probes)


def _begun(
    settings: GlueSettings, data: TaskData, tokenizer: PreTrainedTokenizerBase, build: Callable[[TaskData, Any], Any]
) -> tuple[Any, Start | None]:
    """A task's classifier whose head is a probe; with ``--pooling auto`` pairs are read as they probe better."""
    rows, several = data.splits, settings.pooling == "auto" and data.splits.task.is_pair
    ways: list[Any] = [MEAN if settings.pooling == "auto" else settings.pooling, *[APART] * several]
    found: list[tuple[Any, Start | None]] = []
    for pooling in ways:
        model = build(data, pooling)
        length, names = text_length(model, tokenizer, settings.max_length), settle_inputs(model, tokenizer)
        own = as_finetune(replace(settings, pooling=pooling))
        start = find_start(model, tokenizer, own, rows, length=length, names=names)
        if start is not None:
            model = begin(model, start, rows.task, encode(rows.train.texts, tokenizer, max_length=length), names)
        found.append((model, start))
    joined, apart = found[0], found[-1]
    if joined[1] is None or apart[1] is None or apart is joined:
        return joined
    better, difference = serves_apart(apart[1].probe, joined[1].probe)
    model, start = apart if better else joined
    assert start is not None
    return model, replace(start, joined=difference)


def probe_lines(probes: Mapping[str, Start]) -> Mapping[str, str]:
    """Which heads begin as probes, what those read and how well they do, for the plan."""
    said = []
    for name, start in probes.items():
        reads = "each text of a pair by itself" if start.read == APART else "the mean of the states"
        metric, score = next(iter(start.probe.scores.items()))
        said.append(f"{name} of {reads} ({metric} {score:.3f})")
    return {"start": f"heads are linear probes, scored in cross-validation: {'; '.join(said)}"} if said else {}


def _usual_rate(settings: GlueSettings) -> float:
    if settings.student is None:
        return LEARNING_RATE
    chosen = next((group for group in options_of(settings) if group.name == settings.student), None)
    return CUT_RATE if chosen is None else chosen.learning_rate


def _classifier(
    settings: GlueSettings, name: str, data: TaskData, tokenizer: PreTrainedTokenizerBase, notes: list[str]
) -> Any:
    """One task's classifier; what there is to say of the first one joins the notes."""
    task = data.splits.task
    if settings.student is not None and is_table(settings.student):
        made = build_student(
            settings.student,
            task,
            teacher=name,
            texts=data.splits.train.texts,
            tokenizer="teacher",
            embeddings="teacher",
            options=options_of(settings),
            seed=settings.seed,
        )
        return made.model
    if settings.pooling == "mean":
        model: Any = load_mean_classifier(name, task)
    elif settings.pooling == "apart":  # tasks of single texts have a head on the mean of the same states
        apart = task.is_pair
        model = load_apart_classifier(name, task, pair_layout(tokenizer)) if apart else load_mean_classifier(name, task)
    else:
        model = load_classifier(name, task, fresh_head=settings.encoder_from is not None)
    if reads_whole(model.config):
        raise ConfigError(
            f"{name}: is an AWD-LSTM, which cannot be trained on several tasks at once. Name an encoder of transformers, or give --mode sequential."
        )
    check_tokenizer(model, tokenizer, name=name)
    if settings.encoder_from is not None and not notes:
        notes.append(said_of_transfer(model, name))
    return model if settings.student is None else cut_student(model, settings.student, settings.layers)
