"""The layers of any supported model, input to output: what cutting, freezing and layer-wise rates stand on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
        raise ModelError(
            f"{type(model).__name__}: this architecture has no table of token embeddings that can be found."
        )
    return table


def base_model(model: Any) -> Any:
    """The encoder inside a classifier, without its head; a bare encoder is its own."""
    inner = getattr(model, getattr(model, "base_model_prefix", "") or "", model)
    return inner if inner is model or not isinstance(inner, nn.Module) else base_model(inner)


def head_modules(model: Any) -> list[nn.Module]:
    """The modules outside the encoder, which a new task starts afresh. A student keeps its hidden layer.

    Empty for a bare encoder.
    """
    if isinstance(model, Student):
        return [model.classifier]
    base = base_model(model)
    return [] if base is model else [child for child in model.children() if not _contains(child, base)]


def encoder_layers(model: Any) -> nn.ModuleList:
    """The stack of blocks of a transformer: the one list of modules with an entry a layer.

    ALBERT repeats a group of shared layers; the list of its groups is returned.

    Raises:
        ModelError: if there is no such list or more than one.
    """
    if isinstance(model, Student):
        raise ModelError(f"a '{model.config.model_type.removeprefix('understudy_')}' student has no stack of layers.")
    base = base_model(model)
    config = base.config
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(
            f"{type(model).__name__}: is an encoder with a decoder, whose layers are no single stack. Use an encoder alone, such as BERT, RoBERTa, DistilBERT or ModernBERT."
        )
    total = getattr(config, "num_hidden_groups", None) or getattr(config, "num_hidden_layers", None)
    stacks = [module for module in base.modules() if isinstance(module, nn.ModuleList) and len(module) == total]
    outermost = [
        stack for stack in stacks if not any(_contains(other, stack) for other in stacks if other is not stack)
    ]
    if len(outermost) != 1:
        raise ModelError(
            f"{type(model).__name__}: its layers cannot be told apart: found {len(outermost)} lists of {total} modules where there should be one. Use another architecture, such as BERT, RoBERTa, DistilBERT or ModernBERT."
        )
    return outermost[0]


def layer_groups(model: Any) -> list[tuple[str, list[nn.Parameter]]]:
    """Named groups of parameters, input to output; every parameter is in exactly one, no group is empty.

    ``embeddings`` (with what all blocks share, such as tables of relative positions), ``layer 0`` … (one group for
    all of ALBERT's repetitions, which share their weights), ``pooler`` (with a final norm), ``head``. A table of
    embeddings that a language model also predicts with is in ``head``, and so is a pooler that the checkpoint lacked
    (the model's ``new_in_encoder``): frozen, it would be a random projection.
    """
    if isinstance(model, Student):
        modules: list[tuple[str, list[nn.Module]]] = [
            ("embeddings", [model.embeddings]),
            ("layer 0", model.body()),
            ("head", model.head()),
        ]
        named = [(name, [p for part in parts for p in part.parameters()]) for name, parts in modules]
        return [(name, parameters) for name, parameters in named if parameters]
    base = base_model(model)
    stack = encoder_layers(model)
    stack_name = next(name for name, module in base.named_modules() if module is stack)
    owner = base.get_submodule(stack_name.rpartition(".")[0])
    blocks = [list(block.parameters()) for block in stack]
    in_blocks = {id(parameter) for block in blocks for parameter in block}
    below: list[nn.Parameter] = []
    above: list[nn.Parameter] = []
    afresh: list[nn.Parameter] = []
    inside = {id(parameter) for parameter in owner.parameters()} if owner is not base else set()
    final = _final_norms(owner)
    new: frozenset[str] = getattr(model, "new_in_encoder", frozenset())
    passed = False
    for name, parameter in base.named_parameters():
        if id(parameter) in in_blocks:
            passed = True
        elif name in new:
            afresh.append(parameter)
        elif id(parameter) not in final and (not passed or id(parameter) in inside):
            below.append(parameter)
        else:
            above.append(parameter)
    in_base = {id(parameter) for parameter in base.parameters()}
    head = afresh + [parameter for parameter in model.parameters() if id(parameter) not in in_base]
    output = output_table(model)
    head = [parameter for parameter in below if parameter is output] + head
    below = [parameter for parameter in below if parameter is not output]
    groups = [
        ("embeddings", below),
        *((f"layer {i}", block) for i, block in enumerate(blocks)),
        ("pooler", above),
        ("head", head),
    ]
    return [(name, parameters) for name, parameters in groups if parameters]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards each module is back in the mode it had (some may have been frozen in eval)."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def undecayed(module: nn.Module) -> set[int]:
    """The ids of the parameters that no weight decay should touch: biases, and all of a norm.

    A bias is what is named so, wherever it stands (tables of biases on attention included); a norm is a module whose
    class is named so. This is the rule of transformers' Trainer.
    """
    return {
        id(parameter)
        for prefix, part in module.named_modules()
        for name, parameter in part.named_parameters(prefix, recurse=False)
        if "bias" in name.lower() or "norm" in type(part).__name__.lower()
    }


def output_table(model: Any) -> nn.Parameter | None:
    """What a language model scores its vocabulary with."""
    output = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    return getattr(output, "weight", None)


def _final_norms(owner: nn.Module) -> set[int]:
    """The ids of the parameters that normalise the output of the blocks which `owner` holds, wherever it names them.

    DeBERTa's norms beside its blocks do not: they belong to its relative positions and to the convolution after the
    first block.
    """
    if hasattr(owner, "rel_embeddings"):
        return set()
    norms = [
        child
        for name, child in owner.named_children()
        if "norm" in type(child).__name__.lower() and "embed" not in name.lower()
    ]
    return {id(parameter) for norm in norms for parameter in norm.parameters()}


def _contains(outer: nn.Module, inner: nn.Module) -> bool:
    return any(module is inner for module in outer.modules())
