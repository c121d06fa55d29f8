"""Configurations and weights through transformers. No other module loads them.

Remote code is never run. What goes wrong is said in one sentence.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
)

from understudy.errors import ModelError, shortened
from understudy.models.awd_lstm.config import AWDLSTMConfig
from understudy.models.awd_lstm.encoder import AWDLSTMModel
from understudy.models.awd_lstm.model import AWDLSTMForCausalLM, AWDLSTMForSequenceClassification
from understudy.models.files.names import MULTITASK, check_undamaged
from understudy.models.files.quiet import explained, quiet
from understudy.models.shrink.prune.sizes import built, reshape
from understudy.models.structure.blocks import PRUNED
from understudy.models.students.apart import ApartClassifier
from understudy.models.students.bilstm import BiLSTM
from understudy.models.students.pooled import PooledClassifier
from understudy.models.students.static import StaticBag
from understudy.record import flat

_OWN: dict[str, Any] = {
    model.config_class.model_type: model
    for model in (BiLSTM, StaticBag, PooledClassifier, ApartClassifier, AWDLSTMForSequenceClassification)
}


_notes: ContextVar[list[str] | None] = ContextVar("notes", default=None)


class Checkpoint(NamedTuple):
    """A checkpoint before its weights are read."""

    loader: Any
    """The class whose ``from_pretrained`` loads it."""
    config: Any


class LoadedModel(NamedTuple):
    """A model with the weights of a checkpoint."""

    model: Any
    lacking: set[str]
    """Names of weights that the checkpoint lacks or has in another shape. They are newly initialised."""


def register_architectures() -> None:
    """Register our architectures with the Auto classes of transformers, so that these can load them."""
    for model_type, model in _OWN.items():
        AutoConfig.register(model_type, model.config_class, exist_ok=True)
        AutoModelForSequenceClassification.register(model.config_class, model, exist_ok=True)
    AutoModel.register(AWDLSTMConfig, AWDLSTMModel, exist_ok=True)
    AutoModelForCausalLM.register(AWDLSTMConfig, AWDLSTMForCausalLM, exist_ok=True)


def read_pretrained(path: str) -> Checkpoint:
    """The class that loads a checkpoint, and its configuration.

    Raises:
        ModelError: if the configuration cannot be read, or is not that of a network.
    """
    with explained(path), quiet():
        settings, _ = PreTrainedConfig.get_config_dict(path)
        own = settings.get("understudy")
        if isinstance(own, dict) and own.get("kind") == "tfidf":
            raise ModelError(
                f"{path}: is a TF-IDF model, which predicts labels and is no network. Name an encoder or a student, or where texts are written, a language model."
            )
        if isinstance(own, dict) and own.get("kind") == MULTITASK:
            raise ModelError(
                f"{path}: is a model for several tasks, which cannot be used here. Name the model of one of them: a folder best-… or finetuned-… of its run."
            )
        _check_config(path, settings)
        _check_own(path, settings)
        told = _without_switches(settings)
        model = _OWN.get(str(settings.get("model_type")))
        if model is not None:
            return Checkpoint(model, model.config_class.from_dict(told))
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
        if told != settings:
            config = type(config).from_dict(told, name_or_path=path)
        return Checkpoint(AutoModelForSequenceClassification, config)


def build_from_config(path: str, told: Any) -> Any:
    """A classifier of a configuration, checked as those of checkpoints are, with weights that are yet to be loaded.

    Args:
        path: where the configuration comes from, for messages.
        told: the configuration as plain values.

    Raises:
        ModelError: if it cannot be built.
    """
    with explained(path), quiet(), torch.random.fork_rng(devices=[]):
        _check_config(path, told)
        told = _without_switches(told)
        model_type = str(told["model_type"])
        if model_type in _OWN:
            return _OWN[model_type](_OWN[model_type].config_class.from_dict(told))
        config = CONFIG_MAPPING[model_type].from_dict(told)
        _check_sizes(path, config)
        make = partial(AutoModelForSequenceClassification.from_config, trust_remote_code=False, dtype=torch.float32)
        return built(make, config)


_SWITCHES = {
    "attn_implementation",
    "chunk_size_feed_forward",
    "experts_implementation",
    "kernel_config",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
    "torchscript",
    "use_kernels",
}
"""How a model is computed is for who loads it to say. Some of these fetch kernels from the hub, which are code."""
_MOST_LAYERS, _MOST_LABELS = 1_000, 100_000
_BUILT = ("layer", "layers", "groups", "group_num", "experts", "blocks", "depth", "depths")
_DIMENSIONS = ("_size", "_dim", "_embeddings", "n_embd", "n_inner", "d_model", "n_positions")
_SMALLEST_LIMIT, _MAY_BE_INFINITE = 1 << 20, {"time_step_limit"}


def _without_switches(told: Any) -> Any:
    """A configuration, or a part of it, without what switches the computation."""
    if isinstance(told, list):
        return [_without_switches(part) for part in told]
    if not isinstance(told, dict):
        return told
    kept = {
        key: value
        for key, value in told.items()
        if key.strip("_").removesuffix("_internal") not in _SWITCHES or value in ("eager", "sdpa")
    }
    return {key: _without_switches(value) for key, value in kept.items()}


def _check_config(path: str, told: Any) -> None:
    """Check what would be built, or would compute nonsense, before anybody notices.

    Raises:
        ModelError: for the first value that cannot be.
    """
    for key, value in told.items():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict):
                _check_config(path, part)
            rule = None
            most = _MOST_LABELS if key == "num_labels" else _MOST_LAYERS if key.endswith(_BUILT) else math.inf
            if isinstance(part, float) and not math.isfinite(part) and key not in _MAY_BE_INFINITE:
                rule = f"must be a finite number, but is {part}. Correct it"
            elif isinstance(part, int) and part < 0 and key.endswith((*_DIMENSIONS, "heads", "layers")):
                rule = f"must not be negative, but is {part}. Correct it"
            elif isinstance(part, int) and part > most:
                rule = f"must be at most {most:,}, but is {shortened(part)}. Correct it"
            if rule:
                raise ModelError(f"{path}: '{key}' in its config.json {rule}.")


def load_pretrained(
    path: str, loader: Any, config: Any, *, ignore_mismatched_sizes: bool = False, encoder_only: bool = False
) -> LoadedModel:
    """The weights of a checkpoint in a model, in float32.

    Args:
        loader: the class whose ``from_pretrained`` is called.
        config: the configuration of the model.
        ignore_mismatched_sizes: initialise weights of another shape newly instead of refusing them.
        encoder_only: a head of the checkpoint is not wanted, and not mentioned.

    Weights of the checkpoint that the model has no place for are named in a note, see :func:`noting`.

    Raises:
        ModelError: if it cannot be loaded, or if it is damaged.
    """
    if getattr(config, "quantization_config", None):  # its method may ask for kernels, too
        raise ModelError(f"{path}: its weights are quantized, which cannot be read. Give the model as it was before.")
    _check_sizes(path, config)
    check_undamaged(path, weights=True)
    with explained(path), quiet():
        model, info = _smaller(loader, config).from_pretrained(
            path,
            config=config,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # transformers' own refusal names none of them
            output_loading_info=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
        model.__class__ = getattr(model, "full_class", type(model))
        for tensor in (*model.parameters(), *model.buffers()):
            # Views into the mapped file are not aligned in memory: some kernels round differently there and run slower.
            tensor.data = tensor.data.clone()
    other = sorted(key[0] for key in info["mismatched_keys"])
    if other and not ignore_mismatched_sizes:
        raise ModelError(
            f"{path}: its weights have other sizes than its config.json says: {first_names(other)}. Copy both from the same model."
        )
    unread = sorted(info["unexpected_keys"])
    if encoder_only:
        parts = {model.base_model_prefix, *(name for name, _ in model.named_children())}
        unread = [key for key in unread if key.partition(".")[0] in parts]
    if unread:
        number = f"{len(unread)} weights" if len(unread) > 1 else "a weight"
        say_of_checkpoint(
            f"{path}: the checkpoint holds {number} that {type(model).__name__} has no place for: {first_names(unread)}."
        )
    return LoadedModel(model, {*info["missing_keys"], *other})


def _smaller(loader: Any, config: Any) -> Any:
    """The class that loads a model with fewer heads and neurons, as its configuration says, before weights are read."""
    if getattr(config, PRUNED, None) is None:
        return loader
    kind: Any = loader._model_mapping[type(config)]

    def begin(self: Any, config: Any) -> None:
        kind.__init__(self, config)
        reshape(self)

    return type(kind.__name__, (kind,), {"__init__": begin, "full_class": kind})


def _check_own(path: str, told: dict[str, Any]) -> None:
    """Check what our own code reads of a configuration.

    Raises:
        ModelError: if it is of another type than we write.
    """
    own, heads = told.get("understudy") or {}, told.get("architectures") or []
    length = own.get("max_length") or 1 if isinstance(own, dict) else None
    if not isinstance(length, int) or length < 1:
        raise ModelError(f"{path}: what its config.json holds under 'understudy' is damaged. Save the model again.")
    if not isinstance(heads, list) or not all(isinstance(head, str) for head in heads):
        raise ModelError(f"{path}: 'architectures' in its config.json must be a list of names. Correct it.")


def _check_sizes(path: str, config: Any) -> None:
    """Check, before memory is taken, that the weights in a folder can have the sizes of its configuration.

    Raises:
        ModelError: for a dimension larger than the files.
    """
    if not Path(path).is_dir():
        return
    most = max(_SMALLEST_LIMIT, sum(file.stat().st_size for file in Path(path).glob("*.safetensors")))
    for key, value in flat(config.to_dict()).items():
        if isinstance(value, int) and key.endswith(_DIMENSIONS) and value > most:
            raise ModelError(
                f"{path}: '{key}' in its config.json is {shortened(value)}, more than its weights have bytes. Correct it."
            )


@contextmanager
def noting(notes: list[str]) -> Iterator[None]:
    """Inside, what is to be said of checkpoints that are loaded is added to `notes`; outside it is logged as a warning."""
    token = _notes.set(notes)
    try:
        yield
    finally:
        _notes.reset(token)


def say_of_checkpoint(note: str) -> None:
    """Add a sentence to the notes of :func:`noting`, once; outside of it, log it as a warning."""
    if (notes := _notes.get()) is None:
        logging.getLogger("understudy").warning(note)
    elif note not in notes:
        notes.append(note)


def first_names(names: list[str]) -> str:
    """The first three names, and how many more there are.

    Example:
        >>> first_names(["a", "b", "c", "d", "e"]), first_names(["a", "b"])
        ('a, b, c and 2 more', 'a, b')
    """
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"
