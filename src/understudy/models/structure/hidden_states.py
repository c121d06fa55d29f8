"""Hidden states of a batch, padded or packed, whatever the architecture."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from understudy.data.batches.masked import packed_inputs
from understudy.data.tokens.encode import Encoded, collate
from understudy.models.files.lengths import first_position
from understudy.models.structure.layers import base_model, evaluating, word_embeddings

_TOLERANCE = 1e-4
"""Tolerance in float32, relative to the largest hidden state, when packed texts are compared with single texts."""


def hidden_states(model: Any, inputs: Mapping[str, Any]) -> Tensor:
    """A model's last hidden states, which its vocabulary head reads: ``(rows, tokens, width)``.

    Args:
        inputs: the model's keyword arguments. A four-dimensional boolean attention mask separates packed texts, see
            :func:`understudy.data.batches.masked.packed_inputs`.
    """
    return base_model(model)(**model_inputs(model, inputs))[0]


def model_inputs(model: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs in the form that this model takes.

    A packed mask is converted to numbers that are added to the scores, or to one mask for each kind of layer. Positions
    begin where this model begins to count; they are left out if it takes none. Two models that read the same batch may
    differ in all of this. Inputs without a packed mask are returned unchanged.
    """
    found: dict[str, Any] = dict(inputs)
    mask = found.get("attention_mask")
    if mask is None or mask.dim() != 4:
        return found
    base = base_model(model)
    positions = found.pop("position_ids")
    if "position_ids" in inspect.signature(base.forward).parameters:
        found["position_ids"] = positions + first_position(base.config)
    kinds = set(getattr(base.config, "layer_types", None) or ())
    if kinds <= {"full_attention"}:
        found["attention_mask"] = _as_attended(mask, base)
    else:  # ModernBERT: most layers see only a window, and a ready-made mask would remove it
        places = torch.arange(mask.shape[-1], device=mask.device)
        near = (places[:, None] - places[None, :]).abs() <= base.config.sliding_window
        masks = {"full_attention": mask, "sliding_attention": mask & near}
        found["attention_mask"] = {kind: _as_attended(masks[kind], base) for kind in kinds}
    return found


def _as_attended(mask: Tensor, base: Any) -> Tensor:
    """A boolean mask for torch's own attention; otherwise the numbers that are added to the scores."""
    if base.config._attn_implementation == "sdpa":
        return mask
    least = torch.finfo(base.dtype).min
    return torch.zeros(mask.shape, dtype=base.dtype, device=mask.device).masked_fill_(~mask, least)


def can_pack(model: Any, *, max_length: int) -> bool:
    """Whether the model encodes packed texts as if each stood alone. It is tried on three texts that fill a block.

    An architecture may refuse such a mask, or mix neighbouring texts elsewhere: MobileBERT's embeddings read the next
    token, and so does a convolution.
    """
    table = word_embeddings(model)
    usable = np.arange(table.num_embeddings)[5:] if table.num_embeddings > 9 else np.arange(table.num_embeddings)
    lengths = np.array([max(1, max_length // 2), max(1, max_length // 3), max(1, max_length // 8)])
    ids = usable[np.arange(lengths.sum()) * 7 % len(usable)].astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    texts = Encoded(ids, offsets, None, pad_id=0, padding_side="right", fingerprint="")
    together = packed_inputs(texts, np.array([len(lengths)]), names=["input_ids"])
    device = table.weight.device
    with torch.no_grad(), evaluating(model):
        alone = [
            hidden_states(model, _on(device, collate(texts, np.array([i]), names=["input_ids", "attention_mask"])))[0]
            for i in range(len(lengths))
        ]
        try:
            packed = hidden_states(model, _on(device, together))[0]
        except Exception:  # an architecture may raise anything for a mask that it does not know
            return False
    expected = torch.cat(alone)
    return bool((packed - expected).abs().max() <= _TOLERANCE * expected.abs().max())


def _on(device: torch.device, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in inputs.items()}
