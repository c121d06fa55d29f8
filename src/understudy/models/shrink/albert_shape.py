"""What an ALBERT takes over from its teacher: sizes, embedding tables, and the blocks that its groups start from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AlbertConfig

from understudy.errors import ModelError, gathered
from understudy.models.shrink.cut import evenly
from understudy.models.structure.blocks import BlockParts, block_parts
from understudy.models.structure.layers import base_model

_SHARES = ("mean", "none")


def albert_config(
    teacher: Any, *, embedding: int = 128, layers: int | None = None, share: str = "mean"
) -> AlbertConfig:
    """The configuration of :func:`understudy.models.shrink.albert.albert`. It needs only the teacher's shapes, so the teacher may be on the meta device.

    Raises:
        ModelError: if the teacher is not built like those of :func:`understudy.models.shrink.albert.albert`, or sizes do not fit it (all are named).
    """
    if base_model(teacher) is not teacher and teacher.get_output_embeddings() is None:
        raise ModelError(
            f"{type(teacher).__name__}: has a head that does not predict masked words, and an ALBERT student cannot take it over. Give the encoder, or a model with a masked-LM head."
        )
    blocks, tables, theirs = block_parts(teacher), teacher_tables(teacher), base_model(teacher).config
    layers = len(blocks) if layers is None else layers
    chosen: list[list[BlockParts]] = []
    faults = []
    if not 1 <= embedding <= theirs.hidden_size:
        faults.append(
            f"the embeddings of an ALBERT of this teacher must be 1 to {theirs.hidden_size} wide, but {embedding} was asked for. Give, for example, --albert.embedding {min(128, theirs.hidden_size)}."
        )
    with gathered(faults):
        chosen = grouped_blocks(blocks, layers, share)
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


def teacher_tables(teacher: Any) -> dict[str, Tensor]:
    """Word, position and segment tables. The position table begins at the position of a text's first token.

    Raises:
        ModelError: if the encoder has more than embeddings, blocks and a pooler.
    """
    base = base_model(teacher)
    embeddings = getattr(base, "embeddings", None)
    names = ("word_embeddings", "position_embeddings", "token_type_embeddings", "LayerNorm")
    parts = {name: module for name in names if (module := getattr(embeddings, name, None)) is not None}
    known = {id(p) for part in parts.values() for p in part.parameters()}
    known |= {id(p) for block in block_parts(teacher) for part in block for p in part.parameters()}
    known |= set() if (pooler := pooler_layer(base)) is None else {id(p) for p in pooler.parameters()}
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


def pooler_layer(base: Any) -> nn.Linear | None:
    """The linear layer of an encoder's pooler, or None."""
    pooler = getattr(base, "pooler", None)
    return None if pooler is None else getattr(pooler, "dense", pooler)


def grouped_blocks(blocks: list[BlockParts], layers: int, share: str) -> list[list[BlockParts]]:
    """For each group of the student: the teacher's blocks whose mean it starts from.

    Raises:
        ModelError: if `layers` or `share` does not fit the teacher.
    """
    if layers < 1:
        raise ModelError(f"an ALBERT needs at least one layer, but {layers} were asked for.")
    if share == "none":
        return [[blocks[i]] for i in evenly(len(blocks), layers)]
    if share == "mean":
        return [blocks]
    if not share.isdecimal() or int(share) >= len(blocks):
        raise ModelError(
            f"the shared block must start from {', '.join(_SHARES)} or one of the teacher's layers, 0 to {len(blocks) - 1}, but {share!r} was asked for."
        )
    return [[blocks[int(share)]]]
