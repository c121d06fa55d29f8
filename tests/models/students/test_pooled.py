"""A linear layer on a frozen encoder's mean vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from understudy.models.students.pooled import PooledClassifier, mean_pooled


def test_mean_pooled_against_a_loop() -> None:
    torch.manual_seed(0)
    states = torch.randn(3, 5, 4)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]])
    expected = torch.stack([states[0, :3].mean(0), states[1].mean(0), torch.zeros(4)])
    torch.testing.assert_close(mean_pooled(states, mask), expected)


def test_logits_are_linear_in_the_encoders_mean(classifier: Any) -> None:
    encoder = classifier.base_model
    weight, bias = torch.randn(3, 16), torch.randn(3)
    model = PooledClassifier.assemble(encoder, weight, bias)
    ids, mask = torch.randint(3, 50, (2, 6)), torch.tensor([[1] * 6, [1, 1, 1, 1, 0, 0]])
    states = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    vectors = torch.stack([states[0].mean(0), states[1, :4].mean(0)])
    torch.testing.assert_close(model(ids, mask).logits, vectors @ weight.T + bias)


def test_saved_and_loaded(classifier: Any, tmp_path: Path) -> None:
    model = PooledClassifier.assemble(classifier.base_model, torch.randn(3, 16), torch.randn(3))
    model.save_pretrained(tmp_path)
    loaded = PooledClassifier.from_pretrained(tmp_path)
    ids = torch.randint(3, 50, (2, 6))
    torch.testing.assert_close(loaded(ids).logits, model(ids).logits)


def test_the_encoder_is_copied(tiny_classifier: Any) -> None:
    encoder = tiny_classifier("bert").base_model
    model = PooledClassifier.assemble(encoder, torch.zeros(2, 16), torch.zeros(2))
    own, theirs = model.get_input_embeddings().weight, encoder.get_input_embeddings().weight
    assert torch.equal(own, theirs)
    assert own is not theirs
