"""A teacher in ALBERT's shape: a factorised embedding table, and one block that all layers share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import AlbertForMaskedLM, AlbertModel

from understudy.models.shrink.albert_shape import albert_config, grouped_blocks, pooler_layer, teacher_tables
from understudy.models.shrink.directions import leading_directions, principal_directions, project_norm
from understudy.models.structure.blocks import BlockParts, block_parts
from understudy.models.structure.layers import base_model, head_modules

_UNSEEN = 0.02
"""Weight of the whole word table beside the texts, in the choice of directions."""


def albert(
    teacher: Any,
    *,
    embedding: int = 128,
    layers: int | None = None,
    share: str = "mean",
    start: Literal["svd", "random"] = "svd",
    texts: Sequence[Tensor] = (),
) -> Any:
    """An ALBERT that starts from a BERT-like teacher. It is a model of transformers.

    The embedding table is factorised by a truncated SVD: no product of two factors of that rank is nearer to it. The
    map back to the hidden size takes over the gains and biases of the embeddings' norm. With `embedding` equal to the
    hidden size the embeddings are exactly the teacher's. One block serves all layers; if the teacher's blocks are
    equal, the outputs are the teacher's. (An ALBERT reads and predicts words with one table. If the teacher predicts
    with a second table, that table is lost.)

    Most rows of a table belong to rare words, and the table says nothing about positions. If `texts` are given, the SVD
    is that of their embeddings instead, as the first norm receives them: the sums of word, position and segment.

    Args:
        teacher: BERT, RoBERTa, XLM-R, DistilBERT, or an ELECTRA whose table is as wide as its blocks; with a masked-LM
            head or without a head.
        embedding: E, the width of the table; at most the hidden size.
        layers: passes through the block; by default the teacher's number of layers.
        share: ``mean``: one block, the mean of the teacher's. A number: one block, a copy of that one of the teacher's
            (counted from 0). ``none``: each layer has its own block, copied from the teacher's at even distances.
        start: ``svd`` as above, or ``random`` from torch's current seed.
        texts: token ids of texts as the student will read them, special tokens included, each int ``(tokens,)``; a few
            thousand are enough.

    Returns:
        ``AlbertForMaskedLM`` for a teacher with a masked-LM head, ``AlbertModel`` for one without a head.

    Raises:
        ModelError: if the teacher is not built like these, or a size does not fit it.

    Reference:
        Lan et al. 2020, "ALBERT", arXiv 1909.11942, section 3.1; Eckart & Young 1936 for the factors.
    """
    config = albert_config(teacher, embedding=embedding, layers=layers, share=share)
    base = base_model(teacher)
    options = {} if base is not teacher else {"add_pooling_layer": pooler_layer(base) is not None}
    kind = AlbertModel if base is teacher else AlbertForMaskedLM
    if start == "random":
        student = kind(config, **options)
    else:
        with torch.random.fork_rng(
            devices=[]
        ):  # the initial weights are overwritten, so drawing them must not change the seed
            student = kind(config, **options)
        with torch.no_grad():
            _fill(student, teacher, grouped_blocks(block_parts(teacher), config.num_hidden_layers, share), texts)
    return student.to(next(teacher.parameters())).train(teacher.training)


def _fill(student: Any, teacher: Any, chosen: list[list[BlockParts]], texts: Sequence[Tensor]) -> None:
    base, tables = base_model(teacher), teacher_tables(teacher)
    basis = _directions(tables, student.config.embedding_size, texts)
    _fill_embeddings(base_model(student), tables, base.embeddings.LayerNorm, basis)
    for ours, sources in zip(block_parts(student), chosen, strict=True):
        _fill_block(ours, sources)
    if isinstance(student, AlbertForMaskedLM):
        _fill_head(student.predictions, teacher, basis)
    elif (pooler := pooler_layer(base)) is not None:
        student.pooler.load_state_dict(pooler.state_dict())


def _directions(tables: dict[str, Tensor], width: int, texts: Sequence[Tensor]) -> Tensor:
    """The principal directions of the texts' embeddings; without texts, those of the word table."""
    words = tables["word_embeddings"].double()
    if not texts:
        return principal_directions(words, width)
    moment = words.T @ words * (_UNSEEN / len(words))
    tokens = sum(map(len, texts))
    for text in texts:
        sums = words[text] + tables["position_embeddings"][: len(text)] + tables["token_type_embeddings"][0]
        moment += sums.T @ sums / tokens
    return leading_directions(moment, width)


def _fill_embeddings(student: Any, tables: dict[str, Tensor], norm: nn.LayerNorm, basis: Tensor) -> None:
    """Tables in the new directions, a norm without gains, and the teacher's gains in the map back to the hidden size."""
    wide, width = basis.shape
    for name, table in tables.items():
        getattr(student.embeddings, name).weight.copy_(table.double() @ basis)
    mapping = student.encoder.embedding_hidden_mapping_in
    # the length of a normalised vector is the square root of its width
    mapping.weight.copy_(norm.weight.double()[:, None] * basis * math.sqrt(wide / width))
    mapping.bias.copy_(norm.bias)


def _fill_block(ours: BlockParts, sources: list[BlockParts]) -> None:
    for number, part in enumerate(ours):
        for name, parameter in part.named_parameters():
            parameter.copy_(torch.stack([getattr(source[number], name).detach() for source in sources]).mean(0))


def _fill_head(head: Any, teacher: Any, basis: Tensor) -> None:
    """The layer before the output table, in the table's directions. The bias of each token is copied.

    The activation lies between two changes of directions and does not commute with them, so below full width the head
    is only a start. The norm makes all vectors equally long: as long as what is left of the teacher's.
    """
    decoder = teacher.get_output_embeddings()
    modules = [module for part in head_modules(teacher) for module in part.modules()]
    dense = next(module for module in modules if isinstance(module, nn.Linear) and module is not decoder)
    norm = next(module for module in modules if isinstance(module, nn.LayerNorm))
    kept = basis.T @ dense.weight.double()
    left = kept.norm() / dense.weight.double().norm()
    head.dense.weight.copy_(kept)
    head.dense.bias.copy_(basis.T @ dense.bias.double())
    head.LayerNorm.weight.copy_(left * project_norm(norm.weight, basis))
    head.LayerNorm.bias.copy_(basis.T @ norm.bias.double())
    head.bias.copy_(decoder.bias)
