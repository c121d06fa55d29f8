"""Logits without the last block's work on tokens that the head does not read, against transformers' own."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from understudy.models.structure.first_token import classifier_logits
from understudy.models.structure.layers import base_model

FAMILIES = ["bert", "roberta", "electra", "distilbert"]
INPUTS = {
    "input_ids": torch.tensor([[5, 6, 7, 8, 9], [10, 11, 12, 1, 1]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
}
WHOLE = {name: tensor[:1] for name, tensor in INPUTS.items()}
"""Without padding, so transformers passes no mask on."""


def flops(call: Callable[[], Any]) -> int:
    counter = FlopCounterMode(display=False)
    with counter:
        call()
    return counter.get_total_flops()


@pytest.mark.parametrize("inputs", [INPUTS, WHOLE], ids=["padded", "whole"])
@torch.no_grad()
def test_scores_are_the_models_own(classifier: Any, inputs: dict[str, torch.Tensor]) -> None:
    """Holds for every architecture, including those without the shortcut."""
    torch.testing.assert_close(classifier_logits(classifier, inputs), classifier(**inputs).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_the_same_for_less_work(tiny_classifier: Any, family: str) -> None:
    model = tiny_classifier(family).double()
    gradients = []
    for forward in (lambda: model(**INPUTS).logits, lambda: classifier_logits(model, INPUTS)):
        model.zero_grad()
        forward().square().sum().backward()
        gradients.append([None if p.grad is None else p.grad.clone() for p in model.parameters()])
    for whole, short in zip(*gradients, strict=True):
        assert (whole is None) == (short is None)
        if whole is not None:
            torch.testing.assert_close(short, whole, rtol=1e-9, atol=1e-12)
    assert flops(lambda: classifier_logits(model, INPUTS)) < 0.9 * flops(lambda: model(**INPUTS))


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_the_model_stays_as_it_is(tiny_classifier: Any, family: str) -> None:
    model = tiny_classifier(family)
    before = base_model(model)(**INPUTS).last_hidden_state
    names = list(model.state_dict())
    classifier_logits(model, INPUTS)
    assert torch.equal(base_model(model)(**INPUTS).last_hidden_state, before)
    assert list(model.state_dict()) == names
    other = copy.deepcopy(model)
    next(other.parameters()).zero_()
    torch.testing.assert_close(classifier_logits(other, INPUTS), other(**INPUTS).logits)
    assert not torch.allclose(classifier_logits(other, INPUTS), classifier_logits(model, INPUTS))
    again = pickle.loads(pickle.dumps(model))  # noqa: S301 - written right here
    next(again.parameters()).zero_()
    assert torch.equal(classifier_logits(again, INPUTS), classifier_logits(other, INPUTS))


def test_a_block_that_was_the_last_one_is_whole_in_the_middle(tiny_classifier: Any) -> None:
    """A student may have its teacher's blocks in another order."""
    model = tiny_classifier("bert")
    classifier_logits(model, INPUTS)
    blocks = model.bert.encoder.layer
    blocks.insert(0, blocks.pop(-1))
    torch.testing.assert_close(classifier_logits(model, WHOLE), model(**WHOLE).logits)


def test_dropout_falls_on_it_in_training(tiny_classifier: Any) -> None:
    model = tiny_classifier("bert").train()
    model.config.hidden_dropout_prob = 0.0
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    torch.testing.assert_close(classifier_logits(model, INPUTS), model(**INPUTS).logits)
    model.bert.encoder.layer[-1].attention.self.dropout.p = 0.5
    assert not torch.allclose(classifier_logits(model, INPUTS), classifier_logits(model, INPUTS))


@pytest.mark.parametrize("change", ["eager", "decoder", "chunks", "checkpoints"])
def test_other_ways_of_computing_are_left_alone(tiny_classifier: Any, change: str) -> None:
    model = tiny_classifier("bert")
    if change == "eager":
        model.set_attn_implementation("eager")
    elif change == "decoder":
        model.config.is_decoder = True
    elif change == "chunks":
        model.config.chunk_size_feed_forward = 1
    else:
        model.activation_checkpointing_enable()
        model.train()
    assert flops(lambda: classifier_logits(model, INPUTS)) == flops(lambda: model(**INPUTS))
