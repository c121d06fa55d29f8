"""``understudy distill-lm``: one small pretrained model from a larger one and raw text, to be fine-tuned for anything."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Lt

from understudy.recipes.train.students.classifier import LayersOptions
from understudy.recipes.train.students.language import AlbertOptions, language_student_faults
from understudy.settings.configuration import as_dict, check
from understudy.settings.data import CorpusSettings, MaskingSettings
from understudy.settings.training import RunSettings, TrainSettings, model_faults

if TYPE_CHECKING:
    from understudy.data.readers.corpus import Corpus
    from understudy.recipes.train.distill_lm.distillation import LanguageDistillation
    from understudy.record import RunRecord

Weight = Annotated[float, Ge(0), Lt(math.inf)]

_OF_STATES = ("cosine_weight", "hidden_weight", "attention_weight", "relation_weight")
"""The weights of what is learnt from inside the teacher."""


@dataclass(kw_only=True)
class DistillLM(CorpusSettings, MaskingSettings, TrainSettings, RunSettings):
    """Train a small masked language model to read and guess as its teacher does, from raw text alone."""

    command: ClassVar[str] = "distill-lm"
    teacher: str = ""
    """A masked language model: a run, a model folder or a hub id."""
    student: str = "layers:3"
    """layers:N (N of the teacher's layers), albert, or a model folder or hub id with the teacher's vocabulary."""
    layers: LayersOptions = field(default_factory=LayersOptions)
    albert: AlbertOptions = field(default_factory=AlbertOptions)
    ce_weight: Weight = 5.0
    """Of the soft targets: the distance of the student's words from the teacher's."""
    mlm_weight: Weight = 2.0
    """Of the masked words themselves."""
    cosine_weight: Weight = 1.0
    """Of the angle between the last hidden states."""
    hidden_weight: Weight = 0.0
    """Of the squared error of hidden states at matched depths (TinyBERT)."""
    attention_weight: Weight = 0.0
    """Of the squared error of the attention scores of matched layers (TinyBERT)."""
    relation_weight: Weight = 0.0
    """Of the relations among queries, keys and values (MiniLMv2)."""
    temperature: Annotated[float, Gt(0), Lt(math.inf)] = 2.0
    """Softens both sides of the soft targets."""
    ce_positions: Literal["masked", "all"] = "masked"
    """Where soft targets are learnt: on the masked positions, or on all real tokens."""
    teacher_words: Annotated[int, Gt(0)] | None = None
    """Learn from so many words that the teacher draws for each hidden token, in place of its whole distribution. They are kept: what was read once, in this run or another, is not read again."""
    relation_heads: Annotated[int, Gt(0)] | None = None
    """Into how many heads the vectors are cut for relations (default: up to 48, what both widths allow)."""
    relation_layer: Annotated[int, Ge(0)] | None = None
    """The teacher's layer whose relations the student's last one learns, counted from 0 (default: the last)."""
    epochs: Annotated[int, Gt(0)] = 3
    """Passes over the texts; each masks other words."""
    baseline: bool = False
    """Also train the same student without the teacher, on masked words alone, for as many steps."""

    def weights(self) -> dict[str, float]:
        """The losses' weights by the names of their terms."""
        return {
            "soft_targets": self.ce_weight,
            "masked_lm": self.mlm_weight,
            "cosine": self.cosine_weight,
            "hidden": self.hidden_weight,
            "attention": self.attention_weight,
            "relation": self.relation_weight,
        }

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading data or weights."""
        faults = self.data_faults() + self.run_faults() + self.train_faults()
        if self.teacher:
            faults += model_faults(self.teacher)
        else:
            faults.append("no teacher: name a masked language model with --teacher, a run, a model folder or a hub id.")
        faults += language_student_faults(self.student, layers=self.layers, albert=self.albert)
        if not any(self.weights().values()):
            faults.append(
                "all weights are 0, so there is nothing to learn. Raise one: --ce_weight, --mlm_weight, --cosine_weight, --hidden_weight, --attention_weight or --relation_weight."
            )
        faults += [
            f"--{flag} belongs to --{owner}, which is 0. Raise that, or leave --{flag} out."
            for flag, owner in (("relation_heads", "relation_weight"), ("relation_layer", "relation_weight"))
            if getattr(self, flag) is not None and not self.relation_weight
        ]
        faults += [
            f"--{flag} belongs to --ce_weight, which is 0. Raise that, or leave --{flag} out."
            for flag in ("temperature", "ce_positions", "teacher_words")
            if getattr(self, flag) != getattr(DistillLM, flag) and not self.ce_weight
        ]
        if self.compile and (self.attention_weight or self.relation_weight):
            faults.append(
                "--compile makes one function of a block, and --attention_weight and --relation_weight look at queries and keys inside. Leave one of them out."
            )
        if self.teacher_words and (states := [name for name in _OF_STATES if getattr(self, name)]):
            faults.append(
                f"--teacher_words keeps the teacher's words, not its states, which are needed for {' and '.join(f'--{name}' for name in states)}. Give 0 there, or leave --teacher_words out."
            )
        if self.baseline and not (self.ce_weight or self.mlm_weight):
            faults.append(
                "--baseline sets guessed words side by side, but with --ce_weight 0 and --mlm_weight 0 the student learns none. Leave it out."
            )
        if self.teacher_words and self.ce_positions == "all":
            faults.append("--teacher_words are drawn for hidden tokens alone. Leave --ce_positions all out.")
        return faults

    def run(self) -> RunRecord:
        """Build the student, teach it, keep the weights that are best on the validation texts, set both side by side.

        Raises:
            UnderstudyError: for every fault of the settings, the texts or the models, before any training.
        """
        check(self)
        from understudy.recipes.train.pretrain.pretraining import open_on_texts
        from understudy.record import RunRecord
        from understudy.runs.plans import say_notes

        corpus = self.read()
        work = self.prepare(corpus)
        work.say_plan()
        if self.dry_run:
            say_notes([*corpus.notes, *work.notes])
            return RunRecord(command="distill-lm", config=as_dict(self), seed=self.seed)
        with open_on_texts(self, corpus, work) as session:
            if session.run.record.finished:
                return session.run.record
            return work.conclude(session, work.train(session))

    def read(self) -> Corpus:
        """Read and check the texts."""
        return self.load(seed=self.seed)

    def prepare(self, corpus: Corpus) -> LanguageDistillation:
        """Load the teacher, build the student, encode the texts for both."""
        from understudy.recipes.train.distill_lm.distillation import LanguageDistillation

        return LanguageDistillation(self, corpus)
