"""``understudy finetune``: a transformer, or a baseline, on labelled rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Ge

from understudy.settings.configuration import as_dict, check
from understudy.settings.data import DataSettings
from understudy.settings.training import RunSettings, TrainSettings, model_faults

if TYPE_CHECKING:
    from understudy.data.splits import Splits
    from understudy.recipes.train.finetune import Work
    from understudy.record import RunRecord


@dataclass(kw_only=True)
class Finetune(DataSettings, TrainSettings, RunSettings):
    """Train a pretrained transformer on labelled rows, or one of two cheap baselines."""

    command: ClassVar[str] = "finetune"
    model: str = ""
    """A model folder, a run (of a language model too), a hub id of any BERT-family encoder, or `tfidf` (TF-IDF with a linear model)."""
    features: Literal["trained", "frozen"] = "trained"
    """trained: all weights learn. frozen: logistic regression on the mean vectors of the frozen encoder."""
    pooling: Literal["head", "mean"] = "head"
    """head: the architecture's own, which reads the first token. mean: a linear layer on the mean, as sentence encoders have it."""
    drop_mult: Annotated[float, Ge(0)] | None = None
    """For an AWD-LSTM: scales all its dropouts (default: the model's own; 0.5 where it was a language model)."""
    baseline: bool = True
    """Also fit TF-IDF with a linear model on the same rows, for the table."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading data or weights."""
        faults = self.data_faults() + self.run_faults() + self.train_faults()
        if not self.model:
            faults.append("no model: name a model folder, a hub id, or tfidf with --model.")
        elif self.model != "tfidf":
            faults += model_faults(self.model)
        if self.model == "tfidf" and self.features == "frozen":
            faults.append(
                "--features frozen needs an encoder, but --model is tfidf. Name an encoder, or leave --features out."
            )
        if self.pooling == "mean" and (self.model == "tfidf" or self.features == "frozen"):
            faults.append("--pooling is for encoders that are trained. Leave it out, or --features and tfidf.")
        if (self.model == "tfidf" or self.features == "frozen") and (flags := self.layer_flags()):
            what = "--model tfidf" if self.model == "tfidf" else "--features frozen"
            faults.append(
                f"{', '.join(flags)}: this is for layers that are trained, and {what} trains none. Leave it out."
            )
        if self.drop_mult is not None and (self.model == "tfidf" or self.features == "frozen"):
            faults.append(
                "--drop_mult scales dropouts, but nothing here has any. Leave it out, or fine-tune an AWD-LSTM."
            )
        return faults

    def run(self) -> RunRecord:
        """Train, keep the weights that are best on validation, report on the test split.

        Raises:
            UnderstudyError: for every fault of the settings, the data or the model, before any training.
        """
        check(self)
        from understudy.recipes.train.finetune import conclude
        from understudy.record import RunRecord
        from understudy.runs.labelled import open_labelled
        from understudy.runs.plans import say_notes

        splits = self.read()
        work = self.prepare(splits)
        work.say_plan()
        if self.dry_run:
            say_notes([*splits.notes, *work.notes])
            return RunRecord(command="finetune", config=as_dict(self), seed=self.seed)
        with open_labelled("finetune", self, splits, groups=work.groups, notes=work.notes) as session:
            if session.run.record.finished:
                return session.run.record
            return conclude(session, splits, work.train(session), baseline=self.baseline)

    def read(self) -> Splits:
        """Read and check the data."""
        return self.load(seed=self.seed).selected_by(self.metric)

    def prepare(self, splits: Splits) -> Work:
        """Load and check the model."""
        from understudy.recipes.train.finetune import prepare

        return prepare(self, splits)
