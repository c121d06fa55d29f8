"""A model and encoded texts in, logits out, computed in batches of similar length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from understudy.data.batches.by_length import length_batches
from understudy.data.tokens.encode import Encoded, collate
from understudy.models.awd_lstm.config import reads_whole
from understudy.models.structure.first_token import classifier_logits
from understudy.models.structure.layers import evaluating


def logits(
    model: nn.Module,
    encoded: Encoded,
    *,
    names: Sequence[str],
    rows: np.ndarray | None = None,
    max_tokens: int | None = None,
    device: torch.device | str | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> np.ndarray:
    """A model's outputs for encoded rows.

    The model runs in evaluation mode; afterwards every module is in the mode that it had before.

    Args:
        names: the inputs that the model gets, see :func:`understudy.models.structure.inputs.settle_inputs`.
        rows: the numbers of the rows, in the order of the result; all rows by default.
        max_tokens: padded tokens of a batch; by default :func:`token_budget`.
        device: where the model is; by default where its first parameter is.
        on_batch: called with the number of rows after each batch.

    Returns:
        float32 ``(rows, outputs)``, in the order of `rows`.
    """
    rows = np.arange(len(encoded)) if rows is None else np.asarray(rows)
    out: np.ndarray | None = None
    where = device or device_of(model)
    max_tokens = max_tokens or token_budget(where, model)
    tight = torch.device(where).type == "cpu" and not _is_quick_to_pad(model)
    with evaluating(model), torch.inference_mode():
        padded = "attention_mask" in names
        for batch in length_batches(encoded.lengths[rows], max_tokens=max_tokens, padded=padded, tight=tight):
            part = batch_logits(model, encoded, rows[batch], names=names, device=device)
            if out is None:
                out = np.empty((len(rows), part.shape[1]), np.float32)
            out[batch] = part
            if on_batch is not None:
                on_batch(len(batch))
    return np.empty((0, outputs_of(model)), np.float32) if out is None else out


def _is_quick_to_pad(model: Any) -> bool:
    """Whether few batches are faster on a CPU, even if they are mostly padding, which it computes like tokens.

    So it is with an LSTM, each step of which torch starts slowly, and with a bag of embeddings.
    """
    config = getattr(model, "config", None)
    return bool(getattr(config, "understudy_student", False)) or reads_whole(config)


def token_budget(device: torch.device | str, model: Any = None) -> int:
    """Padded tokens to compute at once: as many as fit the caches of a CPU, or as fill an accelerator.

    On a CPU, a 6-layer encoder of width 384 takes a third less time per row at 1,024 to 2,048 tokens than at 8,192. An
    AWD-LSTM computes one token of every row at a time and takes a quarter of the time per row with 32 rows, so it gets
    room for 32 documents of a thousand tokens.
    """
    if torch.device(device).type == "cpu" and model is not None and reads_whole(getattr(model, "config", None)):
        return 32768
    return 2048 if torch.device(device).type == "cpu" else 65536


def batch_logits(
    model: nn.Module,
    encoded: Encoded,
    rows: np.ndarray,
    *,
    names: Sequence[str],
    device: torch.device | str | None = None,
) -> np.ndarray:
    """One padded batch through a model that is in evaluation mode, without gradients: float32 ``(rows, outputs)``."""
    device = device_of(model) if device is None else device
    inputs = {name: tensor.to(device) for name, tensor in collate(encoded, rows, names=names).items()}
    with torch.inference_mode():
        return classifier_logits(model, inputs).float().cpu().numpy()


def device_of(model: nn.Module) -> torch.device:
    """The device of a model's first parameter; the CPU for a model without parameters."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def outputs_of(model: nn.Module) -> int:
    """The width of a classifier's output, from its configuration."""
    return int(model.config.num_labels)  # type: ignore[union-attr,arg-type]


def parameter_summary(model: nn.Module) -> dict[str, int]:
    """Numbers of parameters, and the bytes of the weights as saved; shared weights count once.

    Returns:
        ``parameters``, ``trainable_parameters``, ``embedding_parameters`` (all embedding tables, with those of positions
        and segments) and ``size_bytes``.

    Example:
        >>> model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 2))
        >>> parameter_summary(model)
        {'parameters': 50, 'trainable_parameters': 50, 'embedding_parameters': 40, 'size_bytes': 200}
    """
    tables = {
        id(module.weight): module.weight
        for module in model.modules()
        if isinstance(module, nn.Embedding | nn.EmbeddingBag)
    }
    saved = {(tensor.data_ptr(), tensor.shape): tensor for tensor in model.state_dict().values()}
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "trainable_parameters": sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        "embedding_parameters": sum(table.numel() for table in tables.values()),
        "size_bytes": sum(tensor.numel() * tensor.element_size() for tensor in saved.values()),
    }
