"""Where heads and neurons are: the modules of each block that have a row or a column for them."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

from understudy.errors import ModelError
from understudy.models.structure.layers import base_model, encoder_layers

_HEADS_OF_BERT = (
    "attention.self",
    *(f"attention.self.{name}" for name in ("query", "key", "value")),
    "attention.output.dense",
)
_NEURONS_OF_BERT = ("intermediate.dense", "output.dense")
_BERT = (*_HEADS_OF_BERT, *_NEURONS_OF_BERT)
_LAYOUTS = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "camembert": _BERT,
    "electra": _BERT,
    "distilbert": (
        "attention",
        *(f"attention.{name}_lin" for name in ("q", "k", "v", "out")),
        "ffn.lin1",
        "ffn.lin2",
    ),
    "mpnet": ("attention.attn", *(f"attention.attn.{name}" for name in "qkvo"), *_NEURONS_OF_BERT),
}
"""By model type. A list of names and not a search, because others have modules of these names and compute otherwise."""


class HeadedBlock(NamedTuple):
    """A block's own modules, not copies. A head is so many rows of the first three and columns of the fourth; a neuron
    is a row of `inner` and a column of `outer`."""

    attention: nn.Module
    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    output: nn.Linear
    inner: nn.Linear
    outer: nn.Linear

    @property
    def head_size(self) -> int:
        """The width of a head."""
        size: Any = self.attention.attention_head_size
        return int(size)

    @property
    def heads(self) -> int:
        """How many heads there are."""
        return self.query.out_features // self.head_size

    @property
    def neurons(self) -> int:
        """How many neurons there are."""
        return self.inner.out_features


def headed_blocks(model: Any) -> list[HeadedBlock]:
    """The modules of each block that have a part for each head and each neuron, input to output.

    Raises:
        ModelError: if the model has no heads, or is of a family whose blocks are not known.
    """
    kind = str(getattr(base_model(model).config, "model_type", ""))
    if kind not in _LAYOUTS:
        name = kind.removeprefix("understudy_")
        what = "has no attention heads" if kind.startswith("understudy_") else "is of a family that is not known here"
        raise ModelError(
            f"a '{name}' model {what}, so neither heads nor neurons can be removed. Give a BERT, RoBERTa, XLM-R, DistilBERT, ELECTRA or MPNet, or prune by --vocabulary alone."
        )
    return [HeadedBlock(*map(block.get_submodule, _LAYOUTS[kind])) for block in encoder_layers(model)]  # type: ignore[arg-type]
