"""How the loop trains: the settings that every training command shares, and what can be wrong with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt

from understudy.errors import UnderstudyError, gathered
from understudy.settings.flags import Shown
from understudy.settings.values import as_number, parse_rate
from understudy.training.optimizers.trigger import INTERVAL
from understudy.training.progress.trackers import check_tracker
from understudy.training.unfreezing.order import unfreeze_faults

WARMED_UP = ("linear", "cosine")
"""The schedules that rise over ``warmup`` first."""


@dataclass(kw_only=True)
class TrainSettings:
    """How the loop trains."""

    group: ClassVar[str] = "Training"
    finds_rate: ClassVar[bool] = False
    """True for commands that search for a rate, so that none must be given."""
    epochs: Annotated[int, Gt(0)] = 3
    """Passes over the training rows."""
    batch_size: Annotated[int, Gt(0)] = 32
    """Rows of an optimizer step, over all processes."""
    max_tokens: Annotated[int, Gt(0), Shown(rare=True)] | None = None
    """Padded tokens computed at once; a larger batch is cut, with the same gradient (by the device)."""
    learning_rate: Annotated[float | str | None, Shown("RATE")] = None
    """Peak rate: 5e-5, 1e-5:1e-3 from first layer to last, or auto for a sweep (by the kind of model)."""
    discriminative: Annotated[float, Gt(1), Shown(rare=True)] | None = None
    """Divide the rate by this from each layer to the one below (ULMFiT: 2.6)."""
    freeze: Annotated[list[str], Shown("LAYER", rare=True)] = field(default_factory=list)
    """Layers that do not learn: `embeddings 0-5`, or `all-but-head`."""
    unfreeze: Annotated[list[str], Shown("STAGE")] = field(default_factory=list)
    """Train in stages from the top: gradual, chain-thaw, or layers, as in `1 2 all`."""
    unfreeze_epochs: Annotated[list[Annotated[int, Gt(0)]], Shown("N", rare=True)] = field(default_factory=list)
    """Epochs of each stage, or of all (--epochs for each)."""
    optimizer: Annotated[Literal["adamw", "nt_asgd"], Shown(rare=True)] = "adamw"
    """nt_asgd: SGD that starts to average its weights when validation stops improving (AWD-LSTM)."""
    beta1: Annotated[float, Ge(0), Lt(1), Shown(rare=True)] = 0.9
    """AdamW's decay of the mean gradient (ULMFiT: 0.7)."""
    beta2: Annotated[float, Ge(0), Lt(1), Shown(rare=True)] = 0.999
    """AdamW's decay of the mean squared gradient (ULMFiT: 0.99)."""
    weight_decay: Annotated[float, Ge(0), Shown(rare=True)] | None = None
    """Weight decay of all but biases and norms, times the rate in each step (0.01; 1.2e-6 for nt_asgd)."""
    schedule: Annotated[
        Literal["linear", "cosine", "constant", "slanted_triangular", "one_cycle"], Shown(rare=True)
    ] = "linear"
    """How the rate changes; linear and cosine warm up first."""
    warmup: Annotated[float, Ge(0), Le(1), Shown(rare=True)] = 0.1
    """Share of the steps in which linear and cosine warm up."""
    cycle_momentum: Annotated[bool, Shown(rare=True)] = False
    """With one_cycle: the momentum (Adam's first beta) falls from 0.95 to 0.85 while the rate rises, and returns."""
    clip: Annotated[float, Ge(0), Shown(rare=True)] = 1.0
    """Largest 2-norm of the gradient; 0 for no limit."""
    max_length: Annotated[int, Gt(2)] | None = None
    """Tokens read of a text (at most 256). An AWD-LSTM reads all; the gradient reaches so many of its last tokens."""
    eval_steps: Annotated[int, Gt(0), Shown(rare=True)] | None = None
    """Also evaluate every N steps, not only after epochs."""
    metric: Annotated[str | None, Shown("NAME", rare=True)] = None
    """The validation metric that chooses the best weights (the task's first)."""
    patience: Annotated[int, Gt(0)] | None = None
    """Stop after N evaluations without improvement."""
    min_delta: Annotated[float, Ge(0), Shown("X", rare=True)] = 0.0
    """With --patience: an improvement by no more than X is none; 0.002 is 0.2 points of accuracy."""
    save_steps: Annotated[int, Gt(0), Shown(rare=True)] | None = None
    """Write a checkpoint every N steps (often enough to cost 3 % of the time)."""
    precision: Annotated[Literal["auto", "fp32", "bf16", "fp16"], Shown(rare=True)] = "auto"
    """Number format of the computation; auto is bf16 on CUDA and fp32 elsewhere."""
    compile: Annotated[bool, Shown(rare=True)] = False
    """Compile a transformer's blocks (torch.compile); the first steps wait for it. For CUDA: on a CPU it makes steps slower."""
    track: Annotated[Literal["tensorboard", "wandb"] | None, Shown(rare=True)] = None
    """Also report to a tracker."""

    def __post_init__(self) -> None:
        if isinstance(self.learning_rate, str):  # YAML reads 5e-5 as a string
            self.learning_rate = as_number(self.learning_rate)

    @property
    def watches(self) -> bool:
        """Whether evaluations are asked to decide something: then the best one's weights are kept, however few rows it has."""
        return self.patience is not None or self.eval_steps is not None or self.optimizer == "nt_asgd"

    def train_faults(self) -> list[str]:
        """What is wrong with these settings by themselves, as far as it shows without loading torch."""
        faults = self._learning_faults()
        with gathered(faults):
            check_tracker(self.track)
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
        if self.min_delta and self.patience is None and self.epochs != "auto":
            faults.append("--min_delta says what is too little for --patience, and there is none. Give --patience too.")
        if self.cycle_momentum and self.schedule != "one_cycle":
            faults.append(
                f"--cycle_momentum belongs to --schedule one_cycle, but the schedule is {self.schedule}. Leave one of them out."
            )
        if self.cycle_momentum and "--beta1" in self._betas_given():
            faults.append("--cycle_momentum and --beta1 both say what Adam's first beta is. Leave one of them out.")
        if self.optimizer == "nt_asgd":
            faults += self._averaging_faults()
        if self.unfreeze or self.unfreeze_epochs:
            faults += unfreeze_faults(self.unfreeze, self.unfreeze_epochs)
        return faults

    def _averaging_faults(self) -> list[str]:
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
        """The given flags about how a network's layers learn. Other models cannot use them."""
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
