"""Parallel adapters folded into the feed-forward parts of their base: the same answers without an adapter."""

from __future__ import annotations

import pytest
import torch
from adapter_toys import build

from understudy.adapters.design import design_of
from understudy.adapters.folding import fold_parallel
from understudy.adapters.inject import adapter_tensors, add_adapter, route_of
from understudy.errors import ModelError

FUNCTIONS = {"bert": "gelu", "roberta": "gelu", "distilbert": "gelu", "albert": "gelu_new", "electra": "gelu"}
FUNCTIONS |= {"mpnet": "gelu", "deberta-v2": "gelu", "xlm-roberta": "gelu"}


@pytest.mark.parametrize("architecture", FUNCTIONS)
@pytest.mark.parametrize("linear", [True, False])
def test_the_answers_stay(architecture: str, linear: bool) -> None:
    """A linear one is twice as many neurons, one with the base's function as many; a layer without one keeps its answer."""
    model = build(architecture)
    function = "linear" if linear else FUNCTIONS[architecture]
    left_out = () if architecture == "albert" else (1,)
    design = design_of("parallel", reduction=4, non_linearity=function, leave_out=left_out)
    torch.manual_seed(0)
    inputs = {"input_ids": torch.randint(3, 50, (4, 9)), "attention_mask": torch.ones(4, 9).long()}
    with torch.no_grad():
        bare = model(**inputs).logits
        add_adapter(model, "a", design)
        route_of(model).through("a")
        for parameter in adapter_tensors(model, "a").values():
            parameter.normal_(std=0.3)
        expected = model(**inputs).logits
        fold_parallel(model, "a", design, origin="here")
        found = model(**inputs).logits
    assert (expected - bare).abs().max() > 1e-2
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    size = getattr(model.config, "hidden_dim" if architecture == "distilbert" else "intermediate_size")
    assert size == 32 + 4 * (2 if linear else 1)
    assert not adapter_tensors(model, "a")
    again = type(model)(model.config).eval()
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again(**inputs).logits, found)


def test_what_cannot_be_folded() -> None:
    cases = [
        ("bert", design_of("houlsby"), "layers of its own"),
        ("bert", design_of("parallel", non_linearity="tanh"), "computes tanh, but the base computes gelu"),
        ("bert", design_of("parallel", non_linearity="linear", norms=True), "has norms of its own"),
        ("modernbert", design_of("parallel", non_linearity="linear"), "no plain products"),
    ]
    for architecture, design, message in cases:
        model = build(architecture)
        add_adapter(model, "a", design)
        with pytest.raises(ModelError, match=message):
            fold_parallel(model, "a", design, origin="here")
