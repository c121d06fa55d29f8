"""Language models that predict the next token, built from options or loaded by name; and the kinds of language models."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM, PreTrainedTokenizerBase

from understudy.errors import ModelError
from understudy.models.awd_lstm.config import AWDLSTMConfig
from understudy.models.awd_lstm.model import AWDLSTMForCausalLM
from understudy.models.files.names import resolve
from understudy.models.files.pretrained import first_names, load_pretrained, read_pretrained
from understudy.models.files.tokenizers import check_tokenizer, load_tokenizer
from understudy.models.masked import has_masked_head
from understudy.models.structure.layers import evaluating, word_embeddings
from understudy.models.vocabulary.embeddings import table_rows

LanguageKind = Literal["recurrent", "causal", "masked"]
"""``recurrent`` reads streams and keeps a state, ``causal`` reads blocks from left to right, ``masked`` fills in masks."""


class LanguageModel(NamedTuple):
    """A language model with its tokenizer."""

    model: Any
    tokenizer: PreTrainedTokenizerBase


def language_kind(name: str) -> LanguageKind:
    """How a model is trained on raw text, according to its configuration.

    A checkpoint with a head that predicts the next token is causal. Any other encoder, with or without a head, is masked
    if transformers has a masked language model of its architecture.

    Raises:
        ModelError: if there is no such model, or no language model of its architecture.
    """
    path = resolve(name)
    _, config = read_pretrained(path)
    if isinstance(config, AWDLSTMConfig):
        return "recurrent"
    heads = tuple(config.architectures or ())
    predicts_next = any(head.endswith(("ForCausalLM", "LMHeadModel")) for head in heads)
    if has_masked_head(config) and not predicts_next:
        return "masked"
    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING and not getattr(config, "is_encoder_decoder", False):
        return "causal"
    raise ModelError(
        f"{path}: a '{config.model_type}' model cannot be trained on raw text here. Name an encoder such as BERT, a causal model such as GPT-2, or awd_lstm."
    )


def build_awd_lstm(
    tokenizer: PreTrainedTokenizerBase,
    *,
    embedding: int,
    hidden: int,
    layers: int,
    tied: bool,
    drop_mult: float,
    bptt: int,
    backward: bool,
) -> AWDLSTMForCausalLM:
    """An untrained AWD-LSTM over the vocabulary of `tokenizer`, initialised from torch's current seed.

    Raises:
        ConfigError: if `drop_mult` makes a dropout of 1 or more.
    """
    config = AWDLSTMConfig(
        vocab_size=table_rows(tokenizer),
        embedding_size=embedding,
        hidden_size=hidden,
        num_hidden_layers=layers,
        tie_word_embeddings=tied,
        drop_mult=drop_mult,
        bptt=bptt,
        backward=backward,
        pad_token_id=tokenizer.pad_token_id,
    )
    return AWDLSTMForCausalLM(config)


def load_next_token_model(name: str) -> LanguageModel:
    """An AWD-LSTM language model, or a causal one of transformers, in float32 and in eval mode.

    Raises:
        ModelError: if the model cannot be loaded, lacks weights, sees the tokens that it should predict, or does not
            fit its tokenizer.
    """
    path = resolve(name)
    _, config = read_pretrained(path)
    recurrent = isinstance(config, AWDLSTMConfig)
    model, lacking = load_pretrained(path, AWDLSTMForCausalLM if recurrent else AutoModelForCausalLM, config)
    if lacking:
        raise ModelError(
            f"{path}: is not a complete language model: it lacks {first_names(sorted(lacking))}. Give the language model, not a classifier made from it."
        )
    if not recurrent and _sees_ahead(model):
        raise ModelError(
            f"{path}: this '{config.model_type}' model sees the tokens that it should predict. Name a causal model, such as GPT-2."
        )
    tokenizer = load_tokenizer(path)
    check_tokenizer(model, tokenizer, name=path)
    return LanguageModel(model.eval(), tokenizer)


def _sees_ahead(model: Any) -> bool:
    """Whether the logits at the beginning of a text change with its end."""
    vocabulary = word_embeddings(model).num_embeddings
    one = torch.arange(4)[None] % vocabulary
    other = one.clone()
    other[0, -1] = (one[0, -1] + 1) % vocabulary
    with evaluating(model), torch.no_grad():
        first, second = (model(input_ids=ids, use_cache=False).logits[:, :-1] for ids in (one, other))
    return not torch.allclose(first, second, rtol=1e-4, atol=1e-4)
