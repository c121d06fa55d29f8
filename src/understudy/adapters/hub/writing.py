"""Adapters written as the library AdapterHub reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from understudy.adapters.design import AdapterDesign
from understudy.adapters.facts import AdapterFacts
from understudy.adapters.heads import FirstTokenHead
from understudy.adapters.hub.architectures import PREFIXES, unfit_for_hub
from understudy.adapters.inject import adapter_tensors
from understudy.atomic import OUTPUT, new_folder
from understudy.errors import ModelError
from understudy.models.structure.layers import base_model

_VERSION = "adapters.1.3.0"
_PLACES: dict[str, tuple[str, str]] = {
    "distilbert": (
        "distilbert.transformer.layer.{}.attention_adapters.adapters",
        "distilbert.transformer.layer.{}.output_adapters.adapters",
    ),
    "albert": (
        "albert.encoder.albert_layer_groups.{}.albert_layers.{}.attention.attention_adapters.adapters",
        "albert.encoder.albert_layer_groups.{}.albert_layers.{}.output_adapters.adapters",
    ),
}


def check_for_hub(facts: AdapterFacts, *, origin: str) -> None:
    """Check that AdapterHub can compute an adapter.

    Args:
        origin: where it is, for messages.

    Raises:
        ModelError: if it has no such architecture, or no such adapter.
    """
    if facts.method != "bottleneck":
        raise ModelError(f"{origin}: a {facts.method} adapter is PEFT's. Write it with --format peft.")
    reason = unfit_for_hub(facts.base.model_type, AdapterDesign.from_dict(facts.design))
    if reason is not None:
        raise ModelError(f"{origin}: {reason}")


def write_hub_adapter(folder: Path, model: Any, facts: AdapterFacts, head: FirstTokenHead | None, *, name: str) -> None:
    """Write an adapter, and its head if it has one, in AdapterHub's format, as safetensors.

    Args:
        model: a model with this adapter, called ``task`` in it.
        head: its head as AdapterHub computes it; None for one without.
        name: what the adapter is called there.

    Raises:
        ModelError: if AdapterHub has no such architecture, or cannot compute the adapter.
        OutputError: if the folder cannot be written.
    """
    config = base_model(model).config
    check_for_hub(facts, origin=str(folder))
    design = AdapterDesign.from_dict(facts.design)
    tensors = {
        _key(key, config, name): value.detach().contiguous() for key, value in adapter_tensors(model, "task").items()
    }
    heads = {
        f"heads.{name}.{3 * i + 1}.{part}": value.detach().contiguous()
        for i, linear in enumerate([] if head is None else head.linear)
        for part, value in linear.named_parameters()
    }
    about = {
        "hidden_size": config.hidden_size,
        "model_class": _class(config.model_type),
        "model_name": facts.base.name if "/" in facts.base.name and not Path(facts.base.name).is_absolute() else "",
        "model_type": config.model_type,
        "name": name,
        "version": _VERSION,
    }
    with new_folder(folder, remedy=OUTPUT, replace=True) as temporary:
        _write(temporary / "adapter_config.json", {"config": _config(design), **about})
        save_file(tensors, temporary / "adapter.safetensors", metadata={"format": "pt"})
        if head is not None:
            _write(temporary / "head_config.json", {"config": _head_config(facts, head), **about})
            save_file(heads, temporary / "model_head.safetensors", metadata={"format": "pt"})


def _key(key: str, config: Any, name: str) -> str:
    prefix = PREFIXES[config.model_type]
    if key.startswith("invertible."):
        _, half, rest = key.split(".", 2)
        return f"{prefix}.invertible_adapters.{name}.{'F' if half == 'first' else 'G'}.{rest}"
    _, number, place, part, kind = key.split(".")
    normed = config.understudy_adapters["task"]["norm"]  # then the norm is the first of the modules before `up`
    usual = (f"{prefix}.encoder.layer.{{}}.attention.output.adapters", f"{prefix}.encoder.layer.{{}}.output.adapters")
    where = _PLACES.get(config.model_type, usual)[place == "output"]
    inner = getattr(config, "inner_group_num", 1)
    layer = int(number)
    numbers = (layer // inner, layer % inner) if config.model_type == "albert" else (layer,)
    own = "up" if part == "up" else "down.1" if normed and part == "down" else "down.0"
    return f"{where.format(*numbers)}.{name}.adapter_{own}.{kind}"


def _config(design: AdapterDesign) -> dict[str, Any]:
    reduction: Any = design.reduction
    if design.reductions:
        reduction = {**{str(layer): value for layer, value in design.reductions.items()}, "default": design.reduction}
    return {
        "adapter_residual_before_ln": False,
        "cross_adapter": False,
        "dropout": 0.0,
        "init_weights": "mam_adapter" if design.reads == "input" else "bert",
        "inv_adapter": None if design.invertible is None else "nice",
        "inv_adapter_reduction_factor": design.invertible,
        "is_parallel": design.reads == "input",
        "leave_out": list(design.leave_out),
        "ln_after": False,
        "ln_before": design.norm,
        "mh_adapter": design.attention,
        "non_linearity": design.non_linearity,
        "original_ln_after": True,
        "original_ln_before": design.reads == "norm",
        "output_adapter": design.feed_forward,
        "phm_layer": False,
        "reduction_factor": reduction,
        "residual_before_ln": True,
        "scaling": design.scaling,
        "use_gating": False,
    }


def _head_config(facts: AdapterFacts, head: FirstTokenHead) -> dict[str, Any]:
    task = facts.task
    assert task is not None
    labels = task.labels or (task.label,)
    return {
        "activation_function": head.name,
        "bias": head.linear[-1].bias is not None,
        "dropout_prob": None,
        "head_type": "multilabel_classification" if task.kind == "multi_label" else "classification",
        "label2id": {label: number for number, label in enumerate(labels)},
        "layers": len(head.linear),
        "num_labels": task.outputs,
        "use_pooler": False,
    }


def _class(model_type: str) -> str:
    classes = {"xlm-roberta": "XLMRoberta", "deberta-v2": "DebertaV2", "distilbert": "DistilBert"}
    return f"{classes.get(model_type, model_type.capitalize())}AdapterModel"


def _write(path: Path, told: dict[str, Any]) -> None:
    path.write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")
