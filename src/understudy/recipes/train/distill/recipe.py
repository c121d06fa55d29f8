"""``understudy distill``: a small student that answers as its teacher does, and the proof."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from understudy.data.readers.corpus import Corpus, load_corpus
from understudy.data.splits import Splits
from understudy.recipes.train.distill.embeddings import EmbeddingsWork
from understudy.recipes.train.distill.work import Distillation
from understudy.runs.cluster.connection import checked_address
from understudy.runs.inputs import read_rows
from understudy.runs.plans import say_plan
from understudy.runs.skeleton import TrainingRecipe, Work
from understudy.runs.threads.choice import Threads
from understudy.settings.engine import RAY
from understudy.settings.train.distill import DistillSettings


class Distill(TrainingRecipe, DistillSettings):
    """Train a small student to answer as the teacher does, and compare it with the same student trained without one.

    The teacher labels the texts, the student is trained with and without it, and all are compared on the test split.
    """

    def read(self) -> Splits | Corpus | None:
        """Read and check the rows; those without a label count as unlabelled. Without labels at all: the texts, if any."""
        if self.embeddings_only:
            if self.unlabeled is None:
                return None
            return load_corpus(self.unlabeled, text=self.text, seed=self.seed, reading=self.reading)
        found = read_rows(
            self,
            seed=self.seed,
            metric=self.metric,
            unlabeled=self.unlabeled,
            pool_rest=self.pool_rest,
            allow_unlabelled=True,
        )
        if self.class_weights and not self.alpha:
            note = "class_weights: --alpha is 0, so the student learns from no label. The weights are those of the student without teacher, TF-IDF and the probe."
            found = replace(found, notes=(*found.notes, note))
        if self.alpha == 1:
            note = "alpha: is 1, so the student learns from the labels alone. The teacher labels no text for it."
            found = replace(found, notes=(*found.notes, note))
        return found

    def say_plan(self, work: Work, threads: Threads) -> None:
        """Print what is about to be done, and where the teacher labels."""
        super().say_plan(work, threads)
        if self.engine == RAY:
            say_plan({"labelling": checked_address().line})

    def prepare(self, data: Any) -> Work:
        """Load and check the teachers, build the student."""
        return EmbeddingsWork(self, data) if self.embeddings_only else Distillation(self, data)
