"""The parts of a block, whatever an architecture calls them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from understudy.errors import ModelError
from understudy.models.structure.blocks import block_parts, projections, scores_are_products

IDS = torch.tensor([[5, 9, 23, 41, 7, 30]])
BERT_LIKE = {"bert", "roberta", "electra", "distilbert", "albert"}
PROJECTED = BERT_LIKE | {"mpnet", "deberta-v2", "modernbert"}


def test_the_parts_run_by_hand_are_the_block(classifier: Any, architecture: str) -> None:
    """The independent reference is the model's own hidden states before and after each block."""
    if architecture not in BERT_LIKE:
        with pytest.raises(ModelError, match="not built as BERT's"):
            block_parts(classifier)
        return
    states = classifier(IDS, output_hidden_states=True).hidden_states
    found = block_parts(classifier)
    assert len(found) == (1 if architecture == "albert" else 4)
    for number, part in enumerate(found):
        before = states[number]
        query, key, value = (m(before).view(1, 6, 2, 8).transpose(1, 2) for m in (part.query, part.key, part.value))
        joined = torch.nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        middle = part.attention_norm(before + part.output(joined))
        activation = torch.nn.GELU("tanh") if architecture == "albert" else torch.nn.GELU()
        after = part.norm(middle + part.outer(activation(part.inner(middle))))
        torch.testing.assert_close(after, states[number + 1], rtol=1e-4, atol=1e-4)


def test_projections_are_those_of_the_model(classifier: Any, architecture: str) -> None:
    if architecture not in PROJECTED:
        with pytest.raises(ModelError, match="queries, keys and values"):
            projections(classifier)
        return
    found = projections(classifier)
    assert len(found) == (1 if architecture == "albert" else 4)
    for modules in found:
        assert sum(module.out_features for module in modules) == 3 * 16
        assert all(module.in_features == 16 for module in modules)


def test_positions_that_rotate_queries_and_keys_are_refused() -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    esm = transformers.EsmConfig(
        vocab_size=50, pad_token_id=1, mask_token_id=4, position_embedding_type="rotary", **sizes
    )
    for model in (
        transformers.RoFormerForMaskedLM(transformers.RoFormerConfig(vocab_size=50, **sizes)),
        transformers.EsmForMaskedLM(esm),
    ):
        assert not scores_are_products(model)
        with pytest.raises(ModelError, match="not built as BERT's"):
            block_parts(model)


def test_scores_are_products_where_positions_are_embedded(classifier: Any, architecture: str) -> None:
    assert scores_are_products(classifier) == (architecture in BERT_LIKE)


def test_a_block_with_another_part_is_refused(tiny_classifier: Any) -> None:
    model = tiny_classifier("bert")
    model.bert.encoder.layer[2].extra = torch.nn.Linear(2, 2)
    with pytest.raises(ModelError, match="not built as BERT's"):
        block_parts(model)
