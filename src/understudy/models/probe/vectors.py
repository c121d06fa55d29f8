"""What a classifier makes of texts before its last layer: one vector a text, for every way to pool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from understudy.data.batches.by_length import length_batches
from understudy.data.tokens.encode import Encoded, collate
from understudy.models.probe.heads import HeadParts
from understudy.models.structure.layers import base_model, evaluating
from understudy.models.students.apart import ApartClassifier
from understudy.models.students.pair_rows import PairLayout
from understudy.models.students.pooled import PooledEncoder, mean_pooled
from understudy.models.students.student import Student

MEAN, APART, READ, BEFORE = "mean", "apart", "read", "before"
"""The mean of the states; the two texts of a pair, compared; what the last layer of the head reads; what its hidden layer reads."""


def has_mean(model: Any) -> bool:
    """Whether the mean of a classifier's last states can be pooled instead: for encoders of transformers."""
    base = base_model(model)
    config = base.config
    ours = isinstance(model, Student | PooledEncoder) or str(config.model_type).startswith("understudy")
    return base is not model and not ours and not getattr(config, "is_encoder_decoder", False)


def text_vectors(
    model: Any,
    parts: HeadParts | nn.Module | None,
    encoded: Encoded,
    rows: np.ndarray,
    *,
    mean: bool,
    names: Sequence[str],
    max_tokens: int,
) -> dict[str, np.ndarray]:
    """The vectors of encoded rows, each row once through the model, float32 ``(rows, width)``.

    Args:
        parts: the layers of the head, or a module whose own input is wanted as ``read``; None for neither.
        mean: also the mean of the last states over the real tokens.
        names: the model's inputs.
        max_tokens: padded tokens of a batch.
    """
    watched: dict[str, nn.Module] = {}
    if isinstance(parts, HeadParts):
        watched[READ] = parts.last
        if parts.hidden is not None:
            watched[BEFORE] = parts.hidden
    elif parts is not None:
        watched = {READ: parts}
    found: dict[str, np.ndarray] = {}
    device = next(model.parameters()).device
    with evaluating(model), torch.inference_mode(), _read_by(watched) as seen, _states_of(model) as states:
        lengths = encoded.lengths[rows]
        for batch in length_batches(lengths, max_tokens=max_tokens, padded="attention_mask" in names):
            inputs = {name: part.to(device) for name, part in collate(encoded, rows[batch], names=names).items()}
            model(**inputs)
            if mean:
                mask = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"]))
                seen[MEAN] = mean_pooled(states[0], mask)
            for name, vectors in seen.items():
                part = vectors.float().cpu().numpy()
                found.setdefault(name, np.empty((len(rows), part.shape[1]), np.float32))[batch] = part
    return found


def apart_vectors(model: Any, layout: PairLayout, encoded: Encoded, rows: np.ndarray, *, max_tokens: int) -> np.ndarray:
    """The compared vectors of encoded pairs, each text by itself through the encoder of a model: float32 ``(rows, width)``.

    Args:
        layout: of the tokenizer.
        max_tokens: padded tokens of a batch.
    """
    encoder = base_model(model)
    width = ApartClassifier.widths * encoder.config.hidden_size
    apart = ApartClassifier.assemble(encoder, torch.zeros(1, width), torch.zeros(1), layout=layout)
    apart.to(next(model.parameters()).device)
    names = ("input_ids", "attention_mask", "token_type_ids")
    return text_vectors(apart, apart.classifier, encoded, rows, mean=False, names=names, max_tokens=max_tokens)[READ]


@contextmanager
def _read_by(modules: dict[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Inside, what each module read at its latest call."""
    seen: dict[str, Tensor] = {}
    handles = [
        module.register_forward_pre_hook(lambda _, read, name=name: seen.__setitem__(name, read[0]))
        for name, module in modules.items()
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _states_of(model: Any) -> Iterator[list[Tensor]]:
    """Inside, the last states that the encoder gave at its latest call."""
    states: list[Tensor] = []
    handle = base_model(model).register_forward_hook(lambda *call: states.__setitem__(slice(None), [call[-1][0]]))
    try:
        yield states
    finally:
        handle.remove()
