"""What people are told an adapter is."""

from __future__ import annotations

import json

import pytest

from understudy.adapters.design import AdapterDesign, design_of
from understudy.adapters.facts import AdapterFacts, Base


@pytest.mark.parametrize(
    ("design", "title"),
    [
        (design_of("houlsby"), "houlsby"),
        (design_of("pfeiffer", invertible=2.0), "invertible (pfeiffer)"),
    ],
)
def test_an_invertible_adapter_is_called_so(design: AdapterDesign, title: str) -> None:
    """In its file it stays the kind that it is of."""
    base = Base(name="base", fingerprint="", model_type="bert", hidden_size=32, layers=4)
    facts = AdapterFacts(method="bottleneck", design=design.as_dict(), base=base, task=None, head=None, max_length=8)
    assert facts.title == title
    assert json.loads(facts.as_json())["understudy"]["kind"] == facts.kind == design.kind
