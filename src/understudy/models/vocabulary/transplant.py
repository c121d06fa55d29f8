"""A model moved to another vocabulary."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from understudy.data.tokens.pieces import ROLES, role_id
from understudy.errors import ModelError
from understudy.models.shrink.prune.sizes import built
from understudy.models.structure.layers import word_embeddings
from understudy.models.vocabulary.origins import Origins, origins


class Transplanted(NamedTuple):
    """A model over a new vocabulary, and where the rows of its tables come from."""

    model: Any
    origins: Origins


def transplant(
    model: Any, old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase, *, rows: Origins | None = None
) -> Transplanted:
    """The same model over another vocabulary.

    Every tensor with a vocabulary dimension (input and output tables, biases, whatever else an architecture has) is
    converted by :func:`understudy.models.vocabulary.origins.origins`. All others are copied, and tied tables are tied
    again. The configuration gets the new size and the new ids of the special tokens.

    Args:
        model: a model of transformers or ours. It is not changed.
        old: the model's tokenizer.
        new: the tokenizer of the new vocabulary.
        rows: where the new rows come from (by what the two tokenizers say).

    Returns:
        The new model, of the same class and on the same device, and the origins of its rows.

    Raises:
        ModelError: if the configuration names no vocabulary size, or if the architecture expects the padding token at
            an id where `new` has another token.
    """
    size = getattr(_of_encoder(model.config), "vocab_size", None)
    if not isinstance(size, int):
        raise ModelError(
            f"{type(model).__name__}: its configuration names no vocab_size, so it cannot be moved to another vocabulary. Keep its own: --vocabulary keep."
        )
    rows = rows or origins(old, new)
    weights, counted = model.state_dict(), _counting_dimensions(model)
    config = _config_for(model.config, old, new, size=len(rows))
    with torch.random.fork_rng(
        devices=[]
    ):  # the initial weights are overwritten, so drawing them must not change the seed
        made = built(type(model), config)
    made.to(next(model.parameters()).dtype)
    _check_padding(model, made, old, new)
    made.load_state_dict(
        {name: rows.carry(weight, dim=counted[name]) if name in counted else weight for name, weight in weights.items()}
    )
    return Transplanted(made.to(next(model.parameters()).device).train(model.training), rows)


def _counting_dimensions(model: Any) -> dict[str, int]:
    """The names of the tensors with a vocabulary dimension, and which dimension it is."""
    probe = copy.deepcopy(model.config)
    _of_encoder(probe).vocab_size += 1
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        larger = built(type(model), probe).state_dict()
    found = {}
    for name, weight in model.state_dict().items():
        differing = [d for d, (own, other) in enumerate(zip(weight.shape, larger[name].shape)) if own != other]
        if differing:
            (found[name],) = differing
    return found


def _config_for(config: Any, old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase, *, size: int) -> Any:
    """The configuration with the size of the new vocabulary, and its ids for the special tokens that are named."""
    made = copy.deepcopy(config)
    inner = _of_encoder(made)
    inner.vocab_size = size
    for role in ROLES:
        name = f"{role}_token_id"
        if getattr(inner, name, None) is not None:
            setattr(inner, name, role_id(new, role))
    return made


def _of_encoder(config: Any) -> Any:
    """The configuration that has the vocabulary. In a pooled classifier it is one level down."""
    return getattr(config, "encoder_config", config)


def _check_padding(model: nn.Module, made: Any, old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase) -> None:
    """Check that the new tokenizer's padding id is the one that the model has fixed, if it has.

    A model that counts positions from the padding id must keep the old id.
    """
    table = word_embeddings(made)
    others = [part for part in model.modules() if isinstance(part, nn.Embedding) and part is not word_embeddings(model)]
    counted_from_it = any(part.padding_idx is not None for part in others)
    fixed = table.padding_idx if table.padding_idx != new.pad_token_id else None
    if counted_from_it and new.pad_token_id != old.pad_token_id:
        fixed = old.pad_token_id
    if fixed is not None:
        raise ModelError(
            f"{type(model).__name__}: needs its padding token at id {fixed}, but the new tokenizer has it at {new.pad_token_id}. Give a tokenizer that has it at {fixed}."
        )
