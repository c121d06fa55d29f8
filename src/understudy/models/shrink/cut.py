"""A student cut from its teacher: the same architecture, some of its layers, their weights copied.

For a smaller hidden size see :mod:`understudy.models.shrink.narrow`, for ALBERT's shape
:mod:`understudy.models.shrink.albert`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn

from understudy.errors import ModelError
from understudy.models.shrink.prune.sizes import built, without_layers
from understudy.models.structure.layers import base_model, encoder_layers

Choice = Literal["evenly", "alternate", "first", "last"]

_OF_EACH_LAYER = ("layer", "attention_layer", "attention_window")
"""Settings whose names begin like this have one entry a layer."""


def choose_layers(total: int, count: int, how: Choice = "evenly") -> list[int]:
    """The numbers of `count` of a teacher's `total` layers, counted from 0.

    ``evenly`` is :func:`evenly`; ``alternate`` takes every second, third … layer, starting with the first; ``first`` and
    ``last`` take the layers at one end.

    Raises:
        ModelError: if `count` is not between 1 and `total`, or if there are fewer than `count` alternate layers.

    Example:
        >>> [choose_layers(6, 3, how) for how in ("evenly", "alternate", "first", "last")]
        [[0, 2, 5], [0, 2, 4], [0, 1, 2], [3, 4, 5]]
    """
    even = evenly(total, count)
    if how == "evenly":
        return even
    if how == "alternate":
        most = -(-total // 2)
        if most < count < total:
            raise ModelError(
                f"every second of the teacher's {total} layers makes {most}, but {count} were asked for. Give --layers.choose evenly, or fewer layers."
            )
        step = 1 if count == total else max(2, total // count)
        return list(range(0, total, step))[:count]
    return list(range(count)) if how == "first" else list(range(total - count, total))


def evenly(total: int, count: int) -> list[int]:
    """The numbers of `count` of `total` layers at even distances, including the first and the last; one alone is the first.

    The first layer was trained to read the embeddings, and the last one to write what the head reads. For 6 of 12
    layers these are the layers that DistilBERT started from.

    Raises:
        ModelError: if `count` is not between 1 and `total`.

    Example:
        >>> evenly(12, 6), evenly(6, 3), evenly(6, 2)
        ([0, 2, 4, 7, 9, 11], [0, 2, 5], [0, 5])

    Reference:
        Sanh et al. 2019, arXiv 1910.01108, section 2 (initialisation from the teacher).
    """
    if not 1 <= count <= total:
        raise ModelError(
            f"the teacher has {total} layers, so a student can keep 1 to {total} of them, but {count} were asked for."
        )
    return [round(i * (total - 1) / max(count - 1, 1)) for i in range(count)]


def layer_count(model: nn.Module) -> int:
    """How many layers a text passes; each repetition of ALBERT's shared layer counts.

    Raises:
        ModelError: if the model has no stack of layers.
    """
    encoder_layers(model)
    return int(base_model(model).config.num_hidden_layers)


def cut_layers(model: nn.Module, keep: Sequence[int]) -> Any:
    """A new model of the same architecture with the layers `keep` (counted from 0), all weights copied.

    Embeddings, pooler and head are copied too. An ALBERT whose layers share their weights repeats them fewer times.

    Raises:
        ModelError: if `keep` is not a rising list of layer numbers, or if this architecture cannot be cut like that.
    """
    total = layer_count(model)
    keep = list(keep)
    if not keep or keep != sorted(set(keep)) or keep[0] < 0 or keep[-1] >= total:
        shown = " ".join(map(str, keep)) or "none"
        raise ModelError(
            f"the layers to keep must be a rising list of numbers from 0 to {total - 1}, but are {shown}. For example: {' '.join(map(str, evenly(total, max(1, total // 2))))}."
        )
    prefix = _stack_prefix(model)
    config = copy.deepcopy(model.config)
    groups = getattr(base_model(model).config, "num_hidden_groups", total)  # ALBERT's
    if groups not in (1, total) and len(keep) < total:
        raise ModelError(
            f"this model's {total} layers share their weights in {groups} groups. Layers can be left out only if all share their weights, or none do. Keep all layers, or take another teacher."
        )
    _cut_config(encoder_config(config), keep, total)
    weights = model.state_dict() if groups < total else _renumbered(model.state_dict(), prefix, keep)
    with torch.random.fork_rng(
        devices=[]
    ):  # the initial weights are overwritten, so drawing them must not change the seed
        cut = built(type(model), config)
    cut.to(next(model.parameters()).dtype)
    own = cut.state_dict()
    misfits = sorted(set(weights) ^ set(own))
    if misfits:
        raise ModelError(
            f"{type(model).__name__} with the layers {' '.join(map(str, keep))} has no place for, or lacks, {', '.join(misfits[:3])}: its first layer is built differently from the others. Keep layer 0 too."
        )
    if misshapen := sorted(name for name in own if own[name].shape != weights[name].shape):
        raise ModelError(
            f"{type(model).__name__} with the layers {' '.join(map(str, keep))} does not fit together: its layers have different widths ({misshapen[0]}). Keep all layers, or take another teacher."
        )
    cut.load_state_dict(weights)
    return cut.to(next(model.parameters()).device).train(model.training)


def random_copy(model: Any) -> Any:
    """A new model of the same shape with random weights, from torch's current seed."""
    fresh = built(type(model), copy.deepcopy(model.config))
    return fresh.to(next(model.parameters())).train(model.training)


def _stack_prefix(model: nn.Module) -> str:
    stack = encoder_layers(model)
    return next(name for name, module in model.named_modules() if module is stack) + "."


def encoder_config(config: Any) -> Any:
    """The configuration of the layers and their widths. In a pooled classifier it is one level down."""
    inner = getattr(config, "encoder_config", None)
    return config if inner is None else inner


def _cut_config(config: Any, keep: list[int], total: int) -> None:
    if getattr(config, "num_hidden_groups", None) == total:  # an ALBERT that shares nothing
        config.num_hidden_groups = len(keep)
    config.num_hidden_layers = len(keep)
    without_layers(config, keep)
    for name, value in vars(config).items():
        # One entry a layer, such as ModernBERT's layer_types. The name is checked too: a list of labels may be as long.
        if isinstance(value, list | tuple) and len(value) == total and name.startswith(_OF_EACH_LAYER):
            setattr(config, name, [value[i] for i in keep])


def _renumbered(weights: dict[str, Any], prefix: str, keep: list[int]) -> dict[str, Any]:
    """The weights without those of the omitted layers; the other layers are renumbered."""
    renumbered = {}
    for name, tensor in weights.items():
        if name.startswith(prefix):
            number, _, rest = name.removeprefix(prefix).partition(".")
            if int(number) not in keep:
                continue
            name = f"{prefix}{keep.index(int(number))}.{rest}"
        renumbered[name] = tensor
    return renumbered
