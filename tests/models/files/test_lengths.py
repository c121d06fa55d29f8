"""How many tokens of a text each architecture reads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    XLNetConfig,
)

from understudy.errors import ConfigError
from understudy.models.files.lengths import max_length
from understudy.models.students.bilstm import BiLSTMConfig

Words = PreTrainedTokenizerFast


def test_roberta_counts_its_offset(words: Words) -> None:
    assert max_length(RobertaConfig(max_position_embeddings=514), words, None) == 512
    assert max_length(RobertaConfig(max_position_embeddings=130), words, None) == 128


def test_a_roberta_reads_so_many_and_no_more(tiny_classifier: Any, words: Words) -> None:
    model = tiny_classifier("roberta")
    limit = max_length(model.config, words, None)
    assert model(torch.full((1, limit), 5)).logits.isfinite().all()
    with pytest.raises((IndexError, RuntimeError)):
        model(torch.full((1, limit + 1), 5))


def test_defaults_and_limits(words: Words) -> None:
    bert = BertConfig(max_position_embeddings=300)
    assert max_length(bert, words, None) == 300
    assert max_length(bert, words, 64) == 64
    assert max_length(XLNetConfig(), words, None) == 512
    assert max_length(XLNetConfig(), words, 2000) == 2000
    assert max_length(BiLSTMConfig(), words, 900) == 900
    with pytest.raises(ConfigError, match=r"max_length is 301, but this model \(bert\) reads at most 300"):
        max_length(bert, words, 301)


def test_the_tokenizers_limit_is_advice(words: Words) -> None:
    short = PreTrainedTokenizerFast(tokenizer_object=words.backend_tokenizer, model_max_length=128)
    assert max_length(BertConfig(), short, None) == 128
    assert max_length(BertConfig(), short, 256) == 256
