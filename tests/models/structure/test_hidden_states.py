"""Hidden states of packed texts: equal to those of each text alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from understudy.data.batches.masked import packed_inputs
from understudy.data.tokens.encode import Encoded, collate
from understudy.models.structure import hidden_states as hidden_states_module
from understudy.models.structure.hidden_states import can_pack, hidden_states, model_inputs

PACKING = ["albert", "bert", "distilbert", "electra", "modernbert", "mpnet", "roberta", "xlm-roberta"]


NOT_PACKING = ["deberta-v2", "mobilebert"]


LENGTHS = [9, 4, 14, 2]


def texts(pad_id: int) -> Encoded:
    ids = 5 + np.random.default_rng(0).integers(0, 44, sum(LENGTHS))
    offsets = np.concatenate([[0], np.cumsum(LENGTHS)])
    return Encoded(ids.astype(np.int32), offsets, None, pad_id, "right", "")


@torch.no_grad()
def together_and_alone(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states of four texts packed in two blocks, one of them padded, and of each text in a row of its own."""
    given = texts(model.config.pad_token_id or 0)
    inputs = packed_inputs(given, np.array([3, 1]), names=["input_ids"])
    assert inputs["input_ids"].shape == (2, 27)
    packed = hidden_states(model, inputs)
    alone = [
        hidden_states(model, collate(given, np.array([i]), names=["input_ids", "attention_mask"]))[0] for i in range(4)
    ]
    return torch.cat([packed[0], packed[1, :2]]), torch.cat(alone)


@pytest.mark.parametrize("architecture", PACKING)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_texts_are_encoded_as_if_each_stood_alone(
    architecture: str, dtype: torch.dtype, attention: str, tiny_masked: Any
) -> None:
    model = tiny_masked(architecture).to(dtype)
    if architecture != "mpnet":  # it does not call torch's attention
        model.set_attn_implementation(attention)
    found, expected = together_and_alone(model)
    whole = dtype == torch.float64 and (architecture, attention) != ("modernbert", "eager")  # a softmax in float32
    tolerance = (1e-12 if whole else 2e-5) * expected.abs().max().item()
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@torch.no_grad()
def test_a_plain_mask_would_let_texts_see_each_other(tiny_masked: Any) -> None:
    """The test of packing must be able to fail."""
    model = tiny_masked("bert")
    given = texts(0)
    inputs = packed_inputs(given, np.array([4]), names=["input_ids"])
    apart = hidden_states(model, inputs)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    assert (hidden_states(model, inputs) - apart).abs().max() > 0.01 * apart.abs().max()


@pytest.mark.parametrize("architecture", PACKING + NOT_PACKING)
def test_architectures_that_cannot_pack_are_found(architecture: str, tiny_masked: Any) -> None:
    """MobileBERT's embeddings look at the next token; DeBERTa's masks have another shape."""
    model = tiny_masked(architecture).train()
    assert can_pack(model, max_length=32) == (architecture in PACKING)
    assert model.training


@pytest.mark.parametrize("positions", [0, None])
def test_wrong_positions_are_found(positions: int | None, tiny_masked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """RoBERTa counts from the padding id plus one. Without positions it counts through the whole block."""
    model = tiny_masked("roberta")
    monkeypatch.setattr(hidden_states_module, "first_position", lambda config: 0)
    if positions is None:
        forward = model.roberta.forward
        model.roberta.forward = lambda input_ids, attention_mask: forward(input_ids, attention_mask)
    assert not can_pack(model, max_length=32)


def test_each_model_gets_positions_as_it_counts_them(tiny_masked: Any) -> None:
    """A teacher and a student of different families can then read the same blocks."""
    inputs = packed_inputs(texts(1), np.array([4]), names=["input_ids"])
    before = inputs["position_ids"].clone()
    for architecture, first in (("roberta", 2), ("bert", 0)):  # RoBERTa's padding id is 1
        assert torch.equal(model_inputs(tiny_masked(architecture), inputs)["position_ids"], before + first)
