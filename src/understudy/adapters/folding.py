r"""Parallel adapters folded into their base, whose feed-forward parts get wider.

A parallel adapter adds :math:`s (W_{up} f(W_{down} x + b) + c)` to the feed-forward part :math:`W_2 g(W_1 x + b_1) + b_2` that
reads the same x. Where f is g, its bottleneck is so many more neurons of that part. Where f is linear, it is twice as many,
because ReLU, GELU and Swish have :math:`g(z) - g(-z) = z`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from understudy.adapters.design import AdapterDesign
from understudy.adapters.inject import adapter_tensors, remove_adapter
from understudy.adapters.peft.methods import outer_product
from understudy.errors import ModelError
from understudy.models.structure.layers import base_model
from understudy.models.structure.sublayers import sublayers

_OURS = {
    **{name: name for name in ("relu", "gelu", "gelu_new")},
    "silu": "swish",
    "swish": "swish",
    "gelu_pytorch_tanh": "gelu_new",
    "gelu_python": "gelu",
}
"""Functions of which g(z) - g(-z) = z, by transformers' names."""


def fold_parallel(model: Any, name: str, design: AdapterDesign, *, origin: str) -> None:
    """Fold a parallel adapter into the weights of its base, and take it out. The answers stay the same, up to rounding.

    Args:
        name: what the adapter is called in the model.
        origin: where it is from, for messages.

    Raises:
        ModelError: if it is none that could be folded in.

    Reference:
        He et al. 2022, arXiv 2110.04366, section 3.1 (a feed-forward part as an adapter of large width).
    """
    config = _encoder_config(model)
    told = getattr(config, "hidden_act", None) or getattr(config, "activation", None)
    own = _OURS.get(str(told))
    odd = []
    if design.kind != "parallel" or design.invertible is not None:
        odd.append("has layers of its own between those of the base")
    elif own is None or not all(part.normed_after for part in sublayers(model)):
        odd.append(f"is beside feed-forward parts that are no plain products with {told} between them")
    elif design.non_linearity not in ("linear", own):
        odd.append(
            f"computes {design.non_linearity}, but the base computes {own} (--non_linearity {own} or linear could be merged)"
        )
    elif design.norm or design.norms:
        odd.append("has norms of its own")
    if odd:
        raise ModelError(
            f"{origin}: is a {design.kind} adapter, which {odd[0]}, so there is no weight of the base that it could be added to. Only lora, ia3, and a parallel one that is linear or has the base's function, can be merged."
        )
    weights = {key: value.detach() for key, value in adapter_tensors(model, name).items()}
    linear = design.non_linearity == "linear"
    sizes = [len(value) for key, value in weights.items() if key.endswith(".down.weight")]
    more = max(sizes) * (2 if linear else 1)
    for layer, part in enumerate(sublayers(model)):
        inner, outer = part.feed_forward.entry, outer_product(part.block)
        assert isinstance(inner, nn.Linear)
        found = [weights.get(f"layer.{layer}.output.{key}") for key in ("down.weight", "down.bias", "up.weight")]
        _widen(inner, outer, found, by=more, scaling=design.scaling, linear=linear)
        shift = weights.get(f"layer.{layer}.output.up.bias")
        if shift is not None:
            with torch.no_grad():
                outer.bias += design.scaling * shift
    wider = "hidden_dim" if config.model_type == "distilbert" else "intermediate_size"
    for one in {id(one): one for one in (config, base_model(model).config)}.values():
        setattr(one, wider, inner.out_features)
    remove_adapter(model, name)
    for parameter in model.parameters():
        parameter.requires_grad_(True)


def _widen(inner: Any, outer: Any, found: list[Tensor | None], *, by: int, scaling: float, linear: bool) -> None:
    """Give a feed-forward part so many more neurons; those that no adapter needs add nothing."""
    rows, shifts = inner.weight.new_zeros(by, inner.in_features), inner.bias.new_zeros(by)
    columns = outer.weight.new_zeros(outer.out_features, by)
    down, bias, up = found
    if down is not None and bias is not None and up is not None:
        size = len(down)
        rows[:size], shifts[:size], columns[:, :size] = down, bias, scaling * up
        if linear:
            rows[size : 2 * size], shifts[size : 2 * size], columns[:, size : 2 * size] = -down, -bias, -scaling * up
    with torch.no_grad():
        inner.weight = nn.Parameter(torch.cat([inner.weight, rows]))
        inner.bias = nn.Parameter(torch.cat([inner.bias, shifts]))
        outer.weight = nn.Parameter(torch.cat([outer.weight, columns], dim=1))
    inner.out_features = outer.in_features = inner.out_features + by


def _encoder_config(model: Any) -> Any:
    config = base_model(model).config
    return getattr(model.config, "encoder_config", config)
