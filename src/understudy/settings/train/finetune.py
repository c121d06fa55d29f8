"""Settings of ``understudy finetune``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from understudy.settings.adapters import AdapterSettings
from understudy.settings.data import DataSettings
from understudy.settings.flags import Shown
from understudy.settings.models import model_faults
from understudy.settings.run import RunSettings, SeedsSettings
from understudy.settings.training import TrainSettings

_LOOP = (
    "learning_rate",
    "weight_decay",
    "schedule",
    "warmup",
    "clip",
    "eval_steps",
    "patience",
    "min_delta",
    "max_tokens",
)
_STEPS = ("start", "interpolate", "pooling", "contrastive", "epochs", "batch_size", *_LOOP, "drop_mult")
"""Settings of models that are trained in steps."""


@dataclass(kw_only=True)
class FinetuneSettings(DataSettings, AdapterSettings, TrainSettings, SeedsSettings, RunSettings):
    """Train a pretrained transformer on labelled rows, or one of two cheap baselines."""

    group: ClassVar[str] = "Model"
    command: ClassVar[str] = "finetune"
    model: Annotated[str, Shown("MODEL", required=True)] = ""
    """A model folder, a run (of a language model too), a hub id of any BERT-family encoder, or `tfidf` (TF-IDF with a linear model)."""
    encoder_from: Annotated[str | None, Shown("MODEL")] = None
    """Instead of --model: the encoder of this run or model, whatever it was trained for, with a new head."""
    features: Literal["trained", "frozen"] = "trained"
    """trained: all weights learn. frozen: logistic regression on the mean vectors of the frozen encoder."""
    start: Literal["probe", "head"] = "probe"
    """probe: a new head begins as a linear model of the encoder's vectors, and training that loses to it is undone. head: at random."""
    interpolate: Annotated[float, Gt(0), Le(1), Shown(rare=True)] | None = None
    """Keep the weights that are this much of the way from what training began with to what it ended with (WiSE-FT) (0.5 from a probe of few rows, otherwise 1)."""
    pooling: Literal["auto", "head", "mean", "apart"] = "auto"
    """head: the architecture's own, which reads the first token. mean: a linear layer on the mean of the states. apart: each text of a pair by itself. auto: what probes better."""
    contrastive: Literal["auto", "always", "never"] = "auto"
    """For few labels: learn from pairs of rows, as SetFit does, then fit a linear layer. auto: where a probe does not tell the classes apart."""
    drop_mult: Annotated[float, Ge(0), Shown(rare=True)] | None = None
    """For an AWD-LSTM: scale all its dropouts by this (1, or 0.5 if it was a language model)."""
    baseline: Annotated[bool, Shown(off="Do not fit TF-IDF and the probe beside it.")] = True
    """Also fit TF-IDF and the probe (a linear model on the frozen encoder), for the table and the verdict."""
    epochs: Annotated[Annotated[int, Gt(0)] | Literal["auto"], Shown("N|auto", group="Training")] = "auto"  # type: ignore[assignment]
    """Passes over the training rows; auto: more where rows are few."""
    batch_size: Annotated[int, Gt(0), Shown(group="Training")] | None = None  # type: ignore[assignment]
    """Rows of an optimizer step, over all processes (by the number of rows)."""

    @property
    def begins_with(self) -> str:
        """The name of the model that training starts from, with its head or without."""
        return self.encoder_from or self.model

    def models_read(self) -> list[str]:
        """The names of what else decides the result: the model."""
        names = [name for name in (self.model, self.encoder_from) if name and name != "tfidf"]
        return names + self.adapters_read()

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
        if (self.model == "tfidf" or self.features == "frozen") and (flags := self._idle_flags()):
            what = "--model tfidf" if self.model == "tfidf" else "--features frozen"
            faults.append(
                f"{', '.join(flags)}: this is for layers that are trained in steps, and {what} trains none. Leave it out."
            )
        trains = "--model tfidf" if self.model == "tfidf" else "--features frozen"
        encoder = self.model != "tfidf" and self.features == "trained"
        return (
            faults
            + self._pooling_faults()
            + self._interpolation_faults()
            + self._contrastive_faults()
            + self.adapter_faults(trains=None if encoder else trains)
        )

    def _pooling_faults(self) -> list[str]:
        """What a pooling does not go with."""
        if self.pooling == "head" and self.features == "frozen" and self.model != "tfidf":
            return [
                "--features frozen puts a linear layer on means of states, but --pooling is head. Leave one of them out."
            ]
        return []

    def _interpolation_faults(self) -> list[str]:
        """What going back towards the start does not go with."""
        if self.interpolate is not None and self.start == "head":
            return [
                "--interpolate goes back towards the probe, but with --start head there is none. Leave one of them out."
            ]
        return []

    def _contrastive_faults(self) -> list[str]:
        """What does not go with training on pairs."""
        if self.contrastive != "always" or self.model == "tfidf" or self.features == "frozen":
            return []
        asked, faults = "--contrastive always", []
        if self.adapts:
            faults.append(f"{asked} trains the encoder, but with an adapter it stays as it is. Leave one of them out.")
        if self.pooling in ("head", "apart"):
            faults.append(f"{asked} compares means of states, but --pooling is {self.pooling}. Leave one of them out.")
        if self.start == "head":
            faults.append(f"{asked} fits its linear layer in the end, so it has no --start. Leave one of them out.")
        if self.interpolate is not None:
            faults.append(
                f"{asked} keeps the encoder that it ends with, so it has no --interpolate. Leave one of them out."
            )
        if self.unfreeze or self.unfreeze_epochs:
            faults.append(f"{asked} is a single stage, but --unfreeze asks for several. Leave one of them out.")
        if "all-but-head" in self.freeze:
            faults.append(
                f"{asked} trains the encoder, but --freeze all-but-head freezes it. Give --features frozen alone."
            )
        if self.batch_size == 1:
            faults.append(f"{asked} compares the texts of a step, but --batch_size is 1. Give 2 or more.")
        if self.drop_mult is not None:
            faults.append(f"{asked} needs a transformer, and --drop_mult is for an AWD-LSTM. Leave one of them out.")
        return faults

    def _idle_flags(self) -> list[str]:
        """The given flags that a model which is not trained in steps cannot use."""
        pools = self.features == "frozen" and self.model != "tfidf"
        steps = [name for name in _STEPS if name != "pooling" or not pools]
        given = [f"--{name}" for name in steps if getattr(self, name) != getattr(FinetuneSettings, name)]
        layers = self.layer_flags()
        named = {flag.partition(" ")[0] for flag in layers}
        return layers + [flag for flag in given if flag not in named]

    def _encoder_faults(self, name: str) -> list[str]:
        faults = model_faults(name)
        if self.model:
            faults.append("--model and --encoder_from both say where to start. Leave one of them out.")
        if self.adapts:
            faults.append(
                "an adapter is saved without its encoder and refers to a model by its name. Name it with --model, not with --encoder_from."
            )
        if self.features == "frozen":
            faults.append(
                "--features frozen takes the encoder of --model as it is. Name it with --model, or leave --features out."
            )
        return faults
