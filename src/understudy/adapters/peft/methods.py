"""LoRA and IA³, which the library PEFT puts into an encoder."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import nn

from understudy.adapters.design import check_layers
from understudy.adapters.inject import check_name, designs, tell_designs
from understudy.errors import ModelError, require
from understudy.models.structure.blocks import projections
from understudy.models.structure.layers import base_model
from understudy.models.structure.sublayers import sublayers

METHODS = ("lora", "ia3")
_KEPT = {
    "lora": ("r", "lora_alpha", "target_modules", "use_rslora"),
    "ia3": ("target_modules", "feedforward_modules"),
}
"""What of PEFT's configurations is kept: the rest is for other methods, or for training."""


def lora_design(model: Any, *, rank: int = 8, scaling: float = 2.0, leave_out: Collection[int] = ()) -> dict[str, Any]:
    r"""LoRA on the queries and values of an encoder, as PEFT's configuration.

    .. math:: W x + s \, B A x, \quad A \in \mathbb{R}^{r \times d}, \; B \in \mathbb{R}^{d \times r}, \; B = 0 \text{ at first}

    In an encoder that computes queries, keys and values in one product (ModernBERT) it is on all three.

    Args:
        rank: r.
        scaling: s; PEFT's ``lora_alpha`` is r times that.
        leave_out: layers without it.

    Raises:
        ModelError: if the encoder's projections cannot be found, the rank is more than its width, or all layers are left
            out, or one that there is not.

    Reference:
        Hu et al. 2022, "LoRA", arXiv 2106.09685, section 4.1.
    """
    width = int(base_model(model).config.hidden_size)
    if rank > width:
        raise ModelError(
            f"a lora of rank {rank} computes no more than one of rank {width}, the width of this {type(base_model(model)).__name__}. Give a rank of {width} or less."
        )
    chosen = [made[::2] for made in _of_layers(model, projections(model), leave_out)]
    targets = _names(model, [module for made in chosen for module in made])
    return {"r": rank, "lora_alpha": scaling * rank, "target_modules": targets}


def ia3_design(model: Any, *, leave_out: Collection[int] = ()) -> dict[str, Any]:
    r"""IA³ on the keys, the values and the feed-forward parts of an encoder, as PEFT's configuration.

    .. math:: l_k \odot K, \quad l_v \odot V, \quad W_2 (l_{ff} \odot f(W_1 x)), \quad l = 1 \text{ at first}

    Args:
        leave_out: layers without it.

    Raises:
        ModelError: if the encoder's projections cannot be found, or all layers are left out, or one that there is not.

    Reference:
        Liu et al. 2022, arXiv 2205.05638, section 3.3.
    """
    keys = [made[1:] or made for made in _of_layers(model, projections(model), leave_out)]
    outer = [outer_product(part.block) for part in _of_layers(model, sublayers(model), leave_out)]
    inner = _names(model, outer)
    return {"target_modules": _names(model, [m for made in keys for m in made]) + inner, "feedforward_modules": inner}


def add_peft(model: Any, name: str, method: str, design: Mapping[str, Any], *, origin: str = "--adapter") -> None:
    """Let PEFT put an adapter into an encoder. At first it changes no output.

    Args:
        method: one of :data:`METHODS`.
        design: PEFT's configuration, as :func:`lora_design` makes it.
        origin: where the design is from, for messages.

    Raises:
        UnderstudyError: if PEFT is not installed.
        ModelError: if PEFT does not take the design.
    """
    peft = require("peft", extra="peft")
    check_name(model, name)
    kept = {key: design[key] for key in _KEPT[method] if key in design}
    rank, most = kept.get("r"), 4 * int(base_model(model).config.hidden_size)
    if isinstance(rank, int) and rank > most:  # before memory is taken
        raise ModelError(
            f"{origin}: its rank is {rank}, more than four times the width of this {type(base_model(model)).__name__}. Name the base that the adapter was made for, or copy the adapter again."
        )
    try:
        config = {"lora": peft.LoraConfig, "ia3": peft.IA3Config}[method](**kept)
        peft.inject_adapter_in_model(config, base_model(model), adapter_name=name)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise ModelError(
            f"{origin}: PEFT cannot put this into {type(base_model(model)).__name__}: {reason}. Name the base that the adapter was made for."
        ) from error
    tell_designs(model, {**designs(model), name: {"method": method, **kept}})


def _of_layers(model: Any, parts: Sequence[Any], leave_out: Collection[int]) -> list[Any]:
    """The parts of the layers that are not left out."""
    check_layers(type(base_model(model)).__name__, len(parts), left_out=leave_out)
    return [part for layer, part in enumerate(parts) if layer not in leave_out]


def _names(model: Any, modules: list[nn.Module]) -> list[str]:
    """The names of modules in the encoder, each once."""
    known = {id(module): name for name, module in base_model(model).named_modules()}
    return list(dict.fromkeys(known[id(module)] for module in modules))


def outer_product(block: nn.Module) -> Any:
    """The product that leads from the feed-forward part's inner size back."""
    inside = dict(block.named_modules())
    return next(inside[name] for name in ("output.dense", "ffn.lin2", "ffn_output", "mlp.Wo") if name in inside)


def merge_peft(model: Any) -> None:
    """Fold what PEFT put into an encoder into its weights, and take PEFT's modules out again."""
    base = base_model(model)
    for name, module in list(base.named_modules()):
        if hasattr(module, "get_base_layer") and hasattr(module, "merge"):
            module.merge()
            above, _, last = name.rpartition(".")
            setattr(base.get_submodule(above), last, module.get_base_layer())
    tell_designs(model, {})
    for parameter in model.parameters():
        parameter.requires_grad_(True)
