"""Tiny models with random weights, one of each architecture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, PreTrainedTokenizerFast

from understudy.data.tasks import Task
from understudy.data.tokens.vocabulary import train_tokenizer

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}
RELATIVE = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
CONFIGS: dict[str, Callable[[], Any]] = {
    "bert": lambda: transformers.BertConfig(**SIZES),
    "roberta": lambda: transformers.RobertaConfig(**SIZES),
    "distilbert": lambda: transformers.DistilBertConfig(
        vocab_size=50, dim=16, n_layers=4, n_heads=2, hidden_dim=32, max_position_embeddings=40
    ),
    "albert": lambda: transformers.AlbertConfig(**SIZES, embedding_size=8),
    "electra": lambda: transformers.ElectraConfig(**SIZES, embedding_size=8),
    "mpnet": lambda: transformers.MPNetConfig(**SIZES),
    "xlnet": lambda: transformers.XLNetConfig(vocab_size=50, d_model=16, n_layer=4, n_head=2, d_inner=32),
    "deberta": lambda: transformers.DebertaConfig(**SIZES, **RELATIVE),
    "deberta-v2": lambda: transformers.DebertaV2Config(**SIZES, **RELATIVE, conv_kernel_size=3),
    "modernbert": lambda: transformers.ModernBertConfig(
        **SIZES, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2
    ),
}
MASKED: dict[str, Callable[[], Any]] = {
    **{name: CONFIGS[name] for name in ("bert", "roberta", "distilbert", "albert", "electra", "mpnet")},
    "xlm-roberta": lambda: transformers.XLMRobertaConfig(**SIZES),
    "mobilebert": lambda: transformers.MobileBertConfig(
        **SIZES, embedding_size=8, intra_bottleneck_size=8, num_feedforward_networks=1
    ),
    "deberta-v2": CONFIGS["deberta-v2"],
    "modernbert": lambda: transformers.ModernBertConfig(
        **SIZES,
        local_attention=6,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        cls_token_id=1,
        sep_token_id=2,
    ),
}
"""Architectures that fill in masks. ModernBERT's window is narrower than the texts."""


@pytest.fixture(params=sorted(MASKED))
def masked_architecture(request: pytest.FixtureRequest) -> str:
    """The name of each architecture that fills in masks, in turn."""
    return request.param


def build_masked(architecture: str) -> Any:
    """A tiny masked language model in eval mode. Every parameter is random."""
    torch.manual_seed(1)
    model = AutoModelForMaskedLM.from_config(MASKED[architecture]()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


@pytest.fixture
def masked_model(masked_architecture: str) -> Any:
    """A masked language model of each architecture."""
    return build_masked(masked_architecture)


@pytest.fixture
def tiny_masked() -> Callable[[str], Any]:
    """Builds the masked language model of a named architecture."""
    return build_masked


@pytest.fixture(params=sorted(CONFIGS))
def architecture(request: pytest.FixtureRequest) -> str:
    """The name of each architecture in turn."""
    return request.param


@pytest.fixture
def classifier(architecture: str) -> Any:
    """A classifier of each architecture, in eval mode."""
    return build(architecture)


def build(architecture: str) -> Any:
    """A tiny classifier. Every parameter is random, so that layers and biases are not equal because they are zero."""
    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_config(CONFIGS[architecture]()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


@pytest.fixture
def tiny_classifier() -> Callable[[str], Any]:
    """Builds the classifier of a named architecture."""
    return build


@pytest.fixture
def task() -> Task:
    """Three classes of single texts."""
    return Task(text=(("text",),), label="label", kind="single_label", labels=("bad", "fair", "good"))


@pytest.fixture
def pair_task() -> Task:
    """Two classes of pairs."""
    return Task(text=(("a",), ("b",)), label="label", kind="single_label", labels=("no", "yes"))


@pytest.fixture(scope="session")
def words() -> PreTrainedTokenizerFast:
    """A word-level tokenizer with fewer than 50 tokens."""
    return train_tokenizer(["the film was good", "the play was bad", "a fine song and a dull book"], "words:40")
