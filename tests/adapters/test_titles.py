"""What people are told an adapter is."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from understudy.adapters.design import AdapterDesign, design_of
from understudy.adapters.facts import AdapterFacts, Base
from understudy.data.tasks import Task


@pytest.mark.parametrize(
    ("design", "title"),
    [
        (design_of("houlsby"), "houlsby"),
        (design_of("pfeiffer", invertible=2.0), "invertible (pfeiffer)"),
    ],
)
def test_an_invertible_adapter_is_called_so(design: AdapterDesign, title: str) -> None:
    """In its file it stays the kind that it is of."""
    facts = AdapterFacts(method="bottleneck", design=design.as_dict(), base=BASE, task=None, head=None, max_length=8)
    assert facts.title == title
    assert json.loads(facts.as_json())["understudy"]["kind"] == facts.kind == design.kind


BASE = Base(name="base", fingerprint="", model_type="bert", hidden_size=32, layers=4)
SINGLE = Task(text=(("text",),), label="score", kind="regression")
PAIR = Task(text=(("one",), ("other",)), label="score", kind="regression")


def test_a_head_of_pairs_is_none_for_single_texts() -> None:
    design = design_of("houlsby").as_dict()
    facts = AdapterFacts(method="bottleneck", design=design, base=BASE, task=PAIR, head="mean", max_length=8)
    assert facts.answers(replace(PAIR, label="other"))
    assert not facts.answers(SINGLE)
    assert not replace(facts, task=SINGLE).answers(PAIR)
    assert not replace(facts, task=None).answers(PAIR)


@pytest.mark.parametrize(
    ("changed", "library"),
    [
        ({}, "AdapterHub"),
        ({"head": None, "task": None}, "AdapterHub"),
        ({"head": "first_token"}, "AdapterHub"),
        ({"head": "mean"}, None),
        ({"head": "apart"}, None),
        ({"method": "lora", "design": {}}, "PEFT"),
        ({"method": "lora", "design": {}, "head": "mean"}, None),
        ({"below": {}}, None),
        ({"base": replace(BASE, kept=[0, 2])}, None),
        ({"design": design_of("houlsby", norms=True).as_dict()}, None),
        ({"base": replace(BASE, model_type="mpnet")}, None),
        ({"base": replace(BASE, model_type="modernbert"), "head": None, "task": None}, None),
        ({"base": replace(BASE, model_type="mpnet"), "method": "lora", "design": {}}, "PEFT"),
        ({"base": replace(BASE, model_type="albert")}, None),
        ({"base": replace(BASE, model_type="albert"), "design": design_of("pfeiffer").as_dict()}, "AdapterHub"),
    ],
)
def test_the_library_that_it_can_be_exported_to(changed: dict[str, Any], library: str | None) -> None:
    design = design_of("houlsby").as_dict()
    facts = AdapterFacts(method="bottleneck", design=design, base=BASE, task=PAIR, head="architecture", max_length=8)
    assert replace(facts, **changed).other_library == library
