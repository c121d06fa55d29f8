"""Models with fewer heads and neurons, in matrices that are really smaller; the configuration says which are left.

transformers builds every layer of a model alike, with heads of the width ``hidden_size / heads``. Where all heads are
kept and every layer has as many neurons, ``intermediate_size`` says so, and transformers alone loads the model. Otherwise
the configuration has :data:`PRUNED`, and :func:`built` makes a model of it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from understudy.errors import ModelError
from understudy.models.shrink.prune.blocks import HeadedBlock, headed_blocks
from understudy.models.structure.blocks import PRUNED
from understudy.models.structure.layers import base_model

Kept = Sequence[Sequence[int]]
"""For each layer the numbers of what is kept, rising."""


def prune(model: Any, *, heads: Kept, neurons: Kept) -> Any:
    """A copy of a model with some of its heads and neurons, the others' rows and columns cut out.

    The biases of the attention's output and of the feed-forward part's stay, so a head that is cut out adds nothing: the
    result is that of a model whose heads and neurons are multiplied by zero.

    Args:
        model: of a family that :func:`understudy.models.shrink.prune.blocks.headed_blocks` knows, with or without a head
            for a task. It is not changed.
        heads: of each layer, counted from 0 among those that the model has.
        neurons: the same of the neurons.

    Raises:
        ModelError: if the family is not known, or a layer is to keep nothing, or what it does not have.

    Reference:
        Michel, Levy & Neubig 2019, arXiv 1905.10650.
    """
    made = copy.deepcopy(model)
    blocks = headed_blocks(made)
    _check("heads", heads, [block.heads for block in blocks])
    _check("neurons", neurons, [block.neurons for block in blocks])
    before = getattr(base_model(made).config, PRUNED, None) or {}
    known = before.get("heads") or [list(range(block.heads)) for block in blocks]
    for block, some_heads, some_neurons in zip(blocks, heads, neurons):
        _cut_heads(block, torch.tensor([*some_heads]))
        _cut_neurons(block, torch.tensor([*some_neurons]))
    for config in _configurations(made):
        _note(config, [[own[i] for i in some] for own, some in zip(known, heads)], [len(some) for some in neurons])
    _settle(made)
    return made


def built(kind: Any, config: Any) -> Any:
    """A model of a class and a configuration, with the heads and neurons that the configuration says.

    Args:
        kind: a class of models, or a function that builds one.
        config: of such a model.

    Raises:
        ModelError: if what the configuration says of heads and neurons is damaged.
    """
    made = kind(config)
    reshape(made)
    return made


def reshape(model: Any) -> None:
    """Give a new model, built in full, the matrices that its configuration says; what is in them does not matter.

    Raises:
        ModelError: if what the configuration says of heads and neurons is damaged.
    """
    config = base_model(model).config
    if getattr(config, PRUNED, None) is None:
        return
    blocks = headed_blocks(model)
    for block, some, count in zip(blocks, *_told(config, len(blocks))):
        if len(some) < block.heads:  # it may have been done: a pooled classifier reshapes its encoder itself
            _cut_heads(block, torch.tensor(some))
        _cut_neurons(block, torch.arange(count))
    _settle(model)


def without_layers(config: Any, keep: Sequence[int]) -> None:
    """Make the configuration of a pruned encoder that of one with these layers."""
    if (told := getattr(config, PRUNED, None)) is not None:
        setattr(config, PRUNED, {name: [rows[i] for i in keep] for name, rows in told.items()})


def loads_alone(model: Any) -> bool:
    """Whether transformers alone can load a model: it is one of its architectures, and all layers are alike."""
    return not is_ours(model) and getattr(base_model(model).config, PRUNED, None) is None


def is_ours(model: Any) -> bool:
    """Whether a model's architecture is one that transformers does not have: a student, or an encoder that pools otherwise."""
    return str(getattr(model.config, "model_type", "")).startswith("understudy")


def _told(config: Any, layers: int) -> tuple[list[list[int]], list[int]]:
    """Which heads a configuration says, and how many neurons.

    Raises:
        ModelError: if that is not what :func:`prune` writes.
    """
    told = getattr(config, PRUNED)
    told = told if isinstance(told, dict) else {}
    heads: Any = told.get("heads")
    neurons: Any = told.get("neurons")
    sound = isinstance(heads, list) and isinstance(neurons, list) and len(heads) == len(neurons) == layers
    if sound:
        most = getattr(config, _neurons_name(config))
        counts = all(type(count) is int and 0 < count <= most for count in neurons)
        sound = counts and all(_rising(some, config.num_attention_heads) and some for some in heads)
    if not sound:
        raise ModelError(
            f"what config.json holds under '{PRUNED}' is damaged: it must say for each of {layers} layers which heads are left, and how many neurons. Copy the folder again."
        )
    return heads, neurons


def _rising(numbers: Any, below: int) -> bool:
    """Whether these are rising numbers from 0."""
    if not isinstance(numbers, list | tuple) or not all(type(number) is int for number in numbers):
        return False
    return list(numbers) == sorted(set(numbers)) and all(0 <= number < below for number in numbers)


def _configurations(model: Any) -> list[Any]:
    """The configurations that say what a model's encoder is: its own, and the copy in that of a pooled classifier."""
    own, copied = base_model(model).config, getattr(model.config, "encoder_config", None)
    return [own] if copied is None or copied is own else [own, copied]


def _check(what: str, kept: Kept, there: Sequence[int]) -> None:
    if len(kept) != len(there):
        raise ModelError(f"{what} to keep must be said for {len(there)} layers, but are for {len(kept)}.")
    for layer, (some, count) in enumerate(zip(kept, there)):
        if not _rising(some, count):
            raise ModelError(
                f"layer {layer}: the {what} to keep must be rising numbers from 0 to {count - 1}, but are {list(some)[:8]}."
            )
        if not some:
            raise ModelError(f"layer {layer}: all {count} {what} would go. Keep at least one.")


def _cut_heads(block: HeadedBlock, kept: Tensor) -> None:
    units = (kept[:, None] * block.head_size + torch.arange(block.head_size)).flatten()
    if len(units) == block.query.out_features:
        return
    for part in (block.query, block.key, block.value):
        _cut(part, units, dim=0)
    _cut(block.output, units, dim=1)


def _cut_neurons(block: HeadedBlock, kept: Tensor) -> None:
    if len(kept) < block.neurons:
        _cut(block.inner, kept, dim=0)
        _cut(block.outer, kept, dim=1)


def _cut(layer: nn.Linear, kept: Tensor, *, dim: int) -> None:
    """Keep some rows (0) or columns (1) of a layer's matrix, in place."""
    weight, bias = layer.weight, layer.bias
    layer.weight = nn.Parameter(weight.detach().index_select(dim, kept.to(weight.device)), weight.requires_grad)
    if dim == 0 and bias is not None:
        layer.bias = nn.Parameter(bias.detach()[kept.to(bias.device)], bias.requires_grad)
    layer.out_features, layer.in_features = layer.weight.shape


def _note(config: Any, heads: list[list[int]], neurons: list[int]) -> None:
    """Put into a configuration what is left: as transformers says it, where it can, else under :data:`PRUNED`."""
    whole = all(len(some) == config.num_attention_heads for some in heads)
    if whole and len(set(neurons)) == 1:
        setattr(config, _neurons_name(config), neurons[0])
        if hasattr(config, PRUNED):
            delattr(config, PRUNED)
    else:
        setattr(config, PRUNED, {"heads": heads, "neurons": neurons})


def _neurons_name(config: Any) -> str:
    return "hidden_dim" if config.model_type == "distilbert" else "intermediate_size"


def _settle(model: Any) -> None:
    """Make what counts heads count those that are left."""
    told = getattr(base_model(model).config, PRUNED, None)
    for layer, block in enumerate(headed_blocks(model)):
        attention: Any = block.attention
        for name in ("num_attention_heads", "n_heads"):
            if hasattr(attention, name):
                setattr(attention, name, block.heads)
        if hasattr(attention, "all_head_size"):
            attention.all_head_size = block.heads * block.head_size
        if told is not None and base_model(model).config.model_type == "mpnet":
            _forget_bias(attention)
            hook = partial(_own_bias, told["heads"][layer])
            attention.register_forward_pre_hook(hook, with_kwargs=True)


def _forget_bias(attention: nn.Module) -> None:
    """Remove the hook of an earlier pruning."""
    for key, hook in [*attention._forward_pre_hooks.items()]:
        if isinstance(hook, partial) and hook.func is _own_bias:
            del attention._forward_pre_hooks[key], attention._forward_pre_hooks_with_kwargs[key]


def _own_bias(heads: list[int], module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Of MPNet's position bias, one row for each head of the whole encoder, those of the heads that are left."""
    states, mask, bias, *rest = args
    return (states, mask, None if bias is None else bias[:, heads], *rest), kwargs
