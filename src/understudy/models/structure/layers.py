"""The parts of any supported model: embeddings, encoder, blocks, head."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from understudy.errors import ModelError
from understudy.models.students.student import Student


def word_embeddings(model: Any) -> nn.Embedding:
    """The table of token embeddings.

    Raises:
        ModelError: if the model has none.
    """
    try:
        table = model.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        table = None
    if not isinstance(table, nn.Embedding):
        raise ModelError(f"{type(model).__name__}: no table of token embeddings was found in this architecture.")
    return table


def output_table(model: Any) -> nn.Parameter | None:
    """The table with which a language model scores its vocabulary; None without one."""
    output = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    return getattr(output, "weight", None)


def base_model(model: Any) -> Any:
    """The encoder inside a model with a head. An encoder without a head is returned itself."""
    inner = getattr(model, getattr(model, "base_model_prefix", "") or "", model)
    return inner if inner is model or not isinstance(inner, nn.Module) else base_model(inner)


def has_encoder(model: Any) -> bool:
    """Whether a model with a head is built on an encoder of transformers, whose states a probe can read."""
    base = base_model(model)
    return base is not model and not type(base).__module__.startswith("understudy.")


@contextmanager
def watched(model: Any) -> Iterator[Callable[[], Any]]:
    """Inside, what gives the last states ``(rows, tokens, width)`` of a model's encoder to the thread that had it called."""
    seen = threading.local()
    handle = base_model(model).register_forward_hook(lambda *call: setattr(seen, "states", call[-1][0]))
    try:
        yield lambda: getattr(seen, "states", None)
    finally:
        handle.remove()


def head_modules(model: Any) -> list[nn.Module]:
    """The modules outside the encoder, which a new task initialises again. A student keeps its hidden layer.

    Empty for an encoder without a head.
    """
    if isinstance(model, Student):
        return [model.classifier]
    base = base_model(model)
    return [] if base is model else [child for child in model.children() if not _contains(child, base)]


def head_tensors(model: Any) -> dict[str, nn.Parameter]:
    """The parameters of a model's head by name, and those of a pooler that its checkpoint lacked."""
    own = {id(parameter) for part in head_modules(model) for parameter in part.parameters()}
    base = base_model(model)
    lacked: frozenset[str] = getattr(model, "new_in_encoder", frozenset())
    own |= {id(parameter) for name, parameter in base.named_parameters() if name in lacked}
    return {name: parameter for name, parameter in model.named_parameters() if id(parameter) in own}


def output_layer(model: Any) -> nn.Linear | None:
    """The last linear layer of a model's head, which gives its outputs; None if it has none."""
    layers = [layer for part in head_modules(model) for layer in part.modules() if isinstance(layer, nn.Linear)]
    return layers[-1] if layers else None


@torch.no_grad()
def begin_at_mean(model: Any, targets: np.ndarray) -> None:
    """Let a new head of a regression begin with the mean of its targets, which a bias that begins at 0 takes long to reach.

    Args:
        model: a classifier; one that ``keeps_head`` is left as it is.
        targets: of any shape; rows without one are NaN.
    """
    if getattr(model, "keeps_head", False):
        return
    last, known = output_layer(model), targets[~np.isnan(targets)]
    if last is not None and last.out_features == 1 and last.bias is not None and known.size:
        last.bias.fill_(float(known.mean()))


def encoder_layers(model: Any) -> nn.ModuleList:
    """The stack of blocks of a transformer: the one list of modules with one entry a layer.

    ALBERT repeats groups of shared layers; for it the list of the groups is returned.

    Raises:
        ModelError: if there is no such list, or more than one.
    """
    if isinstance(model, Student):
        raise ModelError(f"a '{model.config.model_type.removeprefix('understudy_')}' student has no stack of layers.")
    base = base_model(model)
    config = base.config
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(
            f"{type(model).__name__}: is an encoder with a decoder, so its layers are not one stack. Use an encoder alone, such as BERT, RoBERTa, DistilBERT or ModernBERT."
        )
    total = getattr(config, "num_hidden_groups", None) or getattr(config, "num_hidden_layers", None)
    stacks = [module for module in base.modules() if isinstance(module, nn.ModuleList) and len(module) == total]
    outermost = [
        stack for stack in stacks if not any(_contains(other, stack) for other in stacks if other is not stack)
    ]
    if len(outermost) != 1:
        raise ModelError(
            f"{type(model).__name__}: its layers cannot be found: there should be one list of {total} modules, but there are {len(outermost)}. Use another architecture, such as BERT, RoBERTa, DistilBERT or ModernBERT."
        )
    return outermost[0]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside, the model is in evaluation mode. Afterwards each module has its own mode back (some may have been in eval)."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _contains(outer: nn.Module, inner: nn.Module) -> bool:
    return any(module is inner for module in outer.modules())
