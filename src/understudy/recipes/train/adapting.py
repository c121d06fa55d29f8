"""Adapters put into an encoder as the settings of a training command ask for them."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from understudy.adapters.design import AdapterDesign, design_of
from understudy.adapters.facts import AdapterFacts
from understudy.adapters.files import NAME, WEIGHTS, place_below, read_tensors, stack
from understudy.adapters.inject import adapter_tensors, add_adapter, add_fusion, load_tensors
from understudy.adapters.peft_methods import METHODS, add_peft, ia3_design, lora_design
from understudy.errors import ModelError
from understudy.models.files.names import adapter_folder, run_name
from understudy.settings.adapters import AdapterSettings

RATES = {
    **dict.fromkeys(("houlsby", "pfeiffer", "parallel", "bottleneck", "invertible", "lora"), 1e-3),
    "ia3": 5e-3,
    "fusion": 1e-4,
}
"""The peak rate where the settings name none, by the kind of adapter."""

_INVERTIBLE = 2.0
"""The reduction of an invertible adapter and of the bottlenecks beside it, as in MAD-X."""


class AddedAdapter(NamedTuple):
    """What was put into a model."""

    method: str
    design: dict[str, Any]
    below: dict[str, Any] | None
    """The design of the adapter that it is stacked on."""


def add_asked(model: Any, settings: AdapterSettings, *, seed: int) -> AddedAdapter:
    """Put the adapter that the settings name into a model, on top of the one that they stack it on.

    Torch's generator is as before afterwards; the same seed gives the same weights.

    Raises:
        ModelError: if it has no place there, or what it is made of belongs to another base.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        below = None
        if settings.stack_on is not None:
            below, tensors = _trained(model, settings.stack_on)
            place_below(model, below, tensors, origin=settings.stack_on)
        method, design = _fusion(model, settings.fuse) if settings.fuse else _new(model, settings)
        if below is not None:
            stack(model)
    return AddedAdapter(method, design, None if below is None else below.as_dict())


def rate_of(settings: AdapterSettings) -> float:
    """The peak rate of a new adapter where the settings name none."""
    return RATES["fusion" if settings.fuse else str(settings.adapter)]


def _new(model: Any, settings: AdapterSettings) -> tuple[str, dict[str, Any]]:
    """A new adapter: its method and its design."""
    dropped = settings.dropped()
    if settings.adapter in METHODS:
        if settings.adapter == "lora":
            scaling = 2.0 if settings.adapter_scaling is None else settings.adapter_scaling
            told = lora_design(model, rank=settings.rank or 8, scaling=scaling, leave_out=dropped)
        else:
            told = ia3_design(model, leave_out=dropped)
        add_peft(model, NAME, settings.adapter, told)
        return settings.adapter, told
    assert settings.adapter is not None
    invertible = settings.adapter == "invertible"
    design = design_of(
        "pfeiffer" if invertible else settings.adapter,
        reduction=_INVERTIBLE if invertible and settings.reduction is None else settings.reduction,
        non_linearity=settings.non_linearity,
        scaling=settings.adapter_scaling,
        norms=settings.adapter_norms,
        leave_out=dropped,
        invertible=_INVERTIBLE if invertible else None,
    )
    add_adapter(model, NAME, design, start=settings.adapter_start)
    return "bottleneck", design.as_dict()


def _fusion(model: Any, names: list[str]) -> tuple[str, dict[str, Any]]:
    """The fusion of trained adapters, whose weights are in it: its method and its design."""
    found: dict[str, tuple[AdapterDesign, dict[str, torch.Tensor]]] = {}
    for name in names:
        folder = adapter_folder(name)
        assert folder is not None
        key = run_name(folder)
        if key in found:
            raise ModelError(f"{name}: there is an adapter '{key}' already among those to fuse. Rename its folder.")
        found[key] = _trained(model, name)
    add_fusion(model, NAME, {key: design for key, (design, _) in found.items()})
    own: dict[str, torch.Tensor] = {key: value.detach() for key, value in adapter_tensors(model, NAME).items()}
    for key, (_, tensors) in found.items():
        for place, value in tensors.items():  # layer.0.output.down.weight
            where = place.split(".", 3)
            own[".".join([*where[:3], "fused", key, where[3]])] = value
    load_tensors(model, NAME, own, origin=" ".join(names))
    return "fusion", {key: design.as_dict() for key, (design, _) in found.items()}


def _trained(model: Any, name: str) -> tuple[AdapterDesign, dict[str, torch.Tensor]]:
    """The design and the weights of a trained adapter that becomes part of a new one.

    Raises:
        ModelError: if it belongs to another base, or is more than one bottleneck adapter.
    """
    folder = adapter_folder(name)
    assert folder is not None
    facts = AdapterFacts.read(folder)
    if facts.method != "bottleneck" or facts.below is not None or facts.base.kept is not None:
        what = facts.method if facts.method != "bottleneck" else "stacked" if facts.below is not None else "cut"
        raise ModelError(
            f"{name}: is a {what} adapter, which cannot be part of another one. Name one that was trained by itself with --adapter houlsby, pfeiffer, parallel or invertible."
        )
    facts.base.check(model, origin=name)
    return AdapterDesign.from_dict(facts.design), read_tensors(folder / WEIGHTS)
