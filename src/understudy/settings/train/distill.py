"""``understudy distill``: a small student that answers as its teacher does, and the proof."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from understudy.recipes.train.students.classifier import (
    BiLSTMOptions,
    LayersOptions,
    StaticOptions,
    changed,
    student_faults,
)
from understudy.settings.configuration import as_dict, check
from understudy.settings.data import DataSettings
from understudy.settings.training import RunSettings, TrainSettings, model_faults

if TYPE_CHECKING:
    from understudy.data.splits import Splits
    from understudy.recipes.train.distill.distillation import Distillation
    from understudy.record import RunRecord

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
    """A seed of its own, so that several training seeds share one labelled pool."""


@dataclass(kw_only=True)
class Distill(DataSettings, TrainSettings, RunSettings):
    """Train a small student to answer as the teacher does, and set it beside what it would be without one."""

    command: ClassVar[str] = "distill"
    teacher: list[str] = field(default_factory=list)
    """The fine-tuned teacher: a run, a model folder, a hub id, or a file of its outputs. Several are averaged."""
    teacher_weights: list[float] = field(default_factory=list)
    """The teachers' weights in the average (default: equal)."""
    student: str = "bilstm"
    """bilstm, static, layers:N (N of the teacher's layers), or a model folder or hub id."""
    bilstm: BiLSTMOptions = field(default_factory=BiLSTMOptions)
    static: StaticOptions = field(default_factory=StaticOptions)
    layers: LayersOptions = field(default_factory=LayersOptions)
    tokenizer: str = "auto"
    """For bilstm and static: `teacher`, or a new one trained on all texts: `words:30000`, `bpe:8000`."""
    embeddings: str = "auto"
    """For bilstm and static: start from `teacher`, `random`, or a file of word vectors."""
    unlabeled: str | None = None
    """The pool: a file of texts without labels."""
    pool_rest: bool = False
    """With --limit_train: the training rows that were not drawn join the pool, without their labels."""
    alpha: Share = 0.0
    """The labels' share of the loss; the teacher has the rest."""
    distance: Literal["mse", "kl", "hard"] = "mse"
    """To the teacher: squared error of logits, KL divergence, or cross-entropy on the teacher's hard decisions."""
    temperature: Annotated[float, Gt(0)] = 1.0
    """Softens both sides of the KL divergence."""
    augment: Annotated[int, Ge(0)] = 0
    """Varied copies of each training text that the teacher labels too."""
    augmentation: AugmentationOptions = field(default_factory=AugmentationOptions)
    baseline: bool = True
    """Also train the same student without the teacher."""
    epochs: Annotated[int, Gt(0)] = 10
    """Passes of the student over all texts."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading data or weights."""
        faults = self.data_faults() + self.run_faults() + self.train_faults()
        if not self.teacher:
            faults.append("no teacher: name a model folder, a hub id or a file of outputs with --teacher.")
        for name in self.teacher:
            if not is_outputs_file(name):
                faults += model_faults(name)
            if self.teacher.count(name) > 1:
                faults.append(
                    f"--teacher names {name} more than once. Name it once, and give --teacher_weights to let it count for more."
                )
        faults += student_faults(
            self.student,
            bilstm=self.bilstm,
            static=self.static,
            layers=self.layers,
            tokenizer=self.tokenizer,
            embeddings=self.embeddings,
        )
        if self.teacher_weights and len(self.teacher_weights) != len(self.teacher):
            faults.append(
                f"teacher_weights must be one for each teacher: {len(self.teacher)} teachers, but {len(self.teacher_weights)} weights."
            )
        if any(weight <= 0 for weight in self.teacher_weights):
            faults.append(f"teacher_weights must be positive, but are {' '.join(map(str, self.teacher_weights))}.")
        if self.pool_rest and self.limit_train is None:
            faults.append("--pool_rest adds the rows that --limit_train leaves out: give --limit_train too.")
        if not self.augment:
            faults += [
                f"--augment is 0, so there is no use for {flag}. Leave it out, or give --augment 20, for example."
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
        return faults

    def run(self) -> RunRecord:
        """Label the texts, train with and without the teacher, compare on the test split.

        Raises:
            UnderstudyError: for every fault of the settings, the data or the models, before any training.
        """
        check(self)
        from understudy.record import RunRecord
        from understudy.runs.labelled import open_labelled
        from understudy.runs.plans import say_notes

        splits = self.read()
        work = self.prepare(splits)
        work.say_plan()
        if self.dry_run:
            say_notes([*splits.notes, *work.notes])
            return RunRecord(command="distill", config=as_dict(self), seed=self.seed)
        with open_labelled("distill", self, splits, groups=work.groups, notes=work.notes) as session:
            if session.run.record.finished:
                return session.run.record
            teacher = work.label(session)
            student = work.train_student(session, teacher)
            without = work.train_baseline(session) if self.baseline else None
            return work.conclude(session, student, without)

    def read(self) -> Splits:
        """Read and check the data; rows without a label count as unlabelled ones."""
        return self.load(
            seed=self.seed, unlabeled=self.unlabeled, pool_rest=self.pool_rest, allow_unlabelled=True
        ).selected_by(self.metric)

    def prepare(self, splits: Splits) -> Distillation:
        """Load and check the teachers, build the student."""
        from understudy.recipes.train.distill.distillation import Distillation

        return Distillation(self, splits)


def is_outputs_file(name: str) -> bool:
    """Whether a teacher is a file of outputs rather than a model.

    Example:
        >>> is_outputs_file("answers.jsonl.gz"), is_outputs_file("runs/teacher")
        (True, False)
    """
    return name.removesuffix(".gz").endswith((".csv", ".tsv", ".jsonl", ".parquet"))


def faults_of_task(recipe: Any, task: Any) -> list[str]:
    """What is wrong with the settings now that the task is known."""
    if task.kind == "regression" and recipe.distance != "mse":
        return [f"distance must be mse for regression, but is {recipe.distance!r}."]
    if task.kind == "multi_label" and recipe.distance == "hard":
        return ["distance must be mse or kl for several labels a text, but is 'hard'."]
    return []
