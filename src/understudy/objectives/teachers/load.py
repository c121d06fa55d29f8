"""Teachers by name: a folder or a hub id in, a model that fits the task out."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from understudy.adapters.files import load_trained_network
from understudy.data.readers.columns import TextColumns
from understudy.data.tasks import Task
from understudy.errors import ModelError, gathered
from understudy.inference.answering import Answering
from understudy.inference.exported.predictor import ExportedPredictor
from understudy.inference.multitask import TaskPredictors
from understudy.inference.predictor import LinearPredictor, Predictor
from understudy.models.files.lengths import max_length
from understudy.models.files.multitask import is_multitask, load_tasks
from understudy.models.files.names import EXPORTED, kind_of, resolve
from understudy.models.files.pretrained import say_of_checkpoint
from understudy.models.tfidf import Tfidf
from understudy.objectives.teachers.labels import match_labels


class LoadedTeacher(NamedTuple):
    """A model that answers for the task's texts."""

    model: Answering
    columns: np.ndarray
    """int64 ``(outputs,)``: the model's outputs in the order of the task's labels."""
    trained: TextColumns | None
    """The columns that it was trained on, where it says so."""


def load_teacher(
    name: str, task: Task, *, max_length: int | None = None, of_several: str | None = None
) -> LoadedTeacher:
    """A trained model as a teacher for `task`: a network, or TF-IDF with its linear model.

    Args:
        name: a run folder, a model folder or a hub id.
        task: what the student is to learn.
        max_length: tokens that a network reads of a text; by default as many as it was trained with.
        of_several: of a model for several tasks, the one that teaches; by default the only one that fits `task`. A model
            of one task teaches that.

    Raises:
        ModelError: if there is no trained model, or it was trained for another kind of task, for another number of
            texts, or for other labels.
        ConfigError: if `max_length` is more than the network can read.
    """
    path = Path(resolve(name, adapters=True))
    if is_multitask(path):
        return _one_of_several(name, path, task, max_length, of_several)
    if path.is_dir() and kind_of(path) == "tfidf":
        return _tfidf(name, path, task)
    if path.is_dir() and kind_of(path) == EXPORTED:
        return _exported(name, path, task)
    return _network(name, task, max_length)


def _tfidf(name: str, path: Path, task: Task) -> LoadedTeacher:
    tfidf = Tfidf.load(path)
    _check_kind(name, tfidf.task, task)
    _check_arity(name, tfidf.task, task)
    return LoadedTeacher(LinearPredictor(tfidf), _columns(name, tfidf.task, task, ours=True), tfidf.task.text)


def _exported(name: str, path: Path, task: Task) -> LoadedTeacher:
    """An exported model: it reads texts up to the length that it was exported with."""
    found = ExportedPredictor(path, threads=torch.get_num_threads())
    _check_kind(name, found.task, task)
    _check_arity(name, found.task, task)
    return LoadedTeacher(found, _columns(name, found.task, task, ours=True), found.task.text)


def _network(name: str, task: Task, asked: int | None) -> LoadedTeacher:
    trained = load_trained_network(name)
    ours = trained.adapter is not None or hasattr(trained.model.config, "understudy")
    _check_kind(name, trained.task, task)
    if ours:  # other checkpoints do not say whether they were trained on pairs
        _check_arity(name, trained.task, task)
    length = max_length(trained.model.config, trained.tokenizer, asked or trained.max_length)
    predictor = Predictor(trained.model, trained.tokenizer, task, length, temperature=trained.temperature)
    columns = _columns(name, trained.task, task, ours=ours)
    return LoadedTeacher(predictor, columns, trained.task.text if ours else None)


def _one_of_several(name: str, path: Path, task: Task, asked: int | None, wanted: str | None) -> LoadedTeacher:
    """The head of a model for several tasks that fits the data."""
    heads = TaskPredictors(load_tasks(path), name=name)
    names = [wanted] if wanted is not None else list(heads)
    fitting, faults = {}, list[str]()
    for head in names:
        known = heads.task(head).task
        with gathered(faults):
            said = f"{name}, task {head}"
            _check_kind(said, known, task)
            _check_arity(said, known, task)
            fitting[head] = _columns(said, known, task, ours=True)
    if len(fitting) > 1:
        raise ModelError(
            f"{name}: several of its tasks have the data's labels ({', '.join(fitting)}). Say which one teaches with --task."
        )
    if not fitting:
        raise ModelError(*faults)
    ((head, columns),) = fitting.items()
    if wanted is None:
        say_of_checkpoint(
            f"{name}: its head for {head} teaches, because no other one has the data's labels; --task names another. Labels such as 0 and 1 say little of a task, so see that it is yours."
        )
    own = heads[head]
    length = max_length(own.model.config, own.tokenizer, asked or own.max_length)
    predictor = Predictor(own.model, own.tokenizer, task, length, temperature=own.temperature)
    return LoadedTeacher(predictor, columns, own.task.text)


def _check_kind(name: str, known: Task, task: Task) -> None:
    if known.kind != task.kind:
        raise ModelError(
            f"{name}: was trained for {known.kind} labels, but the data's are {task.kind}. Fine-tune a teacher on this data, or give --kind {known.kind} if the labels are such."
        )


def _check_arity(name: str, known: Task, task: Task) -> None:
    if known.is_pair != task.is_pair:
        theirs, ours = ("pairs of texts" if one.is_pair else "single texts" for one in (known, task))
        raise ModelError(
            f"{name}: was trained on {theirs}, but the data's rows are {ours}. Name other columns with --text, or a teacher that was trained on this data."
        )


def _columns(name: str, known: Task, task: Task, *, ours: bool) -> np.ndarray:
    """The teacher's outputs in the task's order. Our own folders have the labels in the stored task."""
    place = "'labels' of the task in its config.json" if ours else "'id2label' of its config.json"
    return match_labels(known.labels or (known.label,), task, name=name, written_in=place)
