"""The vectors that a trained network makes of texts: what its head reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from understudy.data.tokens.encode import Encoded, collate
from understudy.inference.logits import device_of, token_budget
from understudy.models.awd_lstm.config import reads_whole
from understudy.models.probe.heads import HeadParts, head_parts
from understudy.models.probe.vectors import MEAN, READ, mean_vectors, text_vectors
from understudy.models.structure.layers import base_model, evaluating, has_encoder, watched
from understudy.models.students.apart import ApartClassifier
from understudy.models.students.pooled import PooledClassifier
from understudy.models.students.student import Student

_TOLERANCE = 1e-3
"""Of a mean vector, relative to its largest number: what padding changes where it is read is a multiple of that."""


def head_of(model: Any, sample: Encoded, names: Sequence[str]) -> HeadParts | nn.Module | None:
    """The layers whose input is the vector of a text; None where the mean of the last states is it.

    Of a bilstm, a static student, a classifier on the mean of states and an AWD-LSTM it is the pooled vector before the
    head; of a classifier of transformers what its last layer reads, with its own pooling (BERT's pooler, RoBERTa's
    hidden layer on the first token); of one without such a layer the mean of the states.

    Args:
        sample: a few texts, with which the layers are found.
        names: the model's inputs.
    """
    if isinstance(model, Student):
        return model.head()[0]
    if isinstance(model, PooledClassifier):
        return model.classifier
    if reads_whole(model.config):
        head: nn.Module = model.head
        return head
    device = device_of(model)
    inputs = collate(sample, np.arange(len(sample)), names=names)
    return head_parts(model, {name: part.to(device) for name, part in inputs.items()})


def gives_means(model: Any, sample: Encoded, names: Sequence[str]) -> bool:
    """Whether the means that a linear layer on a classifier's encoder reads come out of the classifier's own pass.

    Not so where there is no encoder of transformers, where the two texts of a pair go through it apart, where there is no
    state for each token, and where padding changes the states, which a classifier on the first token does not show.

    Args:
        sample: a short text and longer ones, which are tried.
        names: the model's inputs.
    """
    config = base_model(model).config
    width = getattr(config, "hidden_size", None)
    if isinstance(model, ApartClassifier) or not has_encoder(model) or getattr(config, "is_encoder_decoder", False):
        return False
    device, found = device_of(model), list[Tensor]()
    batches = [np.arange(len(sample)), np.arange(1)] if "attention_mask" in names else [np.arange(1)]
    with evaluating(model), torch.inference_mode(), watched(model) as states:
        for rows in batches:
            inputs = {name: part.to(device) for name, part in collate(sample, rows, names=names).items()}
            model(**inputs)
            last = states()
            if not isinstance(last, Tensor) or last.shape != (*inputs["input_ids"].shape, width):
                return False
            found.append(mean_vectors(last, inputs)[0].float())
    return torch.allclose(found[0], found[-1], rtol=0, atol=_TOLERANCE * float(found[-1].abs().max()))


def vectors(
    model: Any,
    head: HeadParts | nn.Module | None,
    encoded: Encoded,
    *,
    names: Sequence[str],
    max_tokens: int | None = None,
) -> np.ndarray:
    """The vectors of encoded texts: float32 ``(texts, width)``.

    Args:
        head: see :func:`head_of`.
        encoded: at least one text.
        names: the model's inputs.
        max_tokens: padded tokens of a batch; by default :func:`understudy.inference.logits.token_budget`.
    """
    budget = max_tokens or token_budget(device_of(model), model)
    rows = np.arange(len(encoded))
    found = text_vectors(model, head, encoded, rows, mean=head is None, names=names, max_tokens=budget)
    return found[MEAN if head is None else READ]
