"""LoRA and IA³ beside other adapters on one base: PEFT's weights in sites of ours, so that rows of one batch may have different ones."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from understudy.adapters.inject import check_name, designs, route_of, tell_designs
from understudy.adapters.layers.bottleneck import Bottleneck
from understudy.adapters.sites import open_product, open_sites
from understudy.errors import ModelError, shortened
from understudy.models.structure.layers import base_model
from understudy.models.structure.sublayers import sublayers

_SHARED_PRODUCTS = ("deberta-v2",)
"""Architectures that project more than the rows' states with the products of their attention: positions, for all rows at once."""
_READS = {"lora": "input", "ia3": "sublayer"}
"""What of a site they read: what the product reads, or what they multiply."""


class Factors(nn.Module):
    r"""What an IA³ adds to the states that it multiplies.

    .. math:: A(h) = (l - 1) \odot h

    Args:
        shape: of l, as PEFT has it.

    Reference:
        Liu et al. 2022, arXiv 2205.05638, section 3.3.

    Example:
        >>> Factors(torch.Size([4, 1]))(torch.ones(1, 2, 4)).abs().max().item()
        0.0
    """

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.ia3_l = nn.Parameter(torch.ones(shape))

    def forward(self, states: Tensor) -> Tensor:
        """What is added for states ``(rows, tokens, width)``; the same shape."""
        return (self.ia3_l.flatten() - 1) * states


def add_shared(
    model: Any, name: str, method: str, design: Mapping[str, Any], tensors: Mapping[str, Tensor], *, origin: str
) -> None:
    """Put a LoRA or IA³ that PEFT trained into an encoder, beside others, and let all rows pass through it.

    Args:
        name: what it is called from now on.
        method: ``lora`` or ``ia3``.
        design: PEFT's configuration.
        tensors: the weights, by the names of :func:`understudy.adapters.inject.adapter_tensors`. Their shapes are read; they have
            yet to be loaded.
        origin: where it is from, for messages.

    Raises:
        ModelError: if there is one of this name, or it changes what adapters cannot share.
    """
    check_name(model, name)
    base = base_model(model)
    if base.config.model_type in _SHARED_PRODUCTS:
        raise ModelError(
            f"{origin}: is {'a lora' if method == 'lora' else 'an ia3'}, which in a {type(base).__name__} changes how all rows of a batch see positions, so it shares no base. Load it alone: understudy.load."
        )
    names = {id(module): key for key, module in base.named_modules()}
    inside = {names[id(module)]: module for parts in sublayers(model) for module in parts.block.modules()}
    changed = {re.split(r"\.(?:lora_|ia3_l)", key)[0]: value.shape for key, value in tensors.items()}
    if odd := [key for key in changed if not isinstance(inside.get(key), nn.Linear)]:
        raise ModelError(
            f"{origin}: changes '{odd[0]}', which is no product inside a block of this encoder. Load it alone (understudy.load), or name the base that it was trained on."
        )
    rank, scaling = _rank_and_scaling(design, tensors, origin=origin) if method == "lora" else (0, 1.0)
    open_sites(model)
    for key, shape in changed.items():
        product: Any = inside[key]
        shapes = ((product.out_features, 1), (1, product.in_features))
        if method == "ia3" and tuple(shape) not in shapes:
            raise ModelError(
                f"{origin}: does not fit {type(base).__name__}: '{key}' has factors of the shape {tuple(shape)}, but must have {shapes[0]} or {shapes[1]}. Name the base that the adapter was trained on, or copy the adapter again."
            )
        adapter = Factors(shape) if method == "ia3" else _low_rank(product, scaling, rank)
        site = open_product(product, route_of(model), on_input=method == "ia3" and tuple(shape) == shapes[1])
        site.add(name, adapter.to(product.weight.device, product.weight.dtype), _READS[method])
    tell_designs(model, {**designs(model), name: {"method": method, **design}})
    route_of(model).through(name)


def _rank_and_scaling(design: Mapping[str, Any], tensors: Mapping[str, Tensor], *, origin: str) -> tuple[int, float]:
    """Of a LoRA: the rank that its weights have and its configuration names, and what its products are multiplied by."""
    rank, alpha = design.get("r", 8), design.get("lora_alpha", 8)
    found = {len(value) for key, value in tensors.items() if ".lora_A." in key}
    if type(rank) is not int or {rank} != found or not isinstance(alpha, (int, float)) or not math.isfinite(alpha):
        raise ModelError(
            f"{origin}: its rank is {shortened(rank)} and its lora_alpha {shortened(alpha)}, but its weights have the rank {' or '.join(map(str, sorted(found)))}. Copy the adapter again."
        )
    return rank, alpha / (math.sqrt(rank) if design.get("use_rslora") else rank)


def _low_rank(product: nn.Linear, scaling: float, rank: int) -> Bottleneck:
    """A LoRA of a product, which reads what the product does: s B A x."""
    return Bottleneck(
        product.in_features,
        rank,
        outputs=product.out_features,
        bias=False,
        non_linearity="linear",
        scaling=scaling,
    )
