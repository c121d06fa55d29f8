"""PEFT's checkpoints of LoRA and IA³, read and written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from understudy.adapters.facts import AdapterFacts
from understudy.adapters.inject import adapter_tensors
from understudy.adapters.peft.methods import METHODS
from understudy.atomic import OUTPUT, new_folder
from understudy.errors import ModelError, require, shortened
from understudy.models.structure.layers import base_model, head_tensors
from understudy.models.students.pooled import PooledEncoder

_WEIGHTS = "adapter_model.safetensors"
_OUTER = "base_model.model."
_READ = {"r", "lora_alpha", "target_modules", "feedforward_modules", "use_rslora", "peft_type", "modules_to_save"}
_READ |= {"task_type", "init_lora_weights", "base_model_name_or_path"}
_SAY_NOTHING = {
    *("auto_mapping", "peft_version", "revision", "inference_mode", "layers_pattern", "runtime_config"),
    *("lora_dropout", "init_ia3_weights", "megatron_core", "qalora_group_size", "fan_in_fan_out"),
}
"""Keys of PEFT's configurations that change nothing in what a trained adapter computes in an encoder."""
_TASKS = (None, "SEQ_CLS", "FEATURE_EXTRACTION")
"""PEFT's tasks whose head, if there is one, answers for a text as a whole."""
_STARTS = ("gaussian", "eva", "orthogonal", "true", "false")
"""Where the weights of a LoRA may begin, by PEFT's names, so that the base's stay as they are. Others, such as PiSSA, take a part out
of the base's weights, also when the adapter is loaded."""


class PeftCheckpoint(NamedTuple):
    """What a folder of PEFT holds."""

    method: str
    design: dict[str, Any]
    tensors: dict[str, Tensor]
    """Of the adapter, by PEFT's names in the model with its head: ``bert.encoder.layer.0…``."""
    head: dict[str, Tensor]
    """What else was saved, by the model's names."""
    base: str


def is_peft(folder: Path) -> bool:
    """Whether an adapter's folder was written by PEFT."""
    try:
        return "peft_type" in json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def read_peft(folder: Path) -> PeftCheckpoint:
    """A LoRA or IA³ that PEFT saved as safetensors.

    Raises:
        ModelError: if the files are missing or damaged, or the adapter computes what is not known here.
    """
    path = folder / "adapter_config.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    method = str(told.get("peft_type")).lower()
    odd = [
        key for key in told if key not in _READ | _SAY_NOTHING and told[key] not in (None, False, "none", {}, [], "")
    ]
    if method not in METHODS or odd:
        what = (
            f"its peft_type is {shortened(told.get('peft_type'))}"
            if method not in METHODS
            else f"it sets {', '.join(odd)}"
        )
        raise ModelError(f"{path}: {what}, which is not known here. Only plain LoRA and IA³ are.")
    task, start = told.get("task_type"), told.get("init_lora_weights")
    if task not in _TASKS:
        raise ModelError(
            f"{path}: its task_type is {shortened(task)}, whose head cannot be read here. Only those of classifiers (SEQ_CLS) and adapters without a head (FEATURE_EXTRACTION) can. Use it with PEFT."
        )
    if isinstance(start, str) and start.lower() not in _STARTS:
        raise ModelError(
            f"{path}: its init_lora_weights is {shortened(start)}, which changes the weights of the base too, so in the base as it is it would answer something else. Make a plain LoRA of it where it was trained: save_pretrained(..., path_initial_model_for_weight_conversion=...)."
        )
    try:
        tensors = {key.removeprefix(_OUTER): value.float() for key, value in load_file(folder / _WEIGHTS).items()}
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"{folder / _WEIGHTS}: cannot be read: {error}. Pickles are not opened: save the adapter as safetensors, or copy it again."
        ) from None
    own = {key for key in tensors if ".lora_" in key or ".ia3_l" in key}
    design = {key: told[key] for key in ("r", "lora_alpha", "use_rslora") if told.get(key) is not None}
    design |= {key: told[key] for key in ("target_modules", "feedforward_modules") if told.get(key)}
    return PeftCheckpoint(
        method=method,
        design=design,
        tensors={key: tensors[key] for key in own},
        head={key: value for key, value in tensors.items() if key not in own},
        base=str(told.get("base_model_name_or_path") or ""),
    )


def write_peft(folder: Path, model: Any, facts: AdapterFacts) -> None:
    """Write a LoRA or IA³, with its head if it has one, so that PEFT loads it into the base with a head of the same class.

    Raises:
        ModelError: if the adapter is none of these, or its head is none of the architecture's.
        OutputError: if the folder cannot be written.
    """
    if facts.method not in METHODS:
        raise ModelError(f"a {facts.title} adapter is none of PEFT's. Write it with --format adapterhub.")
    if facts.head == "mean" or isinstance(model, PooledEncoder):
        raise ModelError(
            f"{type(model).__name__}: its head reads means of the states, which is no head of transformers. Train with --pooling head to write it for PEFT."
        )
    peft = require("peft", extra="peft")
    prefix = f"{model.base_model_prefix}." if base_model(model) is not model else ""
    head = head_tensors(model)
    names = dict.fromkeys(name for name in (key.partition(".")[0] for key in head) if f"{name}." != prefix)
    names |= dict.fromkeys(key.split(".")[1] for key in head if key.startswith(prefix))  # a pooler
    config = {"lora": peft.LoraConfig, "ia3": peft.IA3Config}[facts.method](
        **facts.design,
        task_type="FEATURE_EXTRACTION" if facts.head is None else "SEQ_CLS",
        modules_to_save=list(names),
        base_model_name_or_path=facts.base.name,
    )
    tensors: Mapping[str, Tensor] = {
        **{f"{_OUTER}{prefix}{key}": value for key, value in adapter_tensors(model, "task").items()},
        **{f"{_OUTER}{key}": value for key, value in head.items()},
    }
    with new_folder(folder, remedy=OUTPUT, replace=True) as temporary:
        config.save_pretrained(str(temporary))
        save_file(
            {key: value.detach().contiguous() for key, value in tensors.items()}, temporary / _WEIGHTS, {"format": "pt"}
        )
