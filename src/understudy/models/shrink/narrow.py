"""A narrower model from a wide one: every matrix cut down to the directions that matter, or started afresh."""

from __future__ import annotations

import copy
import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from understudy.errors import ModelError
from understudy.models.structure.blocks import BlockParts, block_parts
from understudy.models.structure.layers import base_model, word_embeddings

Start = Literal["units", "svd", "random"]


def narrow(model: Any, width: int, *, start: Start = "units") -> Any:
    """A new model of the same architecture, layers and heads with a smaller hidden size.

    The feed-forward width shrinks in the same proportion. Unless the start is random, every matrix is expressed in
    fewer directions of the hidden states, and then:

    - a head's scores are a bilinear form of the hidden states, its output a linear map: of both the best approximation
      of the smaller rank is kept (truncated SVD, head by head, biases included);
    - of the feed-forward neurons those with the largest weights stay, for a neuron cannot be mixed with another.

    The directions are hidden units (``units``): those that the norms let through and the blocks read from most; or
    (``svd``) the principal directions of the embedding table, which lose the least of it. A norm scales each unit by
    itself, which no rotation commutes with: unless its gains are alike, units are the better start.

    What the omitted directions carried is lost: it is a start, not a model. If the teacher uses no other directions
    than those (and, with ``svd``, its norms scale all of them alike), the blocks compute the same as before.

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
            f"a narrower student of this teacher must be less than {wide} wide and a multiple of its {heads} heads, but {width} was asked for. For example: {_half(wide, heads)}."
        )
    mapped = hasattr(base_model(model), "embeddings_project")  # ELECTRA's, which goes where both sides are as wide
    if mapped and start != "random" and width == base_model(model).config.embedding_size:
        raise ModelError(
            f"{type(model).__name__}: its embedding table is {width} wide, too; a student of that width has no map between table and blocks, which this teacher's table goes through. Give another width, such as {width + heads}, or start at random."
        )
    config = copy.deepcopy(model.config)
    _narrow_config(config, width, wide)
    if start == "random":
        student = type(model)(config)
    else:
        with torch.random.fork_rng(devices=[]):  # the fresh weights are overwritten: they must not move the seed
            student = type(model)(config)
        with torch.no_grad():
            basis = strongest_units(parts, width) if start == "units" else _of_table(model, wide, width)
            narrowed = block_parts(student)
            for theirs, ours in zip(parts, narrowed, strict=True):
                _cut_block(theirs, ours, basis, heads)
            done = {id(p) for block in narrowed for part in block for p in part.parameters()}
            _cut_rest(model, student, basis, skip=done)
    return student.to(next(model.parameters())).train(model.training)


def strongest_units(parts: list[BlockParts], width: int) -> Tensor:
    r"""The hidden units that matter most to the blocks, as columns of the identity.

    .. math:: \overline{\gamma_i^2 + \beta_i^2} \cdot \sum_{W} \lVert W_{:,i} \rVert^2

    The first factor is the mean square of what the norms put out in unit i, the second how strongly queries, keys,
    values and feed-forward neurons read it.

    Returns:
        float64 ``(hidden size, width)``, orthonormal.
    """
    norms = [norm for block in parts for norm in (block.attention_norm, block.norm)]
    put_out = torch.stack([_wide(norm.weight).square() + _wide(norm.bias).square() for norm in norms]).mean(0)
    readers = [part.weight for block in parts for part in (block.query, block.key, block.value, block.inner)]
    read = torch.stack([_wide(weight).square().sum(0) for weight in readers]).sum(0)
    kept = (put_out * read).argsort(descending=True, stable=True)[:width].sort().values
    return torch.eye(len(read), dtype=torch.float64, device=read.device)[:, kept]


def principal_directions(table: Tensor, width: int) -> Tensor:
    r"""Orthonormal directions :math:`B` with the smallest :math:`\lVert W - W B B^\top \rVert`: the right singular vectors.

    They are turned within their span so that the direction of equal entries becomes that of equal entries again: a
    norm that takes off the mean then takes off the same in both spaces, as far as the span allows.

    Args:
        table: ``(tokens, wide)``.
        width: at most `wide`; at `wide` itself nothing is turned.

    Returns:
        float64 ``(wide, width)``.

    Example:
        >>> table = torch.randn(9, 2).double() @ torch.randn(2, 5).double()
        >>> basis = principal_directions(table, 2)
        >>> bool(torch.allclose(table @ basis @ basis.T, table))
        True
    """
    rows = table.detach().double()
    return leading_directions(rows.T @ rows, width)


def leading_directions(moment: Tensor, width: int) -> Tensor:
    """:func:`principal_directions` of rows of which only the second moment is known.

    Args:
        moment: the sum of each row's product with itself, float64 ``(wide, wide)``; its scale does not matter.
        width: at most `wide`; at `wide` itself nothing is turned.

    Returns:
        float64 ``(wide, width)``.
    """
    wide = len(moment)
    if width == wide:
        return torch.eye(wide, dtype=torch.float64, device=moment.device)
    _, vectors = torch.linalg.eigh(moment)
    directions = vectors.flip(1)[:, :width]
    largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
    directions = directions * largest.sign()  # so that the result does not depend on the linear-algebra library
    mean = directions.sum(0)
    if mean.norm() < 1e-9:
        return directions
    # Householder's reflection that takes the one direction to the other
    away = mean / mean.norm() - torch.full_like(mean, 1 / math.sqrt(width))
    if away.norm() < 1e-9:
        return directions
    away = away / away.norm()
    return directions - 2 * torch.outer(directions @ away, away)


def truncate(left: Tensor, right: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    r"""Two factors of the smaller rank whose product is nearest to that of the given ones.

    Args:
        left: ``(n, k)``.
        right: ``(k, m)``.
        rank: at most k.

    Returns:
        ``(n, rank)`` and ``(rank, m)``, which share the singular values evenly.

    Reference:
        Eckart & Young 1936, "The approximation of one matrix by another of lower rank".

    Example:
        >>> left, right = torch.randn(5, 3), torch.randn(3, 4)
        >>> first, second = truncate(left, right, 3)
        >>> bool(torch.allclose(first @ second, left @ right, atol=1e-5))
        True
    """
    q_left, r_left = torch.linalg.qr(left)
    q_right, r_right = torch.linalg.qr(right.T)
    u, s, vh = torch.linalg.svd(r_left @ r_right.T)
    root = s[:rank].sqrt()
    return q_left @ u[:, :rank] * root, (root[:, None] * vh[:rank]) @ q_right.T


def project_norm(weight: Tensor, basis: Tensor) -> Tensor:
    """A norm's gains in other directions: the diagonal of ``Bᵀ diag(g) B``, scaled as the normalised length is."""
    wide, width = basis.shape
    return (basis.square() * weight.detach().double()[:, None]).sum(0) * math.sqrt(wide / width)


def _of_table(model: Any, wide: int, width: int) -> Tensor:
    """The principal directions of the words as the first block sees them."""
    table = word_embeddings(model).weight
    if table.shape[1] != wide:
        mapping = getattr(base_model(model), "embeddings_project", None)  # ELECTRA's, whose table may be narrower
        if mapping is None:
            raise ModelError(
                f"{type(model).__name__}: its embedding table is {table.shape[1]} wide and its blocks {wide}; how the one becomes the other is not known here. Start from its units, or at random."
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
    inner, outer = _wide(theirs.inner.weight) @ basis, basis.T @ _wide(theirs.outer.weight)
    strength = inner.norm(dim=1) * outer.norm(dim=0)
    kept = strength.argsort(descending=True, stable=True)[: ours.inner.out_features].sort().values
    ours.inner.weight.copy_(inner[kept])
    ours.inner.bias.copy_(theirs.inner.bias[kept])
    ours.outer.weight.copy_(outer[:, kept])
    ours.outer.bias.copy_(basis.T @ _wide(theirs.outer.bias))
    for their_norm, our_norm in ((theirs.attention_norm, ours.attention_norm), (theirs.norm, ours.norm)):
        _cut_norm(their_norm, our_norm, basis)


def _cut_attention(theirs: BlockParts, ours: BlockParts, basis: Tensor, heads: int) -> None:
    """Scores and outputs of every head at the smaller rank.

    A score is ``(Q x + q) · (K y + k)``; what depends on x alone does not move a softmax over y, so the key's bias
    goes and the query's is one more row. The value's bias passes through the weights, which sum to one, unchanged.
    """
    query, key, value = (_by_head(part.weight, heads) for part in (theirs.query, theirs.key, theirs.value))
    query_bias = _by_head(theirs.query.bias[:, None], heads)
    joined = _wide(theirs.output.weight).view(len(basis), heads, -1)
    depth, rank = query.shape[1], ours.query.out_features // heads
    for head in range(heads):
        rows = slice(head * rank, (head + 1) * rank)
        left = torch.cat([basis.T @ query[head].T, query_bias[head].T])  # (width + 1, depth)
        first, second = truncate(left, key[head] @ basis, rank)
        scale = (rank / depth) ** 0.25  # scores are divided by the root of the head's width
        ours.query.weight[rows] = (first[:-1].T * scale).to(ours.query.weight)
        ours.query.bias[rows] = (first[-1] * scale).to(ours.query.bias)
        ours.key.weight[rows] = (second * scale).to(ours.key.weight)
        out, into = truncate(basis.T @ joined[:, head], value[head] @ basis, rank)
        ours.output.weight[:, rows] = out.to(ours.output.weight)
        ours.value.weight[rows] = into.to(ours.value.weight)
    ours.key.bias.zero_()
    ours.value.bias.zero_()
    carried = _wide(theirs.output.weight) @ _wide(theirs.value.bias) + _wide(theirs.output.bias)
    ours.output.bias.copy_(basis.T @ carried)


def _by_head(weight: Tensor, heads: int) -> Tensor:
    return _wide(weight).view(heads, -1, weight.shape[1])


def _cut_norm(theirs: nn.LayerNorm, ours: nn.LayerNorm, basis: Tensor) -> None:
    if theirs.weight.shape == ours.weight.shape:  # of a table that was narrower before
        ours.load_state_dict(theirs.state_dict())
        return
    ours.weight.copy_(project_norm(theirs.weight, basis))
    ours.bias.copy_(basis.T @ _wide(theirs.bias))


def _cut_rest(model: Any, student: Any, basis: Tensor, *, skip: set[int]) -> None:
    """Embeddings, pooler and head: every side of the hidden size goes over into the new directions."""
    theirs = dict(model.named_modules())
    for name, module in student.named_modules():
        own = [parameter for parameter in module.parameters(recurse=False) if id(parameter) not in skip]
        if not own:
            continue
        if isinstance(module, nn.LayerNorm):
            _cut_norm(theirs[name], module, basis)
            continue
        for key, parameter in module.named_parameters(recurse=False):
            tensor = _wide(getattr(theirs[name], key))
            if tensor.shape[0] != parameter.shape[0]:
                tensor = basis.T @ tensor
            if tensor.dim() == 2 and tensor.shape[1] != parameter.shape[1]:
                tensor = tensor @ basis
            parameter.copy_(tensor)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.detach().double()
