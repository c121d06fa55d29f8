"""Answers and mean vectors out of one pass: against transformers' own states, from several threads, and refused where wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BartConfig,
    BartForSequenceClassification,
    ConvBertConfig,
    ConvBertForSequenceClassification,
)

from understudy.data.at_once import in_order
from understudy.data.tasks import Task
from understudy.data.tokens.encode import Encoded, collate, encode
from understudy.inference.vectors import gives_means
from understudy.models.files.classifiers import load_mean_classifier
from understudy.models.probe.vectors import WithMeans
from understudy.models.structure.layers import base_model, evaluating, watched
from understudy.models.students.apart import ApartClassifier
from understudy.models.students.bilstm import BiLSTM, BiLSTMConfig
from understudy.models.students.pair_rows import pair_layout

TEXTS = ["a good film", "the film was bad, very bad", "good", "a song and a play", "the cast was lovely"]
NAMES = ("input_ids", "attention_mask")


@pytest.fixture
def model(tiny_bert: Path) -> Any:
    return AutoModelForSequenceClassification.from_pretrained(tiny_bert, num_labels=3).eval()


@pytest.fixture
def encoded(tiny_bert: Path) -> Encoded:
    return encode(TEXTS, AutoTokenizer.from_pretrained(tiny_bert), max_length=16, cache=False)


def expected(model: Any, encoded: Encoded, row: int) -> np.ndarray:
    """The logits, and the mean of the states that transformers returns, for one text without padding."""
    ids = torch.from_numpy(encoded.row(row).astype(np.int64))[None]
    with torch.inference_mode():
        output = model(input_ids=ids, output_hidden_states=True)
    return torch.cat([output.logits[0], output.hidden_states[-1][0].mean(0)]).numpy()


@pytest.mark.parametrize("workers", [1, 3])
def test_one_pass_gives_answers_and_means(model: Any, encoded: Encoded, workers: int) -> None:
    """In any thread its own: batches of other lengths are computed beside it."""

    def compute(rows: list[int]) -> np.ndarray:
        with torch.inference_mode():
            return both(**collate(encoded, np.array(rows), names=NAMES)).logits.numpy()

    batches = [[0, 1], [2], [3, 4], [4, 2, 0]] * 5
    with evaluating(model), watched(model) as states:
        both = WithMeans(model, states)
        found = list(in_order(compute, batches, workers=workers))
    for rows, answers in zip(batches, found, strict=True):
        for row, answer in zip(rows, answers, strict=True):
            np.testing.assert_allclose(answer, expected(model, encoded, row), atol=1e-5)
    assert not base_model(model)._forward_hooks


def test_a_classifier_on_the_mean_gives_it_too(tiny_bert: Path, encoded: Encoded) -> None:
    task = Task(text=(("text",),), label="label", kind="single_label", labels=("no", "yes"))
    pooled: Any = load_mean_classifier(str(tiny_bert), task).eval()
    assert gives_means(pooled, encoded, NAMES)
    inputs = collate(encoded, np.arange(5), names=NAMES)
    with torch.inference_mode(), watched(pooled) as states:
        found = WithMeans(pooled, states)(**inputs).logits
        torch.testing.assert_close(found[:, 2:], pooled.pool(**inputs))
        torch.testing.assert_close(found[:, :2], pooled(**inputs).logits)


def test_whose_pass_gives_no_means(model: Any, tiny_bert: Path, encoded: Encoded) -> None:
    assert gives_means(model, encoded, NAMES)
    assert not gives_means(base_model(model), encoded, NAMES)
    assert not gives_means(BiLSTM(BiLSTMConfig(vocab_size=200)), encoded, NAMES)
    layout = pair_layout(AutoTokenizer.from_pretrained(tiny_bert))
    width = ApartClassifier.widths * model.config.hidden_size
    apart = ApartClassifier.assemble(base_model(model), torch.zeros(2, width), torch.zeros(2), layout=layout)
    assert not gives_means(apart, encoded, NAMES)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    convolved = ConvBertForSequenceClassification(ConvBertConfig(**shape, vocab_size=200, embedding_size=16))
    assert not gives_means(convolved, encoded, NAMES)  # its states look into the padding
    size = {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 1}
    other = {"decoder_attention_heads": 1, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8, "vocab_size": 200}
    assert not gives_means(BartForSequenceClassification(BartConfig(**size, **other)), encoded, NAMES)
