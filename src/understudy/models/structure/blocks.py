"""The parts of a transformer block under one set of names, whatever the architecture calls them."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

from understudy.errors import ModelError
from understudy.models.structure.layers import base_model, encoder_layers

PRUNED = "understudy_pruned"
"""Where a configuration says which heads and how many neurons each layer has, where layers differ."""


class BlockParts(NamedTuple):
    """The parts of a block with a norm after attention and a norm after the feed-forward part. They are the block's own
    modules, not copies."""

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    output: nn.Linear
    """Mixes the outputs of the attention heads."""
    attention_norm: nn.LayerNorm
    inner: nn.Linear
    """From the hidden to the intermediate size."""
    outer: nn.Linear
    """From the intermediate to the hidden size."""
    norm: nn.LayerNorm


_BERT = (
    *(f"attention.self.{name}" for name in ("query", "key", "value")),
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)
_DISTILBERT = (
    *(f"attention.{name}_lin" for name in ("q", "k", "v", "out")),
    "sa_layer_norm",
    "ffn.lin1",
    "ffn.lin2",
    "output_layer_norm",
)
_ALBERT = tuple(
    f"albert_layers.0.{name}"
    for name in (
        *(f"attention.{part}" for part in ("query", "key", "value", "dense", "LayerNorm")),
        "ffn",
        "ffn_output",
        "full_layer_layer_norm",
    )
)
_LAYOUTS = (_BERT, _DISTILBERT, _ALBERT)

_PROJECTIONS = (
    *((layout[0], layout[1], layout[2]) for layout in _LAYOUTS),
    tuple(f"attention.attn.{name}" for name in ("q", "k", "v")),  # MPNet
    tuple(f"attention.self.{name}_proj" for name in ("query", "key", "value")),  # DeBERTa-v2
    ("attn.Wqkv",),  # ModernBERT, all three in one
)


def block_parts(model: Any) -> list[BlockParts]:
    """The parts of each block, input to output. An ALBERT has one block for each group of layers.

    Raises:
        ModelError: if the blocks are not built as BERT's are: other parts, more parts, norms in other places, or
            positions that rotate queries and keys.
    """
    if getattr(base_model(model).config, PRUNED, None) is not None:
        raise ModelError(
            f"{type(model).__name__}: heads or neurons of it were pruned, so its layers differ, and it can be neither narrowed nor shared. Do that with the model as it was before."
        )
    found, embedded = [], positions_are_embedded(model)
    for block in encoder_layers(model):
        layout = next((names for names in _LAYOUTS if _has(block, names)), None)
        parts = None if layout is None else BlockParts(*map(block.get_submodule, layout))  # type: ignore[arg-type]
        known = set() if parts is None else {id(p) for part in parts for p in part.parameters()}
        if parts is None or known != {id(p) for p in block.parameters()} or not embedded:
            raise ModelError(
                f"{type(model).__name__}: its blocks are not built as BERT's are, so they cannot be narrowed or shared. Give a BERT, RoBERTa, XLM-R, ELECTRA or DistilBERT, or cut whole layers (layers:N)."
            )
        found.append(parts)
    return found


def projections(model: Any) -> list[tuple[nn.Linear, ...]]:
    """For each block the modules that compute queries, keys and values: three modules, or one that computes all three.

    Raises:
        ModelError: if the modules cannot be found.
    """
    found: list[tuple[Any, ...]] = []
    for block in encoder_layers(model):
        names = next((names for names in _PROJECTIONS if _has(block, names)), None)
        if names is None:
            raise ModelError(
                f"{type(base_model(model)).__name__}: it is unknown which modules of its blocks compute queries, keys and values, so these cannot be matched. Leave --relation_weight and --attention_weight at 0, or give a BERT, RoBERTa, XLM-R, ELECTRA, DistilBERT, ALBERT, MPNet, DeBERTa-v2 or ModernBERT."
            )
        found.append(tuple(block.get_submodule(name) for name in names))
    return found


def vector_width(model: Any) -> int:
    """The width of a block's queries, all heads together.

    Raises:
        ModelError: if the modules that compute them cannot be found.
    """
    made = projections(model)[0]
    return sum(module.out_features for module in made) // 3


def scores_are_products(model: Any) -> bool:
    """Whether the scores of an attention head are the products of its queries and keys and nothing else, such as a
    rotation by position or a table of distances."""
    plain = all(any(_has(block, layout[:2]) for layout in _LAYOUTS) for block in encoder_layers(model))
    return plain and positions_are_embedded(model)


def positions_are_embedded(model: Any) -> bool:
    """Whether an encoder adds a position embedding to each word, as BERT does. RoFormer and ESM name their parts as BERT
    does, but rotate queries and keys by position instead."""
    return any(name.endswith("position_embeddings.weight") for name, _ in base_model(model).named_parameters())


def _has(block: nn.Module, names: tuple[str, ...]) -> bool:
    inside = dict(block.named_modules())
    return all(isinstance(inside.get(name), nn.Linear | nn.LayerNorm) for name in names)
