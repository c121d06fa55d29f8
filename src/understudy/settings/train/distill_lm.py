"""Settings of ``understudy distill-lm``."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Lt

from understudy.settings.data import CorpusSettings, MaskingSettings
from understudy.settings.flags import Shown
from understudy.settings.models import model_faults
from understudy.settings.run import RunSettings, SeedsSettings
from understudy.settings.student_options import (
    LANGUAGE_STUDENTS,
    AlbertOptions,
    LayersOptions,
    language_student_faults,
    options_of,
)
from understudy.settings.training import TrainSettings

Weight = Annotated[float, Ge(0), Lt(math.inf)]

_OF_STATES = ("cosine_weight", "hidden_weight", "attention_weight", "relation_weight")
"""Weights of the losses that compare states."""


@dataclass(kw_only=True)
class DistillLMSettings(CorpusSettings, MaskingSettings, TrainSettings, SeedsSettings, RunSettings):
    """Train a small masked language model to read and predict as its teacher does, from raw text alone."""

    command: ClassVar[str] = "distill-lm"
    group: ClassVar[str] = "Method"
    teacher: Annotated[str, Shown("MODEL", group="Teacher", required=True)] = ""
    """A masked language model: a run, a model folder or a hub id."""
    student: Annotated[str, Shown("STUDENT", group="Student")] = "layers:3"
    """layers:N (N of the teacher's layers), albert, or a model folder or hub id with the teacher's vocabulary."""
    layers: Annotated[LayersOptions, Shown(group="Student", rare=True)] = field(default_factory=LayersOptions)
    albert: Annotated[AlbertOptions, Shown(group="Student", rare=True)] = field(default_factory=AlbertOptions)
    ce_weight: Weight = 5.0
    """Weight of the soft targets: the distance of the student's word probabilities from the teacher's."""
    mlm_weight: Weight = 2.0
    """Weight of the masked-LM loss."""
    cosine_weight: Weight = 1.0
    """Weight of the angle between the last hidden states."""
    hidden_weight: Weight = 0.0
    """Weight of the squared error of hidden states at matched depths (TinyBERT)."""
    attention_weight: Weight = 0.0
    """Weight of the squared error of the attention scores of matched layers (TinyBERT)."""
    relation_weight: Weight = 0.0
    """Weight of the relations among queries, keys and values (MiniLMv2)."""
    temperature: Annotated[float, Gt(0), Lt(math.inf)] = 2.0
    """Softens both sides of the soft targets."""
    ce_positions: Annotated[Literal["masked", "all"], Shown(rare=True)] = "masked"
    """Positions of the soft targets: the masked ones, or all real tokens."""
    teacher_words: Annotated[int, Gt(0), Shown(rare=True)] | None = None
    """Learn from so many words that the teacher draws for each masked token, instead of its whole distribution. They are cached: no run reads the same text twice."""
    relation_heads: Annotated[int, Gt(0), Shown(rare=True)] | None = None
    """Heads that the vectors are cut into for relations (up to 48, as many as both widths allow)."""
    relation_layer: Annotated[int, Ge(0), Shown(rare=True)] | None = None
    """The teacher's layer whose relations the student's last layer learns, counted from 0 (the last)."""
    epochs: Annotated[int, Gt(0), Shown(group="Training")] = 3
    """Passes over the texts, each with other masks."""
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

    def models_read(self) -> list[str]:
        """The names of what else decides the result: the teacher, and a student that is a model."""
        return [self.teacher, *([] if self.student.split(":")[0] in LANGUAGE_STUDENTS else [self.student])]

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading data or weights."""
        faults = self.data_faults() + self.run_faults() + self.seeds_faults() + self.train_faults()
        if self.teacher:
            faults += model_faults(self.teacher)
        else:
            faults.append("no teacher: name a masked language model with --teacher, a run, a model folder or a hub id.")
        faults += language_student_faults(self.student, options_of(self))
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
            if getattr(self, flag) != getattr(DistillLMSettings, flag) and not self.ce_weight
        ]
        if self.compile and (self.attention_weight or self.relation_weight):
            faults.append(
                "--compile hides the inside of a block, but --attention_weight and --relation_weight need its queries and keys. Leave one of them out."
            )
        if self.teacher_words and (states := [name for name in _OF_STATES if getattr(self, name)]):
            faults.append(
                f"--teacher_words keeps the teacher's words, not its states, which are needed for {' and '.join(f'--{name}' for name in states)}. Give 0 there, or leave --teacher_words out."
            )
        if self.baseline and not (self.ce_weight or self.mlm_weight):
            faults.append(
                "--baseline compares how well students predict words, but with --ce_weight 0 and --mlm_weight 0 the student does not learn to. Leave it out."
            )
        if self.teacher_words and self.ce_positions == "all":
            faults.append("--teacher_words covers only masked tokens. Leave --ce_positions all out.")
        return faults
