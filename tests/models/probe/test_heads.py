"""Heads that begin as a probe: their logits are the probe's, for every architecture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from understudy.data.tokens.encode import Encoded, collate
from understudy.models.probe.heads import LINEAR, OWN, head_parts, made_linear, start_head
from understudy.models.probe.vectors import BEFORE, MEAN, READ, has_mean, text_vectors
from understudy.models.structure.layers import base_model
from understudy.models.students.pooled import mean_pooled

TOLERANCE = 1e-4
"""Of the starting logits, relative to the largest."""
IDS = np.random.default_rng(0).integers(5, 50, size=200).astype(np.int32)
ROWS = Encoded(IDS, np.arange(0, 201, 5), None, pad_id=1, padding_side="right", fingerprint="")
NAMES = ("input_ids", "attention_mask")
LINEARISED = {"roberta", "electra", "distilbert", "mpnet", "deberta", "deberta-v2", "xlnet"}
"""Those whose hidden layer is outside the encoder, so that it is new."""
POOLED = {"bert", "albert"}
"""Those whose pooler is in the encoder; a checkpoint may have it or lack it."""


def vectors_of(model: Any, parts: Any) -> dict[str, np.ndarray]:
    return text_vectors(model, parts, ROWS, np.arange(len(ROWS)), mean=True, names=NAMES, max_tokens=64)


@torch.no_grad()
def logits_of(model: Any) -> np.ndarray:
    return model(**collate(ROWS, np.arange(len(ROWS)), names=NAMES)).logits.numpy()


def test_starting_logits_are_the_probes(classifier: Any, architecture: str) -> None:
    few = collate(ROWS, np.arange(4), names=NAMES)
    parts = head_parts(classifier, few)
    assert parts is not None
    assert parts.ways == (
        (LINEAR,) if architecture in LINEARISED else (OWN, LINEAR) if architecture in POOLED else (OWN,)
    )
    rng = np.random.default_rng(1)
    vectors = vectors_of(classifier, parts)
    for way in parts.ways:
        read, hidden = vectors[READ], None
        if way == LINEAR:
            read, scales, shifts = made_linear(parts, vectors[BEFORE])
            hidden = scales, shifts
        weight = rng.normal(size=(2, read.shape[1])).astype(np.float32)
        bias = rng.normal(size=2).astype(np.float32)
        start_head(parts, weight, bias, hidden)
        expected = read @ weight.T + bias
        np.testing.assert_allclose(logits_of(classifier), expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


def test_a_linear_head_reads_almost_what_the_hidden_layer_read(classifier: Any, architecture: str) -> None:
    parts = head_parts(classifier, collate(ROWS, np.arange(4), names=NAMES))
    assert parts is not None
    if LINEAR not in parts.ways:
        pytest.skip("its head has no hidden layer that can be made linear")
    before = vectors_of(classifier, parts)[BEFORE]
    read, _, _ = made_linear(parts, before)
    alike = [np.corrcoef(before[:, i], read[:, i])[0, 1] for i in range(before.shape[1])]
    assert min(alike) > 0.97


def test_a_new_pooler_is_made_linear(tiny_classifier: Any) -> None:
    model = tiny_classifier("bert")
    model.new_in_encoder = frozenset({"pooler.dense.weight", "pooler.dense.bias"})
    parts = head_parts(model, collate(ROWS, np.arange(4), names=NAMES))
    assert parts is not None
    assert parts.ways == (LINEAR,)


def test_vectors_are_the_models_own(classifier: Any) -> None:
    """Against the states of the encoder, row by row; what the last layer reads gives the logits."""
    parts = head_parts(classifier, collate(ROWS, np.arange(4), names=NAMES))
    assert parts is not None
    found = vectors_of(classifier, parts)
    for row in (0, 7):
        inputs = collate(ROWS, np.array([row]), names=NAMES)
        with torch.no_grad():
            states = base_model(classifier)(**inputs)[0]
        np.testing.assert_allclose(found[MEAN][row], mean_pooled(states, inputs["attention_mask"])[0], atol=1e-4)
    weight, bias = parts.last.weight.detach().numpy(), parts.last.bias.detach().numpy()
    np.testing.assert_allclose(found[READ] @ weight.T + bias, logits_of(classifier), atol=1e-3)
    assert has_mean(classifier)


def test_a_causal_classifier_cannot_begin_as_a_probe() -> None:
    from transformers import GPT2Config, GPT2ForSequenceClassification

    model = GPT2ForSequenceClassification(GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2, pad_token_id=0))
    assert head_parts(model, collate(ROWS, np.arange(4), names=NAMES)) is None
