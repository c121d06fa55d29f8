"""What tells two models apart: hashes of their weights and of all that their answers depend on."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import nn

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


def weights_fingerprint(model: nn.Module) -> str:
    """SHA-256 of the names, types, shapes and bytes of all weights and buffers that are saved."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def model_fingerprint(model: Any) -> str:
    """SHA-256 of everything that a model's answers depend on: its class, its configuration and its weights.

    The names of labels, paths and versions in the configuration are left out.
    """
    known = model.config.to_dict() if hasattr(model, "config") else {}
    told = {key: value for key, value in known.items() if key not in _NO_ANSWER_DEPENDS_ON}
    described = json.dumps([type(model).__name__, told], sort_keys=True, default=str)
    return hashlib.sha256(f"{described} {weights_fingerprint(model)}".encode()).hexdigest()
