"""Settings of ``understudy distill``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from understudy.data.readers.formats.reading import reading_faults
from understudy.data.readers.places.names import is_held
from understudy.settings.adapters import AdapterSettings
from understudy.settings.data import DataSettings
from understudy.settings.engine import RAY, EngineSettings
from understudy.settings.flags import Shown
from understudy.settings.models import file_faults, model_faults
from understudy.settings.run import RunSettings, SeedsSettings
from understudy.settings.student_options import (
    EMBEDDINGS,
    STUDENTS,
    BiLSTMOptions,
    LayersOptions,
    StaticOptions,
    changed,
    is_table,
    options_of,
    student_faults,
)
from understudy.settings.train.embeddings_only import embeddings_faults
from understudy.settings.training import TrainSettings

_OUTPUTS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".arrow", ".feather", ".xlsx")
Share = Annotated[float, Ge(0), Le(1)]


@dataclass(kw_only=True)
class AugmentationOptions:
    """How texts are varied (Tang et al. 2019, section 3.2)."""

    mask: Share = 0.1
    """The probability that a word becomes the mask token."""
    swap: Share = 0.1
    """The probability that a word is replaced by another of its class."""
    ngram: Share = 0.25
    """The probability that only an n-gram (1 to 5 words) of the text is kept."""
    seed: Annotated[int, Ge(0)] = 0
    """Seed of the copies, independent of --seed, so that runs with different seeds share one labelled pool."""


@dataclass(kw_only=True)
class DistillSettings(DataSettings, AdapterSettings, TrainSettings, SeedsSettings, EngineSettings, RunSettings):
    """Train a small student to answer as the teacher does, and compare it with the same student trained without one."""

    command: ClassVar[str] = "distill"
    group: ClassVar[str] = "Method"
    rows_in: ClassVar[tuple[str, ...]] = (*DataSettings.rows_in, "unlabeled", "teacher")
    several_in: ClassVar[tuple[str, ...]] = ("teacher",)
    teacher: Annotated[list[str], Shown("TEACHER", group="Teacher", required=True)] = field(default_factory=list)
    """The teacher: a run (TF-IDF too), a model folder, a hub id, or a file of its outputs. Several are averaged."""
    teacher_weights: Annotated[list[float], Shown("X", group="Teacher", rare=True)] = field(default_factory=list)
    """Weights of the teachers in the average (equal)."""
    task: Annotated[str | None, Shown("TASK", group="Teacher", rare=True)] = None
    """Of a teacher for several tasks, the one that teaches (the one that has the data's labels)."""
    student: Annotated[str, Shown("STUDENT", group="Student")] = "bilstm"
    """bilstm, static, layers:N (N of the teacher's layers), or a model folder or hub id."""
    embeddings_only: Annotated[bool, Shown(group="Student", rare=True)] = False
    """No labels: a static embedding model of the teacher (texts: --unlabeled)."""
    bilstm: Annotated[BiLSTMOptions, Shown(group="Student", rare=True)] = field(default_factory=BiLSTMOptions)
    static: Annotated[StaticOptions, Shown(group="Student", rare=True)] = field(default_factory=StaticOptions)
    layers: Annotated[LayersOptions, Shown(group="Student", rare=True)] = field(default_factory=LayersOptions)
    tokenizer: Annotated[str, Shown("auto|teacher|words:N|bpe:N", group="Student")] = "auto"
    """For bilstm and static: the teacher's, or a new one trained on all texts; auto is the teacher's where it is a model."""
    embeddings: Annotated[str, Shown("auto|contextual|teacher|random|FILE", group="Student")] = "auto"
    """For bilstm and static: the start of the embeddings. teacher: its word table; contextual: its mean state of a token."""
    unlabeled: Annotated[str | None, Shown("FILE", group="Data")] = None
    """The pool: texts without labels, a file or a folder."""
    pool_rest: Annotated[bool, Shown(group="Data", rare=True)] = False
    """With --limit_train: put the training rows that were not drawn into the pool, without their labels."""
    alpha: Share = 0.0
    """Share of the labels in the loss; the teacher has the rest."""
    distance: Literal["mse", "kl", "hard"] = "mse"
    """Distance to the teacher: squared error of logits, KL divergence, or cross-entropy on the teacher's hard decisions."""
    temperature: Annotated[float, Gt(0), Shown(rare=True)] = 1.0
    """Softens both sides of the KL divergence."""
    augment: Annotated[int, Ge(0)] = 0
    """Varied copies of each training text, labelled by the teacher too."""
    augmentation: Annotated[AugmentationOptions, Shown(rare=True)] = field(default_factory=AugmentationOptions)
    baseline: Annotated[bool, Shown(off="Do not train the same student without the teacher.")] = True
    """Also train the same student without the teacher."""
    references: Annotated[bool, Shown(off="Do not fit TF-IDF and the probe beside it.")] = True
    """Also fit TF-IDF and the probe (a linear model on the teacher's frozen encoder), for the table and the verdict."""
    epochs: Annotated[Annotated[int, Gt(0)] | Literal["auto"], Shown("N|auto", group="Training")] = "auto"  # type: ignore[assignment]
    """Passes over all texts, by their number."""
    batch_size: Annotated[int, Gt(0), Shown(group="Training")] | None = None  # type: ignore[assignment]
    """Rows of an optimizer step, over all processes (32, or 64)."""

    def data_read(self) -> list[str]:
        """The names of the data that the command reads, the pool included."""
        return super().data_read() + ([] if self.unlabeled is None else [self.unlabeled])

    def models_read(self) -> list[str]:
        """The names of what else decides the result: teachers, files of answers, a student, word vectors."""
        student = [] if self.student.split(":")[0] in STUDENTS else [self.student]
        vectors = [] if self.embeddings in EMBEDDINGS else [self.embeddings]
        return [*self.teacher, *student, *vectors, *self.adapters_read()]

    def data_faults(self) -> list[str]:
        """What is wrong with where the rows come from: without labels none are needed."""
        return reading_faults(self.reading) if self.embeddings_only else super().data_faults()

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading data or weights."""
        if self.embeddings_only:
            return self.run_faults() + embeddings_faults(self)
        faults = (
            self.data_faults() + self.run_faults() + self.seeds_faults() + self.train_faults() + self.engine_faults()
        )
        if self.engine == RAY and self.teacher and all(is_outputs_file(name) for name in self.teacher):
            faults.append("--engine ray has models label the texts, but --teacher names none. Leave it out.")
        if not self.teacher:
            faults.append("no teacher: name a model folder, a hub id or a file of outputs with --teacher.")
        if self.task is not None and self.teacher and all(is_outputs_file(name) for name in self.teacher):
            faults.append(
                f"--task {self.task} names one of a model's several tasks, but every --teacher is a file. Leave it out."
            )
        for name in self.teacher:
            if not is_outputs_file(name):
                faults += model_faults(name, adapters=True)
            elif not is_held(name):
                faults += file_faults(name)
            if self.teacher.count(name) > 1:
                faults.append(
                    f"--teacher names {name} more than once. Name it once, and give --teacher_weights to let it count for more."
                )
        faults += student_faults(self.student, options_of(self), tokenizer=self.tokenizer, embeddings=self.embeddings)
        if self.teacher_weights and len(self.teacher_weights) != len(self.teacher):
            faults.append(
                f"teacher_weights must be one for each teacher: {len(self.teacher)} teachers, but {len(self.teacher_weights)} weights."
            )
        if any(weight <= 0 for weight in self.teacher_weights):
            faults.append(f"teacher_weights must be positive, but are {' '.join(map(str, self.teacher_weights))}.")
        if self.pool_rest and self.limit_train is None:
            faults.append("--pool_rest adds the rows that --limit_train leaves out: give --limit_train too.")
        if self.augment and self.alpha == 1:
            faults.append(
                "--augment makes texts for the teacher to label, but at --alpha 1 the labels alone teach. Leave one of them out."
            )
        if not self.augment:
            faults += [
                f"--augment is 0, so {flag} has no effect. Leave it out, or give --augment 20, for example."
                for flag in changed(self.augmentation, "augmentation")
            ]
        if self.augmentation.mask + self.augmentation.swap > 1:
            faults.append(
                "augmentation.mask and augmentation.swap are shares of the words: together they must be at most 1."
            )
        if self.temperature != 1.0 and self.distance != "kl":
            faults.append(
                f"--temperature belongs to --distance kl, but the distance is {self.distance}. Leave one of them out."
            )
        return faults + self._adapter_faults()

    def _adapter_faults(self) -> list[str]:
        """What is wrong with an adapter, which is here in the student."""
        faults = self.adapter_faults(trains=f"--student {self.student}" if is_table(self.student) else None)
        if self.load_adapter is not None and self.student.split(":")[0] == LayersOptions.name:
            faults.append(
                f"--load_adapter: this adapter was trained in a whole model, but the student is {self.student}. Name its base as --student; or name the adapter as --teacher, whose layers the student then takes with it."
            )
        if self.adapts and (self.layers.hidden is not None or self.layers.start != "teacher"):
            faults.append(
                "--layers.hidden and --layers.start change the encoder, but with an adapter it stays as it is. Leave them out."
            )
        return faults


def is_outputs_file(name: str) -> bool:
    """Whether a teacher is a file of outputs rather than a model.

    Example:
        >>> is_outputs_file("answers.jsonl.gz"), is_outputs_file("runs/teacher")
        (True, False)
    """
    return is_held(name) or name.removesuffix(".gz").endswith(_OUTPUTS)
