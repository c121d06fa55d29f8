"""The settings that training commands share beside their data, and what can be wrong with them."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt

from understudy.errors import ConfigError, UnderstudyError
from understudy.record import output_faults
from understudy.settings.configuration import as_dict

WARMED_UP = ("linear", "cosine")
"""The schedules that rise over ``warmup`` first."""


@dataclass(kw_only=True)
class RunSettings:
    """Where a run goes and how it ends."""

    command: ClassVar[str]
    """What the command line calls the recipe."""
    output: str | None = None
    """The run folder (default: runs/<command>-<time>)."""
    overwrite: bool = False
    """Replace what an earlier run left in --output."""
    resume: bool = False
    """Go on with the unfinished run in --output."""
    dry_run: bool = False
    """Say what would be done (rows, tokens, steps, time, memory) and stop."""
    time_budget: str | None = None
    """End cleanly after this long, with the best so far: 90s, 30m, 2h."""
    seed: Annotated[int, Ge(0)] = 0
    """Fixes data order, initialisation and dropout."""

    def run_faults(self) -> list[str]:
        """What is wrong with these settings by themselves."""
        faults = []
        if self.overwrite and self.resume:
            faults.append("--overwrite and --resume contradict each other: give one of them.")
        if self.time_budget is not None and seconds(self.time_budget) is None:
            faults.append(
                f"time_budget must be a number with s, m or h, such as 90s, 30m or 1.5h, but is {self.time_budget!r}."
            )
        if os.environ.get("RANK", "0") == "0":  # of several processes, the others may find what this one has just begun
            faults += output_faults(
                self.command, as_dict(self), output=self.output, overwrite=self.overwrite, resume=self.resume
            )
        return faults


@dataclass(kw_only=True)
class TrainSettings:
    """How the loop trains."""

    finds_rate: ClassVar[bool] = False
    """Whether the command is there to find a rate, so that none need be named."""
    epochs: Annotated[int, Gt(0)] = 3
    """Passes over the training rows."""
    batch_size: Annotated[int, Gt(0)] = 32
    """Rows of an optimizer step, over all processes."""
    max_tokens: Annotated[int, Gt(0)] | None = None
    """Padded tokens computed at once; a larger batch is cut, with the same gradient (default: by the device)."""
    learning_rate: float | str | None = None
    """Peak rate: 5e-5; 1e-5:1e-3 from the first layer to the last; or `auto` (default: by the kind of model)."""
    discriminative: Annotated[float, Gt(1)] | None = None
    """Each layer's rate is that of the layer above divided by this (ULMFiT: 2.6)."""
    freeze: list[str] = field(default_factory=list)
    """Layers that do not learn: `embeddings 0-5`, or `all-but-head`."""
    unfreeze: list[str] = field(default_factory=list)
    """In stages from the top: `gradual`, `chain-thaw`, or the layers that learn in each, as in `1 2 all`."""
    unfreeze_epochs: list[Annotated[int, Gt(0)]] = field(default_factory=list)
    """Epochs of each stage, or of all (default: --epochs for each)."""
    optimizer: Literal["adamw", "nt_asgd"] = "adamw"
    """nt_asgd: SGD that begins to average its weights when validation stops improving (AWD-LSTM)."""
    beta1: Annotated[float, Ge(0), Lt(1)] = 0.9
    """AdamW's decay of the gradient's mean (ULMFiT: 0.7)."""
    beta2: Annotated[float, Ge(0), Lt(1)] = 0.999
    """AdamW's decay of its square's mean (ULMFiT: 0.99)."""
    weight_decay: Annotated[float, Ge(0)] | None = None
    """Decay of all but biases and norms, times the rate in each step (default: 0.01; 1.2e-6 for nt_asgd)."""
    schedule: Literal["linear", "cosine", "constant", "slanted_triangular", "one_cycle"] = "linear"
    """How the rate goes; linear and cosine warm up first."""
    warmup: Annotated[float, Ge(0), Le(1)] = 0.1
    """The share of the steps that linear and cosine warm up."""
    cycle_momentum: bool = False
    """With one_cycle: the momentum (Adam's first beta) falls from 0.95 to 0.85 as the rate rises, and comes back."""
    clip: Annotated[float, Ge(0)] = 1.0
    """The largest 2-norm of the gradient; 0 for no limit."""
    max_length: Annotated[int, Gt(2)] | None = None
    """Tokens of a text, the rest is cut (default: 256, or less if the model takes less). An AWD-LSTM reads texts whole, and its gradient reaches so many of their last tokens."""
    eval_steps: Annotated[int, Gt(0)] | None = None
    """Also evaluate every so many steps, not only after each epoch."""
    metric: str | None = None
    """The validation metric that chooses the best weights (default: the task's first)."""
    patience: Annotated[int, Gt(0)] | None = None
    """Stop after so many evaluations without improvement."""
    save_steps: Annotated[int, Gt(0)] | None = None
    """Write a checkpoint every so many steps (default: as often as costs 3 % of the time)."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto: bf16 on CUDA, fp32 elsewhere."""
    compile: bool = False
    """Compile a transformer's blocks (torch.compile); the first steps wait for it. Meant for CUDA: on a CPU steps take longer than without."""
    track: Literal["tensorboard", "wandb"] | None = None
    """Also report to a tracker."""

    def __post_init__(self) -> None:
        if isinstance(self.learning_rate, str):  # YAML takes 5e-5 for a string
            self.learning_rate = _as_number(self.learning_rate)

    def train_faults(self) -> list[str]:
        """What is wrong with these settings by themselves, or asks of the machine what it does not have."""
        from understudy.training.progress.trackers import check_tracker

        faults = self._learning_faults()
        if self.precision == "fp16":
            import torch

            if not torch.cuda.is_available():
                faults.append(
                    "precision fp16 needs a CUDA device, and there is none here. Give --precision fp32 or bf16."
                )
        if self.compile:
            from understudy.models.structure.compiled import can_compile

            if not can_compile():
                faults.append(
                    "--compile needs a compiler, and none was found. Install g++, name another in the environment variable CXX (with CUDA: gcc, CC), or leave it out."
                )
        try:
            check_tracker(self.track)
        except UnderstudyError as error:
            faults += error.faults
        return faults

    def _learning_faults(self) -> list[str]:
        faults = []
        try:
            rate = parse_rate(self.learning_rate)
        except UnderstudyError as error:
            faults, rate = list(error.faults), None
        if isinstance(rate, tuple) and self.discriminative is not None:
            faults.append(
                f"--discriminative and the range of rates {self.learning_rate} both say how the rate falls from layer to layer. Give one of them."
            )
        if self.warmup != TrainSettings.warmup and self.schedule not in WARMED_UP:
            faults.append(
                f"--warmup belongs to --schedule {' and '.join(WARMED_UP)}, but the schedule is {self.schedule}. Leave one of them out."
            )
        if self.cycle_momentum and self.schedule != "one_cycle":
            faults.append(
                f"--cycle_momentum belongs to --schedule one_cycle, but the schedule is {self.schedule}. Leave one of them out."
            )
        if self.cycle_momentum and "--beta1" in self._betas_given():
            faults.append("--cycle_momentum and --beta1 both say what Adam's first beta is. Leave one of them out.")
        if self.optimizer == "nt_asgd":
            faults += self._averaging_faults()
        if self.unfreeze or self.unfreeze_epochs:
            from understudy.training.unfreeze_words import unfreeze_faults

            faults += unfreeze_faults(self.unfreeze, self.unfreeze_epochs)
        return faults

    def _averaging_faults(self) -> list[str]:
        from understudy.training.optimizers.trigger import INTERVAL

        faults = [f"{flag} is AdamW's, but the optimizer is nt_asgd. Leave it out." for flag in self._betas_given()]
        if self.schedule != "constant":
            faults.append(
                f"--optimizer nt_asgd averages over steps at a constant rate, but the schedule is {self.schedule}. Give --schedule constant."
            )
        if self.learning_rate is None and not self.finds_rate:
            faults.append(
                "--optimizer nt_asgd has no default rate: give --learning_rate auto, or a number (30 for the AWD-LSTM of the paper, with --clip 0.25)."
            )
        if self.patience is not None and self.patience <= INTERVAL + 1:
            faults.append(
                f"--patience {self.patience} stops before nt_asgd begins to average, which it does after {INTERVAL + 1} evaluations without improvement at the earliest. Give {2 * INTERVAL} or more, or leave it out."
            )
        return faults

    def layer_flags(self) -> list[str]:
        """Those of the settings given that say how the layers of a network learn: no other model can heed them."""
        given = {
            "--discriminative": self.discriminative,
            "--freeze": self.freeze,
            "--unfreeze": self.unfreeze,
            "--unfreeze_epochs": self.unfreeze_epochs,
            "--cycle_momentum": self.cycle_momentum,
            f"--learning_rate {self.learning_rate}": isinstance(self.learning_rate, str),
            f"--optimizer {self.optimizer}": self.optimizer != "adamw",
            "--compile": self.compile,
        }
        return [flag for flag, value in given.items() if value] + self._betas_given()

    def _betas_given(self) -> list[str]:
        return [f"--{name}" for name in ("beta1", "beta2") if getattr(self, name) != getattr(TrainSettings, name)]


def parse_rate(given: float | str | None) -> float | tuple[float, float] | Literal["auto"] | None:
    """A learning rate as it was given: a number, those of the first and the last layer, or that it is to be found.

    Raises:
        ConfigError: if it is none of these, not positive, or a range upside down.

    Example:
        >>> parse_rate("5e-5"), parse_rate("1e-5:1e-3"), parse_rate("auto"), parse_rate(None)
        (5e-05, (1e-05, 0.001), 'auto', None)
    """
    if given is None or given == "auto":
        return given  # type: ignore[return-value]
    parts = [_as_number(part) for part in str(given).split(":")]
    rates = [part for part in parts if isinstance(part, float) and 0 < part < math.inf]
    if len(rates) != len(parts) or len(rates) > 2:
        raise ConfigError(
            f"learning_rate must be a positive number such as 5e-5, two for the first and the last layer such as 1e-5:1e-3, or auto, but is {given!r}."
        )
    if rates[0] > rates[-1]:
        raise ConfigError(
            f"learning_rate {given} is upside down: the first layer's comes first and is the lower one. Did you mean {':'.join(reversed(str(given).split(':')))}?"
        )
    return rates[0] if len(rates) == 1 else (rates[0], rates[1])


def _as_number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def model_faults(name: str) -> list[str]:
    """What is wrong with the name of a model, before anything is loaded."""
    from understudy.models.files.names import resolve

    try:
        resolve(name)
    except UnderstudyError as error:
        return list(error.faults)
    return []


def seconds(duration: str) -> float | None:
    """The seconds of ``90s``, ``30m``, ``1.5h``, or None if it is no duration.

    Example:
        >>> seconds("1.5h"), seconds("90s"), seconds("soon")
        (5400.0, 90.0, None)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", duration.strip())
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]] if match else None
