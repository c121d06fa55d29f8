"""The parts of a model, and architectures whose parts cannot be found."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn
from transformers import (
    BartConfig,
    BartForSequenceClassification,
)

from understudy.errors import ModelError
from understudy.models.structure.layers import head_modules, word_embeddings
from understudy.models.structure.parameter_groups import layer_groups


def test_an_encoder_with_a_decoder_is_refused() -> None:
    config = BartConfig(
        vocab_size=20,
        d_model=8,
        encoder_layers=3,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=8,
        decoder_ffn_dim=8,
    )
    with pytest.raises(ModelError, match="is an encoder with a decoder"):
        layer_groups(BartForSequenceClassification(config))


def test_head_modules_are_all_but_the_encoder(classifier: Any) -> None:
    head = {id(p) for module in head_modules(classifier) for p in module.parameters()}
    assert head == {id(p) for p in dict(layer_groups(classifier))["head"]}
    assert head_modules(classifier.base_model) == []


def test_unknown_architectures_are_refused() -> None:
    with pytest.raises(ModelError, match="no table of token embeddings"):
        word_embeddings(nn.Linear(2, 2))
