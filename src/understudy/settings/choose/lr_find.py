"""``understudy lr-find finetune`` and ``understudy lr-find pretrain``: a learning rate by experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, cast

from annotated_types import Ge, Gt

from understudy.record import RunRecord
from understudy.settings.configuration import as_dict, check
from understudy.settings.train.finetune import Finetune
from understudy.settings.train.pretrain import Pretrain


@dataclass(kw_only=True)
class SweepSettings:
    """Over which rates."""

    lowest: Annotated[float, Gt(0)] = 1e-7
    """The learning rate of the first step."""
    highest: Annotated[float, Gt(0)] = 10.0
    """That of the last step; the sweep ends before it where the loss diverges."""
    steps: Annotated[int, Ge(20)] = 100
    """Training steps, from rate to rate by a constant factor."""

    def sweep_faults(self) -> list[str]:
        """What is wrong with these settings by themselves."""
        if self.lowest < self.highest:
            return []
        return [f"lowest must be below highest, but they are {self.lowest:g} and {self.highest:g}."]


@dataclass(kw_only=True)
class FindForFinetune(Finetune, SweepSettings):
    """Find the learning rate for a finetune with the same flags: train at rates that grow, watch the loss, keep nothing."""

    command: ClassVar[str] = "lr-find finetune"
    trains: ClassVar[type[Finetune]] = Finetune
    finds_rate: ClassVar[bool] = True

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading data or weights."""
        faults = super().faults() + self.sweep_faults()
        if self.model == "tfidf" or self.features == "frozen":
            what = "--model tfidf" if self.model == "tfidf" else "--features frozen"
            faults.append(f"{what} has no learning rate to find. Name an encoder whose layers are trained.")
        return faults

    def run(self) -> RunRecord:
        """Sweep; write ``lr_find.png``, ``lr_find.csv`` and ``record.json``; print the suggestion.

        Raises:
            UnderstudyError: for every fault of the settings, the data or the model; or if the loss does not fall.
        """
        check(self)
        from understudy.runs.labelled import open_labelled
        from understudy.runs.plans import say_notes
        from understudy.runs.rate_sweep import Trainable, conclude

        splits = self.read()
        work = self.prepare(splits)
        if self.dry_run:
            work.say_plan()
            say_notes([*splits.notes, *work.notes])
            return RunRecord(command=self.command, config=as_dict(self), seed=self.seed)
        with open_labelled(self.command, self, splits, notes=work.notes) as session:
            return session.run.record if session.run.record.finished else conclude(session, cast(Trainable, work), self)


@dataclass(kw_only=True)
class FindForPretrain(Pretrain, SweepSettings):
    """Find the learning rate for a pretrain with the same flags: train at rates that grow, watch the loss, keep nothing."""

    command: ClassVar[str] = "lr-find pretrain"
    trains: ClassVar[type[Pretrain]] = Pretrain
    finds_rate: ClassVar[bool] = True

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading data or weights."""
        return super().faults() + self.sweep_faults()

    def run(self) -> RunRecord:
        """Sweep; write ``lr_find.png``, ``lr_find.csv`` and ``record.json``; print the suggestion.

        Raises:
            UnderstudyError: for every fault of the settings, the texts or the model; or if the loss does not fall.
        """
        check(self)
        from understudy.recipes.train.pretrain.pretraining import open_on_texts
        from understudy.runs.plans import say_notes
        from understudy.runs.rate_sweep import Trainable, conclude

        corpus = self.read()
        work = self.prepare(corpus)
        if self.dry_run:
            work.say_plan()
            say_notes([*corpus.notes, *work.notes])
            return RunRecord(command=self.command, config=as_dict(self), seed=self.seed)
        with open_on_texts(self, corpus, work) as session:
            return session.run.record if session.run.record.finished else conclude(session, cast(Trainable, work), self)
