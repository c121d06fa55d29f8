"""What the recipes for labelled rows share: how their runs are opened, scored, and compared with TF-IDF."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from understudy.data.splits import Rows, Splits
from understudy.data.tasks import Task
from understudy.data.tokens.encode import Encoded
from understudy.errors import DataError
from understudy.evaluation.quality import evaluate
from understudy.inference.logits import logits
from understudy.inference.predictor import Answering, LinearPredictor, Predictor
from understudy.models.files.save import save_model
from understudy.models.tfidf import Tfidf
from understudy.runs.session import Session, open_session


@contextmanager
def open_labelled(
    command: str, settings: Any, splits: Splits, *, groups: Sequence[str] = (), notes: Sequence[str] = ()
) -> Iterator[Session]:
    """:func:`open_session` for a run on labelled rows.

    Args:
        notes: what was found of the models, beside what was of the rows.
    """
    with open_session(
        command,
        settings,
        data=splits.texts(),
        task=splits.task,
        notes=[*splits.notes, *notes],
        terms=["label_loss", "distillation"],
        metrics=splits.task.metrics,
        groups=groups,
    ) as session:
        yield session


def validation_scores(
    encoded: Encoded, rows: Rows, task: Task, *, names: Sequence[str], device: torch.device | str
) -> Callable[[nn.Module], dict[str, float]]:
    """A function that scores a model on the validation rows."""

    def score(model: nn.Module) -> dict[str, float]:
        return evaluate(logits(model, encoded, names=names, device=device), rows.labels, task).metrics

    return score


def fit_tfidf(train: Rows, splits: Splits) -> Tfidf:
    """TF-IDF with a linear model on labelled rows, its penalty chosen on the validation rows."""
    validation = (splits.validation.texts, splits.validation.labels)
    return Tfidf.fit(train.texts, train.labels, splits.task, validation=validation)


def describe_tfidf(session: Session, splits: Splits) -> None:
    """The baseline that everything must beat: TF-IDF with a linear model, on the labelled rows."""
    labelled = splits.train.take(np.flatnonzero(splits.train.labelled))
    try:
        with session.run.timed("tfidf_s"):
            tfidf = fit_tfidf(labelled, splits)
    except DataError as error:  # what is compared with it stands all the same
        session.run.say(f"tfidf is left out: {' '.join(error.faults)}")
        return
    session.describe("tfidf", tfidf, tfidf.logits(list(splits.reporting()[1].texts)), splits)


def save(model: Answering, folder: Path) -> None:
    """Write a trained model as :func:`understudy.load` reads it."""
    if isinstance(model, LinearPredictor):
        model.tfidf.save(folder)
    elif isinstance(model, Predictor):
        save_model(folder, model.model, model.tokenizer, task=model.task, max_length=model.max_length)
