"""What all ways to fine-tune share, and the cheapest of them: TF-IDF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from understudy.data.splits import Splits
from understudy.errors import ConfigError
from understudy.inference.answering import Answering
from understudy.inference.predictor import LinearPredictor, Predictor
from understudy.report.scores import PROBE, TFIDF
from understudy.runs.judging.calibrating import calibrate
from understudy.runs.judging.comparing import compare
from understudy.runs.judging.probe import head_facts
from understudy.runs.saving import save_classifier
from understudy.runs.scoring import describe_answering, fit_tfidf, tfidf_baseline
from understudy.runs.session import Session
from understudy.runs.subject import Subject
from understudy.settings.train.finetune import FinetuneSettings

MODEL = "model"
"""The trained model's name on the record."""


class Classification:
    """What the three ways share: rows in; a trained model saved, scored and set beside TF-IDF."""

    notes: Sequence[str] = ()
    terms: Sequence[str] = ()
    groups: Sequence[str] = ()

    def __init__(self, settings: FinetuneSettings, splits: Splits) -> None:
        self.settings, self.splits = settings, splits
        if faults := splits.learning_faults():
            raise ConfigError(*faults)
        self.subject = Subject.of_rows(splits)

    def plan_lines(self) -> Mapping[str, str]:
        """What is about to be done."""
        raise NotImplementedError

    def train(self, session: Session) -> Predictor | LinearPredictor:
        """The trained model."""
        raise NotImplementedError

    def carry_out(self, session: Session) -> None:
        """Train, save the model, score it, set the baselines beside it, compare them."""
        model = self.train(session)
        if not session.run.writes:
            return
        calibrate(session, model, self.splits)
        save_classifier(session.run.folder / "model", model, self.splits.reporting()[1].texts)
        answers = {MODEL: self.describe(session, MODEL, model)}
        self.write_beside(session, model)
        if self.settings.baseline:
            answers |= self.baselines(session)
        compare(session, answers, self.splits)

    def baselines(self, session: Session) -> dict[str, np.ndarray]:
        """Put TF-IDF on the record, and the probe where there is one; their answers for the rows that report."""
        answers = {}
        if (probe := self.probe(session)) is not None:
            answers[PROBE] = self.describe(session, PROBE, probe, more=head_facts(probe))
        if (tfidf := tfidf_baseline(session, self.splits)) is not None:
            answers[TFIDF] = self.describe(session, TFIDF, tfidf)
        return answers

    def describe(
        self, session: Session, name: str, model: Answering, *, more: Mapping[str, Any] | None = None
    ) -> np.ndarray:
        """Put a model on the record; its answers for the rows that report, ``(rows, outputs)``."""
        return describe_answering(session, name, model, self.splits, more=more)

    def write_beside(self, session: Session, model: Answering) -> None:
        """Write what a command has beside the trained model, which is on the record by now."""

    def probe(self, session: Session) -> Predictor | None:
        """A linear layer on the encoder as it was before training; None where the model is no more than that."""
        return None


class TfidfBaseline(Classification):
    """TF-IDF with a linear model: what every other model has to beat."""

    small = True
    """It is fitted on one thread."""

    def plan_lines(self) -> Mapping[str, str]:
        """The number of rows."""
        return {"rows": f"{len(self.splits.train):,}", "model": "TF-IDF with a linear model"}

    def baselines(self, session: Session) -> dict[str, np.ndarray]:
        """None: this is one."""
        return {}

    def train(self, session: Session) -> LinearPredictor:
        """Fit it."""
        with session.run.timed("train_s"):
            return LinearPredictor(fit_tfidf(session, self.splits.train, self.splits))
