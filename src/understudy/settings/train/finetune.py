"""Settings of ``understudy finetune``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge

from understudy.settings.data import DataSettings
from understudy.settings.flags import Shown
from understudy.settings.models import model_faults
from understudy.settings.run import RunSettings, SeedsSettings
from understudy.settings.training import TrainSettings


@dataclass(kw_only=True)
class FinetuneSettings(DataSettings, TrainSettings, SeedsSettings, RunSettings):
    """Train a pretrained transformer on labelled rows, or one of two cheap baselines."""

    group: ClassVar[str] = "Model"
    command: ClassVar[str] = "finetune"
    model: Annotated[str, Shown("MODEL", required=True)] = ""
    """A model folder, a run (of a language model too), a hub id of any BERT-family encoder, or `tfidf` (TF-IDF with a linear model)."""
    encoder_from: Annotated[str | None, Shown("MODEL")] = None
    """Instead of --model: start from the encoder of this run or model, with a new head, whatever it was trained for."""
    features: Literal["trained", "frozen"] = "trained"
    """trained: all weights learn. frozen: logistic regression on the mean vectors of the frozen encoder."""
    pooling: Literal["head", "mean"] = "head"
    """head: the architecture's own head, which reads the first token. mean: a linear layer on the mean of the states, as in sentence encoders."""
    drop_mult: Annotated[float, Ge(0), Shown(rare=True)] | None = None
    """For an AWD-LSTM: scale all its dropouts by this (1, or 0.5 if it was a language model)."""
    baseline: Annotated[bool, Shown(off="Do not fit TF-IDF with a linear model beside it.")] = True
    """Also fit TF-IDF with a linear model on the same rows, for the table."""

    def models_read(self) -> list[str]:
        """The names of what else decides the result: the model."""
        return [name for name in (self.model, self.encoder_from) if name and name != "tfidf"]

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading data or weights."""
        faults = self.data_faults() + self.run_faults() + self.seeds_faults() + self.train_faults()
        if self.encoder_from is not None:
            faults += self._encoder_faults(self.encoder_from)
        elif not self.model:
            known = "a model folder or a hub id" if self.finds_rate else "a model folder, a hub id, or tfidf"
            faults.append(f"no model: name {known} with --model.")
        elif self.model != "tfidf":
            faults += model_faults(self.model, built=() if self.finds_rate else ("tfidf",))
        if self.model == "tfidf" and self.features == "frozen":
            faults.append(
                "--features frozen needs an encoder, but --model is tfidf. Name an encoder, or leave --features out."
            )
        if self.pooling == "mean" and (self.model == "tfidf" or self.features == "frozen"):
            faults.append(
                "--pooling mean needs an encoder with --features trained. Leave it out, or change --model or --features."
            )
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

    def _encoder_faults(self, name: str) -> list[str]:
        faults = model_faults(name)
        if self.model:
            faults.append("--model and --encoder_from both say where to start. Leave one of them out.")
        if self.features == "frozen":
            faults.append(
                "--features frozen takes the encoder of --model as it is. Name it with --model, or leave --features out."
            )
        return faults
