"""Adapters put into an encoder, chosen, and taken out again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from understudy.adapters.design import AdapterDesign, Start, check_layers
from understudy.adapters.layers.bottleneck import Bottleneck
from understudy.adapters.layers.fusion import Fusion, is_fused
from understudy.adapters.layers.invertible import INVERTIBLE, Coupling, embedding_site
from understudy.adapters.route import Route
from understudy.adapters.sites import open_sites, product_sites, sites_of
from understudy.errors import ModelError
from understudy.models.structure.layers import base_model
from understudy.models.structure.sublayers import sublayers

_OF_PEFT = re.compile(r"\.(lora_[AB]|ia3_l)\.")
"""What PEFT puts into an encoder."""
_BY_PEFT = {"down.weight": "lora_A.weight", "up.weight": "lora_B.weight"}
"""What PEFT calls the parts of a LoRA."""

_NARROW_EMBEDDINGS = ("albert", "electra")
"""Architectures whose embeddings have a width of their own, and are widened after the module that makes them."""


def add_adapter(model: Any, name: str, design: AdapterDesign, *, start: Start = "identity") -> None:
    """Put a new adapter into an encoder and let all rows pass through it. Weights are drawn from torch's current seed.

    The encoder's modules and its code stay as they are: the adapters compute in hooks. They are submodules of the
    blocks, ``attention_adapters`` and ``output_adapters``, so they are saved, moved and copied with the model.

    Args:
        model: an encoder of transformers, with or without a head.
        name: what it is called from now on.
        design: what it computes, and where.
        start: as in :class:`understudy.adapters.layers.bottleneck.Bottleneck`.

    Raises:
        ModelError: if the encoder's sublayers cannot be found, if there is an adapter of this name, if the design leaves out
            layers that there are not, or all, or if it is an invertible one of an encoder with a convolution.
    """
    sites = open_sites(model)
    route = route_of(model)
    width = int(base_model(model).config.hidden_size)
    check_name(model, name)
    _check_layers(model, design)
    if design.invertible is not None and getattr(base_model(model).config, "conv_kernel_size", 0) > 0:
        raise ModelError(
            f"{type(base_model(model)).__name__}: a convolution in it reads the embeddings of padding, which an invertible adapter would change. Use another kind of adapter."
        )
    like = next(base_model(model).parameters())
    for layer, place, site in sites:
        if _is_at(design, layer, place):
            adapter = _bottleneck(design, layer, width, start)
            site.add(name, adapter.to(like.device, like.dtype), _reads(design, place))
        if design.norms and layer not in design.leave_out:
            site.add_norm(name)
    if design.invertible is not None:
        config = base_model(model).config
        wide = config.embedding_size if config.model_type in _NARROW_EMBEDDINGS else width
        coupling = Coupling(wide, design.invertible, non_linearity=design.non_linearity, start=start)
        embedding_site(model, route).adapters[name] = coupling.to(like.device, like.dtype)
    tell_designs(model, {**designs(model), name: design.as_dict()})
    route.through(name)


def add_fusion(model: Any, name: str, fused: Mapping[str, AdapterDesign]) -> None:
    """Put the fusion of several adapters into an encoder and let all rows pass through it.

    Args:
        model: as for :func:`add_adapter`.
        name: what it is called from now on.
        fused: the designs of the adapters, by name. Their weights have yet to be loaded.

    Raises:
        ModelError: if they are not of one kind, one of them brings norms or changes the embeddings, or has no usable name.
    """
    if odd := [key for key in fused if not key or "." in key or hasattr(nn.ModuleDict(), key)]:
        raise ModelError(f"an adapter in a fusion cannot be called '{odd[0]}'. Rename its folder.")
    first = next(iter(fused.values()))
    for other, design in fused.items():
        if (design.kind, design.attention_reads) != (first.kind, first.attention_reads):
            raise ModelError(
                f"adapters of one kind can be fused, but '{other}' is a {design.kind} and '{next(iter(fused))}' a {first.kind}. Name adapters of one kind."
            )
        if design.norms or design.invertible is not None:
            raise ModelError(
                f"the adapter '{other}' also changes {'the norms' if design.norms else 'the embeddings'}, which cannot be fused. Leave it out."
            )
    sites = open_sites(model)
    route = route_of(model)
    width, like = int(base_model(model).config.hidden_size), next(base_model(model).parameters())
    check_name(model, name)
    for design in fused.values():
        _check_layers(model, design)
    for layer, place, site in sites:
        held = {
            key: _bottleneck(design, layer, width, "identity")
            for key, design in fused.items()
            if _is_at(design, layer, place)
        }
        if held:
            site.add(name, Fusion(width, held).to(like.device, like.dtype), _reads(first, place))
    tell_designs(model, {**designs(model), name: {key: design.as_dict() for key, design in fused.items()}})
    route.through(name)


def _bottleneck(design: AdapterDesign, layer: int, width: int, start: Start) -> Bottleneck:
    return Bottleneck(
        width,
        design.bottleneck(layer, width),
        non_linearity=design.non_linearity,
        scaling=design.scaling,
        norm=design.norm,
        start=start,
    )


def _is_at(design: AdapterDesign, layer: int, place: str) -> bool:
    """Whether an adapter computes at a place of a layer."""
    held = {"attention": design.attention, "output": design.feed_forward}[place]
    return held and layer not in design.leave_out


def _reads(design: AdapterDesign, place: str) -> str:
    return design.attention_reads if place == "attention" else design.reads


def remove_adapter(model: Any, name: str) -> None:
    """Take an adapter out; no adapter computes afterwards."""
    tell_designs(model, {known: told for known, told in designs(model).items() if known != name})
    for _, _, site in (*sites_of(model), *product_sites(model)):
        site.remove(name)
    embedding = getattr(base_model(model), INVERTIBLE, None)
    if embedding is not None and name in embedding.adapters:
        del embedding.adapters[name]
    for _, _, site in sites_of(model)[:1]:
        site.route.through()


def keep_layers(model: Any, name: str, *, without: Iterable[int]) -> None:
    """Take an adapter out of some layers.

    Raises:
        ModelError: if there is no such layer, or if no layer is left.
    """
    dropped = set(without)
    known = {layer for layer, _, _ in sites_of(model)}
    left = {layer for layer, _, site in sites_of(model) if name in site.adapters} - dropped
    if not dropped <= known or not left:
        raise ModelError(
            f"an adapter cannot be taken out of layers {', '.join(map(str, sorted(dropped)))}: {'there is none left then' if not left else f'the layers are 0 to {max(known)}'}. Name fewer layers."
        )
    for layer, _, site in sites_of(model):
        if layer in dropped:
            site.remove(name)
    told = designs(model)
    told[name] = {**told[name], "leave_out": sorted({*told[name]["leave_out"], *dropped})}
    tell_designs(model, told)


def lowest_layer(model: Any, name: str) -> int:
    """The lowest layer that an adapter changes anything in; 0 if it changes the embeddings.

    It counts blocks: those that several layers of an ALBERT share are one.
    """
    embedding = getattr(base_model(model), INVERTIBLE, None)
    if embedding is not None and name in embedding.adapters:
        return 0
    return min(
        layer
        for layer, _, site in (*sites_of(model), *product_sites(model))
        if name in site.adapters or name in site.norms
    )


def designs(model: Any) -> dict[str, Any]:
    """The adapters in an encoder: for each name its design, as :meth:`AdapterDesign.as_dict` tells it."""
    return dict(getattr(base_model(model).config, "understudy_adapters", None) or {})


def tell_designs(model: Any, told: dict[str, Any]) -> None:
    """Write the designs into the configurations, because the answers depend on them as on everything else there."""
    for config in {id(part.config): part.config for part in (model, base_model(model))}.values():
        config.understudy_adapters = told


def route_of(model: Any) -> Route:
    """What chooses the adapters that compute.

    Raises:
        ModelError: if the encoder has no adapters.
    """
    sites = sites_of(model)
    if not sites:
        raise ModelError(f"{type(model).__name__}: has no adapters. Add or load one first.")
    return sites[0][2].route


def adapter_tensors(model: Any, name: str) -> dict[str, nn.Parameter]:
    """The parameters of an adapter.

    Those of a bottleneck have names that are the same for every architecture, ``layer.0.output.down.weight``; those of
    LoRA and IA³ have PEFT's, without the adapter's.
    """
    of_peft = {
        key.replace(f".{name}", ""): parameter
        for key, parameter in base_model(model).named_parameters()
        if f".{name}" in key and _OF_PEFT.search(key) and "_adapters." not in key
    }
    embedding = getattr(base_model(model), INVERTIBLE, None)
    if embedding is not None and name in embedding.adapters:
        of_peft |= {f"invertible.{key}": value for key, value in embedding.adapters[name].named_parameters()}
    of_peft |= {
        f"{product}.{_BY_PEFT.get(key, key)}": parameter
        for _, product, site in product_sites(model)
        if name in site.adapters
        for key, parameter in site.adapters[name].named_parameters()
    }
    return of_peft | {
        f"layer.{layer}.{place}.{'' if part is site.adapters else 'own_norm.'}{key}": parameter
        for layer, place, site in sites_of(model)
        for part in (site.adapters, site.norms)
        if name in part
        for key, parameter in part[name].named_parameters()
    }


def load_tensors(model: Any, name: str, tensors: Mapping[str, Tensor], *, origin: str) -> None:
    """Give an adapter these weights.

    Args:
        origin: where they are from, for messages.

    Raises:
        ModelError: if they are not those of this adapter: other names, shapes, or no finite numbers.
    """
    own = adapter_tensors(model, name)
    faults = [f"it lacks '{key}'" for key in own if key not in tensors][:1]
    faults += [f"'{key}' has no place in this encoder" for key in tensors if key not in own][:1]
    faults += [
        f"'{key}' has the shape {tuple(tensors[key].shape)}, but must have {tuple(own[key].shape)}"
        for key in own
        if key in tensors and tensors[key].shape != own[key].shape
    ][:1]
    faults += [f"'{key}' holds numbers that are not finite" for key in tensors if not tensors[key].isfinite().all()][:1]
    if faults:
        raise ModelError(
            f"{origin}: does not fit {type(base_model(model)).__name__}: {'; '.join(faults)}. Name the base that the adapter was trained on, or copy the adapter again."
        )
    with torch.no_grad():
        for key, parameter in own.items():
            parameter.copy_(tensors[key])


def learn_only(model: nn.Module, name: str, *, also: Iterable[nn.Parameter] = ()) -> None:
    """Freeze everything but an adapter and some more parameters, such as those of a new head.

    Of a fusion only the attention learns: the adapters that it fuses have learnt already.
    """
    own = [parameter for key, parameter in adapter_tensors(model, name).items() if not is_fused(key)]
    learns = {id(parameter) for parameter in (*own, *also)}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in learns)


def encoder_tensors(model: Any) -> Iterator[tuple[str, Tensor]]:
    """The encoder's own weights and buffers by name, adapters left out."""
    for name, tensor in base_model(model).state_dict().items():
        if "_adapters." not in name and not _OF_PEFT.search(name):
            yield name.replace(".base_layer.", "."), tensor


def check_name(model: Any, name: str) -> None:
    """Check that a new adapter of an encoder can be called so.

    Raises:
        ModelError: if there is one of this name, or torch has taken it.
    """
    if name in designs(model):
        raise ModelError(f"there is an adapter '{name}' already. Give the new one another name, or remove the old one.")
    if not name or "." in name:
        raise ModelError(f"an adapter's name must not be empty or have a dot, but is '{name}'. Give another name.")
    if hasattr(nn.ModuleDict(), name):
        raise ModelError(
            f"an adapter cannot be called '{name}', which is a word of torch. Give another name, or rename its folder."
        )


def _check_layers(model: Any, design: AdapterDesign) -> None:
    layers = len(sublayers(model))
    check_layers(type(base_model(model)).__name__, layers, left_out=design.leave_out, named=design.reductions)
