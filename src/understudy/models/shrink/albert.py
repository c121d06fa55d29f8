"""A teacher in ALBERT's shape: a factorised embedding table, and one block that all layers share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import AlbertConfig, AlbertForMaskedLM, AlbertModel

from understudy.errors import ModelError, gathered
from understudy.models.shrink.cut import evenly
from understudy.models.shrink.narrow import leading_directions, principal_directions, project_norm
from understudy.models.structure.blocks import BlockParts, block_parts
from understudy.models.structure.layers import base_model, head_modules

SHARES = ("mean", "none")
_UNSEEN = 0.02
"""The part that the word table as a whole has in the choice of directions, beside the texts."""


def albert(
    teacher: Any,
    *,
    embedding: int = 128,
    layers: int | None = None,
    share: str = "mean",
    start: Literal["svd", "random"] = "svd",
    texts: Sequence[Tensor] = (),
) -> Any:
    """An ALBERT that starts from a BERT-like teacher; a plain model of transformers.

    The table is factorised by a truncated SVD (no product of two factors of that rank is nearer to it), and the map
    back to the hidden size takes over the gains and biases of the norm behind it: with `embedding` at the hidden size
    the embeddings are the teacher's exactly. One block serves all layers; where the teacher's blocks are equal, the
    outputs are its own. (An ALBERT predicts words with the table that it reads them from: what a teacher with a second
    table knows in that one is lost.)

    A table has a row for each word, rare ones for the most part, and knows nothing of positions. Given some `texts`,
    the SVD is that of their embeddings instead, as the first norm receives them: sums of word, position and segment.

    Args:
        teacher: BERT, RoBERTa, XLM-R, DistilBERT, or an ELECTRA whose table is as wide as its blocks; with a masked-LM
            head or bare.
        embedding: E, the width of the table; at most the hidden size.
        layers: passes through the block; by default as many as the teacher has layers.
        share: ``mean`` of the teacher's blocks, the number of one of them (counted from 0), or ``none``: each layer
            keeps a block of its own, from the teacher's at even distances.
        start: ``svd`` as above, or ``random`` from torch's current seed.
        texts: token ids of texts as the student will read them, special ones included, each int ``(tokens,)``; some
            thousands are enough.

    Returns:
        ``AlbertForMaskedLM`` for a teacher with a masked-LM head, ``AlbertModel`` for a bare one.

    Raises:
        ModelError: if the teacher is not built so, or a size does not fit it.

    Reference:
        Lan et al. 2020, "ALBERT", arXiv 1909.11942, section 3.1; Eckart & Young 1936 for the factors.
    """
    config = albert_config(teacher, embedding=embedding, layers=layers, share=share)
    base = base_model(teacher)
    options = {} if base is not teacher else {"add_pooling_layer": _pooler(base) is not None}
    kind = AlbertModel if base is teacher else AlbertForMaskedLM
    if start == "random":
        student = kind(config, **options)
    else:
        with torch.random.fork_rng(devices=[]):  # the fresh weights are overwritten: they must not move the seed
            student = kind(config, **options)
        with torch.no_grad():
            _fill(student, teacher, _chosen(block_parts(teacher), config.num_hidden_layers, share), texts)
    return student.to(next(teacher.parameters())).train(teacher.training)


def albert_config(
    teacher: Any, *, embedding: int = 128, layers: int | None = None, share: str = "mean"
) -> AlbertConfig:
    """The configuration of :func:`albert`, which needs the teacher's shapes only: it may be on the meta device.

    Raises:
        ModelError: if the teacher is not built so; or with a sentence for each size that does not fit it.
    """
    if base_model(teacher) is not teacher and teacher.get_output_embeddings() is None:
        raise ModelError(
            f"{type(teacher).__name__}: has a head that is not for masked words, which an ALBERT student cannot take over. Give the encoder, or a model with a masked-LM head."
        )
    blocks, tables, theirs = block_parts(teacher), _tables(teacher), base_model(teacher).config
    layers = len(blocks) if layers is None else layers
    chosen: list[list[BlockParts]] = []
    faults = []
    if not 1 <= embedding <= theirs.hidden_size:
        faults.append(
            f"the embeddings of an ALBERT of this teacher must be 1 to {theirs.hidden_size} wide, but {embedding} was asked for. Give --albert.embedding {min(128, theirs.hidden_size)}, say."
        )
    with gathered(faults):
        chosen = _chosen(blocks, layers, share)
    if faults:
        raise ModelError(*faults)
    distil = theirs.model_type == "distilbert"
    return AlbertConfig(
        vocab_size=len(tables["word_embeddings"]),
        embedding_size=embedding,
        hidden_size=theirs.hidden_size,
        num_hidden_layers=layers,
        num_hidden_groups=len(chosen),
        num_attention_heads=theirs.num_attention_heads,
        intermediate_size=blocks[0].inner.out_features,
        hidden_act=theirs.activation if distil else theirs.hidden_act,
        hidden_dropout_prob=theirs.dropout if distil else theirs.hidden_dropout_prob,
        attention_probs_dropout_prob=theirs.attention_dropout if distil else theirs.attention_probs_dropout_prob,
        max_position_embeddings=len(tables["position_embeddings"]),
        type_vocab_size=len(tables["token_type_embeddings"]),
        initializer_range=theirs.initializer_range,
        layer_norm_eps=blocks[0].norm.eps,
        pad_token_id=theirs.pad_token_id,
        bos_token_id=getattr(theirs, "bos_token_id", None),
        eos_token_id=getattr(theirs, "eos_token_id", None),
    )


def _tables(teacher: Any) -> dict[str, Tensor]:
    """Word, position and segment tables; the positions from that of a text's first token on.

    Raises:
        ModelError: if the encoder has more than embeddings, blocks and a pooler.
    """
    base = base_model(teacher)
    embeddings = getattr(base, "embeddings", None)
    names = ("word_embeddings", "position_embeddings", "token_type_embeddings", "LayerNorm")
    parts = {name: module for name in names if (module := getattr(embeddings, name, None)) is not None}
    known = {id(p) for part in parts.values() for p in part.parameters()}
    known |= {id(p) for block in block_parts(teacher) for part in block for p in part.parameters()}
    known |= set() if (pooler := _pooler(base)) is None else {id(p) for p in pooler.parameters()}
    if not {"word_embeddings", "position_embeddings", "LayerNorm"} <= set(parts) or known != {
        id(p) for p in base.parameters()
    }:
        raise ModelError(
            f"{type(teacher).__name__}: its embeddings are not built as BERT's are (they may be factorised already), so an ALBERT cannot start from them. Give a BERT, RoBERTa, XLM-R or DistilBERT, or an ELECTRA whose embedding_size is its hidden_size."
        )
    positions = parts["position_embeddings"]
    first = 0 if positions.padding_idx is None else positions.padding_idx + 1  # RoBERTa counts from there
    tables = {name: part.weight.detach() for name, part in parts.items() if isinstance(part, nn.Embedding)}
    tables["position_embeddings"] = tables["position_embeddings"][first:]
    word = tables["word_embeddings"]
    return {"token_type_embeddings": torch.zeros(1, word.shape[1]).to(word), **tables}


def _pooler(base: Any) -> nn.Linear | None:
    pooler = getattr(base, "pooler", None)
    return None if pooler is None else getattr(pooler, "dense", pooler)


def _chosen(blocks: list[BlockParts], layers: int, share: str) -> list[list[BlockParts]]:
    """For each group of the student the teacher's blocks whose mean it starts from."""
    if layers < 1:
        raise ModelError(f"an ALBERT needs at least one layer, but {layers} were asked for.")
    if share == "none":
        return [[blocks[i]] for i in evenly(len(blocks), layers)]
    if share == "mean":
        return [blocks]
    if not share.isdecimal() or int(share) >= len(blocks):
        raise ModelError(
            f"the shared block must start from {', '.join(SHARES)} or one of the teacher's layers, 0 to {len(blocks) - 1}, but {share!r} was asked for."
        )
    return [[blocks[int(share)]]]


def _fill(student: Any, teacher: Any, chosen: list[list[BlockParts]], texts: Sequence[Tensor]) -> None:
    base, tables = base_model(teacher), _tables(teacher)
    basis = _directions(tables, student.config.embedding_size, texts)
    _fill_embeddings(base_model(student), tables, base.embeddings.LayerNorm, basis)
    for ours, sources in zip(block_parts(student), chosen, strict=True):
        _fill_block(ours, sources)
    if isinstance(student, AlbertForMaskedLM):
        _fill_head(student.predictions, teacher, basis)
    elif (pooler := _pooler(base)) is not None:
        student.pooler.load_state_dict(pooler.state_dict())


def _directions(tables: dict[str, Tensor], width: int, texts: Sequence[Tensor]) -> Tensor:
    """Those that the embeddings of texts lose least without the others; without texts, those of the word table."""
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
    # a normalised vector has the length of the root of its width, whatever the width
    mapping.weight.copy_(norm.weight.double()[:, None] * basis * math.sqrt(wide / width))
    mapping.bias.copy_(norm.bias)


def _fill_block(ours: BlockParts, sources: list[BlockParts]) -> None:
    for number, part in enumerate(ours):
        for name, parameter in part.named_parameters():
            parameter.copy_(torch.stack([getattr(source[number], name).detach() for source in sources]).mean(0))


def _fill_head(head: Any, teacher: Any, basis: Tensor) -> None:
    """The transformation before the table, in the table's directions; the bias of each token as it was.

    Its activation stands between two changes of directions and does not commute with them: below full width the head
    is no more than a start. Its norm makes all vectors equally long; they are as long as what is left of the teacher's.
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
