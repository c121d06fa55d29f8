"""LoRA, IA³ and fusions beside bottlenecks on one base, against models in which PEFT put one of them; banks that hold their weights."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from adapter_toys import CONFIGS, build
from torch import Tensor, nn

from understudy.adapters.design import design_of
from understudy.adapters.inject import (
    adapter_tensors,
    add_adapter,
    add_fusion,
    lowest_layer,
    remove_adapter,
    route_of,
)
from understudy.adapters.layers.bottleneck import Bottleneck, bank_of, grouped
from understudy.adapters.peft.methods import add_peft, ia3_design, lora_design
from understudy.adapters.peft.shared import add_shared
from understudy.adapters.shared_pass import states_by_row, states_of_each
from understudy.adapters.sites import product_sites, sites_of
from understudy.errors import ModelError
from understudy.models.structure.layers import base_model

pytest.importorskip("peft")
MIXING = sorted(set(CONFIGS) - {"deberta-v2"})
INPUTS = {
    "input_ids": torch.tensor([[5, 9, 23, 41, 7, 30], [6, 8, 7, 2, 1, 1], [12, 13, 14, 15, 2, 1], [9, 8, 3, 4, 11, 2]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1]]),
}


def design_of_peft(method: str, encoder: Any) -> dict[str, Any]:
    """A LoRA with a scaling of its own, or an IA³; neither is in the lowest layer if there are several."""
    without = (0,) * (len({layer for layer, _, _ in sites_of(encoder)} or {0, 1}) > 1)
    without = () if encoder.config.model_type == "albert" else without
    if method == "lora":
        return {**lora_design(encoder, rank=3, scaling=0.7, leave_out=without), "use_rslora": True}
    return ia3_design(encoder, leave_out=without)


@torch.no_grad()
def drawn(model: Any, name: str, seed: int) -> dict[str, Tensor]:
    """The adapter's weights, drawn anew."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in adapter_tensors(model, name).values():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return {key: value.detach().clone() for key, value in adapter_tensors(model, name).items()}


@torch.no_grad()
def last_states(encoder: Any) -> Tensor:
    return encoder(**INPUTS)[0]


def shared(encoder: Any, name: str, method: str, alone: Any) -> None:
    """The adapter of another model, put beside others."""
    tensors = {key: value.detach() for key, value in adapter_tensors(alone, "task").items()}
    design = design_of_peft(method, build(alone.config.model_type).base_model)
    add_shared(encoder, name, method, design, tensors, origin="x")
    with torch.no_grad():
        for key, parameter in adapter_tensors(encoder, name).items():
            parameter.copy_(tensors[key])


def by_peft(architecture: str, method: str) -> Any:
    """An encoder in which PEFT computes an adapter with drawn weights."""
    encoder = base_model(build(architecture))
    add_peft(encoder, "task", method, design_of_peft(method, encoder))
    drawn(encoder, "task", seed=4)
    return encoder


@pytest.mark.parametrize("architecture", MIXING)
def test_rows_of_one_batch_through_lora_ia3_and_bottlenecks(architecture: str) -> None:
    encoder = base_model(build(architecture))
    plain = last_states(encoder)
    expected = {}
    for method in ("lora", "ia3"):
        alone = by_peft(architecture, method)
        shared(encoder, method, method, alone)
        assert adapter_tensors(encoder, method).keys() == adapter_tensors(alone, "task").keys()
        expected[method] = last_states(alone)
        torch.testing.assert_close(last_states(encoder), expected[method], rtol=1e-4, atol=1e-5)
        assert (expected[method] - plain).abs().max() > 1e-2
    add_adapter(encoder, "houlsby", design_of("houlsby", reduction=4))
    drawn(encoder, "houlsby", seed=5)
    expected["houlsby"] = last_states(encoder)
    names = ("houlsby", "ia3", "lora")
    with torch.inference_mode():
        found = states_by_row(encoder, INPUTS, names, torch.tensor([2, 0, 1, -1]))
        each = states_of_each(encoder, INPUTS, names)
    for row, name in enumerate(("lora", "houlsby", "ia3")):
        torch.testing.assert_close(found[row], expected[name][row], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[3], plain[3], rtol=1e-4, atol=1e-5)
    for name, states in zip(names, each):
        torch.testing.assert_close(states, expected[name], rtol=1e-4, atol=1e-5)


def test_what_lies_below_a_lora_is_computed_once() -> None:
    encoder = base_model(build("bert"))
    for method in ("lora", "ia3"):
        alone = by_peft("bert", method)
        shared(encoder, method, method, alone)
        assert lowest_layer(encoder, method) == 1
    rows: list[int] = []
    for block in encoder.encoder.layer:
        block.register_forward_hook(lambda module, args, output: rows.append(len(output)))
    with torch.inference_mode():
        states_of_each(encoder, INPUTS, ("lora", "ia3"))
    assert rows == [4, 8, 8]


def test_stacked_on_another_adapter_and_taken_out_again() -> None:
    encoder = base_model(build("bert"))
    plain, alone = last_states(encoder), by_peft("bert", "lora")
    shared(encoder, "lora", "lora", alone)
    for model in (encoder, alone):
        add_adapter(model, "below", design_of("pfeiffer", reduction=4))
        drawn(model, "below", seed=6)
    route_of(encoder).through("below", "lora")
    torch.testing.assert_close(last_states(encoder), last_states(alone), rtol=1e-4, atol=1e-5)  # PEFT's always computes
    remove_adapter(encoder, "lora")
    assert not adapter_tensors(encoder, "lora")
    assert not any(len(site.adapters) for _, _, site in product_sites(encoder))
    assert torch.equal(last_states(encoder), plain)


def test_a_stack_is_in_its_order() -> None:
    """What the one before has left is what the next one reads or multiplies."""
    encoder, states = base_model(build("bert")), {}
    for method in ("lora", "ia3"):
        alone = by_peft("bert", method)
        shared(encoder, method, method, alone)
    for order in (("lora", "ia3"), ("ia3", "lora")):
        route_of(encoder).through(*order)
        states[order] = last_states(encoder)
    assert (states["lora", "ia3"] - states["ia3", "lora"]).abs().max() > 1e-3
    value = encoder.encoder.layer[1].attention.self.value  # which both change
    x = torch.randn(1, 2, 16)
    a, b = (adapter_tensors(encoder, "lora")[f"encoder.layer.1.attention.self.value.lora_{x}.weight"] for x in "AB")
    factors = adapter_tensors(encoder, "ia3")["encoder.layer.1.attention.self.value.ia3_l"].flatten()
    plain, added = x @ value.weight.T + value.bias, 0.7 * 3**0.5 * (x @ a.T @ b.T)
    for order, expected in ((("lora", "ia3"), factors * (plain + added)), (("ia3", "lora"), factors * plain + added)):
        route_of(encoder).through(*order)
        torch.testing.assert_close(value(x), expected)


def test_a_fusion_beside_others() -> None:
    encoder = base_model(build("bert"))
    design = design_of("pfeiffer", reduction=4)
    expected = {}
    add_fusion(encoder, "fused", {"a": design, "b": design_of("pfeiffer", reduction=2)})
    drawn(encoder, "fused", seed=1)
    expected["fused"] = last_states(encoder)
    add_adapter(encoder, "one", design)
    drawn(encoder, "one", seed=2)
    expected["one"] = last_states(encoder)
    with torch.inference_mode():
        found = states_by_row(encoder, INPUTS, ("one", "fused"), torch.tensor([1, 0, 1, 1]))
    for row, name in enumerate(("fused", "one", "fused", "fused")):
        torch.testing.assert_close(found[row], expected[name][row], rtol=1e-4, atol=1e-5)


def some(count: int) -> list[Bottleneck]:
    torch.manual_seed(0)
    made = [
        Bottleneck(6, 2 + i, non_linearity=["relu", "tanh"][i % 2], scaling=1.0 + i, norm=i == 1, outputs=5)
        for i in range(count)
    ]
    for adapter in made:
        for parameter in adapter.parameters():
            nn.init.normal_(parameter)
    return made


@torch.no_grad()
def test_a_bank_holds_the_adapters_themselves() -> None:
    """Nothing is there twice: what changes in an adapter changes in its bank."""
    adapters, states = some(3), torch.randn(4, 3, 6)
    numbers = torch.tensor([2, 0, 1, 3])
    before = [adapter(states) for adapter in adapters]
    bank = bank_of(adapters)
    for _ in range(2):
        found = grouped(states, bank, numbers)
        for row, adapter in enumerate((adapters[2], adapters[0], adapters[1])):
            torch.testing.assert_close(found[row], adapter(states)[row])
        assert not found[3].any()
        for adapter in adapters:
            for parameter in adapter.parameters():
                parameter.mul_(1.5)
    assert all(torch.equal(one, two) for one, two in zip(before, [adapter(states) for adapter in some(3)]))
    memory = {part.untyped_storage().data_ptr() for part in (bank.down, bank.up)}
    assert all(one.untyped_storage().data_ptr() in memory for a in adapters for one in (a.down.weight, a.up.weight))


def test_a_bank_is_made_anew_when_its_adapters_are_elsewhere() -> None:
    encoder = base_model(build("bert"))
    for i, name in enumerate("abc"):
        add_adapter(encoder, name, design_of("houlsby", reduction=4 + i))
        drawn(encoder, name, seed=i)
    numbers = torch.tensor([0, 1, 0, 1])

    def mixed(model: Any, *names: str) -> Tensor:
        with torch.inference_mode():
            return states_by_row(model, INPUTS, names, numbers)

    first = mixed(encoder, "a", "b")
    bank = sites_of(encoder)[0][2]._banks["sublayer"][1]
    assert not torch.equal(mixed(encoder, "c", "b"), first)
    assert torch.equal(mixed(encoder, "a", "b"), first)
    assert sites_of(encoder)[0][2]._banks["sublayer"][1] is bank  # of all adapters, whichever are asked
    other = copy.deepcopy(encoder)
    torch.testing.assert_close(mixed(other, "a", "b"), first)
    drawn(other, "a", seed=9)
    assert not torch.allclose(mixed(other, "a", "b"), first)
    assert torch.equal(mixed(encoder, "a", "b"), first)
    torch.testing.assert_close(mixed(encoder.double(), "a", "b"), first.double(), rtol=1e-4, atol=1e-5)
    remove_adapter(encoder, "c")
    add_adapter(encoder, "d", design_of("houlsby", reduction=2))
    torch.testing.assert_close(mixed(encoder, "a", "b"), first.double(), rtol=1e-4, atol=1e-5)


def test_what_cannot_be_shared_is_refused() -> None:
    deberta = base_model(build("deberta-v2"))
    with pytest.raises(
        ModelError, match=r"x: is a lora, which in a DebertaV2Model changes how all rows .* see positions"
    ):
        add_shared(deberta, "a", "lora", {}, {}, origin="x")
    bert = base_model(build("bert"))
    query = "encoder.layer.0.attention.self.query"
    shapes = {f"{query}.lora_A.weight": torch.zeros(2, 16), f"{query}.lora_B.weight": torch.zeros(16, 2)}
    outside = {"pooler.dense.lora_A.weight": torch.zeros(2, 16), "pooler.dense.lora_B.weight": torch.zeros(16, 2)}
    with pytest.raises(ModelError, match=r"x: changes 'pooler.dense', which is no product inside a block"):
        add_shared(bert, "a", "lora", {"r": 2, "lora_alpha": 4}, outside, origin="x")
    with pytest.raises(ModelError, match=r"has factors of the shape \(3, 1\), but must have \(16, 1\) or \(1, 16\)"):
        add_shared(bert, "a", "ia3", {}, {f"{query}.ia3_l": torch.zeros(3, 1)}, origin="x")
    add_shared(bert, "a", "lora", {"r": 2, "lora_alpha": 4}, shapes, origin="x")
    with pytest.raises(ModelError, match="there is an adapter 'a' already"):
        add_shared(bert, "a", "lora", {"r": 2, "lora_alpha": 4}, shapes, origin="x")
