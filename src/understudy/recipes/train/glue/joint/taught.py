"""Several tasks at once with a teacher for each: their answers are cached, and one student learns from all of them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from understudy.data.glue.read import TaskData
from understudy.data.tasks import Task
from understudy.errors import ConfigError
from understudy.functional.chance import chance_distance, chance_loss
from understudy.inference.answering import Answering
from understudy.models.files.multitask import is_multitask
from understudy.models.files.names import resolve
from understudy.objectives.distill import Distance
from understudy.objectives.multitask import MultiTask, Teaching
from understudy.objectives.teachers.teacher import Teacher
from understudy.objectives.terms import term_names
from understudy.recipes.train.distill.distances import distance, distance_faults
from understudy.recipes.train.distill.teachers import Teachers
from understudy.recipes.train.glue.joint.work import Joint
from understudy.record import RunRecord
from understudy.runs.scoring import tfidf_baseline
from understudy.runs.session import Session
from understudy.settings.train.glue import GlueSettings
from understudy.settings.train.taught_tasks import ALPHA, DISTANCE

TAUGHT_BY, UNTAUGHT, TFIDF = ", its teacher", ", without teachers", ", TF-IDF"
"""What the names of the entries end with that stand beside the student's."""
LEAST = 0.1
"""A teacher's answers count as differing by at least this share of what the labels do: the distance to one that answers nearly
alike for every text would else be divided by almost nothing, and outweigh all other tasks."""


class TaughtJoint(Joint):
    """Rows of several tasks and a teacher for each in; one student for all, and the same student without teachers."""

    ends = (*Joint.ends, TAUGHT_BY, UNTAUGHT, TFIDF)

    def __init__(self, settings: GlueSettings, data: Sequence[TaskData]) -> None:
        names = [task.name for task in data]
        faults = settings.taught_faults(names)
        self.teachers: dict[str, Teachers] = {}
        if not faults:
            self.teachers = {
                task.name: _teachers(settings.teacher_of(task.name, names), task, faults=faults) for task in data
            }
        for task in data:
            faults += distance_faults(self._distance_name(settings, task.splits.task), task.splits.task.kind)
        if faults:
            raise ConfigError(*dict.fromkeys(faults))
        super().__init__(settings, data)
        self.later = 1 if settings.baseline else 0
        self.untaught = copy.deepcopy(self.model)  # the student without teachers starts from the same weights
        self.on_labels = self.objective
        self.terms = term_names(self._taught_objective({name: Teaching(self._distance(name), 1.0) for name in names}))
        self.notes = [*self.notes, *(note for one in self.teachers.values() for note in one.notes)]
        self.notes += [note for name, one in self.teachers.items() for note in said_of_task(one.names[0], name)]

    def plan_lines(self) -> Mapping[str, str]:
        """The teachers and the student, then as without teachers."""
        settings = self.settings
        teachers = ", ".join(f"{name}: {one.names[0]}" for name, one in self.teachers.items())
        student = settings.student or "the whole model"
        return {
            "teachers": teachers,
            "student": f"{student}; {self._alpha:g} of the loss is the labels', the rest the teachers'",
            **super().plan_lines(),
        }

    def later_trainings(self) -> list[str]:
        """The student without teachers too."""
        return [*super().later_trainings(), *["the same student without teachers"] * self.later]

    def train_all(self, session: Session) -> None:
        """Have each teacher answer for its task's training rows, then train the student on labels and answers."""
        answering = {
            name: one.label(session, self.data[name].splits.train.texts) for name, one in self.teachers.items()
        }
        session.run.record.teacher_forward_texts = sum(one.forward_texts for one in self.teachers.values())
        teaching = {
            name: Teaching(self._distance(name), self._teacher_weight(session, name, answering[name]))
            for name in self.data
        }
        session.run.record.training.setdefault("joint", {})["teacher_weights"] = {
            name: one.weight for name, one in teaching.items()
        }
        self.objective = self._taught_objective(teaching)
        self.batches = self.mixed(answering)
        super().train_all(session)

    def set_beside(self, session: Session) -> None:
        """The same student without teachers, trained as long; the teachers; TF-IDF."""
        settings = self.settings
        if settings.baseline:
            objective = MultiTask(
                self.untaught, self.on_labels.kinds, self.on_labels.weights, distance=self.on_labels.distance
            )
            self.fit(session, objective, self.mixed({}), phase="joint without teachers")
        if not session.run.writes:
            return
        for name, data in self.data.items():
            beside: dict[str, Answering | None] = {TAUGHT_BY: self.teachers[name].ordered()}
            if settings.baseline:
                beside[UNTAUGHT] = self.calibrated(session, name, self.untaught.task(name))
                beside[TFIDF] = tfidf_baseline(session, data.splits)
            for end, model in beside.items():
                if model is not None:
                    self.describe(session, name, end, model)

    @property
    def _alpha(self) -> float:
        return ALPHA if self.settings.alpha is None else self.settings.alpha

    def _taught_objective(self, teaching: Mapping[str, Teaching]) -> MultiTask:
        own = self.on_labels
        return MultiTask(
            self.model, own.kinds, own.weights, distance=own.distance, teaching=teaching, alpha=self._alpha
        )

    def _distance(self, name: str) -> Distance:
        task, settings = self.data[name].splits.task, self.settings
        return distance(
            self._distance_name(settings, task),
            task.kind,
            temperature=1.0 if settings.temperature is None else settings.temperature,
        )

    def _teacher_weight(self, session: Session, name: str, teacher: Teacher) -> float:
        """The weight of the distance to a task's teacher, scaled as the losses of its labels are."""
        rows = self.data[name].splits.train
        found = chance_distance(teacher(np.arange(len(rows))), self._distance(name))
        least = LEAST * chance_loss(rows.labels)
        if found < least:
            session.run.say(
                f"{name}: its teacher answers nearly the same for every text (the distance from their mean is {found:.2g}, and below {least:.2g} it is little), so there is little to learn from it. Look at its scores."
            )
        if self.settings.task_weights or self.settings.loss_scale == "none":
            return self.on_labels.weights[name]
        return 1 / max(found, least)

    @staticmethod
    def _distance_name(settings: GlueSettings, task: Task) -> str:
        """Of scores there is no divergence."""
        return DISTANCE if task.kind == "regression" else settings.distance or DISTANCE


def said_of_task(teacher: str, task: str) -> list[str]:
    """That a teacher was trained on another task of GLUE than the one that it teaches, where its record says so."""
    found = Path(resolve(teacher, adapters=True))
    path = next((place / "record.json" for place in (found, found.parent) if (place / "record.json").is_file()), None)
    trained = None if path is None else (RunRecord.load(path).task or {}).get("name")
    if trained in (None, task):
        return []
    return [f"{teacher}: was trained on {trained}, and teaches {task}. --teachers stand in the order of --tasks."]


def _teachers(name: str, data: TaskData, *, faults: list[str]) -> Teachers:
    """One task's teacher: a model of its own, or the head of one for several tasks that is called like the task."""
    several = is_multitask(Path(resolve(name, adapters=True)))
    return Teachers(
        [name], [], data.splits.task, max_length=None, of_several=data.name if several else None, faults=faults
    )
