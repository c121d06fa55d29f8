"""Where training starts: classifiers and encoders from checkpoints."""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import AutoModel, AutoModelForSequenceClassification

from understudy.data.tasks import Task
from understudy.errors import ModelError
from understudy.models.awd_lstm.model import AWDLSTMForCausalLM
from understudy.models.files.multitask import is_multitask, load_tasks, plain_config
from understudy.models.files.names import encoder_name, resolve
from understudy.models.files.pretrained import (
    build_from_config,
    explained,
    first_names,
    load_pretrained,
    read_pretrained,
)
from understudy.models.files.stored_task import set_task, stored_task
from understudy.models.files.trained import load_trained
from understudy.models.multitask import encoder_of
from understudy.models.structure.layers import base_model, head_modules, head_tensors
from understudy.models.students.apart import ApartClassifier
from understudy.models.students.pair_rows import PairLayout
from understudy.models.students.pooled import PooledClassifier, PooledEncoder
from understudy.models.students.student import Student


def load_classifier(name: str, task: Task, *, fresh_head: bool = False) -> Any:
    """A model for `task`, in float32: any encoder of transformers, one of our students, or an AWD-LSTM.

    The head of the checkpoint is kept if it was trained for the same labels in the same order. Otherwise the head is
    newly initialised, from torch's current seed. From a language model, and from a model for several tasks, only the
    encoder is taken; the dropouts of an AWD-LSTM are then set to the proportions of a classifier. The model's
    ``keeps_head`` says whether its head is the checkpoint's.

    Args:
        fresh_head: initialise the head newly even if it was trained for these labels. For single texts, of a checkpoint that reads
            pairs apart the encoder alone is taken, under a head on the mean of its states.

    Raises:
        ModelError: if the model cannot be loaded, or lacks more than a head.
    """
    path = resolve(name)
    if is_multitask(path):
        return _on_shared_encoder(path, task)
    loader, config = read_pretrained(path)
    if fresh_head and issubclass(loader, ApartClassifier) and not task.is_pair:
        return load_mean_classifier(name, task)
    if getattr(config, "pair", task.is_pair) != task.is_pair:
        raise ModelError(
            f"{path}: was built for {'pairs of texts' if config.pair else 'single texts'}, but a row of the task has {len(task.text)}. Name another model."
        )
    with explained(path):
        stored = stored_task(config)
    same = stored is not None and (stored.kind, stored.labels) == (task.kind, task.labels)
    set_task(config, task)
    if AWDLSTMForCausalLM.__name__ in (config.architectures or ()):
        config.for_classification()
    keeps_head = same and not fresh_head
    model, lacking = load_pretrained(path, loader, config, ignore_mismatched_sizes=True, encoder_only=not keeps_head)
    head = {id(tensor) for module in head_modules(model) for tensor in (*module.parameters(), *module.buffers())}
    names = {key for key, tensor in (*model.named_parameters(), *model.named_buffers()) if id(tensor) in head}
    broken = sorted(key for key in lacking if key not in names and "pooler" not in key)
    if broken:
        raise ModelError(
            f"{path}: lacks weights outside the head, or has them in another shape: {first_names(broken)}. Give a complete checkpoint of this architecture."
        )
    model.keeps_head = keeps_head and names.isdisjoint(lacking)
    if not keeps_head:
        initialise_head(model)
    prefix = f"{model.base_model_prefix}."
    model.new_in_encoder = frozenset(key.removeprefix(prefix) for key in lacking - names)
    return model


def pooling_of(name: str) -> str | None:
    """How a checkpoint of ours pools the states of an encoder: ``mean`` or ``apart``; None for another model.

    Raises:
        ModelError: if it cannot be read.
    """
    path = resolve(name)
    if is_multitask(path):
        return None
    loader, _ = read_pretrained(path)
    return "apart" if issubclass(loader, ApartClassifier) else "mean" if issubclass(loader, PooledClassifier) else None


def load_encoder(name: str) -> Any:
    """The encoder of a checkpoint without a head, in float32 and in eval mode, to turn texts into vectors.

    Of an adapter it is the encoder of its base, as it is without the adapter.

    Raises:
        ModelError: if the encoder cannot be loaded or lacks weights.
    """
    path = resolve(encoder_name(name))
    if is_multitask(path):
        return encoder_of(load_tasks(path).model.task_with_shared_encoder(path)).eval()
    loader, config = read_pretrained(path)
    if issubclass(loader, PooledEncoder):
        return load_trained(path).model.encoder
    if loader is not AutoModelForSequenceClassification:
        raise ModelError(
            f"{path}: holds one of our own networks ({config.model_type.removeprefix('understudy_')}), which contains no encoder of transformers. Name an encoder of transformers."
        )
    model, lacking = load_pretrained(path, AutoModel, config, encoder_only=True)
    broken = sorted(key for key in lacking if "pooler" not in key)
    if broken:
        raise ModelError(f"{path}: lacks {first_names(broken)}. Give a complete checkpoint of this architecture.")
    return model.eval()


def load_mean_classifier(name: str, task: Task) -> PooledClassifier:
    """The encoder of a checkpoint, and a new linear layer on the mean of its last hidden states.

    The linear layer is initialised from torch's current seed.

    Raises:
        ModelError: if the encoder cannot be loaded.
    """
    encoder = load_encoder(name)
    weight = torch.empty(task.outputs, encoder.config.hidden_size).normal_(std=0.02)
    model = PooledClassifier.assemble(encoder, weight, torch.zeros(task.outputs))
    set_task(model.config, task)
    return model


def load_apart_classifier(name: str, task: Task, layout: PairLayout) -> ApartClassifier:
    """The encoder of a checkpoint, and a new linear layer on the comparison of the two texts of a pair.

    The linear layer is initialised from torch's current seed.

    Args:
        layout: of the tokenizer.

    Raises:
        ModelError: if the encoder cannot be loaded.
    """
    encoder = load_encoder(name)
    weight = torch.empty(task.outputs, ApartClassifier.widths * encoder.config.hidden_size).normal_(std=0.02)
    model = ApartClassifier.assemble(encoder, weight, torch.zeros(task.outputs), layout=layout)
    set_task(model.config, task)
    return model


def _on_shared_encoder(path: str, task: Task) -> Any:
    """A classifier like the first of a model for several tasks, on a copy of their encoder, with a new head.

    For single texts, of one that reads pairs apart the encoder alone is taken.
    """
    first = load_tasks(path).model.task_with_shared_encoder(path)
    if isinstance(first, Student):
        raise ModelError(
            f"{path}: holds networks of our own for several tasks, which are trained on one by one. Name the model of one of them: a folder best-… or finetuned-… of its run."
        )
    if isinstance(first, ApartClassifier) and not task.is_pair:
        return load_mean_classifier(path, task)
    config = copy.deepcopy(first.config)
    set_task(config, task)
    model = build_from_config(path, plain_config(config))
    encoder_of(model).load_state_dict(encoder_of(first).state_dict())
    initialise_head(model)
    model.new_in_encoder = frozenset()
    return model.eval()


def said_of_transfer(model: Any, name: str, *, pooler: bool = True) -> str:
    """A sentence about what a classifier carries over from the model `name`, and what is new in it.

    Args:
        pooler: whether the encoder's pooler, if it has one, is carried over; False where a probe was put in its place.
    """
    new = {id(parameter) for parameter in head_tensors(model).values()}
    if not pooler:
        inside = base_model(model).named_parameters()
        new |= {id(parameter) for key, parameter in inside if key.startswith("pooler.")}
    fresh = [key for key, parameter in model.named_parameters() if id(parameter) in new]
    carried = [parameter for parameter in model.parameters() if id(parameter) not in new]
    count = sum(parameter.numel() for parameter in carried)
    return (
        f"encoder: {len(carried)} tensors ({count:,} parameters) carried over from {name}; new: {first_names(fresh)}."
    )


def initialise_head(model: Any) -> None:
    """Initialise the head again, from torch's current seed."""
    for part in head_modules(model):
        for module in part.modules():
            tensors: Any = (*module.parameters(recurse=False), *module.buffers(recurse=False))
            for tensor in tensors:
                tensor._is_hf_initialized = False  # otherwise transformers skips what a checkpoint filled
            with torch.no_grad():
                model._init_weights(module)
