"""Models without weights, built from configurations, and how many parameters their parts have."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from torch import nn
from transformers import AutoModel, AutoModelForSequenceClassification, PreTrainedModel

from understudy.errors import ModelError
from understudy.models.files.names import resolve
from understudy.models.files.pretrained import read_pretrained
from understudy.models.files.quiet import explained
from understudy.models.shrink.prune.sizes import built
from understudy.models.structure.layers import base_model
from understudy.models.structure.parameter_groups import layer_groups

BYTES_PER_PARAMETER = {"fp32": 4, "fp16": 2, "int8": 1}
"""By number format. The scales of quantised tensors are not counted."""


class Component(NamedTuple):
    """A part of a model: ``embeddings``, ``layer 0`` …, ``pooler``, ``head``. A block that several layers share is one part."""

    name: str
    parameters: int


def meta_model(name: str) -> Any:
    """A model on the meta device, of the class that its configuration names: it has shapes, but takes no memory.

    Args:
        name: a run, a model folder (its weights may be missing), a configuration file, or a hub id.

    Raises:
        ModelError: if there is no configuration, or no model can be built from it.
    """
    path = name if _is_file(name) else resolve(name, weights=False)
    loader, config = read_pretrained(path)
    with explained(path), torch.device("meta"):
        # stands for any checkpoint of transformers, not only for classifiers
        if loader is AutoModelForSequenceClassification:
            loader = _named_class(config)
        return built(loader.from_config if loader is AutoModel else loader, config)


def components(model: Any) -> list[Component]:
    """How many parameters each part of a model has, input to output. Shared parameters are counted once.

    A table that is used for both input and output words belongs to the embeddings. If the layers of an architecture
    cannot be found, the parts are its outermost modules.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> sizes = {"vocab_size": 10, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1}
        >>> model = BertModel(BertConfig(**sizes, intermediate_size=8, max_position_embeddings=5))
        >>> components(model)[0], components(model)[-1]
        (Component(name='embeddings', parameters=76), Component(name='pooler', parameters=20))
    """
    try:
        groups = layer_groups(model)
    except ModelError:
        groups = _outermost(model)
    else:
        groups = _with_tables_below(model, groups)
        if not any("pooler" in name for name, _ in model.named_parameters()):
            groups = [("final norm" if name == "pooler" else name, part) for name, part in groups]
    return [Component(name, sum(p.numel() for p in part)) for name, part in _passes(model, groups) if part]


def _is_file(name: str) -> bool:
    path = Path(name).expanduser()
    return path.is_file() and path.suffix == ".json"


def _named_class(config: Any) -> Any:
    """The class that a configuration names for its weights; the model without a head if it names none that is known."""
    for name in config.architectures or ():
        found = getattr(transformers, name, None)
        if inspect.isclass(found) and issubclass(found, PreTrainedModel):
            return found
    return AutoModel


def _outermost(model: nn.Module) -> list[tuple[str, list[nn.Parameter]]]:
    counted: set[int] = set()
    groups = []
    for name, child in (*model.named_children(), ("rest", model)):
        own = [p for p in child.parameters() if id(p) not in counted]
        counted |= {id(p) for p in own}
        groups.append((name, own))
    return groups


def _with_tables_below(
    model: Any, groups: list[tuple[str, list[nn.Parameter]]]
) -> list[tuple[str, list[nn.Parameter]]]:
    """Move a tied table from the head, where it is trained, to the embeddings, where it is counted."""
    base = base_model(model)
    inside = {id(p) for p in base.parameters()} if base is not model else set()
    found = dict(groups)
    tied = [p for p in found.get("head", []) if id(p) in inside]
    found["head"] = [p for p in found.get("head", []) if id(p) not in inside]
    return [("embeddings", [*found.pop("embeddings", []), *tied]), *found.items()]


def _passes(model: Any, groups: list[tuple[str, list[nn.Parameter]]]) -> list[tuple[str, list[nn.Parameter]]]:
    """Name the blocks that several layers share after these layers."""
    config = base_model(model).config
    shared = getattr(config, "num_hidden_groups", None)
    if not shared or shared >= config.num_hidden_layers:
        return groups
    of_group: dict[str, list[int]] = {}
    for layer in range(config.num_hidden_layers):
        of_group.setdefault(f"layer {int(layer / (config.num_hidden_layers / shared))}", []).append(layer)
    names = {name: f"layers {layers[0]}–{layers[-1]}, shared" for name, layers in of_group.items() if len(layers) > 1}
    return [(names.get(name, name), part) for name, part in groups]
