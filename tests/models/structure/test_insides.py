"""What is recorded inside an encoder equals its own outputs and what its modules compute."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from understudy.errors import ModelError
from understudy.models.shrink.cut import layer_count
from understudy.models.structure.insides import InsidesRecorder
from understudy.models.structure.layers import base_model

IDS = torch.tensor([[5, 9, 23, 41, 7, 30], [3, 4, 5, 6, 0, 0]])
INPUTS = {"input_ids": IDS, "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])}
PROJECTED = {"bert", "roberta", "electra", "distilbert", "albert", "mpnet", "deberta-v2", "modernbert"}


def test_states_are_those_that_transformers_gives(classifier: Any, architecture: str) -> None:
    if architecture == "xlnet":
        pytest.skip("its states are tokens first, and it is not a masked language model")
    found = InsidesRecorder(classifier, hidden=[0, 2, 4])(INPUTS)
    expected = base_model(classifier)(**INPUTS, output_hidden_states=True)
    torch.testing.assert_close(found.last, expected[0])
    assert sorted(found.hidden) == [0, 2, 4]
    for depth in (0, 2):
        torch.testing.assert_close(found.hidden[depth], expected.hidden_states[depth])
    if architecture != "modernbert":  # a norm follows its last block
        torch.testing.assert_close(found.hidden[4], expected[0])


def test_vectors_are_what_the_attention_gets(
    classifier: Any, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The independent reference is the calls of torch's own attention function."""
    if architecture not in PROJECTED:
        with pytest.raises(ModelError, match="queries, keys and values"):
            InsidesRecorder(classifier, vectors=[0])
        return
    calls: list[tuple[torch.Tensor, ...]] = []
    own = torch.nn.functional.scaled_dot_product_attention

    def recording(query: Any, key: Any, value: Any, *args: Any, **options: Any) -> Any:
        calls.append((query, key, value))
        return own(query, key, value, *args, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", recording)
    found = InsidesRecorder(classifier, vectors=[1, 3])(INPUTS).vectors
    assert sorted(found) == [1, 3]
    if architecture in {"deberta-v2", "mpnet"}:  # they do not call torch's attention
        query = dict(classifier.named_modules())
        prefix, name = (
            ("deberta.encoder.layer.1.attention.self", "query_proj")
            if architecture == "deberta-v2"
            else (
                "mpnet.encoder.layer.1.attention.attn",
                "q",
            )
        )
        states = base_model(classifier)(**INPUTS, output_hidden_states=True).hidden_states
        torch.testing.assert_close(found[1][0], query[f"{prefix}.{name}"](states[1]))
        return
    assert len(calls) == 4
    for layer in (1, 3):
        for number, (part, given) in enumerate(zip(found[layer], calls[layer], strict=True)):
            if architecture == "modernbert" and number < 2:
                continue  # it is rotated by position in between
            torch.testing.assert_close(part, given.transpose(1, 2).flatten(2))


def test_nothing_is_left_behind(tiny_classifier: Any) -> None:
    model = tiny_classifier("bert")
    before = set(model.state_dict())
    InsidesRecorder(model, hidden=[1], vectors=[0])(INPUTS)
    assert all(not module._forward_hooks for module in model.modules())
    assert before == set(model.state_dict())


def test_a_shared_block_has_as_many_layers_as_passes() -> None:
    torch.manual_seed(0)
    model = transformers.AlbertModel(
        transformers.AlbertConfig(
            vocab_size=50, embedding_size=4, hidden_size=16, num_hidden_layers=3, num_attention_heads=2,
            intermediate_size=32,
        )
    ).eval()  # fmt: skip
    found = InsidesRecorder(model, hidden=range(4), vectors=range(3))(INPUTS)
    assert layer_count(model) == 3
    block = model.encoder.albert_layer_groups[0].albert_layers[0]
    for layer in range(3):
        torch.testing.assert_close(found.vectors[layer][2], block.attention.value(found.hidden[layer]))


def test_gradients_pass_through_what_is_recorded(tiny_classifier: Any) -> None:
    model = tiny_classifier("bert")
    found = InsidesRecorder(model, hidden=[1], vectors=[2])(INPUTS)
    (found.hidden[1].sum() + found.vectors[2][1].square().sum()).backward()
    assert model.bert.encoder.layer[2].attention.self.key.weight.grad is not None
    assert model.bert.encoder.layer[2].attention.self.value.weight.grad is None
