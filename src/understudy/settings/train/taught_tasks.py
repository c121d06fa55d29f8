"""Teachers of several tasks, and the student that learns from all of them: settings of ``understudy glue``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from understudy.data.glue.tasks import ALL
from understudy.settings.flags import Shown
from understudy.settings.models import model_faults
from understudy.settings.student_options import (
    BiLSTMOptions,
    LayersOptions,
    StaticOptions,
    changed,
    is_table,
    options_of,
    student_faults,
)

DISTANCE, ALPHA = "mse", 0.5
"""What ``--distance`` and ``--alpha`` are where the settings leave them open."""


@dataclass(kw_only=True)
class TaughtTasksSettings:
    """Which student several tasks have in common, and who teaches it."""

    group: ClassVar[str] = "Teacher"
    teachers: Annotated[list[str], Shown("TEACHER")] = field(default_factory=list)
    """With joint: the models that teach, one a task in the order of --tasks; or one run of several tasks, such as that of --task all."""
    alpha: Annotated[float, Ge(0), Le(1), Shown("X", rare=True)] | None = None
    """With --teachers: share of the labels in the loss (0.5); the teachers have the rest."""
    distance: Annotated[Literal["mse", "kl"], Shown(rare=True)] | None = None
    """With --teachers: squared error of logits (mse), or KL divergence; for scores it is always the squared error."""
    temperature: Annotated[float, Gt(0), Shown("X", rare=True)] | None = None
    """Softens both sides of the KL divergence (1)."""
    student: Annotated[str | None, Shown("STUDENT", group="Student")] = None
    """With joint: what learns, instead of --model itself: bilstm, static, or layers:N (N of its layers)."""
    bilstm: Annotated[BiLSTMOptions, Shown(group="Student", rare=True)] = field(default_factory=BiLSTMOptions)
    static: Annotated[StaticOptions, Shown(group="Student", rare=True)] = field(default_factory=StaticOptions)
    layers: Annotated[LayersOptions, Shown(group="Student", rare=True)] = field(default_factory=LayersOptions)

    def teacher_of(self, task: str, tasks: Sequence[str]) -> str:
        """The name of the model that teaches a task: the one in its place, or what is called like it in a run of several.

        Args:
            tasks: all of them, in their order.
        """
        if len(self.teachers) == len(tasks):
            return self.teachers[tasks.index(task)]
        child = Path(self.teachers[0]) / task
        return str(child) if child.expanduser().is_dir() else self.teachers[0]

    def taught_flags(self) -> list[str]:
        """The flags of teachers and students that were given."""
        plain = TaughtTasksSettings()
        names = ("teachers", "alpha", "distance", "temperature", "student")
        given = [f"--{name}" for name in names if getattr(self, name) != getattr(plain, name)]
        return given + [flag for group in options_of(self) for flag in changed(group, group.name)]

    def taught_faults(self, tasks: Sequence[str] | None) -> list[str]:
        """What is wrong with teachers and student in a joint training.

        Args:
            tasks: by name; None where they are not known before the data are read.
        """
        faults = self._student_faults()
        if not self.teachers:
            given = [f"--{name}" for name in ("alpha", "distance", "temperature") if getattr(self, name) is not None]
            return faults + [f"{flag} belongs to --teachers. Name them, or leave it out." for flag in given]
        if self.temperature is not None and self.distance != "kl":
            faults.append("--temperature belongs to --distance kl. Give that too, or leave it out.")
        if tasks is None and len(self.teachers) > 1:
            faults.append(
                f"--teachers names several models, so it needs the tasks by name, in the same order. Name them with --tasks, not {ALL}."
            )
        if tasks is None:
            return faults
        if len(self.teachers) not in (1, len(tasks)):
            return [
                *faults,
                f"--teachers must be one for each task, or one run of several tasks: there are {len(tasks)} tasks, but {len(self.teachers)} teachers.",
            ]
        named = dict.fromkeys(self.teacher_of(task, tasks) for task in tasks)
        return faults + [fault for name in named for fault in model_faults(name, adapters=True)]

    def _student_faults(self) -> list[str]:
        groups = options_of(self)
        if self.student is None:
            flags = [flag for group in groups for flag in changed(group, group.name)]
            return [f"{flag} is for a student. Name it with --student, or leave it out." for flag in flags]
        if not is_table(self.student) and self.student.split(":")[0] != LayersOptions.name:
            return [
                f"--student must be bilstm, static or layers:N, but is {self.student!r}. Name another model with --model."
            ]
        return student_faults(self.student, groups, tokenizer="auto", embeddings="auto")
