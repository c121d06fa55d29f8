"""Adapters put into an encoder as the settings of a training command ask for them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import torch

from understudy.adapters.design import AdapterDesign, design_of
from understudy.adapters.facts import AdapterFacts
from understudy.adapters.files import NAME, WEIGHTS, place, place_below, read_tensors, stack
from understudy.adapters.inject import adapter_tensors, add_adapter, add_fusion, keep_layers, load_tensors
from understudy.adapters.peft.methods import METHODS, add_peft, ia3_design, lora_design
from understudy.errors import ConfigError, ModelError
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


class EarlierAdapter(NamedTuple):
    """The adapter of ``--load_adapter``, which training goes on from."""

    name: str
    folder: Path
    facts: AdapterFacts

    @classmethod
    def of(cls, settings: AdapterSettings) -> EarlierAdapter:
        """Read what is known of it.

        Raises:
            UnderstudyError: if it cannot be read, or cannot be taken out of single layers.
        """
        name = str(settings.load_adapter)
        folder = adapter_folder(name)
        assert folder is not None
        facts = AdapterFacts.read(folder)
        if facts.base.kept is not None:
            raise ConfigError(
                f"--load_adapter: {name} belongs to a model that was cut from {facts.base.name}, and is not trained further. Distil it again."
            )
        if settings.drop_adapters and facts.method != "bottleneck":
            raise ConfigError(
                f"--drop_adapters: {name} is a {facts.method} adapter, which is not taken out of single layers. Leave one of them out."
            )
        return cls(name, folder, facts)

    def placed(self, model: Any, *, without: Collection[int]) -> AddedAdapter:
        """Put it into a model of its base (see :meth:`Base.check`); its method and its design.

        Args:
            without: layers that it is taken out of.

        Raises:
            ModelError: if it does not fit.
        """
        place(model, self.folder, self.facts)
        design = self.facts.design
        if without:
            keep_layers(model, NAME, without=without)
            left = {*AdapterDesign.from_dict(design).leave_out, *without}
            design = {**design, "leave_out": sorted(left)}
        return AddedAdapter(self.facts.method, design, self.facts.below)


def add_asked(model: Any, settings: AdapterSettings, *, seed: int) -> AddedAdapter:
    """Put the adapter that the settings name into a model: a new one, on top of the one that they stack it on, or a trained one.

    Torch's generator is as before after a new one; the same seed gives the same weights.

    Raises:
        ModelError: if it has no place there, or what it is made of belongs to another base.
    """
    if settings.load_adapter is not None:
        return EarlierAdapter.of(settings).placed(model, without=settings.dropped())
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
    """The peak rate of an adapter where the settings name none."""
    if settings.load_adapter is not None:
        return RATES[EarlierAdapter.of(settings).facts.kind]
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
        reductions=settings.layer_reductions() or None,
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
        for part, value in tensors.items():  # layer.0.output.down.weight
            where = part.split(".", 3)
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
