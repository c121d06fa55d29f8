"""The probe: a linear layer on an encoder that does not learn, as a baseline for what training gains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from understudy.data.splits import Rows, Splits
from understudy.data.tokens.encode import Encoded, encode
from understudy.inference.logits import logits
from understudy.inference.predictor import Predictor
from understudy.models.linear import fit_linear
from understudy.models.structure.inputs import settle_inputs
from understudy.models.structure.layers import base_model, head_modules
from understudy.models.students.pooled import PooledClassifier
from understudy.report.scores import PROBE
from understudy.runs.judging.calibrating import calibrate
from understudy.runs.session import Session


def fit_probe(
    session: Session, encoder: Any, tokenizer: PreTrainedTokenizerBase, splits: Splits, *, max_length: int
) -> Predictor:
    """Logistic regression (ridge for regression) on the mean vectors of the labelled rows, as `--features frozen` fits it.

    Args:
        encoder: of transformers, without a head; its weights are copied.
        max_length: tokens that are read of a text.

    Raises:
        Interrupted: on a signal.
    """
    features = mean_features(encoder)
    labelled = splits.train.take(np.flatnonzero(splits.train.labelled))
    with session.run.timed("probe_s"):
        model = linear_on_means(session, features, tokenizer, splits, train=labelled, max_length=max_length)
    calibrate(session, PROBE, model, splits)
    return model


def mean_features(encoder: Any) -> Any:
    """A classifier whose outputs are the mean vectors of an encoder themselves: it has the identity for a head."""
    width = encoder.config.hidden_size
    return PooledClassifier.assemble(encoder, torch.eye(width), torch.zeros(width))


def linear_on_means(
    session: Session,
    features: Any,
    tokenizer: PreTrainedTokenizerBase,
    splits: Splits,
    *,
    train: Rows,
    max_length: int,
    on_encoded: Callable[[str, Encoded], None] = lambda part, encoded: None,
) -> Predictor:
    """A linear layer fitted to the mean vectors of training rows, its penalty chosen on the validation rows.

    Args:
        features: of :func:`mean_features`.
        train: the training rows.
        max_length: tokens that are read of a text.
        on_encoded: called with the rows' tokens of each part, validation first.

    Raises:
        Interrupted: on a signal.
    """
    features = features.to(session.device)
    names = settle_inputs(features, tokenizer)

    def vectors(part: str, rows: Rows) -> np.ndarray:
        encoded = encode(rows.texts, tokenizer, max_length=max_length)
        on_encoded(part, encoded)
        stop = session.stop_if_asked
        return logits(features, encoded, names=names, device=session.device, on_batch=lambda _: stop())

    validation = (vectors("validation", splits.validation), splits.validation.labels)
    weight, bias = fit_linear(
        vectors("train", train),
        train.labels,
        splits.task,
        validation=validation,
        class_weights=splits.class_weights,
    )
    whole = PooledClassifier.assemble(features.encoder, torch.from_numpy(weight), torch.from_numpy(bias))
    return Predictor(whole, tokenizer, splits.task, max_length, device=session.device)


def has_encoder(model: Any) -> bool:
    """Whether a trained classifier is built on an encoder of transformers, whose vectors a probe can read."""
    base = base_model(model)
    return base is not model and not type(base).__module__.startswith("understudy.")


def head_facts(probe: Predictor) -> dict[str, int]:
    """How many bytes its head adds to the encoder."""
    tensors = [tensor for part in head_modules(probe.model) for tensor in part.state_dict().values()]
    return {"head_bytes": sum(tensor.numel() * tensor.element_size() for tensor in tensors)}
