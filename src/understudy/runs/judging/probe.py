"""The probe: a linear layer on an encoder that does not learn, as a baseline for what training gains."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from understudy.data.splits import Rows, Splits
from understudy.data.tokens.encode import encode
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
    width = encoder.config.hidden_size
    # with the identity for a head, the outputs are the pooled vectors themselves
    features: Any = PooledClassifier.assemble(encoder, torch.eye(width), torch.zeros(width)).to(session.device)
    names = settle_inputs(features, tokenizer)

    def vectors(rows: Rows) -> np.ndarray:
        encoded = encode(rows.texts, tokenizer, max_length=max_length)
        stop = session.stop_if_asked
        return logits(features, encoded, names=names, device=session.device, on_batch=lambda _: stop())

    with session.run.timed("probe_s"):
        labelled = splits.train.take(np.flatnonzero(splits.train.labelled))
        validation = (vectors(splits.validation), splits.validation.labels)
        weight, bias = fit_linear(vectors(labelled), labelled.labels, splits.task, validation=validation)
    whole = PooledClassifier.assemble(features.encoder, torch.from_numpy(weight), torch.from_numpy(bias))
    model = Predictor(whole, tokenizer, splits.task, max_length, device=session.device)
    calibrate(session, PROBE, model, splits)
    return model


def has_encoder(model: Any) -> bool:
    """Whether a trained classifier is built on an encoder of transformers, whose vectors a probe can read."""
    base = base_model(model)
    return base is not model and not type(base).__module__.startswith("understudy.")


def head_facts(probe: Predictor) -> dict[str, int]:
    """How many bytes its head adds to the encoder."""
    tensors = [tensor for part in head_modules(probe.model) for tensor in part.state_dict().values()]
    return {"head_bytes": sum(tensor.numel() * tensor.element_size() for tensor in tensors)}
