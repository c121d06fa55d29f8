"""Settings of ``understudy prune``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt

from understudy.models.files.names import adapter_folder
from understudy.settings.data import DataSettings
from understudy.settings.flags import Shown
from understudy.settings.models import model_faults
from understudy.settings.run import RunSettings, SeedsSettings
from understudy.settings.training import TrainSettings

_SHARES = ("heads", "neurons", "magnitude")
_BY_GRADIENT = ("heads", "neurons")
_NOT_IDLE = ("metric", "max_length", "max_tokens")
"""Settings of training that a model which is not trained uses too."""
Part = Annotated[float, Ge(0), Lt(1)]


@dataclass(kw_only=True)
class PruneSettings(DataSettings, TrainSettings, SeedsSettings, RunSettings):
    """Remove attention heads, neurons, words or small weights of a trained model, and train what is left."""

    group: ClassVar[str] = "Method"
    command: ClassVar[str] = "prune"
    positional: ClassVar[tuple[str, ...]] = ("model",)
    rows_in: ClassVar[tuple[str, ...]] = (*DataSettings.rows_in, "unlabeled")
    model: Annotated[str, Shown("MODEL", group="Model", required=True)] = ""
    """A run or a model folder; also as a bare word."""
    data: Annotated[str | None, Shown("PATH", group="Data")] = None
    """Labelled rows: a file, a folder of splits, an archive of either, or a hub data set (those of the model's run)."""
    unlabeled: Annotated[str | None, Shown("FILE", group="Data")] = None
    """The pool: further texts, without labels, that the unpruned model teaches."""
    task: Annotated[str | None, Shown("TASK", group="Model", rare=True)] = None
    """Of a model for several tasks, the one to take."""
    heads: Annotated[Part, Shown("SHARE")] = 0.0
    """Share of the attention heads that go, those of the smallest gradient."""
    neurons: Annotated[Part, Shown("SHARE")] = 0.0
    """Share of the feed-forward neurons that go, by the same measure."""
    vocabulary: Annotated[list[str], Shown("CORPUS")] = field(default_factory=list)
    """Keep only the words that these texts use: files, folders or hub data sets."""
    magnitude: Annotated[Part, Shown("SHARE")] = 0.0
    """Share of the weights of each matrix that become zero: smaller when packed, not smaller or faster in use."""
    per_layer: bool = False
    """Remove the same share in every layer, not the least important of all (of neurons alone: transformers can load it)."""
    importance_rows: Annotated[int, Gt(0), Shown("N", rare=True)] = 2000
    """Labelled training rows that heads and neurons are measured on, drawn by the seed."""
    rounds: Annotated[int, Ge(0), Le(100), Shown("N")] = 1
    """Prune in N equal parts, and train after each; 0 prunes at once and trains nothing."""
    recovery: Literal["distill", "finetune"] = "distill"
    """How to train after each part: on the answers of the unpruned model, or on the labels."""
    alpha: Annotated[float, Ge(0), Le(1), Shown(rare=True)] = 0.0
    """With distill: share of the labels in the loss; the unpruned model has the rest."""
    distance: Annotated[Literal["mse", "kl", "hard"], Shown(rare=True)] = "mse"
    """With distill: distance to the unpruned model, as for the command distill."""
    temperature: Annotated[float, Gt(0), Shown(rare=True)] = 1.0
    """Softens both sides of the KL divergence."""

    @property
    def trains(self) -> bool:
        """Whether what is left is trained. Fewer words alone change no answer that training could mend."""
        return self.rounds > 0 and any(getattr(self, name) for name in _SHARES)

    @property
    def run_config(self) -> Path | None:
        """The configuration of the run that trained the model, where it is still there."""
        here = Path(self.model).expanduser()
        return next((path for folder in (here, here.parent) if (path := folder / "config.yaml").is_file()), None)

    def data_read(self) -> list[str]:
        """The names of the data that the command reads, pool and corpora included."""
        return super().data_read() + ([] if self.unlabeled is None else [self.unlabeled]) + self.vocabulary

    def models_read(self) -> list[str]:
        """The names of what else decides the result: the model."""
        return [self.model]

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading data or weights."""
        faults = self.data_faults() if self.data or self.train else self._rows_of_the_run()
        faults += self.run_faults() + self.seeds_faults() + self.train_faults()
        if not self.model:
            faults.append("no model: name a run or a model folder, as in: understudy prune runs/model --heads 0.5.")
        else:
            faults += model_faults(self.model, adapters=True)
            if adapter_folder(self.model) is not None:
                faults.append(
                    f"{self.model}: is an adapter, whose base belongs to others too. Fold a lora, an ia3 or a parallel adapter into it first (understudy adapter merge), or fine-tune the base."
                )
        if not self.vocabulary and not any(getattr(self, name) for name in _SHARES):
            faults.append(
                "nothing is to go: give --heads 0.5, --neurons 0.5, --vocabulary CORPUS or --magnitude 0.5, or several of them."
            )
        return faults + self._idle_faults()

    def _rows_of_the_run(self) -> list[str]:
        """What is wrong where no rows are named, so that they must be those of the model's run."""
        given = [
            f"--{name}"
            for name in ("validation", "test", "unlabeled", "text", "label", "kind", "limit_train", "class_weights")
            if getattr(self, name)
        ]
        if given:
            return [f"{', '.join(given)}: belongs to --data or --train, and neither is given. Name the rows too."]
        if self.model and self.run_config is None:
            return [
                f"no data: {self.model} is no run that says what it was trained on. Name labelled rows with --data."
            ]
        return []

    def _idle_faults(self) -> list[str]:
        """Settings that would have no effect."""
        faults = []
        defaults = {entry.name: entry for entry in dataclasses.fields(PruneSettings)}

        def given(*names: str) -> list[str]:
            return [
                f"--{name}"
                for name in names
                if getattr(self, name) != defaults[name].default and getattr(self, name) != []
            ]

        if not any(getattr(self, name) for name in _BY_GRADIENT):
            faults += [
                f"{flag} is about --heads and --neurons, and neither is given. Leave it out."
                for flag in given("per_layer", "importance_rows")
            ]
        if not self.trains:
            training = [entry.name for entry in dataclasses.fields(TrainSettings) if entry.name not in _NOT_IDLE]
            own = ["unlabeled", "recovery", "alpha", "distance", "temperature"] + ["rounds"] * (self.rounds > 0)
            why = "--rounds is 0" if not self.rounds else "fewer words alone need no training"
            faults += [f"{flag} is for training, but {why}. Leave it out." for flag in given(*training, *own)]
        elif self.recovery == "finetune":
            faults += [
                f"{flag} belongs to --recovery distill, but the recovery is finetune. Leave one of them out."
                for flag in given("unlabeled", "alpha", "distance", "temperature")
            ]
        elif self.temperature != 1.0 and self.distance != "kl":
            faults.append(
                f"--temperature belongs to --distance kl, but the distance is {self.distance}. Leave one of them out."
            )
        return faults
