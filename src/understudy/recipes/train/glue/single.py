"""One task by itself: what ``finetune`` does, under the field's settings, scored as GLUE does."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from understudy.data.glue.read import TaskData
from understudy.data.glue.submission import predictions, write_answers
from understudy.data.glue.tasks import glue_task
from understudy.data.splits import Rows
from understudy.errors import DataError
from understudy.evaluation import cost
from understudy.inference.answering import Answering
from understudy.inference.predictor import LinearPredictor
from understudy.models.awd_lstm.config import reads_whole
from understudy.recipes.train.finetune.transformer import Transformer
from understudy.recipes.train.glue.results import scored_parts, write_results
from understudy.report.scores import TFIDF
from understudy.runs.entries import put_on_record
from understudy.runs.fitting.learning import learning_plan
from understudy.runs.saving import save_classifier
from understudy.runs.scoring import fit_tfidf
from understudy.runs.session import Session
from understudy.settings.train.finetune import FinetuneSettings
from understudy.settings.train.glue import GlueSettings

LEARNING_RATE = 2e-5
"""The peak rate of a transformer where the settings name none: the lowest of those that the papers search."""


def as_finetune(settings: GlueSettings) -> FinetuneSettings:
    """The settings of ``finetune`` that mean the same."""
    names = {field.name for field in dataclasses.fields(FinetuneSettings)} - {"data", "train", "validation", "test"}
    shared = {field.name for field in dataclasses.fields(settings)} & names
    return FinetuneSettings(**{name: getattr(settings, name) for name in sorted(shared)})


class SingleTask(Transformer):
    """One task: trained as ``finetune`` trains, scored on every part that has labels, answered for the leaderboard."""

    def __init__(self, settings: GlueSettings, data: TaskData) -> None:
        super().__init__(as_finetune(settings), data.splits)
        self.glue_settings, self.data = settings, data
        if not reads_whole(self.model.config):
            self.learning_rate = LEARNING_RATE
            self.plan = learning_plan(self.objective, settings, learning_rate=LEARNING_RATE)
            self.groups = self.plan.with_own_rates

    def plan_lines(self) -> Mapping[str, str]:
        """The task, then rows, tokens, steps, time and memory."""
        task = self.data.glue
        about = f"{self.data.name}: {task.about}" if task else self.data.name
        return {"task": f"{about}; by {' and '.join(self.splits.task.metrics)}", **super().plan_lines()}

    def carry_out(self, session: Session) -> None:
        """Train, save the model, score it on every part, write GLUE's files, set the baseline beside it."""
        predictor = self.train(session)
        if not session.run.writes:
            return
        save_classifier(session.run.folder / "model", predictor, self.splits.validation.texts)
        self._describe(session, "model", predictor)
        result = session.run.record.training["train"]
        write_results(session.run.folder, session.run.record.model("model"), self.data, result)
        if self.glue_settings.submit:
            self._answer(session, predictor)
        if self.glue_settings.baseline:
            self._describe_tfidf(session)

    def _parts(self) -> dict[str, Rows]:
        return {"validation": self.splits.validation, **self.data.others}

    def _describe(self, session: Session, name: str, model: Answering) -> None:
        """Put a model on the record: its scores on all parts with labels, and its cost."""
        with session.run.timed("evaluate_s"):
            scores = scored_parts(session, name, self.data.name, model, self._parts(), self.splits.task)
        with session.run.timed("bench_s"):
            facts = cost.measure(model, self.splits.validation.texts)
        put_on_record(session, name, scores=scores, facts=facts)

    def _describe_tfidf(self, session: Session) -> None:
        try:
            with session.run.timed("tfidf_s"):
                tfidf = fit_tfidf(self.splits.train, self.splits)
        except DataError as error:  # the model to be compared with it does not depend on it
            session.run.say(f"tfidf is left out: {' '.join(error.faults)}")
            return
        self._describe(session, TFIDF, LinearPredictor(tfidf))

    def _answer(self, session: Session, model: Answering) -> None:
        """The files of a submission for the test files that are there."""
        with session.run.timed("submit_s"):
            for file, texts in self.data.tests.items():
                task = glue_task("ax") if file == "AX" else self.data.glue
                assert task is not None
                answers = predictions(session.answers(model, texts), task)
                write_answers(session.run.folder / "submission", file, answers)
