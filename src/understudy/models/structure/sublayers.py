"""Where each sublayer of a block begins, ends and is normalised, whatever the architecture calls these modules."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

from understudy.errors import ModelError
from understudy.models.structure.layers import base_model, encoder_layers


class Sublayer(NamedTuple):
    """The attention or the feed-forward part of a block. They are the block's own modules, not copies."""

    entry: nn.Module
    """Its first argument is the sublayer's input, ``(rows, tokens, width)``."""
    exit: nn.Module
    """Its output is the sublayer's output, just before the input is added."""
    norm: nn.Module
    """The norm of that sum. In a pre-norm block the norm of the sublayer's input."""


class Sublayers(NamedTuple):
    """The two sublayers of a block."""

    block: nn.Module
    attention: Sublayer
    feed_forward: Sublayer
    normed_after: bool
    """Whether a norm follows each sum, as in BERT. In a pre-norm block (ModernBERT) a sublayer's input is normed."""


_FEED_FORWARD = ("intermediate.dense", "output.dropout", "output.LayerNorm")
_AFTER = (
    # BERT, RoBERTa, XLM-R, CamemBERT, ELECTRA; DeBERTa-v2; MPNet
    (("attention.self.query", "attention.output.dropout", "attention.output.LayerNorm"), _FEED_FORWARD),
    (("attention.self.query_proj", "attention.output.dropout", "attention.output.LayerNorm"), _FEED_FORWARD),
    (("attention.attn.q", "attention.dropout", "attention.LayerNorm"), _FEED_FORWARD),
    # DistilBERT
    (
        ("attention.q_lin", "attention.out_lin", "sa_layer_norm"),
        ("ffn.lin1", "ffn.dropout", "output_layer_norm"),
    ),
    # ALBERT
    (
        ("attention.query", "attention.output_dropout", "attention.LayerNorm"),
        ("ffn", "ffn_output", "full_layer_layer_norm"),
    ),
)
_BEFORE = ((("attn.Wqkv", "attn.out_drop", "attn_norm"), ("mlp.Wi", "mlp.Wo", "mlp_norm")),)  # ModernBERT


def sublayers(model: Any) -> list[Sublayers]:
    """The sublayers of each block, input to output. An ALBERT has one entry for each block that its layers share.

    Raises:
        ModelError: if they cannot be found in this architecture.
    """
    found = []
    for block in encoder_layers(model):
        for inner in getattr(block, "albert_layers", [block]):
            inside = dict(inner.named_modules())
            layout = next(
                (names for names in (*_AFTER, *_BEFORE) if all(n in inside for part in names for n in part)), None
            )
            if layout is None:
                raise ModelError(
                    f"{type(base_model(model)).__name__}: it is unknown where its blocks add a sublayer's output to its input, so adapters have no place there. Give a BERT, RoBERTa, XLM-R, ELECTRA, DistilBERT, ALBERT, MPNet, DeBERTa-v2 or ModernBERT."
                )
            attention, feed_forward = (Sublayer(*(inside[name] for name in part)) for part in layout)
            found.append(Sublayers(inner, attention, feed_forward, normed_after=layout in _AFTER))
    return found
