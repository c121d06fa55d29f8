"""The probe: a linear layer on an encoder that does not learn, as a baseline for what training gains."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from understudy.data.splits import Rows, Splits
from understudy.data.texts import Texts
from understudy.data.tokens.encode import Encoded, encode
from understudy.errors import ModelError
from understudy.inference.logits import logits
from understudy.inference.predictor import Predictor
from understudy.models.linear import fit_linear
from understudy.models.probe.choice import above, cross_validated, drawn_rows, serves_apart
from understudy.models.probe.pairs import cross_validated_pairs, fit_linear_pairs
from understudy.models.structure.inputs import settle_inputs
from understudy.models.structure.layers import head_modules
from understudy.models.students.apart import ApartClassifier
from understudy.models.students.pair_rows import pair_layout
from understudy.models.students.pooled import PooledClassifier, PooledEncoder
from understudy.runs.judging.calibrating import calibrate
from understudy.runs.session import Session

Known = Callable[[Texts], np.ndarray | None]
"""Gives the means of an encoder's last states over texts, float32 ``(texts, width)``, if another pass has come by them."""


def fit_probe(
    session: Session,
    encoder: Any,
    tokenizer: PreTrainedTokenizerBase,
    splits: Splits,
    *,
    max_length: int,
    known: Known = lambda texts: None,
) -> Predictor | None:
    """Logistic regression (ridge for regression) on the vectors of the labelled rows, as `--features frozen` fits it.

    None, and a note, where the encoder's vectors cannot be used: the models to be compared with it do not depend on it.

    Args:
        encoder: of transformers, without a head; its weights are copied.
        max_length: tokens that are read of a text.
        known: the means of the encoder's states; what it does not know is read here.

    Raises:
        Interrupted: on a signal.
    """
    labelled = splits.train.take(np.flatnonzero(splits.train.labelled))
    try:
        with session.run.timed("probe_s"):
            features = features_of(encoder, tokenizer, splits)
            more: dict[str, Any] = {"max_length": max_length, "known": known}
            model = linear_on_means(session, features, tokenizer, splits, train=labelled, **more)
    except ModelError as error:
        session.run.say(f"the probe is left out: {' '.join(error.faults)}")
        return None
    calibrate(session, model, splits, answers=partial(probe_answers, session, model, known=known))
    return model


def probe_answers(session: Session, probe: Predictor, texts: Texts, *, known: Known) -> np.ndarray:
    """What a probe answers for texts, ``(texts, outputs)``: from their means, if it reads those and they are known."""
    means = known(texts) if isinstance(probe.model, PooledClassifier) else None
    if means is None:
        return session.answers(probe, texts)
    head: Any = probe.model.classifier
    with torch.inference_mode():
        answers: np.ndarray = head(torch.from_numpy(means).to(head.weight)).float().cpu().numpy()
    return answers


def mean_features(encoder: Any) -> Any:
    """A classifier whose outputs are the mean vectors of an encoder themselves: it has the identity for a head."""
    width = encoder.config.hidden_size
    return PooledClassifier.assemble(encoder, torch.eye(width), torch.zeros(width))


def apart_features(encoder: Any, tokenizer: PreTrainedTokenizerBase) -> Any:
    """A classifier whose outputs are the compared vectors of the two texts of a pair.

    Raises:
        ModelError: if the tokenizer changes texts in pairs, or the encoder cannot mask padding.
    """
    width = ApartClassifier.widths * encoder.config.hidden_size
    features = ApartClassifier.assemble(encoder, torch.eye(width), torch.zeros(width), layout=pair_layout(tokenizer))
    settle_inputs(features, tokenizer)
    return features


def features_of(
    encoder: Any,
    tokenizer: PreTrainedTokenizerBase,
    splits: Splits,
    *,
    pooling: Literal["auto", "mean", "apart"] = "auto",
) -> list[Any]:
    """The ways to read the rows that a probe chooses from: joined, and of pairs each text by itself.

    Raises:
        ModelError: if the only way that is asked for cannot be gone.
    """
    ways = [] if pooling == "apart" else [mean_features(encoder)]
    if splits.task.is_pair and pooling != "mean":
        try:
            ways.append(apart_features(encoder, tokenizer))
        except ModelError:
            if pooling == "apart":
                raise
    return ways


def linear_on_means(
    session: Session,
    features: list[Any],
    tokenizer: PreTrainedTokenizerBase,
    splits: Splits,
    *,
    train: Rows,
    max_length: int,
    known: Known = lambda texts: None,
    on_encoded: Callable[[str, Encoded], None] = lambda part, encoded: None,
) -> Predictor:
    """A linear layer fitted to the vectors of training rows, its penalty chosen on the validation rows.

    Of several ways to read the rows, cross-validation on the training rows chooses one, which is said.

    Args:
        features: of :func:`features_of`.
        train: the training rows.
        max_length: tokens that are read of a text.
        known: the means of the encoder's states; what it does not know is read here.
        on_encoded: called with the rows' tokens of each part, validation first.

    Raises:
        Interrupted: on a signal.
    """

    def encoded(part: str, rows: Rows) -> Encoded:
        found = encode(rows.texts, tokenizer, max_length=max_length)
        on_encoded(part, found)
        return found

    def vectors(way: Any, rows: Rows, rows_encoded: Encoded) -> np.ndarray:
        if isinstance(way, PooledClassifier) and (means := known(rows.texts)) is not None:
            return means
        way, stop = way.to(session.device), session.stop_if_asked
        names = settle_inputs(way, tokenizer)
        return logits(way, rows_encoded, names=names, device=session.device, on_batch=lambda _: stop())

    outside, inside = encoded("validation", splits.validation), encoded("train", train)
    read = [vectors(way, train, inside) for way in features]
    number = _chosen(session, read, train, splits) if len(read) > 1 else 0
    way = features[number]
    fit = fit_linear_pairs if isinstance(way, ApartClassifier) else fit_linear
    validation = (vectors(way, splits.validation, outside), splits.validation.labels)
    more: dict[str, Any] = {"validation": validation, "class_weights": splits.class_weights}
    fitted = fit(read[number], train.labels, splits.task, groups=train.texts.keys(), **more)
    weight, bias = map(torch.from_numpy, fitted)
    whole: PooledEncoder
    if isinstance(way, ApartClassifier):
        whole = ApartClassifier.assemble(way.encoder, weight, bias, layout=way.config.pair_layout)
    else:
        whole = PooledClassifier.assemble(way.encoder, weight, bias)
    return Predictor(whole, tokenizer, splits.task, max_length, device=session.device)


def _chosen(session: Session, read: list[np.ndarray], train: Rows, splits: Splits) -> int:
    """Which vectors serve better by cross-validation: 0 for those of joined pairs, 1 for those of texts read apart."""
    seed = session.settings.seed
    rows = drawn_rows(train.labels, seed)
    joined, compared = (vectors[rows] for vectors in read)
    labels, groups = train.labels[rows], train.texts.keys()[rows]
    more: dict[str, Any] = {"seed": seed, "class_weights": splits.class_weights, "groups": groups}
    apart, difference = serves_apart(
        cross_validated_pairs(compared, labels, splits.task, **more),
        cross_validated(joined, labels, splits.task, **more),
    )
    if difference is None:
        return 0
    session.run.say(
        f"the probe reads the texts of a pair {'apart' if apart else 'joined'}: the loss of joined pairs is {above(difference)} that of pairs read apart, in cross-validation."
    )
    return int(apart)


def head_facts(probe: Predictor) -> dict[str, int]:
    """How many bytes its head adds to the encoder."""
    tensors = [tensor for part in head_modules(probe.model) for tensor in part.state_dict().values()]
    return {"head_bytes": sum(tensor.numel() * tensor.element_size() for tensor in tensors)}
