"""Models of labelled rows: scored while they train, put on the record, and set beside TF-IDF."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from understudy.data.splits import Rows, Splits
from understudy.data.tasks import Task
from understudy.data.tokens.encode import Encoded
from understudy.errors import DataError
from understudy.evaluation import cost
from understudy.evaluation.quality import evaluate
from understudy.inference.adapted import AdaptedPredictor
from understudy.inference.answering import Answering
from understudy.inference.logits import logits
from understudy.inference.predictor import LinearPredictor
from understudy.models.tfidf import Tfidf
from understudy.runs.devices import on_threads
from understudy.runs.entries import put_on_record
from understudy.runs.judging.calibrating import calibrate
from understudy.runs.session import Session


def validation_scores(
    encoded: Encoded, rows: Rows, task: Task, *, names: Sequence[str], device: torch.device | str
) -> Callable[[nn.Module], dict[str, float]]:
    """A function that scores a model on the validation rows; it can be sent to another process."""

    return partial(_score, encoded=encoded, labels=rows.labels, task=task, names=names, device=device)


def _score(
    model: nn.Module,
    *,
    encoded: Encoded,
    labels: np.ndarray,
    task: Task,
    names: Sequence[str],
    device: torch.device | str,
) -> dict[str, float]:
    return evaluate(logits(model, encoded, names=names, device=device), labels, task).metrics


def describe(
    session: Session,
    name: str,
    model: cost.Measurable,
    outputs: np.ndarray,
    splits: Splits,
    *,
    temperature: float = 1.0,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Put a model on the record: its scores on the test rows (or the validation rows), and its cost.

    Args:
        outputs: the model's, for those rows: ``(rows, outputs)``.
        temperature: of its probabilities.
        more: what else is known of it.
    """
    split, rows = splits.reporting()
    with session.run.timed("evaluate_s"):
        seed = session.settings.seed
        scores = evaluate(outputs, rows.labels, splits.task, intervals=True, temperature=temperature, seed=seed)
    with session.run.timed("bench_s"):
        facts = cost.measure(model, rows.texts)
    put_on_record(session, name, scores={split: scores}, facts={**facts, **model_type(model), **(more or {})})


def model_type(model: Any) -> dict[str, str]:
    """What a model is, for its entry on the record: the ``model_type`` of its configuration, ``tfidf`` or ``adapter``.

    Of an adapter also the library that it can be exported to. Empty for several models as one.
    """
    if isinstance(model, LinearPredictor):
        return {"model_type": "tfidf"}
    if isinstance(model, AdaptedPredictor):
        other = model.facts.other_library
        return {"model_type": "adapter", **({} if other is None else {"other_library": other})}
    config = getattr(getattr(model, "model", None), "config", None)
    return {} if config is None else {"model_type": str(config.model_type)}


def describe_answering(
    session: Session, name: str, model: Answering, splits: Splits, *, more: Mapping[str, Any] | None = None
) -> np.ndarray:
    """:func:`describe` for a model that has yet to answer; its answers, ``(rows, outputs)``."""
    outputs = session.answers(model, splits.reporting()[1].texts)
    describe(session, name, model, outputs, splits, temperature=model.temperature, more=more)
    return outputs


def fit_tfidf(session: Session, train: Rows, splits: Splits) -> Tfidf:
    """TF-IDF with a linear model on labelled rows, its penalty chosen on the validation rows. A signal ends it at once."""
    validation = (splits.validation.texts, splits.validation.labels)
    with session.stop.at_once(), on_threads(1):  # sparse rows: more threads only wait for each other
        return Tfidf.fit(
            train.texts, train.labels, splits.task, validation=validation, class_weights=splits.class_weights
        )


def tfidf_baseline(session: Session, splits: Splits) -> LinearPredictor | None:
    """The baseline that every other model has to beat: TF-IDF with a linear model, on the labelled rows.

    None, and a note, where TF-IDF cannot learn from them: the models to be compared with it do not depend on it.
    """
    labelled = splits.train.take(np.flatnonzero(splits.train.labelled))
    try:
        with session.run.timed("tfidf_s"):
            model = LinearPredictor(fit_tfidf(session, labelled, splits))
    except DataError as error:
        session.run.say(f"tfidf is left out: {' '.join(error.faults)}")
        return None
    calibrate(session, model, splits)
    return model
