"""``understudy.load``: the one reader of the models that understudy writes; ``config.json`` says which kind it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from understudy.adapters.files import load_trained_network
from understudy.data.tasks import Task
from understudy.errors import ModelError
from understudy.inference.adapted import AdaptedPredictor
from understudy.inference.embeddings import EmbeddingModel
from understudy.inference.exported.predictor import ExportedPredictor
from understudy.inference.many import AdaptedBase
from understudy.inference.multitask import TaskPredictors
from understudy.inference.predictor import Ensemble, LinearPredictor, Predictor
from understudy.models.files.classifiers import load_encoder
from understudy.models.files.multitask import check_has_tasks, is_multitask, load_tasks
from understudy.models.files.names import EMBEDDINGS, EXPORTED, kind_of, resolve
from understudy.models.files.pretrained import register_architectures
from understudy.models.files.tokenizers import check_tokenizer, load_tokenizer
from understudy.models.static_vectors import StaticVectors
from understudy.models.tfidf import Tfidf


def load(folder: str | Path, /, *others: str | Path, task: str | None = None) -> Any:
    """A trained model, ready to answer: ``understudy.load("runs/student").predict(["a text", ...])``.

    Args:
        folder: a run folder or its ``model/``.
        others: more folders, of models trained for the same labels; the answer is then the mean of all.
        task: of models for several tasks, the one that is to answer; models of one task may be averaged with it.

    Returns:
        A network, TF-IDF, an exported model, an embedding model, or several models averaged. Of a model for several tasks, the
        models by the tasks' names, unless `task` says which: ``understudy.load("runs/joint")["sst2"].predict(["a text", ...])``.

    Raises:
        ModelError: if a folder holds no trained model, the models were trained for different tasks, or `task` is given
            and none is for several.
    """
    names = [str(name) for name in (folder, *others)]
    check_has_tasks(names, task)
    if not others:
        return _load(folder, task)
    members = [_load(name, task) for name in names]
    if several := [member for member in members if isinstance(member, TaskPredictors)]:
        several[0].predict([])  # refuses, with the names of the tasks
    return Ensemble(members, _columns(names, [member.task for member in members]))


def _columns(names: Sequence[str], tasks: Sequence[Task]) -> list[np.ndarray]:
    """For each task, its outputs in the order of the first one's labels.

    Raises:
        ModelError: with one sentence for each task that is not the same as the first.
    """
    first = tasks[0]
    faults = []
    for name, task in zip(names, tasks):
        if task.kind != first.kind:
            faults.append(f"{name}: answers a {task.kind} task, but {names[0]} a {first.kind} one.")
        elif len(task.text) != len(first.text):
            faults.append(f"{name}: reads {_texts(task)}, but {names[0]} {_texts(first)}.")
        elif sorted(task.labels) != sorted(first.labels):
            faults.append(
                f"{name}: its labels are {', '.join(task.labels)}, but those of {names[0]} are {', '.join(first.labels)}."
            )
    if faults:
        raise ModelError(*(f"{fault} Only models of one task can be averaged." for fault in faults))
    return [np.array([task.labels.index(label) for label in first.labels] or [0]) for task in tasks]


def _texts(task: Task) -> str:
    return "pairs of texts" if task.is_pair else "single texts"


def _load(folder: str | Path, task: str | None) -> Any:
    found = resolve(str(folder), adapters=True)
    if is_multitask(found):
        several = TaskPredictors(load_tasks(found), name=str(folder))
        return several if task is None else several.task(task)
    kind = kind_of(found) if Path(found).is_dir() else None
    if kind == "tfidf":
        return LinearPredictor(Tfidf.load(Path(found)))
    if kind == EMBEDDINGS:
        return EmbeddingModel(StaticVectors.load(found), name=str(folder))
    if kind == EXPORTED:
        return ExportedPredictor(found, threads=torch.get_num_threads())
    trained = load_trained_network(found)
    if trained.adapter is not None:
        return AdaptedPredictor(trained.model, trained.tokenizer, trained.adapter)
    return Predictor(
        trained.model, trained.tokenizer, trained.task, trained.max_length, temperature=trained.temperature
    )


def load_base(name: str | Path) -> AdaptedBase:
    """A base that several adapters share: ``understudy.load_base(base)``, then ``load_adapter(folder)`` and ``predict``.

    Args:
        name: a run folder, a model folder or a hub id.

    Raises:
        ModelError: if it cannot be loaded.
    """
    origin = str(name)
    encoder, tokenizer = load_encoder(origin), load_tokenizer(origin)
    check_tokenizer(encoder, tokenizer, name=origin)
    return AdaptedBase(origin, encoder, tokenizer)


def register() -> None:
    """Register our students' architectures with transformers' Auto classes."""
    register_architectures()
