"""A narrower model from a wide one: every matrix is reduced to the directions that matter most, or starts at random."""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch
from torch import Tensor, nn

from understudy.errors import ModelError
from understudy.models.shrink.cut import encoder_config
from understudy.models.shrink.directions import float64, lower_rank, principal_directions, project_norm, strongest_units
from understudy.models.structure.blocks import BlockParts, block_parts
from understudy.models.structure.layers import base_model, word_embeddings
from understudy.models.students.apart import ApartClassifier

Start = Literal["units", "svd", "random"]


def narrow(model: Any, width: int, *, start: Start = "units") -> Any:
    """A new model of the same architecture, layers and heads with a smaller hidden size.

    The feed-forward width shrinks in the same proportion. Unless the start is random, every matrix is expressed in
    fewer directions of the hidden states:

    - The scores of an attention head are a bilinear form of the hidden states, and its output is a linear map of them.
      Both are replaced by their best approximation of the smaller rank (truncated SVD, head by head, with biases).
    - Feed-forward neurons cannot be mixed with one another, so those with the largest weights are kept.

    With ``units`` the directions are hidden units: those with the strongest outputs of the norms, weighted by how
    strongly the blocks read them. With ``svd`` they are the principal directions of the embedding table, which lose the
    least of it. A norm scales each unit by a gain of its own, and that does not commute with a rotation: unless the
    gains are nearly equal, units are the better start.

    Whatever the omitted directions carried is lost, so the result needs training. If the teacher uses no directions but
    the chosen ones (and, with ``svd``, its norms scale them all equally), the blocks compute the same as before.

    Args:
        model: BERT-like (see :func:`understudy.models.structure.blocks.block_parts`), with or without a head.
        width: the new hidden size, a multiple of the number of heads.
        start: ``units``, ``svd``, or ``random`` from torch's current seed.

    Raises:
        ModelError: if the architecture or the width does not allow it.

    Reference:
        Eckart & Young 1936 for the truncation; Muralidharan et al. 2024, "Compact Language Models via Pruning and
        Knowledge Distillation", arXiv 2407.14679, section 2 (units by what norms put out); Ashkboos et al. 2024,
        "SliceGPT", arXiv 2401.15024, section 3 (rotations that keep the norms' centring).
    """
    parts = block_parts(model)
    wide = base_model(model).config.hidden_size
    heads = base_model(model).config.num_attention_heads
    if not 0 < width < wide or width % heads:
        raise ModelError(
            f"the width of a narrower student must be less than {wide}, the teacher's, and a multiple of its {heads} heads, but {width} was asked for. For example: {_half(wide, heads)}."
        )
    mapped = hasattr(
        base_model(model), "embeddings_project"
    )  # ELECTRA's, which is left out if both sides have the same width
    if mapped and start != "random" and width == base_model(model).config.embedding_size:
        raise ModelError(
            f"{type(model).__name__}: its embedding table is {width} wide too. This teacher maps its table to its blocks, but a student of that width has no such map. Give another width, such as {width + heads}, or start at random."
        )
    if start == "svd" and isinstance(model, ApartClassifier):
        raise ModelError(
            f"{type(model).__name__}: its head compares the vectors of two texts unit by unit, which the principal directions mix. Start from its units, or at random."
        )
    config = copy.deepcopy(model.config)
    _narrow_config(encoder_config(config), width, wide)
    if start == "random":
        student = type(model)(config)
    else:
        with torch.random.fork_rng(
            devices=[]
        ):  # the initial weights are overwritten, so drawing them must not change the seed
            student = type(model)(config)
        with torch.no_grad():
            basis = strongest_units(parts, width) if start == "units" else _of_table(model, wide, width)
            narrowed = block_parts(student)
            for theirs, ours in zip(parts, narrowed, strict=True):
                _cut_block(theirs, ours, basis, heads)
            done = {id(p) for block in narrowed for part in block for p in part.parameters()}
            _cut_rest(model, student, basis, skip=done)
    return student.to(next(model.parameters())).train(model.training)


def _of_table(model: Any, wide: int, width: int) -> Tensor:
    """The principal directions of the word embeddings as the first block receives them."""
    table = word_embeddings(model).weight
    if table.shape[1] != wide:
        mapping = getattr(base_model(model), "embeddings_project", None)  # ELECTRA's, whose table may be narrower
        if mapping is None:
            raise ModelError(
                f"{type(model).__name__}: its embedding table is {table.shape[1]} wide and its blocks are {wide} wide, and how this architecture maps one to the other is unknown. Start from its units, or at random."
            )
        table = table @ mapping.weight.T
    return principal_directions(table, width)


def _half(wide: int, heads: int) -> int:
    return max(1, wide // heads // 2) * heads


def _narrow_config(config: Any, width: int, wide: int) -> None:
    if getattr(config, "embedding_size", wide) == wide and hasattr(config, "embedding_size"):
        config.embedding_size = width
    intermediate = "hidden_dim" if config.model_type == "distilbert" else "intermediate_size"
    setattr(config, intermediate, getattr(config, intermediate) * width // wide)
    config.hidden_size = width


def _cut_block(theirs: BlockParts, ours: BlockParts, basis: Tensor, heads: int) -> None:
    _cut_attention(theirs, ours, basis, heads)
    inner, outer = float64(theirs.inner.weight) @ basis, basis.T @ float64(theirs.outer.weight)
    strength = inner.norm(dim=1) * outer.norm(dim=0)
    kept = strength.argsort(descending=True, stable=True)[: ours.inner.out_features].sort().values
    ours.inner.weight.copy_(inner[kept])
    ours.inner.bias.copy_(theirs.inner.bias[kept])
    ours.outer.weight.copy_(outer[:, kept])
    ours.outer.bias.copy_(basis.T @ float64(theirs.outer.bias))
    for their_norm, our_norm in ((theirs.attention_norm, ours.attention_norm), (theirs.norm, ours.norm)):
        _cut_norm(their_norm, our_norm, basis)


def _cut_attention(theirs: BlockParts, ours: BlockParts, basis: Tensor, heads: int) -> None:
    """Scores and outputs of every head at the smaller rank.

    A score is ``(Q x + q) · (K y + k)``. The terms that depend on x alone do not change a softmax over y, so the key's
    bias is dropped and the query's bias becomes one more row. Attention weights sum to one, so the value's bias passes
    through them unchanged.
    """
    query, key, value = (_by_head(part.weight, heads) for part in (theirs.query, theirs.key, theirs.value))
    query_bias = _by_head(theirs.query.bias[:, None], heads)
    joined = float64(theirs.output.weight).view(len(basis), heads, -1)
    depth, rank = query.shape[1], ours.query.out_features // heads
    for head in range(heads):
        rows = slice(head * rank, (head + 1) * rank)
        left = torch.cat([basis.T @ query[head].T, query_bias[head].T])  # (width + 1, depth)
        first, second = lower_rank(left, key[head] @ basis, rank)
        scale = (rank / depth) ** 0.25  # scores are divided by the square root of the head's width
        ours.query.weight[rows] = (first[:-1].T * scale).to(ours.query.weight)
        ours.query.bias[rows] = (first[-1] * scale).to(ours.query.bias)
        ours.key.weight[rows] = (second * scale).to(ours.key.weight)
        out, into = lower_rank(basis.T @ joined[:, head], value[head] @ basis, rank)
        ours.output.weight[:, rows] = out.to(ours.output.weight)
        ours.value.weight[rows] = into.to(ours.value.weight)
    ours.key.bias.zero_()
    ours.value.bias.zero_()
    carried = float64(theirs.output.weight) @ float64(theirs.value.bias) + float64(theirs.output.bias)
    ours.output.bias.copy_(basis.T @ carried)


def _by_head(weight: Tensor, heads: int) -> Tensor:
    return float64(weight).view(heads, -1, weight.shape[1])


def _cut_norm(theirs: nn.LayerNorm, ours: nn.LayerNorm, basis: Tensor) -> None:
    if theirs.weight.shape == ours.weight.shape:  # the norm of a table that was narrower before
        ours.load_state_dict(theirs.state_dict())
        return
    ours.weight.copy_(project_norm(theirs.weight, basis))
    ours.bias.copy_(basis.T @ float64(theirs.bias))


def _cut_rest(model: Any, student: Any, basis: Tensor, *, skip: set[int]) -> None:
    """Embeddings, pooler and head: every dimension of the hidden size is expressed in the new directions.

    A head may read several vectors of that size side by side.
    """
    theirs = dict(model.named_modules())
    for name, module in student.named_modules():
        own = [parameter for parameter in module.parameters(recurse=False) if id(parameter) not in skip]
        if not own:
            continue
        if isinstance(module, nn.LayerNorm):
            _cut_norm(theirs[name], module, basis)
            continue
        for key, parameter in module.named_parameters(recurse=False):
            tensor = float64(getattr(theirs[name], key))
            if tensor.shape[0] != parameter.shape[0]:
                tensor = basis.T @ tensor
            if tensor.dim() == 2 and tensor.shape[1] != parameter.shape[1]:
                tensor = (tensor.view(len(tensor), -1, len(basis)) @ basis).flatten(1)
            parameter.copy_(tensor)
