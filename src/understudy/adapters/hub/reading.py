"""AdapterHub's folders read: what an adapter computes, its weights, its head and its labels."""

from __future__ import annotations

import json
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from understudy.adapters.design import FUNCTION_NAMES, AdapterDesign
from understudy.data.tasks import Task
from understudy.errors import ModelError, shortened

_FILES = {"adapter": ("adapter.safetensors", "pytorch_adapter.bin")}
_FILES["head"] = ("model_head.safetensors", "pytorch_model_head.bin")
_OLD_FUNCTIONS = {"gelu": "gelu_new", "gelu_orig": "gelu"}
"""What these meant before the library wrote its version into its files."""
_PLAIN = {"use_gating": False, "phm_layer": False, "cross_adapter": False, "ln_after": False}
_PLAIN |= {"adapter_residual_before_ln": False, "residual_before_ln": True, "original_ln_after": True}
"""Options of which one value alone is computed here."""
_TENSOR = re.compile(
    r"(?P<where>.*?)\.(?P<group>adapters|(?:attention_text|layer_text)_(?:task|lang)_adapters)\."
    r"(?P<name>[^.]+)\.(?P<part>adapter_down\.\d|adapter_up)\.(?P<kind>weight|bias)"
)
_INVERTIBLE = re.compile(r".*?\binvertible(?:_lang)?_adapters\.[^.]+\.(?P<part>[FG])\.(?P<rest>\d\.(?:weight|bias))")
_LAYER = re.compile(r"\.layers?\.(\d+)(?:\.|$)")
_ALBERT_LAYER = re.compile(r"albert_layer_groups\.(\d+)\.albert_layers\.(\d+)")


@dataclass(frozen=True)
class HubAdapter:
    """What an AdapterHub folder holds."""

    design: AdapterDesign
    tensors: dict[str, Tensor]
    """By the names of :func:`understudy.adapters.inject.adapter_tensors`."""
    model_type: str
    hidden_size: int
    base: str
    """The base that it names; may be empty."""
    task: Task | None
    """Without a head there is none."""
    head: dict[str, Tensor]
    """By the names of :class:`understudy.adapters.heads.FirstTokenHead`."""
    head_options: dict[str, Any]


def read_hub_adapter(folder: Path) -> HubAdapter:
    """An adapter in AdapterHub's format, in either of its file formats, of any of its versions.

    Pickles are read by torch with ``weights_only``, which executes no code in them.

    Raises:
        ModelError: if a file is missing, damaged or holds code, or the adapter computes what is not computed here.
    """
    told = _json(folder / "adapter_config.json")
    config = told.get("config")
    if not isinstance(config, dict):
        raise ModelError(
            f"{folder / 'adapter_config.json'}: its 'config' must say what the adapter computes, but is {shortened(config)}. Save it with a newer version of adapters."
        )
    tensors = _renamed(_tensors(folder, "adapter"), norm=bool(config.get("ln_before")), origin=folder)
    task, head, options = _head(folder)
    size = told.get("hidden_size")
    return HubAdapter(
        design=_design(_as_today(config, told, tensors), told, origin=folder / "adapter_config.json"),
        tensors=tensors,
        model_type=str(told.get("model_type", "")),
        hidden_size=size if isinstance(size, int) else 0,
        base=str(told.get("model_name") or ""),
        task=task,
        head=head,
        head_options=options,
    )


def _as_today(config: Mapping[str, Any], told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The options of a configuration with the names and meanings that they have in files of today."""
    function, nested = config.get("non_linearity"), config.get("invertible_adapter")
    found = dict(config)
    if "version" not in told and isinstance(function, str):
        found["non_linearity"] = _OLD_FUNCTIONS.get(function, function)
    if isinstance(nested, Mapping) and nested:
        found["inv_adapter"] = nested.get("block_type")
        found["inv_adapter_reduction_factor"] = nested.get("reduction_factor")
    if told.get("type") == "text_task" and not any(key.startswith("invertible.") for key in tensors):
        found["inv_adapter"] = None  # old adapters of tasks name one that they do not have
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file. Name a folder that AdapterHub's save_adapter wrote.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be read as JSON: {error}. Copy the adapter again.") from None
    if not isinstance(told, dict):
        raise ModelError(f"{path}: must hold a JSON object, but holds {type(told).__name__}. Copy the adapter again.")
    return told


def _tensors(folder: Path, what: str) -> dict[str, Tensor]:
    path = next((folder / name for name in _FILES[what] if (folder / name).is_file()), None)
    if path is None:
        raise ModelError(f"{folder}: holds neither {' nor '.join(_FILES[what])}. Copy the whole folder.")
    try:
        found = load_file(path) if path.suffix == ".safetensors" else _unpickled(path)
    except pickle.UnpicklingError as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(
            f"{path}: is a pickle that holds more than weights, so it is not opened: it could run code ({shortened(reason)}). Nothing of it was executed. Get the adapter as safetensors."
        ) from None
    except ModelError:
        raise
    except Exception as error:  # of a damaged pickle torch's own reader raises nearly anything
        reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise ModelError(f"{path}: is damaged: {reason}. Copy the adapter again.") from None
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ModelError(f"{path}: must hold weights by name, but holds something else. Copy the adapter again.")
    return {str(key): value.float() for key, value in found.items()}


def _unpickled(path: Path) -> Any:
    """What a file of torch holds; no code in it is executed.

    Raises:
        ModelError: if it is no file of torch.
    """
    with path.open("rb") as file:
        begins = file.read(2)
    if begins != b"PK" and begins[:1] != b"\x80":
        raise ModelError(
            f"{path}: is no file of torch. Perhaps it is a Git LFS pointer, or a page of the hub that was saved in its place. Download the file itself."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about the pickles that it then refuses
        return torch.load(path, "cpu", weights_only=True)


def _design(config: Mapping[str, Any], told: Mapping[str, Any], *, origin: Path) -> AdapterDesign:
    """What the options of a configuration compute.

    Raises:
        ModelError: if that is not computed here.
    """
    odd = [
        f"'{key}' is {config[key]!r}"
        for key, plain in _PLAIN.items()
        if key in config and config[key] is not None and config[key] != plain
    ]
    function = str(config.get("non_linearity", "relu")).lower()
    scaling, inverse = config.get("scaling", 1.0), config.get("inv_adapter")
    if function not in FUNCTION_NAMES:
        odd.append(f"'non_linearity' is {function!r}")
    if isinstance(scaling, bool) or not isinstance(scaling, int | float):
        odd.append(f"'scaling' is {scaling!r}")
    if inverse not in (None, False, "", "nice"):
        odd.append(f"'inv_adapter' is {inverse!r}")
    attention, after = bool(config.get("mh_adapter")), bool(config.get("original_ln_before"))
    if attention and (after or config.get("is_parallel")):
        odd.append("'mh_adapter' is true beside 'original_ln_before' or 'is_parallel'")
    if odd:
        raise ModelError(
            f"{origin}: {'; '.join(odd[:3])}, which is not computed here. Only bottleneck adapters as in Houlsby, Pfeiffer and parallel ones are."
        )
    factor = config.get("reduction_factor", 16)
    factors = factor if isinstance(factor, Mapping) else {"default": factor}
    try:
        return AdapterDesign(
            attention=attention,
            feed_forward=bool(config.get("output_adapter", True)),
            reads="input" if config.get("is_parallel") else "norm" if after else "sublayer",
            reduction=float(factors.get("default", 16)),
            reductions={int(key): float(value) for key, value in factors.items() if key != "default"},
            non_linearity=function,
            scaling=float(scaling),
            norm=bool(config.get("ln_before")),
            leave_out=tuple(int(layer) for layer in config.get("leave_out") or ()),
            attention_reads="input" if attention and told.get("model_type") == "albert" else "sublayer",
            invertible=float(config.get("inv_adapter_reduction_factor") or 2) if inverse else None,
        )
    except (TypeError, ValueError) as error:
        raise ModelError(f"{origin}: says something that cannot be: {error}. Copy the adapter again.") from None


def _renamed(tensors: Mapping[str, Tensor], *, norm: bool, origin: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    inner = 1 + max((int(match[2]) for key in tensors if (match := _ALBERT_LAYER.search(key))), default=0)
    for key, value in tensors.items():
        whole = _INVERTIBLE.fullmatch(key)
        if whole:
            found[f"invertible.{'first' if whole['part'] == 'F' else 'second'}.{whole['rest']}"] = value
            continue
        match = _TENSOR.fullmatch(key)
        shared, layer = _ALBERT_LAYER.search(key), _LAYER.search(key)
        if match is None or not (shared or layer):
            raise ModelError(
                f"{origin}: holds '{shortened(key)}', which is no part of a bottleneck adapter. Only these are read here."
            )
        number = int(shared[1]) * inner + int(shared[2]) if shared else int(layer[1])  # type: ignore[index]
        place = "attention" if "attention" in match["where"] + match["group"] else "output"
        parts = {"adapter_down.0": "norm", f"adapter_down.{int(norm)}": "down", "adapter_up": "up"}
        part = parts.get(match["part"], match["part"])
        found[f"layer.{number}.{place}.{part}.{match['kind']}"] = value
    return found


def _head(folder: Path) -> tuple[Task | None, dict[str, Tensor], dict[str, Any]]:
    """Task, weights and options of the head in a folder; no task if there is no head."""
    path = folder / "head_config.json"
    if not path.is_file():
        return None, {}, {}
    config = _json(path).get("config")
    if not isinstance(config, dict):
        raise ModelError(
            f"{path}: says nothing of the head under 'config'. Delete the file to import the adapter alone."
        )
    alone = f"Delete {path.name} to import the adapter alone."
    kinds: Any = {"classification": "single_label", "multilabel_classification": "multi_label"}
    kind = kinds.get(config.get("head_type"))
    if kind is None or config.get("use_pooler"):
        what = "reads the pooler" if kind else f"is for {shortened(config.get('head_type'))}"
        raise ModelError(f"{path}: the head {what}, which cannot be read here. {alone}")
    outputs, layers = config.get("num_labels"), config.get("layers", 2)
    function = str(config.get("activation_function") or "linear").lower()
    if not isinstance(outputs, int) or not isinstance(layers, int) or layers < 1 or function not in FUNCTION_NAMES:
        raise ModelError(
            f"{path}: num_labels, layers and activation_function are {shortened([outputs, layers, function])}, which cannot be read here. {alone}"
        )
    labels = _labels(config.get("label2id"), outputs, origin=path)
    if kind == "single_label" and outputs == 1:
        kind, labels = "regression", ()
    tensors = _tensors(folder, "head")
    by_number: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, part = key.rpartition(".")
        number = number.rpartition(".")[2]
        if number.isdigit():
            by_number.setdefault(int(number), {})[part] = value
    if len(by_number) != layers:
        raise ModelError(f"{folder}: its head has {len(by_number)} layers, but {path.name} says {layers}. {alone}")
    head = {f"linear.{i}.{part}": by_number[n][part] for i, n in enumerate(sorted(by_number)) for part in by_number[n]}
    options = {"layers": layers, "function": function, "bias": f"linear.{layers - 1}.bias" in head}
    return Task(text=(("text",),), label="label", kind=kind, labels=labels), head, options


def _labels(told: Any, outputs: int, *, origin: Path) -> tuple[str, ...]:
    """The labels in the order of the outputs, which need not be the order in which they are written."""
    if not told:
        return tuple(f"LABEL_{i}" for i in range(outputs))
    if not isinstance(told, dict) or sorted(map(str, told.values())) != sorted(map(str, range(outputs))):
        raise ModelError(
            f"{origin}: label2id must give each of the {outputs} outputs a label, but is {shortened(told)}. Correct it."
        )
    return tuple(str(label) for label in sorted(told, key=lambda label: int(told[label])))
