"""Settings of ``understudy lr-find``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt

from understudy.settings.train.finetune import FinetuneSettings
from understudy.settings.train.pretrain import PretrainSettings


@dataclass(kw_only=True)
class SweepSettings:
    """The range of rates."""

    group: ClassVar[str] = "Sweep"
    lowest: Annotated[float, Gt(0)] = 1e-7
    """Learning rate of the first step."""
    highest: Annotated[float, Gt(0)] = 10.0
    """Learning rate of the last step; the sweep ends earlier if the loss diverges."""
    steps: Annotated[int, Ge(20)] = 100
    """Training steps; the rate grows by a constant factor from step to step."""

    def sweep_faults(self) -> list[str]:
        """What is wrong with these settings by themselves."""
        faults = []
        if not self.lowest < self.highest:
            faults.append(f"lowest must be below highest, but they are {self.lowest:g} and {self.highest:g}.")
        if getattr(self, "seeds", []):
            faults.append("--seeds trains once with each seed, but a sweep needs one. Give --seed.")
        return faults


@dataclass(kw_only=True)
class FindForFinetuneSettings(FinetuneSettings, SweepSettings):
    """Find the learning rate for a finetune with the same flags: train at growing rates, watch the loss, keep nothing."""

    command: ClassVar[str] = "lr-find finetune"
    trains: ClassVar[type[FinetuneSettings]] = FinetuneSettings
    finds_rate: ClassVar[bool] = True

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading data or weights."""
        faults = super().faults() + self.sweep_faults()
        if self.model == "tfidf" or self.features == "frozen":
            what = "--model tfidf" if self.model == "tfidf" else "--features frozen"
            faults.append(f"{what} has no learning rate to find. Name an encoder whose layers are trained.")
        return faults


@dataclass(kw_only=True)
class FindForPretrainSettings(PretrainSettings, SweepSettings):
    """Find the learning rate for a pretrain with the same flags: train at growing rates, watch the loss, keep nothing."""

    command: ClassVar[str] = "lr-find pretrain"
    trains: ClassVar[type[PretrainSettings]] = PretrainSettings
    finds_rate: ClassVar[bool] = True

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading data or weights."""
        return super().faults() + self.sweep_faults()
