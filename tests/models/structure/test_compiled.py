"""Blocks compiled for training: the numbers are the same, and no trace is left afterwards."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from understudy.errors import ModelError
from understudy.models.structure import compiled
from understudy.models.structure.compiled import compiled_blocks
from understudy.models.structure.compiler import can_compile
from understudy.models.structure.first_token import classifier_logits
from understudy.models.structure.layers import encoder_layers
from understudy.models.students.static import StaticBag, StaticConfig
from understudy.training.dropout import FastDropout

INPUTS = {
    "input_ids": torch.tensor([[5, 6, 7, 8, 9], [10, 11, 12, 1, 1]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
}
WHOLE = {name: tensor[:1] for name, tensor in INPUTS.items()}
"""Without padding, so transformers passes no mask on."""
pytestmark = [
    # from torch itself while it traces and compiles
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
]
LONGER = {name: tensor.repeat(2, 2) for name, tensor in INPUTS.items()}


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The compiled graphs. Machine code, which takes most of the time, is not generated."""
    graphs: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(compiled.torch, "compile", partial(torch.compile, backend=backend))
    torch.compiler.reset()
    return graphs


def loss_and_gradients(model: Any, inputs: dict[str, Tensor]) -> list[Tensor]:
    model.zero_grad()
    with FastDropout():
        loss = classifier_logits(model, inputs).square().sum()
    loss.backward()
    return [loss.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]


def test_every_architecture_learns_the_same(
    classifier: Any, captured: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    expected = [loss_and_gradients(classifier, inputs) for inputs in (INPUTS, LONGER)]
    ways = [(False, False), (True, True)]  # as validation and training take turns
    if classifier.config.model_type == "modernbert":  # its blocks have the most variants: more than torch's own limit
        ways = list(product((False, True), repeat=2))
    with compiled_blocks(classifier):
        found = [loss_and_gradients(classifier, inputs) for inputs in (INPUTS, LONGER)]
        for training, learns in ways:
            classifier.train(training)
            if learns:
                loss_and_gradients(classifier, WHOLE)
            else:
                with torch.no_grad():
                    classifier(**WHOLE)
    assert captured
    assert "recompile_limit" not in caplog.text
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_nothing_stays(tiny_classifier: Any, captured: list[Any]) -> None:
    model = tiny_classifier("bert")
    classifier_logits(model, INPUTS)  # from now on the last block has its own forward
    names, kept = list(model.state_dict()), [vars(block).get("forward") for block in encoder_layers(model)]
    with compiled_blocks(model):
        loss_and_gradients(model, INPUTS)
        assert list(model.state_dict()) == names
        copy.deepcopy(model.state_dict())
    assert [vars(block).get("forward") for block in encoder_layers(model)] == kept
    pickle.dumps(model)
    before = len(captured)
    loss_and_gradients(model, LONGER)
    assert len(captured) == before
    with pytest.raises(RuntimeError, match="stop"), compiled_blocks(model):
        raise RuntimeError("stop")
    assert [vars(block).get("forward") for block in encoder_layers(model)] == kept


def test_dropout_is_torchs_own_inside(tiny_classifier: Any, captured: list[Any]) -> None:
    """A compiler fuses dropout with the operations around it; dropout by sixteen random bits would prevent that."""
    model = tiny_classifier("bert").train()
    assert model.config.hidden_dropout_prob > 0
    with compiled_blocks(model):
        loss_and_gradients(model, INPUTS)
    called = [str(node.target) for graph in captured for node in graph.graph.nodes]
    assert any("dropout" in name for name in called)
    assert not any("random_" in name for name in called)


@pytest.mark.skipif(not can_compile(), reason="there is no C++ compiler")
def test_machine_code_says_the_same(tiny_classifier: Any) -> None:
    model = tiny_classifier("bert")
    expected = loss_and_gradients(model, INPUTS)
    torch.compiler.reset()
    with compiled_blocks(model):
        found = loss_and_gradients(model, INPUTS)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_model_without_blocks_is_refused() -> None:
    model = StaticBag(StaticConfig(vocab_size=20, embedding_size=4, num_labels=2))
    with pytest.raises(ModelError, match="no stack of layers"), compiled_blocks(model):
        pass
