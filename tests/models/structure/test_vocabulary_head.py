"""The vocabulary head apart from its encoder: the same scores, also at some positions only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from understudy.data.tokens.encode import Encoded, collate
from understudy.errors import ModelError
from understudy.models.structure.hidden_states import hidden_states
from understudy.models.structure.vocabulary_head import vocabulary_head

LENGTHS = [9, 4, 14, 2]


def texts(pad_id: int) -> Encoded:
    ids = 5 + np.random.default_rng(0).integers(0, 44, sum(LENGTHS))
    offsets = np.concatenate([[0], np.cumsum(LENGTHS)])
    return Encoded(ids.astype(np.int32), offsets, None, pad_id, "right", "")


def test_heads_of_other_kinds_are_refused() -> None:
    """XLM's head returns a tuple; X-MOD's model needs the language."""
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
    """Scores at some positions equal those of a forward pass over all positions."""
    model = masked_model
    batch = collate(texts(model.config.pad_token_id or 0), np.arange(4), names=["input_ids", "attention_mask"])
    chosen = batch["attention_mask"].bool() & (torch.arange(14) % 3 == 1)
    expected = model(**batch).logits
    found = vocabulary_head(model)(hidden_states(model, batch)[chosen])
    assert found.shape == (int(chosen.sum()), 50)
    torch.testing.assert_close(found, expected[chosen], rtol=1e-6, atol=1e-6 * expected.abs().max().item())


def test_a_head_has_all_parameters_outside_the_encoder_and_no_others(masked_model: Any) -> None:
    head = vocabulary_head(masked_model)
    assert not isinstance(head, nn.Module)
    used = {id(parameter) for module in head.modules for parameter in module.parameters()}
    assert used <= {id(parameter) for parameter in masked_model.parameters()}
    outside = {id(p) for p in masked_model.parameters()} - {id(p) for p in masked_model.base_model.parameters()}
    assert outside <= used
    assert head.vocabulary == 50


def test_finding_the_head_leaves_no_trace(tiny_masked: Any) -> None:
    model = tiny_masked("bert").train()
    model.bert.encoder.layer[1].eval()
    modes = [module.training for module in model.modules()]
    torch.manual_seed(3)
    before = torch.get_rng_state()
    vocabulary_head(model)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module._forward_hooks for module in model.modules())


def test_a_head_that_is_not_a_chain_is_refused(tiny_masked: Any) -> None:
    model = tiny_masked("distilbert")
    forward = model.forward

    def doubled(**inputs: Any) -> Any:
        out = forward(**inputs)
        out.logits = 2 * out.logits
        return out

    model.forward = doubled
    with pytest.raises(ModelError, match="cannot be told apart from its encoder"):
        vocabulary_head(model)
