"""What a classifier makes of texts before its last layer: one vector a text, for every way to pool."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

from understudy.data.batches.by_length import length_batches
from understudy.data.tokens.encode import Encoded, collate
from understudy.models.probe.heads import HeadParts
from understudy.models.structure.layers import base_model, evaluating, watched
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
    layers: dict[str, nn.Module] = {}
    if isinstance(parts, HeadParts):
        layers[READ] = parts.last
        if parts.hidden is not None:
            layers[BEFORE] = parts.hidden
    elif parts is not None:
        layers = {READ: parts}
    found: dict[str, np.ndarray] = {}
    device = next(model.parameters()).device
    with evaluating(model), torch.inference_mode(), _read_by(layers) as seen, watched(model) as states:
        lengths = encoded.lengths[rows]
        for batch in length_batches(lengths, max_tokens=max_tokens, padded="attention_mask" in names):
            inputs = {name: part.to(device) for name, part in collate(encoded, rows[batch], names=names).items()}
            model(**inputs)
            if mean:
                seen[MEAN] = mean_vectors(states(), inputs)
            for name, vectors in seen.items():
                part = vectors.float().cpu().numpy()
                found.setdefault(name, np.empty((len(rows), part.shape[1]), np.float32))[batch] = part
    return found


class WithMeans(nn.Module):
    """A classifier whose outputs are its own, and after them the mean of its last states over the real tokens.

    One pass then serves who learns from the answers and who fits a linear layer to the vectors.

    Args:
        states: gives the last states of the model's latest call, see :func:`watched`.
    """

    base_model_prefix = "model"

    def __init__(self, model: Any, states: Callable[[], Tensor]) -> None:
        super().__init__()
        self.model, self.config, self._states = model, model.config, states

    def forward(self, **inputs: Tensor) -> SequenceClassifierOutput:
        """Logits and means, ``(rows, outputs + width)``."""
        answers = self.model(**inputs).logits
        means = mean_vectors(self._states(), inputs)
        return SequenceClassifierOutput(logits=torch.cat([answers.float(), means.float()], 1))


def mean_vectors(states: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
    """The means of the states of a batch over its real tokens: ``(rows, width)``."""
    return mean_pooled(states, inputs.get("attention_mask", torch.ones_like(inputs["input_ids"])))


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
