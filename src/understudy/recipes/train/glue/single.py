"""One task by itself: what ``finetune`` does, under the field's settings, scored as GLUE does."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from understudy.data.glue.read import TaskData
from understudy.data.glue.submission import predictions, write_answers
from understudy.data.glue.tasks import glue_task
from understudy.evaluation import cost
from understudy.inference.answering import Answering
from understudy.models.awd_lstm.config import reads_whole
from understudy.recipes.train.finetune.adapted import Adapted
from understudy.recipes.train.finetune.classification import MODEL
from understudy.recipes.train.finetune.transformer import Transformer
from understudy.recipes.train.glue.results import mean_loss, scored_parts, write_results
from understudy.runs.entries import put_on_record
from understudy.runs.scoring import model_type
from understudy.runs.session import Session
from understudy.settings.train.finetune import FinetuneSettings
from understudy.settings.train.glue import GlueSettings

LEARNING_RATE = 2e-5
"""The peak rate of a transformer where the settings name none: the lowest of those that the papers search."""


def as_finetune(settings: GlueSettings) -> FinetuneSettings:
    """The settings of ``finetune`` that mean the same: the head learns from labels alone."""
    names = {field.name for field in dataclasses.fields(FinetuneSettings)} - {"data", "train", "validation", "test"}
    shared = {field.name for field in dataclasses.fields(settings)} & names
    given = {name: getattr(settings, name) for name in sorted(shared)}
    return FinetuneSettings(**given, contrastive="never")


class SingleTask(Transformer):
    """One task: trained as ``finetune`` trains, scored on every part that has labels, answered for the leaderboard."""

    chooses_by_rows = False  # the best weights on the development set, as is usual in the field

    def __init__(self, settings: GlueSettings, data: TaskData) -> None:
        super().__init__(as_finetune(settings), replace(data.splits, test=data.others.get("test")))
        self.glue_settings, self.data = settings, data
        self.losses: dict[str, float] = {}
        self.subject = replace(self.subject, task={**self.subject.task, "name": data.name})

    def usual_rate(self) -> float | None:
        """That of the field; of an AWD-LSTM its own."""
        return super().usual_rate() or (None if reads_whole(self.model.config) else LEARNING_RATE)

    def plan_lines(self) -> Mapping[str, str]:
        """The task, then rows, tokens, steps, time and memory."""
        task = self.data.glue
        about = f"{self.data.name}: {task.about}" if task else self.data.name
        return {"task": f"{about}; by {' and '.join(self.splits.task.metrics)}", **super().plan_lines()}

    def describe(
        self, session: Session, name: str, model: Answering, *, more: Mapping[str, Any] | None = None
    ) -> np.ndarray:
        """Put a model on the record: its scores on all parts with labels, and its cost; its answers where it reports."""
        parts = {"validation": self.splits.validation, **self.data.others}
        split, rows = self.splits.reporting()
        with session.run.timed("evaluate_s"):
            scores, answers = scored_parts(
                session, name, self.data.name, model, parts, metrics=self.splits.task.metrics
            )
        if name == MODEL:
            self.losses = {split: mean_loss(answers[split], rows, model.task) for split, rows in parts.items()}
        with session.run.timed("bench_s"):
            facts = cost.measure(model, rows.texts)
        put_on_record(session, name, scores=scores, facts={**facts, **model_type(model), **(more or {})})
        return answers[split]

    def write_beside(self, session: Session, model: Answering) -> None:
        """GLUE's files: ``eval_results``, and the answers for the leaderboard if they are asked for."""
        result = session.run.record.training["train"]
        write_results(session.run.folder, session.run.record.model(MODEL), self.data, result, self.losses)
        if self.glue_settings.submit:
            self._answer(session, model)

    def _answer(self, session: Session, model: Answering) -> None:
        """The files of a submission for the test files that are there."""
        with session.run.timed("submit_s"):
            for file, texts in self.data.tests.items():
                task = glue_task("ax") if file == "AX" else self.data.glue
                assert task is not None
                answers = predictions(session.answers(model, texts), task)
                write_answers(session.run.folder / "submission", file, answers)


class AdaptedTask(SingleTask, Adapted):
    """One task of which an adapter and a head learn."""

    def usual_rate(self) -> float:
        """That of the kind of adapter."""
        return Adapted.usual_rate(self)
