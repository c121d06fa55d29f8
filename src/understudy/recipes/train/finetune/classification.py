"""What all ways to fine-tune share, and the cheapest of them: TF-IDF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from understudy.data.splits import Splits
from understudy.inference.predictor import LinearPredictor, Predictor
from understudy.runs.saving import save_classifier
from understudy.runs.scoring import describe_answering, describe_tfidf, fit_tfidf
from understudy.runs.session import Session
from understudy.runs.subject import Subject
from understudy.settings.train.finetune import FinetuneSettings


class Classification:
    """What the three ways share: rows in; a trained model saved, scored and set beside TF-IDF."""

    notes: Sequence[str] = ()
    terms: Sequence[str] = ()
    groups: Sequence[str] = ()

    def __init__(self, settings: FinetuneSettings, splits: Splits) -> None:
        self.settings, self.splits = settings, splits
        self.subject = Subject.of_rows(splits)

    def plan_lines(self) -> Mapping[str, str]:
        """What is about to be done."""
        raise NotImplementedError

    def train(self, session: Session) -> Predictor | LinearPredictor:
        """The trained model."""
        raise NotImplementedError

    def carry_out(self, session: Session) -> None:
        """Train, save the model, score it, set the baseline beside it."""
        model = self.train(session)
        if session.run.writes:
            save_classifier(session.run.folder / "model", model, self.splits.reporting()[1].texts)
            describe_answering(session, "model", model, self.splits)
            if self.settings.baseline and self.settings.model != "tfidf":
                describe_tfidf(session, self.splits)


class TfidfBaseline(Classification):
    """TF-IDF with a linear model: what every other model has to beat."""

    small = True
    """It is fitted on one thread."""

    def plan_lines(self) -> Mapping[str, str]:
        """The number of rows."""
        return {"rows": f"{len(self.splits.train):,}", "model": "TF-IDF with a linear model"}

    def train(self, session: Session) -> LinearPredictor:
        """Fit it."""
        with session.run.timed("train_s"):
            return LinearPredictor(fit_tfidf(self.splits.train, self.splits))
