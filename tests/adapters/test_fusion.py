"""Fusion: attention over adapters, against a slow loop; what learns; what cannot be fused."""

from __future__ import annotations

import copy

import pytest
import torch
from adapter_toys import CONFIGS, build

from understudy.adapters.design import KINDS, AdapterDesign, design_of
from understudy.adapters.inject import adapter_tensors, add_adapter, add_fusion, learn_only, load_tensors, route_of
from understudy.adapters.layers.bottleneck import Bottleneck
from understudy.adapters.layers.fusion import Fusion, is_fused
from understudy.errors import ModelError


def some(names: str, width: int = 6) -> dict[str, Bottleneck]:
    made = {name: Bottleneck(width, 2 + i, non_linearity="tanh", scaling=1 + i) for i, name in enumerate(names)}
    for adapter in made.values():
        for parameter in adapter.parameters():
            torch.nn.init.normal_(parameter)
    return made


def test_it_is_attention_over_what_the_adapters_add() -> None:
    torch.manual_seed(0)
    fusion = Fusion(6, some("abc")).double()
    for parameter in fusion.parameters():
        torch.nn.init.normal_(parameter)
    states = torch.randn(2, 4, 6, dtype=torch.float64)
    found = fusion(states)
    for row in range(2):
        for token in range(4):
            z = states[row, token]
            added = [adapter(z) for adapter in fusion.fused.values()]
            query = fusion.query.weight @ z + fusion.query.bias
            scores = torch.stack([query @ (fusion.key.weight @ one + fusion.key.bias) for one in added])
            shares = scores.exp() / scores.exp().sum()
            wanted = sum(share * (fusion.value.weight @ one) for share, one in zip(shares, added))
            torch.testing.assert_close(found[row, token], wanted)


def test_at_first_equal_adapters_fused_are_one_of_them() -> None:
    torch.manual_seed(0)
    one = some("a")["a"]
    fusion = Fusion(6, {"a": one, "b": copy.deepcopy(one)})
    states = torch.randn(2, 3, 6)
    torch.testing.assert_close(fusion(states), one(states))


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("architecture", [name for name in CONFIGS if name != "albert"])
def test_in_an_encoder_the_attention_alone_learns(architecture: str, kind: str) -> None:
    ids = torch.randint(3, 50, (2, 7), generator=torch.Generator().manual_seed(0))
    plain = build(architecture)
    design = design_of(kind, reduction=4)
    alone, fused = copy.deepcopy(plain), copy.deepcopy(plain)
    add_adapter(alone, "a", design)
    for parameter in adapter_tensors(alone, "a").values():
        torch.nn.init.normal_(parameter, std=0.3)
    add_fusion(fused, "task", {"a": design, "b": design})
    own = {key: value.detach().clone() for key, value in adapter_tensors(fused, "task").items()}
    for key, value in adapter_tensors(alone, "a").items():
        where, rest = key.rsplit(".", 2)[0], ".".join(key.rsplit(".", 2)[1:])
        for name in "ab":
            own[f"{where}.fused.{name}.{rest}"] = value.detach().clone()
    load_tensors(fused, "task", own, origin="here")
    with torch.no_grad():  # two equal ones weigh one half each
        torch.testing.assert_close(fused(ids).logits, alone(ids).logits, rtol=1e-4, atol=1e-5)
    learn_only(fused, "task")
    fused(ids).logits.sum().backward()
    learns = {key for key, value in adapter_tensors(fused, "task").items() if value.requires_grad}
    assert learns == {key for key in own if not is_fused(key)}
    assert {key.rsplit(".", 2)[-2] for key in learns} == {"query", "key", "value"}
    assert all(p.grad is None for name, p in fused.named_parameters() if "_adapters." not in name or ".fused." in name)
    route_of(fused).through()
    with torch.no_grad():
        assert torch.equal(fused(ids).logits, plain(ids).logits)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (KINDS["houlsby"], "adapters of one kind can be fused"),
        (design_of("pfeiffer", norms=True), "also changes the norms"),
        (design_of("pfeiffer", invertible=2.0), "also changes the embeddings"),
    ],
)
def test_what_cannot_be_fused(other: AdapterDesign, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        add_fusion(build("bert"), "task", {"a": KINDS["pfeiffer"], "b": other})


@pytest.mark.parametrize("name", ["", "a.b", "keys"])
def test_names_that_no_module_can_have(name: str) -> None:
    with pytest.raises(ModelError, match=f"cannot be called '{name}'"):
        add_fusion(build("bert"), "task", {"a": KINDS["pfeiffer"], name: KINDS["pfeiffer"]})
