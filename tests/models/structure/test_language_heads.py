"""Every masked language model in two halves: equal to the whole, at some positions alone, and with texts packed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from understudy.data.batches.packing import packed_inputs
from understudy.data.tokens.encode import Encoded, collate
from understudy.errors import ModelError
from understudy.models.structure import heads as language_heads
from understudy.models.structure.heads import hidden_states, model_inputs, packs, vocabulary_head

PACKING = ["albert", "bert", "distilbert", "electra", "modernbert", "mpnet", "roberta", "xlm-roberta"]
NOT_PACKING = ["deberta-v2", "mobilebert"]
LENGTHS = [9, 4, 14, 2]


def texts(pad_id: int) -> Encoded:
    ids = 5 + np.random.default_rng(0).integers(0, 44, sum(LENGTHS))
    offsets = np.concatenate([[0], np.cumsum(LENGTHS)])
    return Encoded(ids.astype(np.int32), offsets, None, pad_id, "right", "")


def test_heads_of_other_kinds_are_refused() -> None:
    """XLM's gives a tuple, X-MOD's model wants to be told the language."""
    small = {"vocab_size": 50, "max_position_embeddings": 40}
    xlm = transformers.XLMWithLMHeadModel(transformers.XLMConfig(emb_dim=16, n_layers=1, n_heads=2, **small))
    with pytest.raises(ModelError, match="cannot be told apart from its encoder"):
        vocabulary_head(xlm)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    xmod = transformers.XmodForMaskedLM(transformers.XmodConfig(languages=["en_XX", "de_DE"], **small, **sizes))
    with pytest.raises(ModelError, match="XmodForMaskedLM: cannot read token ids alone"):
        vocabulary_head(xmod)


@torch.no_grad()
def test_masked_positions_alone_are_those_of_all(masked_model: Any) -> None:
    """Scores at some positions are what a forward over all positions has there."""
    model = masked_model
    batch = collate(texts(model.config.pad_token_id or 0), np.arange(4), names=["input_ids", "attention_mask"])
    chosen = batch["attention_mask"].bool() & (torch.arange(14) % 3 == 1)
    expected = model(**batch).logits
    found = vocabulary_head(model)(hidden_states(model, batch)[chosen])
    assert found.shape == (int(chosen.sum()), 50)
    torch.testing.assert_close(found, expected[chosen], rtol=1e-6, atol=1e-6 * expected.abs().max().item())


def test_a_head_has_no_parameters_of_its_own_and_all_that_are_outside_the_encoder(masked_model: Any) -> None:
    head = vocabulary_head(masked_model)
    assert not isinstance(head, nn.Module)
    used = {id(parameter) for module in head.modules for parameter in module.parameters()}
    assert used <= {id(parameter) for parameter in masked_model.parameters()}
    outside = {id(p) for p in masked_model.parameters()} - {id(p) for p in masked_model.base_model.parameters()}
    assert outside <= used
    assert head.vocabulary == 50


def test_looking_for_the_head_leaves_no_trace(tiny_masked: Any) -> None:
    model = tiny_masked("bert").train()
    model.bert.encoder.layer[1].eval()
    modes = [module.training for module in model.modules()]
    torch.manual_seed(3)
    before = torch.get_rng_state()
    vocabulary_head(model)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module._forward_hooks for module in model.modules())


def test_a_head_that_is_no_chain_is_refused(tiny_masked: Any) -> None:
    model = tiny_masked("distilbert")
    forward = model.forward

    def doubled(**inputs: Any) -> Any:
        out = forward(**inputs)
        out.logits = 2 * out.logits
        return out

    model.forward = doubled
    with pytest.raises(ModelError, match="cannot be told apart from its encoder"):
        vocabulary_head(model)


@torch.no_grad()
def together_and_alone(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states of four texts in two blocks, one of them padded, and of each in a row of its own."""
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
    if architecture != "mpnet":  # whose attention is written out
        model.set_attn_implementation(attention)
    found, expected = together_and_alone(model)
    whole = dtype == torch.float64 and (architecture, attention) != ("modernbert", "eager")  # a softmax in float32
    tolerance = (1e-12 if whole else 2e-5) * expected.abs().max().item()
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@torch.no_grad()
def test_a_plain_mask_would_let_texts_see_each_other(tiny_masked: Any) -> None:
    """What packing is compared with must be able to fail."""
    model = tiny_masked("bert")
    given = texts(0)
    inputs = packed_inputs(given, np.array([4]), names=["input_ids"])
    apart = hidden_states(model, inputs)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    assert (hidden_states(model, inputs) - apart).abs().max() > 0.01 * apart.abs().max()


@pytest.mark.parametrize("architecture", PACKING + NOT_PACKING)
def test_what_cannot_be_packed_is_found_out(architecture: str, tiny_masked: Any) -> None:
    """MobileBERT's embeddings look at the next token; DeBERTa's masks have another shape."""
    model = tiny_masked(architecture).train()
    assert packs(model, max_length=32) == (architecture in PACKING)
    assert model.training


@pytest.mark.parametrize("positions", [0, None])
def test_wrong_positions_are_found_out(
    positions: int | None, tiny_masked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RoBERTa counts from behind its padding id; told nothing, it counts through the block."""
    model = tiny_masked("roberta")
    monkeypatch.setattr(language_heads, "first_position", lambda config: 0)
    if positions is None:
        forward = model.roberta.forward
        model.roberta.forward = lambda input_ids, attention_mask: forward(input_ids, attention_mask)
    assert not packs(model, max_length=32)


def test_each_model_counts_the_positions_of_a_batch_as_it_does(tiny_masked: Any) -> None:
    """So that a teacher and a student of other families read the same blocks."""
    inputs = packed_inputs(texts(1), np.array([4]), names=["input_ids"])
    before = inputs["position_ids"].clone()
    for architecture, first in (("roberta", 2), ("bert", 0)):  # RoBERTa's padding id is 1
        assert torch.equal(model_inputs(tiny_masked(architecture), inputs)["position_ids"], before + first)
