"""What tells one base from another: a digest of its weights, without what is put into it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import torch

from understudy.adapters.inject import encoder_tensors


def encoder_fingerprint(model: Any) -> str:
    """SHA-256 of an encoder's weights by name, type and shape; without its pooler and without adapters.

    The same encoder has the same one in a classifier, in a language model and alone: a pooler is there in some of these
    only.
    """
    return _digest((name, tensor) for name, tensor in encoder_tensors(model) if "pooler" not in name)


def pooler_fingerprint(model: Any) -> str:
    """The same of an encoder's pooler; empty if it has none, or one that its checkpoint lacks.

    Args:
        model: an encoder, or one with a head.
    """
    lacked: frozenset[str] = getattr(model, "new_in_encoder", frozenset())
    found = [(name, tensor) for name, tensor in encoder_tensors(model) if "pooler" in name and name not in lacked]
    return _digest(found) if found else ""


def _digest(tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """SHA-256 of tensors by name, type and shape."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
