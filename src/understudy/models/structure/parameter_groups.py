"""Groups of a model's parameters: by layer, and those without weight decay."""

from __future__ import annotations

from typing import Any

from torch import nn

from understudy.models.structure.layers import base_model, encoder_layers, output_table
from understudy.models.students.student import Student


def layer_groups(model: Any) -> list[tuple[str, list[nn.Parameter]]]:
    """Named groups of parameters, input to output. Every parameter is in exactly one group, and no group is empty.

    The groups are ``embeddings`` (with what all blocks share, such as tables of relative positions), ``layer 0`` … (one
    group for all repetitions of a shared ALBERT layer), ``pooler`` (with a final norm) and ``head``. An embedding table
    that a language model also predicts with is in ``head``. So is a pooler that the checkpoint lacked (the model's
    ``new_in_encoder``): frozen, it would be a random projection.
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
    new_parameters: list[nn.Parameter] = []
    inside = {id(parameter) for parameter in owner.parameters()} if owner is not base else set()
    final = _final_norms(owner)
    new: frozenset[str] = getattr(model, "new_in_encoder", frozenset())
    passed = False
    for name, parameter in base.named_parameters():
        if id(parameter) in in_blocks:
            passed = True
        elif name in new:
            new_parameters.append(parameter)
        elif id(parameter) not in final and (not passed or id(parameter) in inside):
            below.append(parameter)
        else:
            above.append(parameter)
    in_base = {id(parameter) for parameter in base.parameters()}
    head = new_parameters + [parameter for parameter in model.parameters() if id(parameter) not in in_base]
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


def undecayed(module: nn.Module) -> set[int]:
    """The ids (``id()``) of the parameters without weight decay: biases, and all parameters of norms.

    A parameter with "bias" in its name is a bias, including tables of attention biases. A module with "norm" in the
    name of its class is a norm. This is the rule of transformers' Trainer.
    """
    return {
        id(parameter)
        for prefix, part in module.named_modules()
        for name, parameter in part.named_parameters(prefix, recurse=False)
        if "bias" in name.lower() or "norm" in type(part).__name__.lower()
    }


def _final_norms(owner: nn.Module) -> set[int]:
    """The ids of the parameters of norms after the last of the blocks in `owner`, in whatever order they are defined.

    DeBERTa's norms beside its blocks are not final norms: they belong to its relative positions and to the convolution
    after the first block.
    """
    if hasattr(owner, "rel_embeddings"):
        return set()
    norms = [
        child
        for name, child in owner.named_children()
        if "norm" in type(child).__name__.lower() and "embed" not in name.lower()
    ]
    return {id(parameter) for norm in norms for parameter in norm.parameters()}
