"""What tells two models apart: hashes of their weights and of all that their answers depend on."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from torch import nn

from understudy.models.files.names import adapter_folder

_NO_ANSWER_DEPENDS_ON = {
    "_name_or_path",
    "architectures",
    "dtype",
    "finetuning_task",
    "id2label",
    "label2id",
    "problem_type",
    "torch_dtype",
    "transformers_version",
}
_NOT_READ = (".bin", ".pt", ".pth", ".pkl", ".ckpt", ".h5", ".msgpack", ".ot", ".onnx", ".md")
"""Endings of files beside a model that loading it passes over."""


def weights_fingerprint(model: nn.Module) -> str:
    """SHA-256 of the names, types, shapes and bytes of all weights and buffers that are saved."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def model_fingerprint(model: Any) -> str:
    """SHA-256 of everything that a model's answers depend on: its class, its configuration and its weights.

    The names of labels, paths, versions and the temperature of the probabilities in the configuration are left out.
    """
    known = model.config.to_dict() if hasattr(model, "config") else {}
    told = {key: value for key, value in known.items() if key not in _NO_ANSWER_DEPENDS_ON}
    if isinstance(own := told.get("understudy"), dict):
        told["understudy"] = {key: value for key, value in own.items() if key != "temperature"}
    described = json.dumps([type(model).__name__, told], sort_keys=True, default=str)
    return hashlib.sha256(f"{described} {weights_fingerprint(model)}".encode()).hexdigest()


def files_fingerprint(name: str) -> str | None:
    """SHA-256 of the files that a name stands for: a file, or those that a model is loaded from; None where there are none.

    Args:
        name: a file, a run, a model folder, another folder, or a hub id whose files have been fetched.
    """
    path = Path(name).expanduser()
    if not path.exists():
        with suppress(ValueError):  # it is no hub id either
            found = try_to_load_from_cache(name, "config.json")
            path = Path(found).parent if isinstance(found, str) else path
    elif (path / "model" / "config.json").is_file() and not (path / "config.json").is_file():
        path = path / "model"
    elif (adapter := adapter_folder(path)) is not None:
        path = adapter
    files = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
    digest, any_read = hashlib.sha256(), False
    for file in files:
        if file.is_file() and (file == path or not (file.name.startswith(".") or file.suffix in _NOT_READ)):
            with open(file, "rb") as stream:
                digest.update(
                    f"{file.name}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\0".encode(
                        errors="surrogateescape"
                    )
                )
            any_read = True
    return digest.hexdigest() if any_read else None
